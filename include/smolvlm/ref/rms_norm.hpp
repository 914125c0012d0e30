#pragma once
#include <cmath>

#include <smolvlm/core/view.hpp>

namespace smolvlm::ref {

/// mean_j x_j^2
template <class T>
T mean_square(std::span<const T> x) {
    T sum = 0;
    for (T value : x) sum += value * value;
    return sum / T(x.size());
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

}  // namespace smolvlm::ref
