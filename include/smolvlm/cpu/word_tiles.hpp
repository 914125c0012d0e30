#pragma once
/// Rows of words times a panel of words (core/integer_layout.hpp): bf16 weights where sums of 16-bit products are twice as fast
/// as those of floats, and bf16 ones are not.
///
///     y = plus + t sum over blocks of 128 k: s_b sum_k w_k x_k     |w_k| <= 4095, a scale t a row of W
///                                                                  |x_k| <= 4095, a scale s_b a block of a row of x
///
/// 128 * 4095 * 4095 < 2^31: the sums of a block are exact, those of blocks are floats. 13 bits with the sign lose less than the
/// eight that bf16 would leave of x; an x much larger than all others costs its block alone. (Shorter blocks would leave more
/// bits; what becomes of their sums would take a ninth of the time.)

#include <smolvlm/cpu/integer_tiles.hpp>
#include <smolvlm/cpu/word_dot.hpp>
#include <smolvlm/cpu/word_rows.hpp>

namespace smolvlm::cpu {

/// Rows of words in memory that somebody else owns.
struct ScaledWords {
    static constexpr Index block = 128;  // k that share a scale
    static constexpr float most = 4095;

    std::int16_t* q;  // [rows, stride], zeros behind the K-th up to a whole block
    Index stride;
    float* scale;  // [rows, blocks]
    Index blocks;

    ScaledWords at(Index row) const { return {q + row * stride, stride, scale + row * blocks, blocks}; }
    static Index blocks_of(Index K) { return (K + block - 1) / block; }
    static Index stride_of(Index K) { return blocks_of(K) * block + 32; }  // not a power of two: cache sets
    static std::size_t bytes(Index rows, Index K) { return static_cast<std::size_t>(rows * (2 * stride_of(K) + 4 * blocks_of(K))); }
    static ScaledWords in(std::byte* memory, Index rows, Index K) {
        auto* const q = reinterpret_cast<std::int16_t*>(memory);
        return {q, stride_of(K), reinterpret_cast<float*>(q + rows * stride_of(K)), blocks_of(K)};
    }
};

namespace word_detail {

/// x [rows, K], ldx numbers apart.
struct RoundRows {
    template <int Bytes>
    SMOLVLM_INLINE static void run(const float* x, Index ldx, Index rows, Index K, ScaledWords to) {
        constexpr Index block = ScaledWords::block;
        for (Index r = 0; r < rows; ++r, x += ldx) {
            const ScaledWords row = to.at(r);
            const Index whole = K / block;
            RoundWords::run<Bytes>(x, block, whole, block, ScaledWords::most, 1.0f, row.q, block, row.scale);
            if (whole == row.blocks) continue;
            float rest[block] = {};
            std::copy_n(x + whole * block, K - whole * block, rest);
            RoundWords::run<Bytes>(rest, block, 1, block, ScaledWords::most, 1.0f, row.q + whole * block, block, row.scale + whole);
        }
    }
};

/// y[r, c] += s[r] sum of a block
template <int L, int R, int C>
struct AddBlock {
    const float* scales;
    Index stride;
    float* y;

    SMOLVLM_INLINE void put(int r, int c, const Vec<float, L>& sum) const {
        float* const at = y + (r * C + c) * L;
        Vec<float, L> total = Vec<float, L>::load(at);
        total.add_product(scales[r * stride], sum);
        total.store(at);
    }
};

/// x [rows, K] times one panel: y [rows, 48] = plus + x w^T.
template <bool far>
struct Panel {
    template <class Words>
    SMOLVLM_INLINE static void run(Index rows, ScaledWords x, const std::byte* panel, Index lines, TileOut<float> out,
                                   Ahead ahead) {
        constexpr int R = Words::bytes != 64 ? 2 : far ? 4 : 8, C = Words::bytes == 64 ? 3 : 2;
        ahead.spread(pairs(lines) * (rows / R) * (IntegerLayout::width / (C * Words::L)));
        in_tiles<R>(rows, [&](Index i, auto height) __attribute__((always_inline)) {
            for (Index j = 0; j < IntegerLayout::width; j += C * Words::L)
                tile<Words, height, C>(x.at(i), panel, lines, j, out.at(i, j), ahead);
        });
    }
    template <class Words, int R, int C>
    SMOLVLM_INLINE static void tile(const ScaledWords& x, const std::byte* panel, Index lines, Index j,
                                    const TileOut<float>& out, Ahead& ahead) {
        constexpr int L = Words::L;
        constexpr Index line = 2 * IntegerLayout::width, block_lines = ScaledWords::block / 2;
        alignas(64) float y[std::size_t{R * C * L}] = {};  // in the first cache: registers are for the sums of a block
        const auto* w = reinterpret_cast<const std::int16_t*>(panel) + 2 * j;
        for (Index b = 0; b < x.blocks; ++b, w += block_lines * line)
            word_tile<Words, R, C, far>(x.q + b * ScaledWords::block, x.stride, w, line,
                                        std::min(block_lines, lines - b * block_lines),
                                        AddBlock<L, R, C>{x.scale + b, x.blocks, y}, &ahead);
        const float* const scales = reinterpret_cast<const float*>(panel + lines * IntegerLayout::line) + j;
        Vec<float, L> total[std::size_t{R}][std::size_t{C}];
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r)
#pragma GCC unroll 3
            for (int c = 0; c < C; ++c)
                total[r][c] = Vec<float, L>::load(y + (r * C + c) * L) * Vec<float, L>::load(scales + c * L);
        integer_detail::put_tile<R, C>(total, out);
    }
};

}  // namespace word_detail

}  // namespace smolvlm::cpu
