#pragma once
/// Rows of floats as signed bytes with a scale: what an integer product takes for its activations.
///
///     q_k = round(127 x_k / max |x|)      x_k ~ s q_k,   s = max |x| / 127       over a row, or each 32 of a row
///
/// A row's numbers depend on that row alone, so a prompt read at once or token by token gives the same ones. A row
/// with a NaN or an infinity has the scale NaN: it spoils its own results and does not pass for numbers.

#include <algorithm>
#include <cmath>
#include <cstdint>

#include <smolvlm/core/view.hpp>
#include <smolvlm/cpu/row_scale.hpp>

namespace smolvlm::cpu {

/// Quantised rows in memory that somebody else owns.
struct IntegerRows {
    std::int8_t* q;       // [rows, stride], zeros behind the K-th up to a multiple of 64
    Index stride;         // a multiple of 64
    float* scale;         // [rows, blocks]
    std::int32_t* start;  // [rows, blocks]: -offset * sum of the q, where sums begin (core/integer_layout.hpp)
    Index blocks;         // scales of a row

    IntegerRows at(Index row) const {
        return {q + row * stride, stride, scale + row * blocks, start + row * blocks, blocks};
    }
    static Index stride_of(Index K) { return (K + 63) / 64 * 64 + 64; }  // not a power of two: cache sets
    static std::size_t bytes(Index rows, Index K, Index blocks) {
        return static_cast<std::size_t>(rows * (stride_of(K) + blocks * 8));
    }
    static IntegerRows in(std::byte* memory, Index rows, Index K, Index blocks) {
        auto* const q = reinterpret_cast<std::int8_t*>(memory);
        auto* const scale = reinterpret_cast<float*>(q + rows * stride_of(K));
        return {q, stride_of(K), scale, reinterpret_cast<std::int32_t*>(scale + rows * blocks), blocks};
    }
};

/// rows of x [rows, K], ldx numbers apart, into `to`, in blocks of `block` numbers; `offset` as in core/integer_layout.hpp.
struct QuantizeRows {
    template <int Bytes>
    SMOLVLM_INLINE static void run(const float* x, Index ldx, Index rows, Index K, Index block, int offset,
                                   IntegerRows to) {
        for (Index r = 0; r < rows; ++r, x += ldx) {
            const IntegerRows row = to.at(r);
            for (Index b = 0; b < row.blocks; ++b)
                quantize<Bytes>(x + b * block, std::min(block, K - b * block), offset, row.q + b * block, row.scale + b,
                                row.start + b);
            std::fill(row.q + K, row.q + (K + 63) / 64 * 64, std::int8_t(0));
        }
    }

private:
    template <int Bytes>
    SMOLVLM_INLINE static void quantize(const float* x, Index n, int offset, std::int8_t* q, float* scale,
                                        std::int32_t* start) {
        constexpr int L = lanes<float, Bytes>;
        using V = Vec<float, L>;
        const Index whole = n / L * L, rest = n - whole;
        Magnitudes<L> seen;
        for (Index i = 0; i < whole; i += L) seen.look(V::load(x + i));
        if (rest) seen.look(V::load_first(x + whole, rest));
        const RowScale by = seen.of_row(127);
        detail::Raw<std::int32_t, L> total{};
        const auto convert = [&](const V& v, std::int8_t* to) __attribute__((always_inline)) {
            constexpr float shift = 0x1.8p23f;  // adding it rounds to an integer, which then sits in the low bits
            detail::Raw<std::int32_t, L> bits;
            detail::reinterpret((v * by.factor + shift).v, bits);
            bits -= 0x4b400000;
            total += bits;
            store_low_bytes<L>(bits, to);
        };
        for (Index i = 0; i < whole; i += L) convert(V::load(x + i), q + i);
        if (rest) {
            std::int8_t last[std::size_t{L}];
            convert(V::load_first(x + whole, rest), last);
            std::copy_n(last, rest, q + whole);
        }
        Vec<std::int32_t, L> sums;
        sums.v = total;
        *scale = by.scale;
        *start = -offset * sum(sums);
    }
};

}  // namespace smolvlm::cpu
