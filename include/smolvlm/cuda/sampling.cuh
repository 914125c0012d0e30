#pragma once
/// The next token on the device: only its id crosses the bus. The order of filters is that of model/sampler.hpp
/// (temperature, top-k, top-p), the likelier of two equal tokens is the one with the smaller id.
///
/// One block of 256 threads a row [V] of logits. Top-k goes over the row once for every token kept.

#include <smolvlm/cuda/launch.cuh>
#include <smolvlm/cuda/reduce.cuh>

#include <smolvlm/cuda/platform.cuh>

namespace smolvlm::cuda {

struct Candidate {
    float logit;
    std::int32_t id;
};
__device__ inline bool likelier(const Candidate& a, const Candidate& b) {
    return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
}

inline constexpr int most_candidates = 128;

struct SamplingShared {
    Candidate best[8];
    Candidate kept[most_candidates];
};

/// The likeliest token of a row after `before`, for all threads of the block.
template <class T>
__device__ Candidate next_likeliest(const T* row, int V, const Candidate& before, SamplingShared& s) {
    Candidate best{-INFINITY, V};
    for (int v = thread(); v < V; v += 256) {
        const Candidate here{wide(row[v]), v};
        if (likelier(before, here) && likelier(here, best)) best = here;
    }
    for (int step = 16; step > 0; step /= 2) {
        Candidate other;
        other.logit = __shfl_xor_sync(whole_warp, best.logit, step);
        other.id = __shfl_xor_sync(whole_warp, best.id, step);
        if (likelier(other, best)) best = other;
    }
    if (lane() == 0) s.best[warp()] = best;
    __syncthreads();
    for (int w = 0; w < 8; ++w)
        if (likelier(s.best[w], best)) best = s.best[w];
    __syncthreads();
    return best;
}

/// ids [N]: the most likely token of every row; -1 where a row holds no number
template <class T>
__global__ void __launch_bounds__(256, 4) arg_max_kernel(const T* logits, std::int32_t* ids, int V) {
    auto& s = shared_memory<SamplingShared>();
    const Candidate best = next_likeliest(logits + static_cast<Index>(block()) * V, V, {INFINITY, -1}, s);
    if (thread() == 0) ids[block()] = best.id < V ? best.id : -1;
}

/// How to draw: of the k likeliest those that reach top_p together, at this temperature.
struct Drawing {
    int k;
    float temperature, top_p;
};

/// ids [N]: a token of every row, chosen by uniforms [N] in [0, 1)
template <class T>
__global__ void __launch_bounds__(256, 4)
    sample_kernel(const T* logits, const float* uniforms, Drawing how, std::int32_t* ids, int V) {
    auto& s = shared_memory<SamplingShared>();
    Candidate last{INFINITY, -1};
    int kept = 0;
    for (; kept < how.k; ++kept) {
        last = next_likeliest(logits + static_cast<Index>(block()) * V, V, last, s);
        if (last.id >= V) break;  // fewer tokens than k
        if (thread() == 0) s.kept[kept] = last;
    }
    if (thread() != 0) return;
    float total = 0;
    for (int i = 0; i < kept; ++i) total += expf((s.kept[i].logit - s.kept[0].logit) / how.temperature);
    float reached = 0;
    int count = 0;
    while (count < kept && (count == 0 || reached < how.top_p * total))
        reached += expf((s.kept[count++].logit - s.kept[0].logit) / how.temperature);
    float mark = uniforms[block()] * reached;
    int chosen = 0;
    for (; chosen + 1 < count; ++chosen) {
        mark -= expf((s.kept[chosen].logit - s.kept[0].logit) / how.temperature);
        if (mark < 0) break;
    }
    ids[block()] = kept > 0 ? s.kept[chosen].id : -1;
}

inline void check_drawing(Index top_k, double temperature, double top_p, std::size_t uniforms, Index rows) {
    SMOLVLM_CHECK(top_k >= 1 && top_k <= most_candidates, ValueError, "sample: top-k is ", top_k,
                  "; on the device 1 to ", most_candidates, " tokens are kept");
    SMOLVLM_CHECK(temperature > 0 && top_p > 0 && top_p <= 1, ValueError, "sample: temperature is ", temperature,
                  " and top-p ", top_p, "; a positive number and a probability are needed");
    SMOLVLM_CHECK(static_cast<Index>(uniforms) == rows, ShapeError, "sample: ", uniforms, " random numbers for ", rows,
                  " rows");
}

template <class T>
void arg_max(Stream& on, const T* logits, std::int32_t* ids, Index N, Index V) {
    if (N > 0)
        launch(on, arg_max_kernel<T>, static_cast<unsigned>(N), 256, sizeof(SamplingShared), logits, ids,
               static_cast<int>(V));
}
template <class T>
void sample(Stream& on, const T* logits, const float* uniforms, const Drawing& how, std::int32_t* ids, Index N, Index V) {
    if (N > 0)
        launch(on, sample_kernel<T>, static_cast<unsigned>(N), 256, sizeof(SamplingShared), logits, uniforms, how, ids,
               static_cast<int>(V));
}

}  // namespace smolvlm::cuda

#include <smolvlm/cuda/platform_end.cuh>
