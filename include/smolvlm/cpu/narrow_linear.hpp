#pragma once
/// y = x W^T + b where both are narrow: rows of signed bytes meet panels of small integers, rows of bf16 or words panels
/// of such pairs (core/integer_layout.hpp has the panels and says what the numbers stand for).
///
///     int8            y = s_x s_w sum_k w_k x_k + b                            one sum over all k
///     Q8_0, Q4_0      y = sum over blocks of 32 k: s_x d sum_k w_k x_k + b     integer sums within, float sums between
///     bf16            y = sum_k w_k x_k + b                                    float sums, two products at a time
///     int16           y = t sum over blocks of 128 k: s_x sum_k w_k x_k + b     as Q8_0, but for one scale t
///
/// An element does not depend on the threads or on the rows beside it. Where there are tiles of AMX, bf16 is multiplied in
/// them, and so is int8 unless there are few rows; the others stay with vectors.

#include <smolvlm/cpu/amx_panels.hpp>
#include <smolvlm/cpu/bf16_tiles.hpp>
#include <smolvlm/cpu/integer_tiles.hpp>
#include <smolvlm/cpu/maps.hpp>
#include <smolvlm/cpu/team.hpp>
#include <smolvlm/cpu/word_tiles.hpp>

namespace smolvlm::cpu {

/// Rows of activations in the form in which a weight meets them, in memory that somebody else owns.
class NarrowRows {
public:
    NarrowRows(const PackedWeight<float>& w, std::byte* memory, Index rows, CpuPath path)
        : at_(w.integers()), path_(path), bf16_(reinterpret_cast<bfloat16*>(memory)),
          words_(ScaledWords::in(memory, rows, at_.K)), bytes_(IntegerRows::in(memory, rows, at_.K, at_.blocks())) {}

    static std::size_t bytes(const PackedWeight<float>& w, Index rows) {
        const IntegerLayout& at = w.integers();
        if (at.is_int16()) return ScaledWords::bytes(rows, at.K);
        return at.is_bf16() ? static_cast<std::size_t>(rows * bf16_stride(at.K)) * sizeof(bfloat16)
                            : IntegerRows::bytes(rows, at.K, at.blocks());
    }
    /// Rows first .. first + count - 1 from x, ldx numbers apart.
    void put(const float* x, Index ldx, Index first, Index count) const {
        if (at_.is_int16()) return dispatch<word_detail::RoundRows>(path_, x, ldx, count, at_.K, words_.at(first));
        if (at_.is_bf16())
            return dispatch<bf16_detail::RoundRows>(path_, x, ldx, count, at_.K, bf16_ + first * bf16_stride(at_.K),
                                                    bf16_stride(at_.K));
        const int offset = centres_weights(path_) && at_.offset() == 128 ? 0 : at_.offset();
        dispatch<QuantizeRows>(path_, x, ldx, count, at_.K, at_.block(), offset, bytes_.at(first));
    }
    /// out = plus + the rows from `first` on, `count` of them, times panel p of w. far: it comes from memory and is read once.
    void times(bool far, Index first, Index count, const PackedWeight<float>& w, Index p, const TileOut<float>& out) const {
        far ? times<true>(first, count, w.integer_panel(p), out, {})
            : times<false>(first, count, w.integer_panel(p), out, Ahead::of(w.integer_panel(p + 1), at_.panel_bytes()));
    }
    /// The same in tiles. Are they for these products? Those of bytes are exact in any form, of bf16 they are one sum in one
    /// order, few rows or many.
    template <class Tiles>
    void times(Tiles& tiles, bool far, Index first, Index count, const PackedWeight<float>& w, Index p,
               const TileOut<float>& out) const {
        times_panel(tiles, count, tile_rows(first), w.integer_panel(p), at_, out, far,
                    Ahead::of(w.integer_panel(p + 1), at_.panel_bytes()));
    }
    bool in_tiles(bool far) const {
        return path_ == CpuPath::amx && (at_.is_bf16() || (at_.format == IntegerFormat::int8 && !far));
    }
    TileRows tile_rows(Index first) const {
        if (at_.is_bf16()) {
            const Index stride = bf16_stride(at_.K);
            return {reinterpret_cast<const std::byte*>(bf16_ + first * stride), stride * 2, nullptr, nullptr};
        }
        const IntegerRows x = bytes_.at(first);
        return {reinterpret_cast<const std::byte*>(x.q), x.stride, x.scale, x.start};
    }

private:
    static constexpr Index bf16_stride(Index K) { return (K + 63) / 32 * 32; }

    template <bool far>
    void times(Index first, Index count, const std::byte* panel, const TileOut<float>& out, const Ahead& ahead) const {
        if (at_.is_int16())
            dispatch_words<word_detail::Panel<far>>(path_, count, words_.at(first), panel, at_.block_lines(), out, ahead);
        else if (at_.is_bf16())
            dispatch_pairs<bf16_detail::Panel<far>>(path_, count, static_cast<const bfloat16*>(bf16_ + first * bf16_stride(at_.K)),
                                                    bf16_stride(at_.K), panel, at_.block_lines(), out, ahead);
        else
            integer_detail::times_panel<far>(path_, count, bytes_.at(first), panel, at_, out, ahead);
    }

    IntegerLayout at_;
    CpuPath path_;
    bfloat16* bf16_;  // one of the three
    ScaledWords words_;
    IntegerRows bytes_;
};

namespace narrow_detail {

inline constexpr Index few_rows = integer_detail::few_rows, width = IntegerLayout::width;
/// Of narrow rows that stay in the second cache while panels pass by.
inline Index near_bytes() { return second_cache_bytes() * 3 / 8; }

/// out = plus + rows [first, count] times the panels p0 .. p1 - 1 of w; `out` is where panel p0 begins. edge: [count, width]
inline void times_panels(const NarrowRows& x, bool far, Index first, Index count, const PackedWeight<float>& w, Index p0,
                         Index p1, const TileOut<float>& out, float* edge) {
    const auto each_panel = [&](const auto& times) {
        for (Index p = p0; p < p1; ++p)
            into_columns(count, w.rows() - p * width, width, out.at(0, (p - p0) * width), edge,
                         [&](const TileOut<float>& columns) { times(p, columns); });
    };
    if (x.in_tiles(far)) {
        with_tiles(count, [&](auto& tiles) {
            each_panel([&](Index p, const TileOut<float>& columns) { x.times(tiles, far, first, count, w, p, columns); });
        });
        return;
    }
    each_panel([&](Index p, const TileOut<float>& columns) { x.times(far, first, count, w, p, columns); });
}

}  // namespace narrow_detail

/// x [N, K]   maps of weights in one narrow format
/// Few rows go through the weights once, thread by thread; many go block by block.
inline void narrow_linear(In<float> x, Maps<float> maps, CpuPath path, const Team& team) {
    using namespace narrow_detail;
    const Index N = x.dim(0), K = x.dim(1), panels = panels_of(maps);
    const PackedWeight<float>& any = *maps[0].w;
    const std::size_t bytes = NarrowRows::bytes(any, N);
    const Storage memory = team.pool->take(bytes);
    const NarrowRows rows(any, memory.data(), N, path);
    parallel_for(team.threads, N, 8,
                 [&](Index begin, Index end) { rows.put(x.data() + begin * K, K, begin, end - begin); });
    const auto times = [&](bool far, Index n0, Index count, Index begin, Index end, float* edge) {
        for_panels(maps, begin, end, [&](const Map<float>& map, Index p0, Index p1) {
            times_panels(rows, far, n0, count, *map.w, p0, p1, map.out().at(n0, p0 * width), edge);
        });
    };
    if (N <= few_rows) {  // a run of panels that lie one behind the other for each worker: memory likes long streams
        parallel_for(team.threads, panels, 1, [&](Index begin, Index end) {
            float edge[few_rows * width];
            times(true, 0, N, begin, end, edge);
        });
        return;
    }
    const Index most = std::clamp<Index>(near_bytes() * N / static_cast<Index>(bytes), 16, 256);
    const Index row_blocks = (N + most - 1) / most, block = ((N + row_blocks - 1) / row_blocks + 7) / 8 * 8;
    const Index wanted = team.threads > 1 ? (8 * team.threads + row_blocks - 1) / row_blocks : 1;
    const Index groups = std::clamp<Index>(wanted, 1, panels);
    for_each_task<float>(team, row_blocks * groups, block * width, [&](float* edge, Index task) {
        const Index n0 = task / groups * block, group = task % groups;
        if (n0 < N)
            times(false, n0, std::min(block, N - n0), panels * group / groups, panels * (group + 1) / groups, edge);
    });
}

}  // namespace smolvlm::cpu
