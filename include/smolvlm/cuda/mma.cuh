#pragma once
/// Tensor cores and the copies that feed them, as functions: one PTX instruction each (PTX ISA 9.0, sm_80 and later), and
/// emulated with the same fragments (emulation/mma.cuh). "f16 x 2" is two numbers in a register, the lower one first.
///
///     cp_async16(to, from, valid)     16 bytes from device to shared memory, past the registers; zeros if not valid
///     cp_async_commit()               what this thread has issued since the last commit becomes a group
///     cp_async_wait<N>()              until at most N of this thread's groups are under way; then __syncthreads(), because
///                                     other threads have waited for their own bytes only
///     ldmatrix_x4(r, row)             four 8 x 8 matrices of two-byte numbers from shared memory. Lane l gives the address of
///                                     row l % 8 of matrix l / 8 (16 bytes, aligned) and receives in r[i], of matrix i, the
///                                     numbers (l / 4, 2 (l % 4)) and (l / 4, 2 (l % 4) + 1)
///     ldmatrix_x4_trans(r, row)       the same of the transposed matrices: (2 (l % 4), l / 4) and (2 (l % 4) + 1, l / 4)
///     mma_m16n8k16<T>(c, a, b)        c [16, 8] += a [16, 16] b [16, 8]; T = half or bfloat16, sums in float
///
/// Fragments of mma_m16n8k16, with g = lane / 4 and t = lane % 4:
///
///     a[0] = (g,     2t), (g,     2t + 1)       b[0] = (2t,     g), (2t + 1, g)        c[0] = (g,     2t)
///     a[1] = (g + 8, 2t), (g + 8, 2t + 1)       b[1] = (2t + 8, g), (2t + 9, g)        c[1] = (g,     2t + 1)
///     a[2] = (g,     2t + 8), (g,     2t + 9)                                          c[2] = (g + 8, 2t)
///     a[3] = (g + 8, 2t + 8), (g + 8, 2t + 9)                                          c[3] = (g + 8, 2t + 1)
///
/// So, of row-major a [16, 16] in shared memory, ldmatrix_x4 with the row address  a[l % 16][8 (l / 16)]  loads a's fragment,
/// and of b stored as [n, k], row by row, ldmatrix_x4 with  b[l % 8 + 8 (l / 16)][8 (l / 8 % 2)]  loads two b's: r[0], r[1]
/// for n = 0 .. 7 and r[2], r[3] for n = 8 .. 15. All 32 lanes call ldmatrix and mma; neither orders memory.

#include <smolvlm/core/float16.hpp>

#include <smolvlm/cuda/platform.cuh>

#if !defined(__CUDACC__)
#include <smolvlm/cuda/emulation/mma.cuh>
#else

namespace smolvlm::cuda {

__device__ inline void cp_async16(void* to, const void* from, bool valid = true) {
    const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(to));
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from), "r"(valid ? 16 : 0) : "memory");
}
__device__ inline void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int N>
__device__ void cp_async_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

__device__ inline void ldmatrix_x4(unsigned (&r)[4], const void* row) {
    const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(row));
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
}
__device__ inline void ldmatrix_x4_trans(unsigned (&r)[4], const void* row) {
    const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(row));
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
}

template <class T>
__device__ void mma_m16n8k16(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    static_assert(std::is_same_v<T, half> || std::is_same_v<T, bfloat16>);
    if constexpr (std::is_same_v<T, half>)
        asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
            "{%0, %1, %2, %3};"
            : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
    else
        asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
            "{%0, %1, %2, %3};"
            : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

}  // namespace smolvlm::cuda

#endif

#include <smolvlm/cuda/platform_end.cuh>
