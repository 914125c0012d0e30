#pragma once
#include <cmath>

#include <smolvlm/core/view.hpp>

namespace smolvlm::ref {

/// LayerNorm, Ba, Kiros & Hinton 2016 (arXiv:1607.06450). Each row is shifted to mean 0 and scaled to variance 1.
///     m   = mean_j x_j          s = 1 / sqrt(mean_j (x_j - m)^2 + eps)
///     y_j = w_j * (x_j - m) * s + b_j
/// x [N, D]   w, b [D]   ->   y [N, D]
template <class T>
void layer_norm(In<T> x, In<T> w, In<T> b, std::type_identity_t<T> eps, View<T> y) {
    const auto [N, D] = dims<2>(x);
    for (Index n = 0; n < N; ++n) {
        T m = 0, variance = 0;
        for (Index j = 0; j < D; ++j) m += x(n, j) / T(D);
        for (Index j = 0; j < D; ++j) variance += (x(n, j) - m) * (x(n, j) - m) / T(D);
        const T s = T(1) / std::sqrt(variance + eps);
        for (Index j = 0; j < D; ++j) y(n, j) = w(j) * ((x(n, j) - m) * s) + b(j);
    }
}

}  // namespace smolvlm::ref
