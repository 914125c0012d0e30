#pragma once
/// plan_tiles: how a picture of W x H becomes frames of T x T (T = `tile`), decided from the sizes alone.
///
///     1.  the longest side becomes exactly L (small pictures are enlarged), the other follows, made even
///     2a. splitting: both sides are rounded up to whole tiles (the aspect ratio bends a little); if that is more than
///     one
///         tile, they are cut out row by row, and the whole canvas, shrunk to one tile, follows them as the global
///         frame
///     2b. no splitting: one frame, the picture of step 1 pressed into T x T
///
///     640 x 480, L 2048, T 512  ->  2048 x 1536  ->  2048 x 1536  ->  3 rows x 4 columns + global = 13 frames
///
/// All divisions are double precision and truncate, as the reference's do: one bit decides whether a row of tiles
/// appears. Errors: ValueError for sizes and settings outside their bounds. Source: transformers,
/// models/smolvlm/image_processing_pil_smolvlm.py; Marafioti et al. 2025 (arXiv:2504.05299), 2.2.

#include <algorithm>
#include <optional>

#include <smolvlm/image/image.hpp>

namespace smolvlm {

/// What the checkpoint asks for.
struct TileRule {
    Index longest_edge = 2048;  // L
    Index tile = 512;           // T
    bool do_resize = true;
    bool do_image_splitting = true;
};

/// What the user asks for instead; the default changes nothing. They apply in this order.
struct TileOptions {
    /// Splitting off: every picture is one frame.
    bool no_split = false;
    /// L becomes this (the reference caps every L at 4096).
    std::optional<Index> longest_edge = std::nullopt;
    /// L becomes at most the picture's own longest side, rounded up to whole tiles: a small picture stays one tile.
    bool no_upscale = false;
    /// If the grid has more tiles than this (the global frame not counted), L becomes the largest multiple of T whose
    /// grid has not. 1 always gives one frame.
    std::optional<Index> max_tiles = std::nullopt;
};

struct TilePlan {
    struct Size {
        Index width, height;
        friend bool operator==(const Size&, const Size&) = default;
    };
    Size picture{};            // as it came
    Size resized{};            // after step 1
    Size canvas{};             // after step 2: what is cut into tiles, or the one frame
    Index tile = 0;            // T
    Index rows = 0, cols = 0;  // 0 and 0: one frame, no tiles
    Index frames() const { return rows * cols + 1; }
};

namespace detail {

constexpr Index longest_edge_cap = 4096;

inline TilePlan plan_tiles_at(Index width, Index height, const TileRule& rule) {
    const Index L = rule.longest_edge, T = rule.tile;
    const auto real = [](Index n) { return static_cast<double>(n); };
    const auto whole_tiles = [T](Index n) { return (n + T - 1) / T * T; };

    TilePlan plan;
    plan.picture = {width, height};
    plan.tile = T;
    Index w = width, h = height;
    if (rule.do_resize) {
        double aspect = real(w) / real(h);
        if (w >= h) {
            w = L;
            h = static_cast<Index>(real(w) / aspect);
            h = std::max<Index>(h + h % 2, 1);
        } else {
            h = L;
            w = static_cast<Index>(real(h) * aspect);
            w = std::max<Index>(w + w % 2, 1);
        }
        aspect = real(w) / real(h);
        if (w >= h && w > longest_edge_cap) {
            w = longest_edge_cap;
            h = std::max<Index>(static_cast<Index>(real(w) / aspect), 1);
        } else if (h > w && h > longest_edge_cap) {
            h = longest_edge_cap;
            w = std::max<Index>(static_cast<Index>(real(h) * aspect), 1);
        }
    }
    plan.resized = {w, h};
    if (!rule.do_image_splitting) {
        plan.canvas = {T, T};
        return plan;
    }
    const double aspect = real(w) / real(h);
    if (w >= h) {
        w = whole_tiles(w);
        h = whole_tiles(static_cast<Index>(real(w) / aspect));
    } else {
        h = whole_tiles(h);
        w = whole_tiles(static_cast<Index>(real(h) * aspect));
    }
    plan.canvas = {w, h};
    if (w > T || h > T) {
        plan.rows = h / T;
        plan.cols = w / T;
    }
    return plan;
}

}  // namespace detail

inline TilePlan plan_tiles(Index width, Index height, TileRule rule, const TileOptions& options = {}) {
    SMOLVLM_CHECK(width >= 1 && height >= 1 && width <= max_image_side && height <= max_image_side, ValueError,
                  "tiles: a picture of ", width, "x", height, " pixels; expected sides from 1 to ", max_image_side);
    SMOLVLM_CHECK(rule.tile >= 1 && rule.tile <= detail::longest_edge_cap, ValueError,
                  "tiles: max_image_size.longest_edge is ", rule.tile, ", expected 1 to ", detail::longest_edge_cap);
    if (options.no_split) rule.do_image_splitting = false;
    if (options.longest_edge) rule.longest_edge = *options.longest_edge;
    SMOLVLM_CHECK(rule.longest_edge >= 1 && rule.longest_edge <= max_image_side, ValueError, "tiles: longest edge is ",
                  rule.longest_edge, ", expected 1 to ", max_image_side);
    const Index T = rule.tile;
    if (options.no_upscale) rule.longest_edge = std::min(rule.longest_edge, (std::max(width, height) + T - 1) / T * T);
    TilePlan plan = detail::plan_tiles_at(width, height, rule);
    if (options.max_tiles) {
        const Index most = *options.max_tiles;
        SMOLVLM_CHECK(most >= 1, ValueError, "tiles: at most ", most, " tiles are asked for, expected 1 or more");
        if (plan.rows * plan.cols > most) {
            rule.do_resize = true;
            Index tiles_along = (std::min(rule.longest_edge, detail::longest_edge_cap) - 1) / T;
            do {
                rule.longest_edge = std::max<Index>(tiles_along, 1) * T;
                plan = detail::plan_tiles_at(width, height, rule);
            } while (plan.rows * plan.cols > most && --tiles_along >= 1);
        }
    }
    return plan;
}

}  // namespace smolvlm
