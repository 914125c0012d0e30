#pragma once
/// Floats as 16-bit integers with a scale (cpu/row_scale.hpp), the limit being such that sums of products fit into 32 bits.

#include <cstring>
#include <utility>

#include <smolvlm/cpu/row_scale.hpp>

namespace smolvlm::cpu {

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

/// Two words in each of L 32-bit numbers, the first in the lower half.
template <int L>
SMOLVLM_INLINE Vec<std::int32_t, L> word_pairs(const Vec<std::int32_t, L>& first, const Vec<std::int32_t, L>& second) {
    Vec<std::int32_t, L> pairs;
    pairs.v = (first.v & 0xffff) | (second.v << 16);
    return pairs;
}

/// rows [count, width] of floats, ld numbers apart, width whole registers, to words `stride` apart; scales[r] as above, times
/// `times`.
struct RoundWords {
    template <int Bytes>
    SMOLVLM_INLINE static void run(const float* rows, Index ld, Index count, Index width, float limit, float times,
                                   std::int16_t* to, Index stride, float* scales) {
        constexpr int L = lanes<float, Bytes>;
        using V = Vec<float, L>;
        for (Index r = 0; r < count; ++r, rows += ld, to += stride) {
            Magnitudes<L> seen;
            for (Index d = 0; d < width; d += L) seen.look(V::load(rows + d));
            const RowScale s = seen.of_row(limit);
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
        Magnitudes<L> seen;
        for (Index k = 0; k < K; k += L) seen.look(V::load_first(row + k, std::min<Index>(L, K - k)));
        const RowScale s = seen.of_row(limit);
        for (Index k = 0; k < K; k += L) {
            const V rounded = V::load_first(row + k, std::min<Index>(L, K - k)) * s.factor + 0x1.8p23f - 0x1.8p23f;
            (rounded * s.scale).store_first(row + k, std::min<Index>(L, K - k));
        }
    }
};

}  // namespace smolvlm::cpu
