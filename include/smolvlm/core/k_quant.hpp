#pragma once
/// K-quants: blocks of 256 weights whose scales are themselves quantised. d and m are half floats, s and t small
/// integers per group of 16 or 32 values, q the integers of the values:
///
///     Q2_K   84 bytes | s, t (16 bytes) | 2-bit q (64) | d | m |                            x = d s q - m t
///     Q3_K  110 bytes | third bits (32) | 2-bit q (64) | s (12) | d |                       x = d (s - 32) (q - 4)
///     Q4_K  144 bytes | d | m | s, t (12) | 4-bit q (128) |                                 x = d s q - m t
///     Q5_K  176 bytes | d | m | s, t (12) | fifth bits (32) | 4-bit q (128) |               x = d s q - m t
///     Q6_K  210 bytes | 4-bit q (128) | upper two bits (64) | s (16 x i8) | d |             x = d s (q - 32)
///
/// Files named Q4_K_M and the like mix them. Value i = 32 r + j of a block belongs to run r = 0..7: the values of a run
/// lie in neighbouring bytes, those of different runs in different bits of the same bytes.
///
/// Source of the layouts: ggml, src/ggml-common.h and src/ggml-quants.c (dequantize_row_*_K).

#include <smolvlm/core/dtype.hpp>

namespace smolvlm::detail {

/// Value j of run r, where a row of 32 bytes serves eight runs (one bit each), four (two bits), or two (four bits).
inline int one_bit(const std::byte* rows, Index r, Index j) { return std::to_integer<int>(rows[j]) >> r & 1; }
inline int two_bits(const std::byte* rows, Index r, Index j) {
    return std::to_integer<int>(rows[r / 4 * 32 + j]) >> (r % 4 * 2) & 3;
}
inline int four_bits(const std::byte* rows, Index r, Index j) {
    return std::to_integer<int>(rows[r / 2 * 32 + j]) >> (r % 2 * 4) & 15;
}

/// Calls value(g, r, j) for each group g of 16 values, its run r, and the values j of that run.
template <class T, class Value>
void for_each_sixteen(T* x, Value value) {
    for (Index g = 0; g < 16; ++g)
        for (Index j = g % 2 * 16; j < g % 2 * 16 + 16; ++j) x[g / 2 * 32 + j] = T(value(g, g / 2, j));
}

template <class T>
void dequantize_q2_k(const std::byte* block, T* x) {
    const std::byte *scales = block, *q = block + 16;
    const float d = load<half>(block + 80), m = load<half>(block + 82);
    for_each_sixteen(x, [=](Index g, Index r, Index j) {
        const int pair = std::to_integer<int>(scales[g]);
        const float scale = d * static_cast<float>(pair & 15), offset = m * static_cast<float>(pair >> 4);
        return scale * static_cast<float>(two_bits(q, r, j)) - offset;
    });
}

/// Scale g of the sixteen: its low four bits in bytes 0..7, its high two in bytes 8..11.
inline int q3_k_scale(const std::byte* scales, Index g) {
    const int low = std::to_integer<int>(scales[g % 8]) >> (g / 8 * 4) & 15;
    const int high = std::to_integer<int>(scales[8 + g % 4]) >> (g / 4 * 2) & 3;
    return (low | high << 4) - 32;
}

template <class T>
void dequantize_q3_k(const std::byte* block, T* x) {
    const std::byte *third = block, *q = block + 32, *scales = block + 96;
    const float d = load<half>(block + 108);
    for_each_sixteen(x, [=](Index g, Index r, Index j) {
        const float scale = d * static_cast<float>(q3_k_scale(scales, g));
        return scale * static_cast<float>((two_bits(q, r, j) | one_bit(third, r, j) << 2) - 4);
    });
}

/// Scale s and offset t of run r, six bits each: of runs 0..3 whole in bytes r and 4 + r; of runs 4..7 the low four bits
/// in byte 4 + r, the high two on top of those of run r - 4.
struct ScaleAndOffset {
    int scale, offset;
};
inline ScaleAndOffset q4_k_scale(const std::byte* scales, Index r) {
    const auto byte = [scales](Index i) { return std::to_integer<int>(scales[i]); };
    if (r < 4) return {byte(r) & 63, byte(4 + r) & 63};
    return {(byte(4 + r) & 15) | (byte(r - 4) >> 2 & 48), byte(4 + r) >> 4 | (byte(r) >> 2 & 48)};
}

/// Q4_K and Q5_K: value(r, j) gives q.
template <class T, class Value>
void dequantize_runs(const std::byte* block, T* x, Value value) {
    const float d = load<half>(block), m = load<half>(block + 2);
    for (Index r = 0; r < 8; ++r) {
        const auto [s, t] = q4_k_scale(block + 4, r);
        const float scale = d * static_cast<float>(s), offset = m * static_cast<float>(t);
        for (Index j = 0; j < 32; ++j) x[32 * r + j] = T(scale * static_cast<float>(value(r, j)) - offset);
    }
}
template <class T>
void dequantize_q4_k(const std::byte* block, T* x) {
    dequantize_runs(block, x, [q = block + 16](Index r, Index j) { return four_bits(q, r, j); });
}
template <class T>
void dequantize_q5_k(const std::byte* block, T* x) {
    dequantize_runs(block, x, [fifth = block + 16, q = block + 48](Index r, Index j) {
        return four_bits(q, r, j) | one_bit(fifth, r, j) << 4;
    });
}

/// The nibbles of Q6_K alone lie otherwise: of a half's four runs the first two are the low halves of its 64 bytes.
template <class T>
void dequantize_q6_k(const std::byte* block, T* x) {
    const std::byte *low = block, *high = block + 128, *scales = block + 192;
    const float d = load<half>(block + 208);
    for_each_sixteen(x, [=](Index g, Index r, Index j) {
        const int nibble = std::to_integer<int>(low[r / 4 * 64 + r % 2 * 32 + j]) >> (r % 4 / 2 * 4) & 15;
        const float scale = d * static_cast<float>(load<std::int8_t>(scales + g));
        return scale * static_cast<float>((nibble | two_bits(high, r, j) << 4) - 32);
    });
}

}  // namespace smolvlm::detail
