#pragma once
/// AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101): Adam whose weight decay is no part of the gradient.
///
///     m <- b1 m + (1 - b1) g              mean of the gradient
///     v <- b2 v + (1 - b2) g^2            mean of its square
///     w <- w (1 - lr decay)  -  lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)
///
/// m and v start at zero, so the first means are too small; 1 - b^t corrects that at step t = 1, 2, ...
/// The order of operations is that of torch.optim.AdamW (torch/optim/adamw.py, _single_tensor_adamw).

#include <cmath>

#include <smolvlm/core/host_tensor.hpp>
#include <smolvlm/core/parallel.hpp>

namespace smolvlm {

struct AdamW {
    double beta1 = 0.9, beta2 = 0.999, eps = 1e-8;

    /// One step of one parameter. w, m, v are changed in place; g is scaled by `scale` first (clipping).
    /// step counts from 1. decay: 0 for norms and biases, by custom.
    template <class T>
    void update(std::span<T> w, std::span<const T> g, std::span<T> m, std::span<T> v, Index step, double lr,
                double decay, double scale = 1, int threads = 1) const {
        const double correction1 = 1 - std::pow(beta1, static_cast<double>(step));
        const double correction2 = 1 - std::pow(beta2, static_cast<double>(step));
        const T keep = static_cast<T>(1 - lr * decay), rate = static_cast<T>(lr / correction1);
        const T b1 = static_cast<T>(1 - beta1), b2 = static_cast<T>(beta2), c2 = static_cast<T>(1 - beta2);
        const T root2 = static_cast<T>(std::sqrt(correction2)), tiny = static_cast<T>(eps), s = static_cast<T>(scale);
        parallel_for(threads, static_cast<Index>(w.size()), Index(1) << 14, [=](Index begin, Index end) {
            for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i) {
                const T gi = s * g[i];
                m[i] += b1 * (gi - m[i]);
                v[i] = b2 * v[i] + c2 * gi * gi;
                w[i] = w[i] * keep - rate * (m[i] / (std::sqrt(v[i]) / root2 + tiny));
            }
        });
    }
};

}  // namespace smolvlm
