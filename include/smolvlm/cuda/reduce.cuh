#pragma once
/// Sums and maxima over a warp or a block. All threads of it call, all receive the result, and the order of additions
/// is fixed by the number of threads.

#include <smolvlm/cuda/numbers.cuh>

#include <smolvlm/cuda/platform.cuh>

namespace smolvlm::cuda {

inline constexpr unsigned whole_warp = 0xffffffffu;

__device__ inline float warp_sum(float value) {
    for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(whole_warp, value, step);
    return value;
}
__device__ inline float warp_max(float value) {
    for (int step = 16; step > 0; step /= 2) value = fmaxf(value, __shfl_xor_sync(whole_warp, value, step));
    return value;
}

/// Over a block of Warps warps, by way of `partial` in shared memory.
template <std::size_t Warps>
__device__ float block_sum(float value, float (&partial)[Warps]) {
    value = warp_sum(value);
    if (lane() == 0) partial[warp()] = value;
    __syncthreads();
    float sum = 0;
    for (std::size_t w = 0; w < Warps; ++w) sum += partial[w];
    __syncthreads();  // everybody has read: partial may be written again
    return sum;
}
template <std::size_t Warps>
__device__ float block_max(float value, float (&partial)[Warps]) {
    value = warp_max(value);
    if (lane() == 0) partial[warp()] = value;
    __syncthreads();
    float most = partial[0];
    for (std::size_t w = 1; w < Warps; ++w) most = fmaxf(most, partial[w]);
    __syncthreads();
    return most;
}

}  // namespace smolvlm::cuda

#include <smolvlm/cuda/platform_end.cuh>
