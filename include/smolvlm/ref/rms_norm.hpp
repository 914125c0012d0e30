#pragma once
#include <cmath>

#include <smolvlm/core/view.hpp>

namespace smolvlm::ref {

/// mean_j x_j^2
template <class T>
T mean_square(std::span<const T> x) {
    double sum = 0;
    for (T value : x) sum += static_cast<double>(value) * static_cast<double>(value);
    return static_cast<T>(sum / static_cast<double>(x.size()));
}

/// RMSNorm, Zhang & Sennrich 2019 (arXiv:1910.07467). Each row is scaled to unit root mean square.
///     r   = 1 / sqrt(mean_j x_j^2 + eps)
///     y_j = w_j * (x_j * r)
/// x [N, D]   w [D]   ->   y [N, D]
template <class T>
void rms_norm(In<T> x, In<T> w, std::type_identity_t<T> eps, View<T> y) {
    const auto [N, D] = dims<2>(x);
    for (Index n = 0; n < N; ++n) {
        const T r = T(1) / std::sqrt(mean_square<T>(x.row(n)) + eps);
        for (Index j = 0; j < D; ++j) y(n, j) = w(j) * (x(n, j) * r);
    }
}

/// Its vector-Jacobian product. From dr/dx_k = -r^3 x_k / D, with g_j = w_j dy_j:
///     dx_j += r g_j - x_j (r^3 / D) sum_k g_k x_k
///     dw_j += sum over rows of dy_j x_j r
template <class T>
void rms_norm_vjp(In<T> x, In<T> w, std::type_identity_t<T> eps, In<T> dy, View<T> dx, Out<T> dw) {
    const auto [N, D] = dims<2>(x);
    for (Index n = 0; n < N; ++n) {
        const T r = T(1) / std::sqrt(mean_square<T>(x.row(n)) + eps);
        T gx = 0;
        for (Index k = 0; k < D; ++k) gx += w(k) * dy(n, k) * x(n, k);
        for (Index j = 0; j < D; ++j) {
            if (dx) dx(n, j) += r * w(j) * dy(n, j) - x(n, j) * (r * r * r / T(D)) * gx;
            if (dw) dw(j) += dy(n, j) * (x(n, j) * r);
        }
    }
}

}  // namespace smolvlm::ref
