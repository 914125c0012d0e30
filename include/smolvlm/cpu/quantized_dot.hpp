#pragma once
/// Dot products of float rows with block-quantised rows, straight from the file's bytes.      layouts: core/quant.hpp
///
/// With the integers q and the scales d, m of a block of 32:
///     sum_j x_j (d q_j + m)  =  d sum_j x_j q_j + m sum_j x_j

#include <smolvlm/core/quant.hpp>
#include <smolvlm/cpu/dispatch.hpp>
#include <smolvlm/cpu/loads.hpp>

namespace smolvlm::cpu {

/// Types that have a kernel here; rows of the others are widened first.
constexpr bool has_quantized_dot(DType dtype) {
    return dtype == DType::q8_0 || dtype == DType::q4_0 || dtype == DType::q4_1;
}

/// out = x . row, K values; K is a multiple of 32 as quantised rows are.
template <DType dtype>
struct QuantizedDot {
    template <int Bytes>
    SMOLVLM_INLINE static void run(const std::byte* row, const float* x, Index K, float* out) {
        constexpr int L = lanes<float, Bytes>;
        constexpr Index block_bytes = info(dtype).block_bytes, scales = dtype == DType::q4_1 ? 4 : 2;
        using V = Vec<float, L>;
        V total = V::zero();
        for (Index k = 0; k < K; k += 32, row += block_bytes) {
            V products = V::zero(), values = V::zero();
#pragma GCC unroll 8
            for (int j = 0; j < 32; j += L) {
                const V part = V::load(x + k + j);
                products.add_product(integers<L>(row + scales, j), part);
                if constexpr (dtype != DType::q8_0) values = values + part;
            }
            const float d = smolvlm::detail::load<half>(row);
            total.add_product(d, products);
            if constexpr (dtype == DType::q4_0) total.add_product(-8 * d, values);
            if constexpr (dtype == DType::q4_1) total.add_product(smolvlm::detail::load<half>(row + 2), values);
        }
        *out = sum(total);
    }

    /// The integers j .. j + L - 1 of a block. (Widened in steps of two, as in cpu/loads.hpp.)
    template <int L>
    SMOLVLM_INLINE static Vec<float, L> integers(const std::byte* block, int j) {
        using detail::Raw;
        if constexpr (dtype == DType::q8_0) {
            return load_as<float, L>(reinterpret_cast<const std::int8_t*>(block + j));
        } else if constexpr (detail::has_neon && L == 4) {  // of vectors this narrow GCC 12 widens number by number
            Raw<int, L> wide{};
#if defined(__aarch64__)
            const auto eight = smolvlm::detail::load<std::uint32_t>(block + j % 16);
            const auto four = (j < 16 ? eight : eight >> 4) & 0x0f0f0f0fu;
            asm("sxtl %0.8h, %1.8b\n\tsxtl %0.4s, %0.4h" : "=w"(wide) : "w"(four));
#endif
            return Vec<float, L>::of(__builtin_convertvector(wide, Raw<float, L>));
        } else {
            Raw<std::uint8_t, L> q;
            std::memcpy(&q, block + j % 16, sizeof q);
            const auto nibbles = j < 16 ? q & 15 : q >> 4;
            const auto wide = __builtin_convertvector(__builtin_convertvector(nibbles, Raw<short, L>), Raw<int, L>);
            return Vec<float, L>::of(__builtin_convertvector(wide, Raw<float, L>));
        }
    }
};

}  // namespace smolvlm::cpu
