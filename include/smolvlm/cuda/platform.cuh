/// The floor that kernels stand on: the same text is CUDA for nvcc, and plain C++20 for g++ and clang++ when
/// SMOLVLM_CUDA_EMULATION is defined. Everything named here is real CUDA in the first case; in the second it is emulated
/// (emulation/), slowly and with suspicion: wrong kernels fail loudly there. How to write a kernel header:
///
///     #include <smolvlm/cuda/launch.cuh>                    // and whatever else
///     #include <smolvlm/cuda/platform.cuh>                  // the LAST include: it defines __global__ and its like
///     namespace smolvlm::cuda {
///
///     struct RowSumShared { float partial[4]; };            // ALL shared memory of the kernel: one struct, no static
///                                                           // __shared__ (which nothing could check)
///     template <class T>                                    // every kernel is a template, else two files that include it
///     __global__ void __launch_bounds__(128, 8)             // do not link; state blocks per multiprocessor, else ptxas
///         row_sum_kernel(const T* x, T* y, int D) {         // picks 64 registers and spills
///         auto& s = shared_memory<RowSumShared>();
///         float sum = 0;
///         for (int d = int(threadIdx.x); d < D; d += 128) sum += x[blockIdx.x * D + d];
///         for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
///         if (threadIdx.x % 32 == 0) s.partial[threadIdx.x / 32] = sum;
///         __syncthreads();
///         if (threadIdx.x == 0) y[blockIdx.x] = s.partial[0] + s.partial[1] + s.partial[2] + s.partial[3];
///     }
///
///     template <class T>
///     void row_sum(Stream& on, const T* x, T* y, unsigned N, int D) {
///         launch(on, row_sum_kernel<T>, N, 128, sizeof(RowSumShared), x, y, D);   // row_sum_kernel<T><<<...>>>
///     }
///     }
///     #include <smolvlm/cuda/platform_end.cuh>              // the LAST line: takes the macros away again
///
/// Rules. No std:: function, no namespace-scope array and no constexpr host function in device code (nvcc refuses them
/// without flags that a header may not ask of its users). At most one synchronising call a line: lines name barriers.
/// A synchronising helper (warp_sum) must not be called in two branches of one if: its two calls look like one.
/// Blocks are multiples of 32. A lane that a mask names must be there: nobody leaves a kernel while others of its block
/// still synchronise. Inline PTX goes under #if defined(__CUDACC__), with its meaning in C++ beside it; cp.async, ldmatrix
/// and mma.sync are functions of mma.cuh. Copies in flight are waited for before a thread ends.
/// Host code never touches device memory but through runtime.cuh.
///
/// No #pragma once: the macros must come back for every kernel header.

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#if defined(__CUDACC__)
#include <cuda_runtime.h>
#elif defined(SMOLVLM_CUDA_EMULATION)
#include <smolvlm/cuda/emulation/intrinsics.cuh>
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __align__(n) alignas(n)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunknown-pragmas"  // #pragma unroll
#else
#error "CUDA kernels: compile this file with nvcc, or define SMOLVLM_CUDA_EMULATION to run them on the host"
#endif

#include <smolvlm/cuda/shared_memory.cuh>
