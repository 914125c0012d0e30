#pragma once
/// Numbers in kernels: float, half and bfloat16 in memory, float in registers. And where a kernel's results go.

#include <cstdint>

#include <smolvlm/core/float16.hpp>
#include <smolvlm/core/shape.hpp>

#include <smolvlm/cuda/platform.cuh>

namespace smolvlm::cuda {

/// A number of memory as float: exact.
__device__ inline float wide(float x) { return x; }
__device__ inline float wide(bfloat16 x) { return __uint_as_float(static_cast<unsigned>(x.bits) << 16); }
__device__ inline float wide(half x) {
#if defined(__CUDACC__)
    float y;
    asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));
    return y;
#else
    return static_cast<float>(x);
#endif
}

/// A float as the number that memory holds: rounded to nearest, ties to even.
template <class T>
__device__ inline T narrow(float x);
template <>
__device__ inline float narrow<float>(float x) {
    return x;
}
template <>
__device__ inline bfloat16 narrow<bfloat16>(float x) {
#if defined(__CUDACC__)
    bfloat16 y;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
    return y;
#else
    return bfloat16(x);
#endif
}
template <>
__device__ inline half narrow<half>(float x) {
#if defined(__CUDACC__)
    half y;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
    return y;
#else
    return half(x);
#endif
}

// The place of a thread, in signed numbers as all other arithmetic.
__device__ inline int thread() { return static_cast<int>(threadIdx.x); }
__device__ inline int lane() { return static_cast<int>(threadIdx.x) % 32; }
__device__ inline int warp() { return static_cast<int>(threadIdx.x) / 32; }
__device__ inline int block() { return static_cast<int>(blockIdx.x); }
__device__ inline int block_y() { return static_cast<int>(blockIdx.y); }
__device__ inline Index global_thread() {
    return static_cast<Index>(blockIdx.x) * static_cast<Index>(blockDim.x) + static_cast<Index>(threadIdx.x);
}

/// Where a kernel's result goes: nowhere, over what is there, or added to it. Kernels with a Sink sum all that belongs
/// to one element in one thread or block, in a fixed order, so no atomics are needed and every run gives the same bits.
template <class T>
struct Sink {
    T* data = nullptr;
    bool add = false;

    __device__ void put(Index i, float value) const {
        if (data) data[i] = narrow<T>(add ? wide(data[i]) + value : value);
    }
};

/// Blocks of `size` threads for n of them; a grid has at least one block.
inline unsigned blocks_for(Index n, Index size) { return n > 0 ? static_cast<unsigned>((n + size - 1) / size) : 1u; }

}  // namespace smolvlm::cuda

#include <smolvlm/cuda/platform_end.cuh>
