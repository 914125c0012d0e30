#pragma once
/// Cross-entropy of next-token logits and its vector-Jacobian product (ref/cross_entropy.hpp).
///
/// One block of 256 threads a row [V] of logits, then one block that adds up the rows. Shared memory: 8 floats.

#include <smolvlm/backend/segments.hpp>
#include <smolvlm/cuda/launch.cuh>
#include <smolvlm/cuda/reduce.cuh>

#include <smolvlm/cuda/platform.cuh>

namespace smolvlm::cuda {

struct CrossEntropyShared {
    float partial[8];
};

/// max + log sum_v exp(x_v - max), for all threads of the block
template <class T>
__device__ float log_sum_exp(const T* row, int V, float (&partial)[8]) {
    float most = -INFINITY;
    for (int v = thread(); v < V; v += 256) most = fmaxf(most, wide(row[v]));
    most = block_max(most, partial);
    float sum = 0;
    for (int v = thread(); v < V; v += 256) sum += expf(wide(row[v]) - most);
    return most + logf(block_sum(sum, partial));
}

/// losses[n] = log_sum_exp(logits[n, :]) - logits[n, targets[n]], or 0
template <class T>
__global__ void __launch_bounds__(256, 4)
    cross_entropy_kernel(const T* logits, const std::int32_t* targets, float* losses, int V) {
    auto& s = shared_memory<CrossEntropyShared>();
    const std::int32_t target = targets[block()];
    const T* row = logits + static_cast<Index>(block()) * V;
    float loss = 0;
    if (target != ignore_index) loss = log_sum_exp(row, V, s.partial) - wide(row[target]);  // one answer a block
    if (thread() == 0) losses[block()] = loss;
}

/// loss [1] = scale * sum of losses [N], in one block
template <class T>
__global__ void __launch_bounds__(256, 1) mean_loss_kernel(const float* losses, float scale, T* loss, int N) {
    auto& s = shared_memory<CrossEntropyShared>();
    float sum = 0;
    for (int n = thread(); n < N; n += 256) sum += losses[n];
    sum = block_sum(sum, s.partial);
    if (thread() == 0) loss[0] = narrow<T>(sum * scale);
}

/// dlogits[n, v] += dloss scale (softmax_v(logits[n, :]) - [v = targets[n]])          0 for ignored rows
template <class T>
__global__ void __launch_bounds__(256, 4) cross_entropy_vjp_kernel(const T* logits, const std::int32_t* targets,
                                                                   const T* dloss, float scale, Sink<T> dlogits, int V) {
    auto& s = shared_memory<CrossEntropyShared>();
    const std::int32_t target = targets[block()];
    const Index first = static_cast<Index>(block()) * V;
    if (target == ignore_index) {
        for (int v = thread(); v < V; v += 256) dlogits.put(first + v, 0.0f);
        return;
    }
    const float denominator = log_sum_exp(logits + first, V, s.partial), g = wide(dloss[0]) * scale;
    for (int v = thread(); v < V; v += 256)
        dlogits.put(first + v, g * (expf(wide(logits[first + v]) - denominator) - (v == target ? 1.0f : 0.0f)));
}

/// losses: room for N floats. counted: targets that are not ignored, at least 1.
template <class T>
void cross_entropy(Stream& on, const T* logits, const std::int32_t* targets, float* losses, T* loss, Index N, Index V,
                   Index counted) {
    if (N > 0)
        launch(on, cross_entropy_kernel<T>, static_cast<unsigned>(N), 256, sizeof(CrossEntropyShared), logits, targets,
               losses, static_cast<int>(V));
    launch(on, mean_loss_kernel<T>, 1u, 256, sizeof(CrossEntropyShared), static_cast<const float*>(losses),
           1.0f / static_cast<float>(counted), loss, static_cast<int>(N));
}
template <class T>
void cross_entropy_vjp(Stream& on, const T* logits, const std::int32_t* targets, const T* dloss, Sink<T> dlogits, Index N,
                       Index V, Index counted) {
    if (N > 0)
        launch(on, cross_entropy_vjp_kernel<T>, static_cast<unsigned>(N), 256, sizeof(CrossEntropyShared), logits,
               targets, dloss, 1.0f / static_cast<float>(counted), dlogits, static_cast<int>(V));
}

}  // namespace smolvlm::cuda

#include <smolvlm/cuda/platform_end.cuh>
