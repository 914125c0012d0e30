#pragma once
/// AdamW on the device, in the order of operations of train/adamw.hpp: the masters and both means are floats whatever
/// the model computes in, and the model's copy is rounded from the master in the same pass.
///
/// One thread an element, blocks of 256: 16 bytes read and 12 written for each float of the master.

#include <cmath>

#include <smolvlm/cuda/launch.cuh>
#include <smolvlm/cuda/numbers.cuh>

#include <smolvlm/cuda/platform.cuh>

namespace smolvlm::cuda {

/// The numbers of one step, from those of the paper.
struct AdamWStep {
    float keep, rate, mean_part, square_keep, square_part, root_correction, eps, scale;

    AdamWStep(double beta1, double beta2, double eps_, Index step, double lr, double decay, double scale_ = 1)
        : keep(static_cast<float>(1 - lr * decay)),
          rate(static_cast<float>(lr / (1 - std::pow(beta1, static_cast<double>(step))))),
          mean_part(static_cast<float>(1 - beta1)), square_keep(static_cast<float>(beta2)),
          square_part(static_cast<float>(1 - beta2)),
          root_correction(static_cast<float>(std::sqrt(1 - std::pow(beta2, static_cast<double>(step))))),
          eps(static_cast<float>(eps_)), scale(static_cast<float>(scale_)) {}
};

/// One step of n numbers: w, m, v change in place; model[i] = w[i] in the type of the model, or null.
template <class T>
__global__ void __launch_bounds__(256, 4)
    adamw_kernel(float* w, const T* g, float* m, float* v, T* model, AdamWStep of, Index n) {
    const Index i = global_thread();
    if (i >= n) return;
    const float gi = of.scale * wide(g[i]);
    const float mean = m[i] + of.mean_part * (gi - m[i]);
    const float square = of.square_keep * v[i] + of.square_part * gi * gi;
    const float next = w[i] * of.keep - of.rate * (mean / (sqrtf(square) / of.root_correction + of.eps));
    m[i] = mean;
    v[i] = square;
    w[i] = next;
    if (model) model[i] = narrow<T>(next);
}

template <class T>
void adamw(Stream& on, float* w, const T* g, float* m, float* v, T* model, const AdamWStep& of, Index n) {
    if (n > 0) launch(on, adamw_kernel<T>, blocks_for(n, 256), 256, 0, w, g, m, v, model, of, n);
}

}  // namespace smolvlm::cuda

#include <smolvlm/cuda/platform_end.cuh>
