#pragma once
/// Elementwise kernels: gelu_tanh, silu_mul, addition, and the vector-Jacobian products of ref/activations.hpp.
///
/// One thread an element, blocks of 256. The result may be written over an operand.

#include <smolvlm/cuda/launch.cuh>
#include <smolvlm/cuda/numbers.cuh>

#include <smolvlm/cuda/platform.cuh>

namespace smolvlm::cuda {

inline constexpr float sqrt_2_over_pi = 0.797884560802865356f;

/// x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))
struct GeluTanh {
    /// As x sigmoid(2u), because (1 + tanh(u)) / 2 = sigmoid(2u): no branch, and no difference of near numbers for x < 0.
    __device__ static float of(float x, float) {
        return x / (1.0f + expf(-2.0f * sqrt_2_over_pi * (x + 0.044715f * x * x * x)));
    }
    __device__ static float by_first(float x, float) {
        const float t = tanhf(sqrt_2_over_pi * (x + 0.044715f * x * x * x));
        return 0.5f * (1.0f + t) + 0.5f * x * (1.0f - t * t) * sqrt_2_over_pi * (1.0f + 0.134145f * x * x);
    }
    __device__ static float by_second(float, float) { return 0.0f; }
};

/// silu(gate) * up
struct SiluMul {
    __device__ static float of(float gate, float up) { return gate / (1.0f + expf(-gate)) * up; }
    __device__ static float by_first(float gate, float up) {
        const float sigmoid = 1.0f / (1.0f + expf(-gate));
        return up * sigmoid * (1.0f + gate * (1.0f - sigmoid));
    }
    __device__ static float by_second(float gate, float) { return gate / (1.0f + expf(-gate)); }
};

struct Add {
    __device__ static float of(float x, float h) { return x + h; }
};

/// y_i = F(a_i, b_i)
template <class F, class T>
__global__ void __launch_bounds__(256, 4) elementwise_kernel(const T* a, const T* b, T* y, Index n) {
    const Index i = global_thread();
    if (i < n) y[i] = narrow<T>(F::of(wide(a[i]), wide(b[i])));
}

/// da_i += dy_i dF/da, db_i += dy_i dF/db
template <class F, class T>
__global__ void __launch_bounds__(256, 4)
    elementwise_vjp_kernel(const T* a, const T* b, const T* dy, Sink<T> da, Sink<T> db, Index n) {
    const Index i = global_thread();
    if (i >= n) return;
    const float x = wide(a[i]), z = wide(b[i]), g = wide(dy[i]);
    da.put(i, g * F::by_first(x, z));
    db.put(i, g * F::by_second(x, z));
}

/// x_i in another type: how numbers of the host, which are floats, become a Cuda<bfloat16>'s.
template <class To, class From>
__global__ void __launch_bounds__(256, 4) convert_kernel(const From* x, To* y, Index n) {
    const Index i = global_thread();
    if (i < n) y[i] = narrow<To>(wide(x[i]));
}

template <class F, class T>
void elementwise(Stream& on, const T* a, const T* b, T* y, Index n) {
    if (n > 0) launch(on, elementwise_kernel<F, T>, blocks_for(n, 256), 256, 0, a, b, y, n);
}
template <class F, class T>
void elementwise_vjp(Stream& on, const T* a, const T* b, const T* dy, Sink<T> da, Sink<T> db, Index n) {
    if (n > 0) launch(on, elementwise_vjp_kernel<F, T>, blocks_for(n, 256), 256, 0, a, b, dy, da, db, n);
}
template <class To, class From>
void convert(Stream& on, const From* x, To* y, Index n) {
    if (n > 0) launch(on, convert_kernel<To, From>, blocks_for(n, 256), 256, 0, x, y, n);
}

}  // namespace smolvlm::cuda

#include <smolvlm/cuda/platform_end.cuh>
