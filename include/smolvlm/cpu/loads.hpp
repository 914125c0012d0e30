#pragma once
/// Registers of numbers that are stored in fewer bits than they are computed with.

#include <smolvlm/core/float16.hpp>
#include <smolvlm/cpu/simd.hpp>

namespace smolvlm::cpu {

namespace detail {
/// L 16-bit numbers as 32-bit ones. (In assembler for the reason given at store_low_bytes.)
template <int L>
SMOLVLM_INLINE void load_words(const void* p, Raw<std::uint32_t, L>& wide) {
    if constexpr (has_assembler && L >= 8) {
#if defined(__x86_64__)
        asm("vpmovzxwd %1, %0" : "=v"(wide) : "m"(*static_cast<const char(*)[std::size_t{2 * L}]>(p)));
#endif
    } else {
        Raw<std::uint16_t, L> narrow;
        std::memcpy(&narrow, p, sizeof narrow);
        wide = __builtin_convertvector(narrow, Raw<std::uint32_t, L>);
    }
}
/// L signed bytes, likewise. (Compilers have instructions for steps of two, and GCC 12 none for vectors as narrow as NEON's.)
template <int L>
SMOLVLM_INLINE void load_bytes(const void* p, Raw<std::int32_t, L>& wide) {
    if constexpr ((has_assembler && L >= 8) || (has_neon && L == 4)) {
#if defined(__x86_64__)
        asm("vpmovsxbd %1, %0" : "=v"(wide) : "m"(*static_cast<const char(*)[std::size_t{L}]>(p)));
#elif defined(__aarch64__)
        std::uint32_t four;
        std::memcpy(&four, p, sizeof four);
        asm("sxtl %0.8h, %1.8b\n\tsxtl %0.4s, %0.4h" : "=w"(wide) : "w"(four));
#endif
    } else {
        Raw<std::int8_t, L> narrow;
        std::memcpy(&narrow, p, sizeof narrow);
        wide = __builtin_convertvector(__builtin_convertvector(narrow, Raw<std::int16_t, L>), Raw<std::int32_t, L>);
    }
}
}  // namespace detail

/// L stored numbers of type W (float, bfloat16, half, signed bytes), widened to T without loss.
template <class T, int L, class W>
SMOLVLM_INLINE Vec<T, L> load_as(const W* p) {
    using detail::Raw;
    if constexpr (std::is_same_v<W, T>) {
        return Vec<T, L>::load(p);
    } else if constexpr (std::is_same_v<T, double>) {
        return Vec<T, L>::of(__builtin_convertvector((load_as<float, L>(p).v), Raw<double, L>));
    } else if constexpr (std::is_same_v<W, std::int8_t>) {
        Raw<std::int32_t, L> wide;
        detail::load_bytes<L>(p, wide);
        return Vec<T, L>::of(__builtin_convertvector(wide, Raw<float, L>));
    } else if constexpr (std::is_same_v<W, half> && detail::has_assembler && L >= 8) {
        Vec<float, L> x;
#if defined(__x86_64__)
        asm("vcvtph2ps %1, %0" : "=v"(x.v) : "m"(*reinterpret_cast<const char(*)[std::size_t{2 * L}]>(p)));
#endif
        return x;
    } else if constexpr (detail::has_neon && L == 4) {
        Vec<float, L> x;
#if defined(__aarch64__)
        Raw<std::uint16_t, L> bits;
        std::memcpy(&bits, p, sizeof bits);
        if constexpr (std::is_same_v<W, bfloat16>)
            asm("shll %0.4s, %1.4h, #16" : "=w"(x.v) : "w"(bits));
        else
            asm("fcvtl %0.4s, %1.4h" : "=w"(x.v) : "w"(bits));
#endif
        return x;
    } else {
        Raw<std::uint32_t, L> bits;
        detail::load_words<L>(p, bits);
        Vec<float, L> x;
        if constexpr (std::is_same_v<W, bfloat16>) {
            detail::reinterpret(bits << 16, x.v);
        } else {
            // Exponent and significand move to their places in a float; the bias changes from 15 to 127. A subnormal
            // half has exponent 0: with a leading 1 put in front and taken away again it comes out normalised.
            const auto sign = (bits & 0x8000u) << 16;
            const auto magnitude = (bits & 0x7fffu) << 13, exponent = magnitude & 0x0f800000u;
            Vec<float, L> subnormal;
            detail::reinterpret(magnitude + 0x38800000u, subnormal.v);
            subnormal.v -= 0x1p-14f;
            Raw<std::uint32_t, L> small;
            detail::reinterpret(subnormal.v, small);
            const auto normal = magnitude + (exponent == 0x0f800000u ? bits * 0 + 0x70000000u : bits * 0 + 0x38000000u);
            detail::reinterpret((exponent == 0u ? small : normal) | sign, x.v);
        }
        return x;
    }
}

}  // namespace smolvlm::cpu
