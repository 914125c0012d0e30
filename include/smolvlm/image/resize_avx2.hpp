#pragma once
/// The sums of resize.hpp with AVX2's product of words, two products and their sum in every 32-bit lane (vpmaddwd). A
/// weight of 24 bits is two words, w = w_l + 2^15 w_h with 0 <= w_l < 2^15, so that
///
///     sum_j w_j x_j = sum_j w_lj x_j + ((sum_j w_hj x_j) << 15)
///
/// Two taps are multiplied at once. Everything is integer, so the bytes are those of the plain loops.

#include <cstdint>
#include <vector>

#include <smolvlm/image/resample_weights.hpp>

#if defined(__x86_64__)
#include <immintrin.h>

namespace smolvlm::detail {

/// The words of the weights of one axis, those of taps 2 p and 2 p + 1 in one number; zero after the last tap.
struct WordPairs {
    Index stride;  // numbers for each output
    std::vector<std::uint32_t> low, high;

    explicit WordPairs(const ResampleWeights& axis)
        : stride((axis.stride + 1) / 2), low(axis.first.size() * static_cast<std::size_t>(stride)), high(low.size()) {
        for (std::size_t i = 0; i < axis.first.size(); ++i)
            for (Index tap = 0; tap < axis.count[i]; ++tap) {
                const std::size_t at = i * static_cast<std::size_t>(stride) + static_cast<std::size_t>(tap / 2);
                const std::int32_t weight = axis.weight(i, tap);
                low[at] |= (std::uint32_t(weight) & 0x7fffu) << (tap % 2 * 16);
                high[at] |= (std::uint32_t(weight >> 15) & 0xffffu) << (tap % 2 * 16);
            }
    }
};

/// y[0..16) = the sum of output i over its groups of 16 bytes, `step` bytes apart, rounded and clamped.
[[gnu::target("avx2")]] inline void resample_16_avx2(const std::uint8_t* x, Index step, const WordPairs& pairs,
                                                     std::size_t i, Index taps, std::uint8_t* y) {
    const std::uint32_t* low = pairs.low.data() + i * static_cast<std::size_t>(pairs.stride);
    const std::uint32_t* high = pairs.high.data() + i * static_cast<std::size_t>(pairs.stride);
    __m256i first = _mm256_set1_epi32(ResampleWeights::half), second = first;
    __m256i first_high = _mm256_setzero_si256(), second_high = first_high;
    for (Index tap = 0; tap < taps; tap += 2, x += 2 * step) {
        // After the last of an odd number there may be no memory: it is paired with itself, times zero.
        const __m128i a = _mm_loadu_si128(reinterpret_cast<const __m128i*>(x));
        const __m128i b = _mm_loadu_si128(reinterpret_cast<const __m128i*>(tap + 1 < taps ? x + step : x));
        const __m256i ab = _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(a, b));
        const __m256i ab_second = _mm256_cvtepu8_epi16(_mm_unpackhi_epi8(a, b));
        const __m256i w_low = _mm256_set1_epi32(static_cast<int>(*low++));
        const __m256i w_high = _mm256_set1_epi32(static_cast<int>(*high++));
        first = _mm256_add_epi32(first, _mm256_madd_epi16(ab, w_low));
        second = _mm256_add_epi32(second, _mm256_madd_epi16(ab_second, w_low));
        first_high = _mm256_add_epi32(first_high, _mm256_madd_epi16(ab, w_high));
        second_high = _mm256_add_epi32(second_high, _mm256_madd_epi16(ab_second, w_high));
    }
    first = _mm256_add_epi32(first, _mm256_slli_epi32(first_high, 15));
    second = _mm256_add_epi32(second, _mm256_slli_epi32(second_high, 15));
    // Both narrowings saturate; the first works within the halves of its registers, hence the permutation.
    const __m256i words = _mm256_permute4x64_epi64(
        _mm256_packs_epi32(_mm256_srai_epi32(first, ResampleWeights::fraction_bits),
                           _mm256_srai_epi32(second, ResampleWeights::fraction_bits)), 0xd8);
    const __m128i bytes = _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(y), bytes);
}

}  // namespace smolvlm::detail
#endif
