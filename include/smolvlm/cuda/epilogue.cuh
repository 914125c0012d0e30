#pragma once
/// What becomes of the sums of a product while they are still in registers, before anything is rounded to memory:
///
///     Activated<F, T>    y[n, m] = or += F(sum[n, m] + bias[m])                       bias, GELU, and residual by adding
///     GatedSilu<T>       y[n, f] = silu(sum[n, 2f]) sum[n, 2f + 1]                    SwiGLU of interleaved rows (weight.cuh)
///
/// Each is a functor (n, m, M, sums): the sums of row n from column m on, of M; `sums` of them make one result.

#include <smolvlm/cuda/activations.cuh>

#include <smolvlm/cuda/platform.cuh>

namespace smolvlm::cuda {

/// No activation.
struct Same {
    __device__ static float of(float x, float) { return x; }
};

template <class F, class T>
struct Activated {
    using Element = T;
    static constexpr int sums = 1;
    const T* bias;  // or null
    Sink<T> y;

    __device__ void operator()(int n, int m, int M, const float* sum) const {
        y.put(static_cast<Index>(n) * M + m, F::of(sum[0] + (bias ? wide(bias[m]) : 0.0f), 0.0f));
    }
};

template <class T>
struct GatedSilu {
    using Element = T;
    static constexpr int sums = 2;
    Sink<T> y;

    __device__ void operator()(int n, int m, int M, const float* sum) const {
        y.put((static_cast<Index>(n) * M + m) / 2, SiluMul::of(sum[0], sum[1]));
    }
};

}  // namespace smolvlm::cuda

#include <smolvlm/cuda/platform_end.cuh>
