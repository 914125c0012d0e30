#pragma once
// Kernels with one bug each, and the same kernel without it. Blocks of 64 threads, x and y [64] floats a block.

#include <smolvlm/cuda/launch.cuh>
#include <smolvlm/cuda/mma.cuh>

#include <smolvlm/cuda/platform.cuh>

namespace planted {

using smolvlm::cuda::cp_async16;
using smolvlm::cuda::cp_async_commit;
using smolvlm::cuda::cp_async_wait;
using smolvlm::cuda::shared_memory;

inline constexpr unsigned all = 0xffffffffu;
struct Shared {
    float cells[64], more[64];
};
using Kernel = void (*)(const float* x, float* y);

__device__ inline int thread() { return static_cast<int>(threadIdx.x); }

template <bool Bug>
__global__ void barrier_reads_next(const float* x, float* y) {
    auto& s = shared_memory<Shared>();
    const int t = thread();
    s.cells[t] = x[t];
    if (!Bug) __syncthreads();
    y[t] = s.cells[(t + 1) % 64];
}
template <bool Bug>
__global__ void barrier_reads_previous(const float* x, float* y) {
    auto& s = shared_memory<Shared>();
    const int t = thread();
    s.cells[t] = x[t];
    if (!Bug) __syncthreads();
    y[t] = t == 0 ? 0.0f : s.cells[t - 1];
}
template <bool Bug>
__global__ void barrier_before_overwriting(const float* x, float* y) {
    auto& s = shared_memory<Shared>();
    const int t = thread();
    float sum = 0;
    for (int round = 0; round < 3; ++round) {
        s.cells[t] = x[t] * static_cast<float>(round + 1);
        __syncthreads();
        sum += s.cells[63 - t];
        if (!Bug) __syncthreads();
    }
    y[t] = sum;
}
template <bool Bug>
__global__ void syncwarp(const float* x, float* y) {
    auto& s = shared_memory<Shared>();
    const int t = thread();
    s.cells[t] = x[t];
    if (!Bug) __syncwarp();
    y[t] = s.cells[t ^ 1];
}
template <bool Bug>
__global__ void divergent_barrier(const float* x, float* y) {
    const int t = thread();
    y[t] = x[t];
    if (Bug && t % 2 == 1) {
        __syncthreads();
    } else {
        __syncthreads();
    }
}
template <>
__global__ inline void divergent_barrier<false>(const float* x, float* y) {
    y[thread()] = x[thread()];
    __syncthreads();
}
template <bool Bug>
__global__ void leaves_before_barrier(const float* x, float* y) {
    const int t = thread();
    y[t] = x[t];
    if (Bug && t == 7) return;
    __syncthreads();
}
template <bool Bug>
__global__ void barrier_against_shuffle(const float* x, float* y) {
    const int t = thread();
    float value = x[t];
    if (Bug && t == 3) __syncthreads();
    value += __shfl_xor_sync(all, value, 1);
    if (!Bug || t != 3) __syncthreads();
    y[t] = value;
}
template <bool Bug>
__global__ void lane_missing_from_mask(const float* x, float* y) {
    const int t = thread();
    float value = x[t];
    if (t % 32 < 16) value += __shfl_xor_sync(Bug ? all : 0xffffu, value, 1);
    __syncthreads();
    y[t] = value;
}
template <bool Bug>
__global__ void lane_not_in_its_mask(const float* x, float* y) {
    y[thread()] = __shfl_xor_sync(Bug ? 0xffffu : all, x[thread()], 1);
}
template <bool Bug>
__global__ void reads_outside_mask(const float* x, float* y) {
    const int t = thread();
    y[t] = x[t];
    if (t % 32 < 16) y[t] = __shfl_xor_sync(0xffffu, x[t], Bug ? 16 : 8);
}
template <bool Bug>
__global__ void copy_wait(const float* x, float* y) {
    auto& s = shared_memory<Shared>();
    const int t = thread();
    if (t < 16) cp_async16(&s.cells[t * 4], x + t * 4);
    cp_async_commit();
    if (!Bug) cp_async_wait<0>();
    __syncthreads();
    y[t] = s.cells[t];
    if (Bug) cp_async_wait<0>();
}
template <bool Bug>
__global__ void late_copy_wait(const float* x, float* y) {
    auto& s = shared_memory<Shared>();
    const int t = thread();
    if (t < 16) cp_async16(&s.cells[t * 4], x + t * 4);
    cp_async_commit();
    if (Bug) __syncthreads();
    cp_async_wait<0>();
    if (!Bug) __syncthreads();
    y[t] = s.cells[63 - t];
}
// Two stages: while one is read the other is filled.
template <bool Bug>
__global__ void stage_overwritten(const float* x, float* y) {
    auto& s = shared_memory<Shared>();
    const int t = thread();
    float* stages[2] = {s.cells, s.more};
    if (t < 16) cp_async16(&stages[0][t * 4], x + t * 4);
    cp_async_commit();
    float sum = 0;
    for (int k = 0; k < 4; ++k) {
        cp_async_wait<0>();
        __syncthreads();
        const int next = Bug ? k % 2 : (k + 1) % 2;
        if (t < 16) cp_async16(&stages[next][t * 4], x + (t * 4 + (k + 1) % 4 * 16) % 64);
        cp_async_commit();
        sum = sum * 2 + stages[k % 2][63 - t];
    }
    cp_async_wait<0>();
    y[t] = sum;
}
template <bool Bug>
__global__ void copy_still_in_flight(const float* x, float* y) {
    auto& s = shared_memory<Shared>();
    const int t = thread();
    if (t < 16) cp_async16(&s.cells[t * 4], x + t * 4);
    cp_async_commit();
    if (!Bug) cp_async_wait<0>();
    y[t] = x[t];
}
template <bool Bug>
__global__ void copy_not_aligned(const float* x, float* y) {
    auto& s = shared_memory<Shared>();
    if (thread() < 15) cp_async16(&s.cells[thread() * 4], x + thread() * 4 + (Bug ? 1 : 0));
    cp_async_commit();
    cp_async_wait<0>();
    y[thread()] = x[thread()];
}
template <bool Bug>
__global__ void atomic(const float* x, float* y) {
    const int t = thread();
    y[t] = 0;
    __syncthreads();
    if (Bug)
        y[0] += x[t];
    else
        atomicAdd(&y[0], x[t]);
}
template <bool Bug>
__global__ void shuffle_as_fence(const float* x, float* y) {
    auto& s = shared_memory<Shared>();
    const int t = thread();
    s.cells[t] = x[t];
    float value = x[t];
    if (Bug)
        value = __shfl_xor_sync(all, value, 1);
    else
        __syncwarp();
    y[t] = s.cells[t ^ 1] + value * 0.0f;
}
template <bool Bug>
__global__ void uninitialised_shared_sum(const float* x, float* y) {
    auto& s = shared_memory<Shared>();
    const int t = thread();
    if (!Bug || t < 63) s.cells[t] = x[t];
    __syncthreads();
    y[t] = s.cells[63 - t] + 1.0f;
}
template <bool Bug>
__global__ void uninitialised_shared_max(const float* x, float* y) {
    auto& s = shared_memory<Shared>();
    const int t = thread();
    if (!Bug || t < 63) s.cells[t] = x[t];
    __syncthreads();
    y[t] = fmaxf(s.cells[63 - t], 1.0f);
}
template <bool Bug>
__global__ void uninitialised_global(const float* x, float* y) {
    if (Bug)
        y[thread()] += x[thread()];
    else
        y[thread()] = x[thread()];
}
template <bool Bug>
__global__ void writes_behind_global(const float* x, float* y) {
    y[thread()] = x[thread()];
    if (Bug && thread() == 63) y[64] = 1;
}
template <bool Bug>
__global__ void reads_behind_global(const float* x, float* y) {
    y[thread()] = x[thread() + (Bug ? 1 : 0)];
}
template <bool Bug>
__global__ void far_outside(const float* x, float* y) {
    y[thread()] = x[thread()];
    if (Bug && thread() == 5) y[std::size_t(1) << 40] = 1;
}
template <bool Bug>
__global__ void writes_behind_shared(const float* x, float* y) {
    auto& s = shared_memory<Shared>();
    const int t = thread();
    s.more[t] = x[t];
    float* cells = s.more;
    if (Bug && t == 63) cells[64] = 1;
    y[t] = s.more[t];
}
template <bool Bug>
__global__ void inner_array_overrun(const float* x, float* y) {
    auto& s = shared_memory<Shared>();
    const int t = thread();
    s.more[t] = x[t];
    s.cells[t + (Bug && t == 63 ? 1 : 0)] = x[t];
    __syncthreads();
    y[t] = s.more[t];
}
template <bool Bug>
__global__ void more_shared_than_launched(const float* x, float* y) {
    struct Larger {
        float cells[Bug ? 129 : 128];
    };
    auto& s = shared_memory<Larger>();
    s.cells[thread()] = x[thread()];
    y[thread()] = s.cells[thread()];
}
// Launched with two blocks.
template <bool Bug>
__global__ void blocks_write_the_same(const float* x, float* y) {
    const float value = x[thread()] + static_cast<float>(blockIdx.x);
    if (Bug || blockIdx.x == 0) y[thread()] = value;
}

}  // namespace planted

#include <smolvlm/cuda/platform_end.cuh>
