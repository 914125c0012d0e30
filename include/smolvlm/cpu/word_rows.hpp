#pragma once
/// Floats as 16-bit integers with a scale:
///
///     q_k = round(limit x_k / max |x|)      x_k ~ s q_k,   s = max |x| / limit
///
/// The limit is such that sums of so many products fit into 32 bits. A row with a NaN or an infinity has the scale NaN.

#include <cstring>
#include <utility>

#include <smolvlm/cpu/dispatch.hpp>

namespace smolvlm::cpu {

/// Scale of numbers of which `most` is the largest magnitude, and its inverse; poison: NaN where one is none.
struct WordScale {
    float scale, factor;
    WordScale(float largest_magnitude, float limit, float poison) {
        const float inverse = limit / largest_magnitude;
        factor = inverse <= 3e38f ? inverse : 0.0f;  // nothing but zeros, or nearly
        scale = factor > 0 ? largest_magnitude / limit + poison : poison;
    }
};

template <int L>
SMOLVLM_INLINE Vec<std::int32_t, L> rounded_words(const Vec<float, L>& x) {
    Vec<std::int32_t, L> bits;
    detail::reinterpret((x + 0x1.8p23f).v, bits.v);  // the sum is rounded to an integer, in its low bits
    return bits;
}

/// The lower word of each of L 32-bit numbers.
template <int L, std::size_t... Lane>
SMOLVLM_INLINE void store_words(const Vec<std::int32_t, L>& x, std::int16_t* to, std::index_sequence<Lane...>) {
    if constexpr (detail::has_assembler && L == 16) {
#if defined(__x86_64__)
        asm("vpmovdw %1, %0" : "=m"(*reinterpret_cast<char(*)[32]>(to)) : "v"(x.v));
#endif
    } else {
        detail::Raw<std::int16_t, 2 * L> all;
        detail::reinterpret(x.v, all);
        const auto low = __builtin_shufflevector(all, all, 2 * Lane...);
        std::memcpy(to, &low, sizeof low);
    }
}
template <int L>
SMOLVLM_INLINE void store_words(const Vec<std::int32_t, L>& x, std::int16_t* to) {
    store_words<L>(x, to, std::make_index_sequence<std::size_t{L}>());
}

/// rows [count, width] of floats, width whole registers, to words `stride` apart; scales[r] as above, times `times`.
struct RoundWords {
    template <int Bytes>
    SMOLVLM_INLINE static void run(const float* rows, Index count, Index width, float limit, float times, std::int16_t* to,
                                   Index stride, float* scales) {
        constexpr int L = lanes<float, Bytes>;
        using V = Vec<float, L>;
        for (Index r = 0; r < count; ++r, rows += width, to += stride) {
            V most = V::zero(), poison = V::zero();
            for (Index d = 0; d < width; d += L) {
                const V x = V::load(rows + d);
                most = max(max(x, V::zero() - x), most);
                poison.add_product(0.0f, x);
            }
            const WordScale s(largest(most), limit, sum(poison));
            for (Index d = 0; d < width; d += L) store_words<L>(rounded_words(V::load(rows + d) * s.factor), to + d);
            scales[r] = s.scale * times;
        }
    }
};

/// row [K] to the numbers that its words stand for, in place.
struct RoundThroughWords {
    template <int Bytes>
    SMOLVLM_INLINE static void run(float* row, Index K, float limit) {
        constexpr int L = lanes<float, Bytes>;
        using V = Vec<float, L>;
        V most = V::zero(), poison = V::zero();
        for (Index k = 0; k < K; k += L) {
            const V x = V::load_first(row + k, std::min<Index>(L, K - k));
            most = max(max(x, V::zero() - x), most);
            poison.add_product(0.0f, x);
        }
        const WordScale s(largest(most), limit, sum(poison));
        for (Index k = 0; k < K; k += L) {
            const V rounded = V::load_first(row + k, std::min<Index>(L, K - k)) * s.factor + 0x1.8p23f - 0x1.8p23f;
            (rounded * s.scale).store_first(row + k, std::min<Index>(L, K - k));
        }
    }
};

}  // namespace smolvlm::cpu
