#pragma once
/// Vec<T, L>: L numbers of type T in one vector register, and the few functions that the kernels of this folder need.
///
/// Built on the vector extensions of GCC and Clang, so a kernel is written once and has no intrinsics in it: compiled
/// inside a function for AVX-512 the same lines become 64-byte instructions, inside one for AVX2 32-byte ones
/// (cpu/dispatch.hpp). For that every function here, and every kernel, is [[gnu::always_inline]]: it must melt into
/// its caller's instruction set. a * b + c in one expression becomes a fused multiply-add where there is one (the
/// default of both compilers).

#include <cmath>
#include <cstring>
#include <utility>

#include <smolvlm/core/shape.hpp>

#define SMOLVLM_INLINE [[gnu::always_inline]] inline

namespace smolvlm::cpu {

namespace detail {
template <class T, int L>
struct Register {
    typedef T type __attribute__((vector_size(static_cast<std::size_t>(L) * sizeof(T))));
};
template <class T, int L>
using Raw = typename Register<T, L>::type;

#if defined(__x86_64__) && !defined(__clang__)
inline constexpr bool has_assembler = true;
#else
inline constexpr bool has_assembler = false;
#endif
#if defined(__aarch64__)
inline constexpr bool has_neon = true;
#else
inline constexpr bool has_neon = false;
#endif

/// The same bits as another type of equal size.
template <class To, class From>
SMOLVLM_INLINE void reinterpret(const From& from, To& to) {
    static_assert(sizeof(To) == sizeof(From));
    std::memcpy(&to, &from, sizeof to);
}
}  // namespace detail

template <class T, int L>
struct Vec {
    static constexpr int lanes = L;
    detail::Raw<T, L> v;

    SMOLVLM_INLINE static Vec zero() { return of(detail::Raw<T, L>{}); }
    SMOLVLM_INLINE static Vec all(T same) { return of(same - detail::Raw<T, L>{}); }

    SMOLVLM_INLINE static Vec load(const T* p) {
        Vec x;
        std::memcpy(&x.v, p, sizeof x.v);
        return x;
    }
    SMOLVLM_INLINE void store(T* p) const { std::memcpy(p, &v, sizeof v); }

    /// The first n < L numbers; the other lanes are zero.
    SMOLVLM_INLINE static Vec load_first(const T* p, Index n) {
        T buffer[static_cast<std::size_t>(L)] = {};
        for (Index i = 0; i < n; ++i) buffer[i] = p[i];
        return load(buffer);
    }
    SMOLVLM_INLINE void store_first(T* p, Index n) const {
        T buffer[static_cast<std::size_t>(L)];
        store(buffer);
        for (Index i = 0; i < n; ++i) p[i] = buffer[i];
    }

    SMOLVLM_INLINE friend Vec operator+(const Vec& a, const Vec& b) { return of(a.v + b.v); }
    SMOLVLM_INLINE friend Vec operator-(const Vec& a, const Vec& b) { return of(a.v - b.v); }
    SMOLVLM_INLINE friend Vec operator*(const Vec& a, const Vec& b) { return of(a.v * b.v); }
    SMOLVLM_INLINE friend Vec operator/(const Vec& a, const Vec& b) { return of(a.v / b.v); }
    // A number beside a vector stands for all lanes. (In an expression GCC makes one broadcast of it; as a Vec of its
    // own, all(x), it may be written lane by lane: not in loops.)
    SMOLVLM_INLINE friend Vec operator+(const Vec& a, T b) { return of(a.v + b); }
    SMOLVLM_INLINE friend Vec operator-(const Vec& a, T b) { return of(a.v - b); }
    SMOLVLM_INLINE friend Vec operator*(const Vec& a, T b) { return of(a.v * b); }
    /// this += a * b, fused
    SMOLVLM_INLINE void add_product(const Vec& a, const Vec& b) { v += a.v * b.v; }
    SMOLVLM_INLINE void add_product(T a, const Vec& b) { v += a * b.v; }

    SMOLVLM_INLINE static Vec of(const detail::Raw<T, L>& raw) {
        Vec x;
        x.v = raw;
        return x;
    }
};

namespace detail {
template <class Ints, std::size_t... Lane>
SMOLVLM_INLINE void low_bytes(const Ints& x, void* to, std::index_sequence<Lane...>) {
    Raw<std::uint8_t, static_cast<int>(sizeof(Ints))> all;
    reinterpret(x, all);
    const auto low = __builtin_shufflevector(all, all, 4 * Lane...);
    std::memcpy(to, &low, sizeof low);
}
}  // namespace detail

/// The lowest byte of each of L 32-bit numbers. (Vectors are first compiled for no instruction set at all, where GCC
/// writes their conversion to a narrower type number by number, for good.)
template <int L, class Ints>
SMOLVLM_INLINE void store_low_bytes(const Ints& x, void* to) {
    if constexpr (detail::has_assembler && L == 16) {
#if defined(__x86_64__)
        asm("vpmovdb %1, %0" : "=m"(*static_cast<char(*)[16]>(to)) : "v"(x));
#endif
    } else {
        detail::low_bytes(x, to, std::make_index_sequence<std::size_t{L}>());
    }
}

/// The larger of each pair; b where they cannot be compared (NaN). (GCC compares and chooses, two instructions, where it knows
/// one of them.)
template <class T, int L>
SMOLVLM_INLINE Vec<T, L> max(const Vec<T, L>& a, const Vec<T, L>& b) {
    if constexpr (detail::has_assembler && L == 16 && std::is_same_v<T, float>) {
#if defined(__x86_64__)
        Vec<T, L> y;
        asm("vmaxps %2, %1, %0" : "=v"(y.v) : "v"(a.v), "vm"(b.v));
        return y;
#endif
    } else {
        return Vec<T, L>::of(a.v > b.v ? a.v : b.v);
    }
}

namespace detail {
template <class T, int L, std::size_t... Lane>
SMOLVLM_INLINE void halves(const Vec<T, L>& x, Vec<T, L / 2>& low, Vec<T, L / 2>& high, std::index_sequence<Lane...>) {
    low.v = __builtin_shufflevector(x.v, x.v, Lane...);
    high.v = __builtin_shufflevector(x.v, x.v, (Lane + std::size_t{L / 2})...);
}
template <class T, int L>
SMOLVLM_INLINE void split(const Vec<T, L>& x, Vec<T, L / 2>& low, Vec<T, L / 2>& high) {
    halves(x, low, high, std::make_index_sequence<std::size_t{L / 2}>());
}
}  // namespace detail

/// Sum of all lanes, pairwise.
template <class T, int L>
SMOLVLM_INLINE T sum(const Vec<T, L>& x) {
    if constexpr (L == 2) {
        return x.v[0] + x.v[1];
    } else {
        Vec<T, L / 2> low, high;
        detail::split(x, low, high);
        return sum(low + high);
    }
}
template <class T, int L>
SMOLVLM_INLINE T largest(const Vec<T, L>& x) {
    if constexpr (L == 2) {
        return x.v[0] > x.v[1] ? x.v[0] : x.v[1];
    } else {
        Vec<T, L / 2> low, high;
        detail::split(x, low, high);
        return largest(max(low, high));
    }
}

/// e^x. Float: at most 2 units in the last place (tests/cpu/ops.cpp), 0 below ln 2^-126, infinite above ln FLT_MAX.
/// below_one: x <= 0 is promised. Double: std::exp, lane by lane.
///     x = n ln 2 + r, |r| <= ln 2 / 2      e^x = 2^n e^r      e^r = 1 + r + r^2 p(r), p of degree 5
/// Coefficients: Cephes, expf.c (Moshier 1992).
template <bool below_one = false, class T, int L>
SMOLVLM_INLINE Vec<T, L> exp(const Vec<T, L>& x) {
    if constexpr (std::is_same_v<T, float>) {
        constexpr float shift = 0x1.8p23f;  // adding it rounds to an integer, which then sits in the low bits
        const Vec<T, L> shifted = x * 1.44269504088896341f + shift;
        const Vec<T, L> n = shifted - shift;
        Vec<T, L> r = x - n * 0.693359375f;
        r = r - n * -2.12194440e-4f;
        Vec<T, L> p = r * 1.9875691500e-4f + 1.3981999507e-3f;
        p = p * r + 8.3334519073e-3f;
        p = p * r + 4.1665795894e-2f;
        p = p * r + 1.6666665459e-1f;
        p = p * r + 5.0000001201e-1f;
        p = (p * r) * r + r + 1.0f;
        detail::Raw<std::uint32_t, L> bits, exponent;
        detail::reinterpret(p.v, bits);
        detail::reinterpret(shifted.v, exponent);
        Vec<T, L> y;
        detail::reinterpret(bits + (exponent << 23), y.v);
        y.v = x.v < -87.33654f ? detail::Raw<T, L>{} : y.v;
        if constexpr (!below_one) y.v = x.v > 88.72283f ? HUGE_VALF + detail::Raw<T, L>{} : y.v;
        return y;
    } else {
        Vec<T, L> y;
        for (int i = 0; i < L; ++i) y.v[i] = std::exp(x.v[i]);
        return y;
    }
}

/// 2^x for -126 <= x <= 0, and 0 below: of degree 6 at most 1.2 units in the last place off (tests/cpu/ops.cpp), of degree
/// 4 within 3e-6 and not meant for x < -126.
///     x = n + r, |r| <= 1/2      2^x = 2^n 2^r      2^r: the minimax polynomial of that degree whose constant is 1
template <int degree = 6, int L>
SMOLVLM_INLINE Vec<float, L> exp2_below_one(const Vec<float, L>& x) {
    constexpr float shift = 0x1.8p23f;
    const Vec<float, L> shifted = x + shift, r = x - (shifted - shift);
    Vec<float, L> p;
    if constexpr (degree == 6) {
        p = r * 1.53533620e-4f + 1.33988739e-3f;
        p = p * r + 9.61843692e-3f;
        p = p * r + 5.55033237e-2f;
        p = p * r + 2.40226477e-1f;
        p = p * r + 6.93147182e-1f;
    } else {
        static_assert(degree == 4);
        p = r * 9.58285317e-3f + 5.59064250e-2f;
        p = p * r + 2.40240986e-1f;
        p = p * r + 6.93124193e-1f;
    }
    p = p * r + 1.0f;
    detail::Raw<std::uint32_t, L> bits, exponent;
    detail::reinterpret(p.v, bits);
    detail::reinterpret(shifted.v, exponent);
    Vec<float, L> y;
    detail::reinterpret(bits + (exponent << 23), y.v);
    if constexpr (degree == 6) y.v = x.v < -126.0f ? detail::Raw<float, L>{} : y.v;
    return y;
}

}  // namespace smolvlm::cpu
