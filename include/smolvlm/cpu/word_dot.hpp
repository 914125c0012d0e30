#pragma once
/// Sums of two products of 16-bit numbers in every lane, the step of narrow attention and of bf16 weights as words:
///
///     sums[i] += w[2 i] x[0] + w[2 i + 1] x[1]
///
/// Exact as long as the sum is a 32-bit number: one instruction with VNNI (vpdpwssd), two elsewhere (vpmaddwd, vpaddd).

#include <cstdint>

#include <smolvlm/cpu/gemm.hpp>
#include <smolvlm/cpu/integer_dot.hpp>

namespace smolvlm::cpu {

template <int Bytes>
struct PlainWordPairs {
    static constexpr int bytes = Bytes, L = lanes<std::int32_t, Bytes>;
    using Ints = detail::Raw<std::int32_t, L>;

    SMOLVLM_INLINE static void add(Ints& sums, const Ints& w, const Ints& x) {
        if constexpr (detail::has_assembler && Bytes >= 32) {
#if defined(__x86_64__)
            Ints y;
            asm("vpmaddwd %2, %1, %0" : "=v"(y) : "v"(w), "v"(x));
            sums += y;
#endif
        } else {
            sums += ((w << 16) >> 16) * ((x << 16) >> 16) + (w >> 16) * (x >> 16);
        }
    }
};

#if defined(__x86_64__) && !defined(__clang__)
struct VnniWordPairs {
    static constexpr int bytes = 64, L = 16;
    using Ints = detail::Raw<std::int32_t, L>;

    SMOLVLM_INLINE static void add(Ints& sums, const Ints& w, const Ints& x) {
        Ints y = sums;  // as in VnniDots
        asm("vpdpwssd %2, %1, %0" : "+v"(y) : "v"(w), "v"(x));
        sums = y;
    }
};
#endif

template <class Kernel, class... Args>
void dispatch_words([[maybe_unused]] CpuPath path, Args... args) {
#if defined(__x86_64__)
#if !defined(__clang__)
    if (path >= CpuPath::avx512vnni) return detail::run_avx512<detail::WithDots<Kernel, VnniWordPairs>>(args...);
#endif
    if (path >= CpuPath::avx512) return detail::run_avx512<detail::WithDots<Kernel, PlainWordPairs<64>>>(args...);
    if (path == CpuPath::avx2) return detail::run_avx2<detail::WithDots<Kernel, PlainWordPairs<32>>>(args...);
#endif
    detail::run_portable<detail::WithDots<Kernel, PlainWordPairs<16>>>(args...);
}

/// A path on which such sums are twice as fast as those of floats.
constexpr bool has_fast_words(CpuPath path) {
#if defined(__x86_64__) && !defined(__clang__)
    return path >= CpuPath::avx512vnni;
#else
    return path > CpuPath::amx;
#endif
}

/// put(r, c, sums) of R rows of pairs x, `stride` numbers apart, times `lines` lines of pairs w, `line` numbers apart, C
/// registers of columns wide. far: w comes from memory.
template <class Words, int R, int C, bool far = false, class Put>
SMOLVLM_INLINE void word_tile(const std::int16_t* x, Index stride, const std::int16_t* w, Index line, Index lines,
                              const Put& put, Ahead* ahead = nullptr) {
    using Ints = typename Words::Ints;
    Ints sums[std::size_t{R}][std::size_t{C}];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
        for (int c = 0; c < C; ++c) sums[r][c] = Ints{};
    const auto ask = [&]() __attribute__((always_inline)) {
        if constexpr (!far)
            if (ahead) ahead->step();
    };
    in_pairs(lines, ask, [&](Index i) __attribute__((always_inline)) {
        const auto* const groups = reinterpret_cast<const std::int32_t*>(w + i * line);
        if constexpr (far) ask_pages_ahead<C * Words::bytes>(groups);
        Vec<std::int32_t, Words::L> row[std::size_t{C}];
#pragma GCC unroll 4
        for (int c = 0; c < C; ++c) row[c] = Vec<std::int32_t, Words::L>::load(groups + c * Words::L);
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) {
            Ints pair;
            detail::broadcast(x + r * stride + 2 * i, pair);
#pragma GCC unroll 4
            for (int c = 0; c < C; ++c) Words::add(sums[r][c], row[c].v, pair);
        }
    });
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
        for (int c = 0; c < C; ++c)
            put.put(r, c, Vec<float, Words::L>::of(__builtin_convertvector(sums[r][c], detail::Raw<float, Words::L>)));
}

}  // namespace smolvlm::cpu
