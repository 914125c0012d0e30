#pragma once
/// y = x W^T + b for weights of every dtype: rows of W are widened a panel at a time.            definition: ref/linear.hpp

#include <smolvlm/core/host_weight.hpp>
#include <smolvlm/cpu/eigen.hpp>

namespace smolvlm::cpu {

/// x [N, K]   w [M, K]   bias [M] or null   ->   y [N, M]
template <class T>
void linear(In<T> x, const HostWeight& w, In<T> bias, View<T> y, int threads) {
    const Index N = x.dim(0), K = x.dim(1), M = w.rows();
    constexpr Index panel = 64;
    parallel_dynamic(threads, (M + panel - 1) / panel, [&](Index p) {
        const Index first = p * panel, rows = std::min(panel, M - first);
        std::vector<T> wide(static_cast<std::size_t>(rows * K));
        for (Index m = 0; m < rows; ++m) w.row(first + m, wide.data() + m * K);
        auto out = as_matrix(y.data() + first, N, rows, M);
        out.noalias() = as_matrix(x.data(), N, K, K) * as_matrix(std::as_const(wide).data(), rows, K, K).transpose();
        if (bias) out.rowwise() += as_matrix(bias.data() + first, 1, rows, rows).row(0);
    });
}

}  // namespace smolvlm::cpu
