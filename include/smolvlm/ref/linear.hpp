#pragma once
#include <vector>

#include <smolvlm/core/host_weight.hpp>
#include <smolvlm/core/view.hpp>

namespace smolvlm::ref {

/// sum_k a_k b_k. The definitions of this folder add up in double whatever T is: in float a long sum would lose more
/// digits than all other steps together.
template <class T>
T dot(std::span<const T> a, std::span<const T> b) {
    double sum = 0;
    for (std::size_t k = 0; k < a.size(); ++k) sum += static_cast<double>(a[k]) * static_cast<double>(b[k]);
    return static_cast<T>(sum);
}

/// y += alpha x
template <class T>
void add_scaled(std::span<T> y, std::type_identity_t<T> alpha, std::span<const std::type_identity_t<T>> x) {
    for (std::size_t k = 0; k < y.size(); ++k) y[k] += alpha * x[k];
}

/// Linear map, PyTorch's layout (one row of W per output).
///     y[n, m] = b[m] + sum_k x[n, k] W[m, k]
/// x [N, K]   w [M, K] of any dtype, widened row by row   bias [M] or null   ->   y [N, M]
template <class T>
void linear(In<T> x, const HostWeight& w, In<T> bias, View<T> y) {
    const auto [N, K] = dims<2>(x);
    const Index M = w.rows();
    std::vector<T> row(static_cast<std::size_t>(K));
    for (Index m = 0; m < M; ++m) {
        w.row(m, row.data());
        for (Index n = 0; n < N; ++n) y(n, m) = (bias ? bias(m) : T(0)) + dot<T>(x.row(n), row);
    }
}

/// Its vector-Jacobian product. y is linear in each operand, so each gets dy times the other:
///     dx[n, k] += sum_m dy[n, m] W[m, k]      dW[m, k] += sum_n dy[n, m] x[n, k]      db[m] += sum_n dy[n, m]
/// dw has the element type of x, whatever the dtype of w; a quantised w lets gradients through to x all the same.
template <class T>
void linear_vjp(In<T> x, const HostWeight& w, In<T> dy, View<T> dx, Out<T> dw, Out<T> dbias) {
    const auto [N, K] = dims<2>(x);
    const Index M = w.rows();
    std::vector<T> row(static_cast<std::size_t>(K));
    for (Index m = 0; m < M; ++m) {
        w.row(m, row.data());
        for (Index n = 0; n < N; ++n) {
            if (dx) add_scaled(dx.row(n), dy(n, m), row);
            if (dw) add_scaled(dw.row(m), dy(n, m), x.row(n));
            if (dbias) dbias(m) += dy(n, m);
        }
    }
}

}  // namespace smolvlm::ref
