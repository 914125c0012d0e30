#pragma once
/// Which patches of a tile are real, and which learned position each of them takes.

#include <algorithm>
#include <cmath>
#include <vector>

#include <smolvlm/backend/segments.hpp>
#include <smolvlm/core/view.hpp>
#include <smolvlm/vision/config.hpp>

namespace smolvlm {

/// I pictures of rows x cols patches each. Attention is bidirectional inside a picture; patches that are padding ask but are
/// not asked: their keys are left out by gathering the real ones (key_rows; empty = all are real).
struct PatchGrid {
    Index images = 0, rows = 0, cols = 0;
    std::vector<std::int32_t> position_ids;  // [I * rows*cols]
    std::vector<std::int32_t> key_rows;
    Segments segments;
};

/// The boundaries 1/n, 2/n, ... between the n cells of an edge of the position table, bit for bit as
/// torch.arange(1/n, 1.0, 1/n) makes them in float32: sixteen at a time, in vectors of eight that count on from their first
/// element after it has been rounded. Where 1/n is not exact the length may be n, with a last boundary of 1.
inline std::vector<float> position_boundaries(Index n) {
    const double step = 1.0 / static_cast<double>(n);
    const auto count = static_cast<Index>(std::ceil((1.0 - step) / step));
    const auto at = [step](Index i) { return static_cast<float>(step + step * static_cast<double>(i)); };
    std::vector<float> boundaries;
    for (Index i = 0; i < count; ++i) {
        const bool in_vector = i < count / 16 * 16;
        boundaries.push_back(in_vector ? static_cast<float>(at(i / 8 * 8) + step * static_cast<double>(i % 8)) : at(i));
    }
    return boundaries;
}

/// Position ids of a picture with `on` (row-major, rows x cols) marking its real patches. The learned table is an n x n grid;
/// a picture of nh x nw real patches, counted in its first column and row, is spread over it: patch (i, j) takes cell
/// (bucket(i/nh), bucket(j/nw)) where bucket(f) counts the boundaries that are <= f. Padding takes id 0.
/// In float32 exactly as transformers computes it (modeling_smolvlm.py, SmolVLMVisionEmbeddings), because rounding decides
/// which cell a fraction on a boundary falls into: in a full grid of 19 x 19 the ids skip from 11 to 13.
inline std::vector<std::int32_t> patch_position_ids(const std::vector<bool>& on, Index rows, Index cols, Index n) {
    const auto at = [&](Index i, Index j) { return on[static_cast<std::size_t>(i * cols + j)]; };
    Index nh = 0, nw = 0;
    for (Index i = 0; i < rows; ++i) nh += at(i, 0);
    for (Index j = 0; j < cols; ++j) nw += at(0, j);
    const std::vector<float> boundaries = position_boundaries(n);
    const auto bucket = [&](Index i, Index real) {
        const float step = 1.0f / static_cast<float>(real);  // of no real patch: infinite, so fmin takes the last cell
        const float fraction = std::fmin(static_cast<float>(i) * step, static_cast<float>(1.0 - 1e-6));
        return std::upper_bound(boundaries.begin(), boundaries.end(), fraction) - boundaries.begin();
    };
    std::vector<std::int32_t> ids(on.size(), 0);
    for (Index i = 0; i < rows; ++i)
        for (Index j = 0; j < cols; ++j)
            if (at(i, j))
                ids[static_cast<std::size_t>(i * cols + j)] = static_cast<std::int32_t>(bucket(i, nh) * n + bucket(j, nw));
    return ids;
}

/// The grid of I pictures [height, width]; pixel_mask [I, height, width] (1 = real pixel), or null when all pixels are real.
/// A patch is real if any of its pixels is.
inline PatchGrid make_patch_grid(const VisionConfig& config, Index images, Index height, Index width,
                                 View<const std::int64_t> pixel_mask = {}) {
    const Index p = config.patch_size, n = config.grid();
    PatchGrid grid;
    grid.images = images;
    grid.rows = height / p;
    grid.cols = width / p;
    SMOLVLM_CHECK(grid.rows > 0 && grid.cols > 0, ValueError, "vision: pictures of ", height, "x", width,
                  " pixels hold no patch of ", p, "x", p);
    const Index P = grid.rows * grid.cols;
    SMOLVLM_CHECK(!pixel_mask || pixel_mask.shape() == (Shape{images, height, width}), ShapeError,
                  "pixel_attention_mask is ", pixel_mask.shape(), " but the pictures need ", Shape{images, height, width});
    std::vector<Segment> list;
    bool all_real = true;
    for (Index i = 0; i < images; ++i) {
        std::vector<bool> on(static_cast<std::size_t>(P), !pixel_mask);
        if (pixel_mask)
            for (Index y = 0; y < grid.rows * p; ++y)
                for (Index x = 0; x < grid.cols * p; ++x)
                    if (pixel_mask(i, y, x)) on[static_cast<std::size_t>(y / p * grid.cols + x / p)] = true;
        const auto ids = patch_position_ids(on, grid.rows, grid.cols, n);
        grid.position_ids.insert(grid.position_ids.end(), ids.begin(), ids.end());
        const Index first_key = static_cast<Index>(grid.key_rows.size());
        for (Index patch = 0; patch < P; ++patch)
            if (on[static_cast<std::size_t>(patch)]) grid.key_rows.push_back(static_cast<std::int32_t>(i * P + patch));
        const Index keys = static_cast<Index>(grid.key_rows.size()) - first_key;
        list.push_back({i * P, P, first_key, keys});
        all_real = all_real && keys == P;
    }
    if (all_real) grid.key_rows.clear();
    grid.segments = Segments(Segments::Mask::full, std::move(list));
    return grid;
}

}  // namespace smolvlm
