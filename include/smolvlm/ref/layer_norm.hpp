#pragma once
#include <cmath>

#include <smolvlm/core/view.hpp>

namespace smolvlm::ref {

/// What standardises a row: its mean m and s = 1 / sqrt(variance + eps).
template <class T>
struct RowMoments {
    T m = 0, s = 0;

    RowMoments(std::span<const T> x, T eps) {
        const auto D = static_cast<double>(x.size());
        double sum = 0, squares = 0;
        for (T value : x) sum += static_cast<double>(value);
        m = static_cast<T>(sum / D);
        for (T value : x) squares += static_cast<double>((value - m) * (value - m));
        s = T(1) / std::sqrt(static_cast<T>(squares / D) + eps);
    }
};

/// LayerNorm, Ba, Kiros & Hinton 2016 (arXiv:1607.06450). Each row is shifted to mean 0 and scaled to variance 1.
///     m   = mean_j x_j          s = 1 / sqrt(mean_j (x_j - m)^2 + eps)
///     y_j = w_j * (x_j - m) * s + b_j
/// x [N, D]   w [D]   b [D] or null   ->   y [N, D]
template <class T>
void layer_norm(In<T> x, In<T> w, In<T> b, std::type_identity_t<T> eps, View<T> y) {
    const auto [N, D] = dims<2>(x);
    for (Index n = 0; n < N; ++n) {
        const RowMoments<T> row(x.row(n), eps);
        for (Index j = 0; j < D; ++j) y(n, j) = w(j) * ((x(n, j) - row.m) * row.s) + (b ? b(j) : T(0));
    }
}

/// Its vector-Jacobian product. z_j = (x_j - m) s neither sees a constant added to the row nor a factor on it, so both
/// directions are taken out of the gradient; with g_j = w_j dy_j:
///     dx_j += s (g_j - mean_k g_k - z_j mean_k g_k z_k)
///     dw_j += sum over rows of dy_j z_j          db_j += sum over rows of dy_j
template <class T>
void layer_norm_vjp(In<T> x, In<T> w, std::type_identity_t<T> eps, In<T> dy, View<T> dx, Out<T> dw, Out<T> db) {
    const auto [N, D] = dims<2>(x);
    for (Index n = 0; n < N; ++n) {
        const RowMoments<T> row(x.row(n), eps);
        T mean_g = 0, mean_gz = 0;
        for (Index k = 0; k < D; ++k) {
            const T g = w(k) * dy(n, k), z = (x(n, k) - row.m) * row.s;
            mean_g += g / T(D);
            mean_gz += g * z / T(D);
        }
        for (Index j = 0; j < D; ++j) {
            const T z = (x(n, j) - row.m) * row.s;
            if (dx) dx(n, j) += row.s * (w(j) * dy(n, j) - mean_g - z * mean_gz);
            if (dw) dw(j) += dy(n, j) * z;
            if (db) db(j) += dy(n, j);
        }
    }
}

}  // namespace smolvlm::ref
