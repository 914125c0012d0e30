#pragma once
/// Rows of weights as files store them: to floats (all floating and block-quantised types) and to Q8_0, Q4_0, Q4_1.
///
/// A quantised row is a run of blocks. d and m are half floats, q small integers, all little-endian:
///
///     Q8_0   32 values, 34 bytes   | d | q0 .. q31 (i8) |                      x = d q
///     Q4_0   32 values, 18 bytes   | d | nibbles |                             x = d (q - 8)
///     Q4_1   32 values, 20 bytes   | d | m | nibbles |                         x = d q + m
///     Q5_0   32 values, 22 bytes   | d | fifth bits (u32) | nibbles |          x = d (q - 16)
///     Q5_1   32 values, 24 bytes   | d | m | fifth bits (u32) | nibbles |      x = d q + m
///     IQ4_NL 32 values, 18 bytes   | d | nibbles |                             x = d table[q]
///     Q2_K to Q6_K, 256 values                                                 see k_quant.hpp
///
/// In a block of 32, byte j of the 16 bytes of nibbles holds value j in its low half and value j + 16 in its high half;
/// bit j of the fifth bits belongs to value j.
///
/// All values are computed in float, whatever T is, so that a model has the same weights in every precision.
/// Source of the layouts: ggml, src/ggml-common.h and src/ggml-quants.c (quantize_row_*_ref).

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstddef>

#include <smolvlm/core/k_quant.hpp>

namespace smolvlm {

namespace detail {

inline constexpr Index block_width = 32;

/// Nibble j of the 32 in sixteen bytes.
inline int nibble(const std::byte* nibbles, Index j) {
    const int pair = std::to_integer<int>(nibbles[j % 16]);
    return j < 16 ? pair & 15 : pair >> 4;
}
inline void store_nibbles(std::byte* nibbles, const int* q) {
    for (int j = 0; j < 16; ++j) nibbles[j] = static_cast<std::byte>(q[j] | q[j + 16] << 4);
}

template <class T>
void dequantize_q8_0(const std::byte* block, T* x) {
    const float d = load<half>(block);
    for (Index j = 0; j < block_width; ++j) x[j] = T(d * static_cast<float>(load<std::int8_t>(block + 2 + j)));
}

template <class T>
void dequantize_q4_0(const std::byte* block, T* x) {
    const float d = load<half>(block);
    for (Index j = 0; j < block_width; ++j) x[j] = T(d * static_cast<float>(nibble(block + 2, j) - 8));
}

template <class T>
void dequantize_q4_1(const std::byte* block, T* x) {
    const float d = load<half>(block), m = load<half>(block + 2);
    for (Index j = 0; j < block_width; ++j) x[j] = T(d * static_cast<float>(nibble(block + 4, j)) + m);
}

template <class T>
void dequantize_q5_0(const std::byte* block, T* x) {
    const float d = load<half>(block);
    const auto fifth = load<std::uint32_t>(block + 2);
    for (Index j = 0; j < block_width; ++j) {
        const int q = nibble(block + 6, j) | static_cast<int>(fifth >> j & 1u) << 4;
        x[j] = T(d * static_cast<float>(q - 16));
    }
}

template <class T>
void dequantize_q5_1(const std::byte* block, T* x) {
    const float d = load<half>(block), m = load<half>(block + 2);
    const auto fifth = load<std::uint32_t>(block + 4);
    for (Index j = 0; j < block_width; ++j) {
        const int q = nibble(block + 8, j) | static_cast<int>(fifth >> j & 1u) << 4;
        x[j] = T(d * static_cast<float>(q) + m);
    }
}

/// The sixteen values of a nibble in IQ4_NL, closer together around zero, where most weights are.
inline constexpr std::int8_t iq4_nl_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                                  1,    13,   25,  38,  53,  69,  89,  113};

template <class T>
void dequantize_iq4_nl(const std::byte* block, T* x) {
    const float d = load<half>(block);
    for (Index j = 0; j < block_width; ++j) x[j] = T(d * static_cast<float>(iq4_nl_values[nibble(block + 2, j)]));
}

/// 1 / d, or 0 where that has no finite value: an all-zero block stays all zero.
inline float inverse_scale(float d) {
    const float inverse = 1 / d;
    return std::isfinite(inverse) ? inverse : 0;
}

inline void quantize_q8_0(const float* x, std::byte* block) {
    float largest = 0;
    for (Index j = 0; j < block_width; ++j) largest = std::max(largest, std::abs(x[j]));
    const float d = largest / 127, inverse = inverse_scale(d);
    store(block, half(d));
    for (Index j = 0; j < block_width; ++j) store(block + 2 + j, static_cast<std::int8_t>(std::round(x[j] * inverse)));
}

/// The value of largest magnitude becomes -8 exactly: the one end of the range -8..7 that is wider.
inline void quantize_q4_0(const float* x, std::byte* block) {
    float extreme = 0;
    for (Index j = 0; j < block_width; ++j)
        if (std::abs(x[j]) > std::abs(extreme)) extreme = x[j];
    const float d = extreme / -8, inverse = inverse_scale(d);
    store(block, half(d));
    int q[block_width];
    for (Index j = 0; j < block_width; ++j) q[j] = std::clamp(static_cast<int>(x[j] * inverse + 8.5f), 0, 15);
    store_nibbles(block + 2, q);
}

inline void quantize_q4_1(const float* x, std::byte* block) {
    const auto [low, high] = std::minmax_element(x, x + block_width);
    const float d = (*high - *low) / 15, inverse = inverse_scale(d);
    store(block, half(d));
    store(block + 2, half(*low));
    int q[block_width];
    for (Index j = 0; j < block_width; ++j) q[j] = std::clamp(static_cast<int>((x[j] - *low) * inverse + 0.5f), 0, 15);
    store_nibbles(block + 4, q);
}

/// Calls f for each whole block of a row of n values.
template <class F>
void for_each_block(DType dtype, Index n, F f) {
    const DTypeInfo d = info(dtype);
    assert(n % d.block_elements == 0);
    for (Index i = 0; i < n / d.block_elements; ++i) f(i * d.block_bytes, i * d.block_elements);
}

template <class Stored, class T>
void convert_row(const std::byte* source, Index n, T* out) {
    if constexpr (std::is_same_v<Stored, T>) {
        std::memcpy(out, source, static_cast<std::size_t>(n) * sizeof(T));
    } else {
        constexpr auto size = static_cast<Index>(sizeof(Stored));
        if constexpr (std::is_same_v<Stored, double>)
            for (Index i = 0; i < n; ++i) out[i] = T(static_cast<float>(load<double>(source + size * i)));
        else
            for (Index i = 0; i < n; ++i) out[i] = T(static_cast<float>(load<Stored>(source + size * i)));
    }
}

}  // namespace detail

/// n values of a floating or quantised type, at any address, as T (double, float, half, bfloat16). n is a multiple of
/// the type's block. Throws ValueError for integer types.
template <class T>
void dequantize_row(DType dtype, const std::byte* source, Index n, T* out) {
    const auto blocks = [&](auto one_block) {
        detail::for_each_block(dtype, n, [&](Index byte, Index i) { one_block(source + byte, out + i); });
    };
    switch (dtype) {
        case DType::f64: return detail::convert_row<double>(source, n, out);
        case DType::f32: return detail::convert_row<float>(source, n, out);
        case DType::f16: return detail::convert_row<half>(source, n, out);
        case DType::bf16: return detail::convert_row<bfloat16>(source, n, out);
        case DType::q8_0: return blocks(detail::dequantize_q8_0<T>);
        case DType::q4_0: return blocks(detail::dequantize_q4_0<T>);
        case DType::q4_1: return blocks(detail::dequantize_q4_1<T>);
        case DType::q5_0: return blocks(detail::dequantize_q5_0<T>);
        case DType::q5_1: return blocks(detail::dequantize_q5_1<T>);
        case DType::iq4_nl: return blocks(detail::dequantize_iq4_nl<T>);
        case DType::q2_k: return blocks(detail::dequantize_q2_k<T>);
        case DType::q3_k: return blocks(detail::dequantize_q3_k<T>);
        case DType::q4_k: return blocks(detail::dequantize_q4_k<T>);
        case DType::q5_k: return blocks(detail::dequantize_q5_k<T>);
        case DType::q6_k: return blocks(detail::dequantize_q6_k<T>);
        default: fail<ValueError>("a row of ", dtype, " holds no weights: expected a floating or quantised type");
    }
}

/// n floats to a row of `dtype`: F64, F32, F16, BF16, Q8_0, Q4_0 or Q4_1. n is a multiple of the type's block, the
/// values are finite. Throws ValueError for other types.
inline void quantize_row(DType dtype, const float* source, Index n, std::byte* out) {
    const auto blocks = [&](auto one_block) {
        detail::for_each_block(dtype, n, [&](Index byte, Index i) { one_block(source + i, out + byte); });
    };
    switch (dtype) {
        case DType::f64: return blocks([](const float* x, std::byte* y) { detail::store(y, double(*x)); });
        case DType::f32: return blocks([](const float* x, std::byte* y) { detail::store(y, *x); });
        case DType::f16: return blocks([](const float* x, std::byte* y) { detail::store(y, half(*x)); });
        case DType::bf16: return blocks([](const float* x, std::byte* y) { detail::store(y, bfloat16(*x)); });
        case DType::q8_0: return blocks(detail::quantize_q8_0);
        case DType::q4_0: return blocks(detail::quantize_q4_0);
        case DType::q4_1: return blocks(detail::quantize_q4_1);
        default: fail<ValueError>("quantize: ", dtype, " is not one of F64, F32, F16, BF16, Q8_0, Q4_0, Q4_1");
    }
}

}  // namespace smolvlm
