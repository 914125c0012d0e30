#pragma once
/// Runs a kernel compiled for the instruction set of a path. Speed so depends on the machine that runs, never on the
/// compiler flags of whoever includes these headers.
///
///     struct Negate {                                       // a kernel: a struct with one always-inline function,
///         template <int Bytes, class T>                     // given the width of a vector register in bytes
///         SMOLVLM_INLINE static void run(T* x, Index n);
///     };
///     dispatch<Negate>(path, x, n);                         // one call, one switch: give it enough work
///
/// The target attributes sit on the functions below and nowhere else. (Not on lambdas, which do not inherit them, and
/// not through #pragma GCC target, which would leak into inline functions of the standard library.)

#include <smolvlm/core/cpu_features.hpp>
#include <smolvlm/cpu/simd.hpp>

namespace smolvlm::cpu {

/// Numbers of type T in a register of so many bytes.
template <class T, int Bytes>
constexpr int lanes = Bytes / static_cast<int>(sizeof(T));

/// Are there 32 vector registers of so many bytes? (Else there are 16.)
constexpr bool has_32_registers(int bytes) { return bytes == 64 || detail::has_neon; }

namespace detail {

#if defined(__x86_64__)
template <class Kernel, class... Args>
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")]] void run_avx512(Args... args) {
    Kernel::template run<64>(args...);
}
template <class Kernel, class... Args>
[[gnu::target("avx2,fma,f16c")]] void run_avx2(Args... args) {
    Kernel::template run<32>(args...);
}
#endif
/// What the compiler takes for granted: SSE2, NEON.
template <class Kernel, class... Args>
void run_portable(Args... args) {
    Kernel::template run<16>(args...);
}

}  // namespace detail

template <class Kernel, class... Args>
void dispatch([[maybe_unused]] CpuPath path, Args... args) {
#if defined(__x86_64__)
    if (path >= CpuPath::avx512) return detail::run_avx512<Kernel>(args...);
    if (path == CpuPath::avx2) return detail::run_avx2<Kernel>(args...);
#endif
    detail::run_portable<Kernel>(args...);
}

}  // namespace smolvlm::cpu
