#pragma once
/// RGBRGB... to three planes: y_c[i] = x[3 i + c].

#include <cstdint>

#include <smolvlm/core/cpu_features.hpp>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace smolvlm::detail {

#if defined(__x86_64__)
/// 64 pixels at a time, three registers of bytes sorted by channel. Returns how many pixels it has done.
[[gnu::target("avx512bw,avx512vbmi")]]
inline Index deinterleave_vbmi(const std::uint8_t* x, Index pixels, std::uint8_t* const (&y)[3]) {
    struct Places {
        std::uint8_t low[3][64];  // for channel c: which byte of the first two registers
        std::uint8_t high[3][64];  // or of the third
        std::uint64_t from_third[3];
    };
    static constexpr Places places = [] {
        Places p{};
        for (unsigned c = 0; c < 3; ++c)
            for (unsigned i = 0; i < 64; ++i) {
                const unsigned at = 3 * i + c;
                if (at < 128) p.low[c][i] = static_cast<std::uint8_t>(at);
                if (at < 128) continue;
                p.high[c][i] = static_cast<std::uint8_t>(at - 128);
                p.from_third[c] |= std::uint64_t(1) << i;
            }
        return p;
    }();
    Index done = 0;
    for (; done + 64 <= pixels; done += 64, x += 192) {
        const __m512i first = _mm512_loadu_si512(x), second = _mm512_loadu_si512(x + 64),
                      third = _mm512_loadu_si512(x + 128);
        for (int c = 0; c < 3; ++c) {
            const __m512i low = _mm512_permutex2var_epi8(first, _mm512_loadu_si512(places.low[c]), second);
            const __m512i all =
                _mm512_mask_permutexvar_epi8(low, places.from_third[c], _mm512_loadu_si512(places.high[c]), third);
            _mm512_storeu_si512(y[c] + done, all);
        }
    }
    return done;
}

/// 16 pixels at a time: each register of bytes gives every channel a third of its bytes, zero elsewhere.
[[gnu::target("avx2")]]
inline Index deinterleave_avx2(const std::uint8_t* x, Index pixels, std::uint8_t* const (&y)[3]) {
    struct Places {
        std::uint8_t byte[3][3][16];  // for channel c and register r: which of its bytes, 128 for none
    };
    static constexpr Places places = [] {
        Places p{};
        for (unsigned c = 0; c < 3; ++c)
            for (unsigned r = 0; r < 3; ++r)
                for (unsigned i = 0; i < 16; ++i) {
                    const unsigned at = 3 * i + c;
                    p.byte[c][r][i] = static_cast<std::uint8_t>(at / 16 == r ? at % 16 : 128);
                }
        return p;
    }();
    const auto load = [](const std::uint8_t* from) {
        return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
    };
    Index done = 0;
    for (; done + 16 <= pixels; done += 16, x += 48) {
        const __m128i first = load(x), second = load(x + 16), third = load(x + 32);
        for (int c = 0; c < 3; ++c) {
            const __m128i all = _mm_or_si128(_mm_or_si128(_mm_shuffle_epi8(first, load(places.byte[c][0])),
                                                          _mm_shuffle_epi8(second, load(places.byte[c][1]))),
                                             _mm_shuffle_epi8(third, load(places.byte[c][2])));
            _mm_storeu_si128(reinterpret_cast<__m128i*>(y[c] + done), all);
        }
    }
    return done;
}
#endif

inline void deinterleave(const std::uint8_t* x, Index pixels, int channels, std::uint8_t* const (&y)[3]) {
    Index done = 0;
#if defined(__x86_64__)
    if (channels == 3 && cpu_path() >= CpuPath::avx512 && cpu_features().avx512_vbmi)
        done = deinterleave_vbmi(x, pixels, y);
    else if (channels == 3 && cpu_path() >= CpuPath::avx2)
        done = deinterleave_avx2(x, pixels, y);
#endif
    for (const std::uint8_t* from = x + done * channels; done < pixels; ++done, from += channels)
        for (int c = 0; c < 3; ++c) y[c][done] = from[c];
}

}  // namespace smolvlm::detail
