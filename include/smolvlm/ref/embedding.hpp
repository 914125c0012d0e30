#pragma once
#include <smolvlm/backend/segments.hpp>
#include <smolvlm/core/host_weight.hpp>
#include <smolvlm/core/view.hpp>

namespace smolvlm::ref {

/// Embedding: row ids[n] of the table, widened.
///     y[n, :] = w[ids[n], :]
/// w [V, D] of any dtype   ids [N]   ->   y [N, D]
template <class T>
void embedding(const HostWeight& w, Ids ids, View<T> y) {
    for (std::size_t n = 0; n < ids.size(); ++n) w.row(ids[n], y.row(static_cast<Index>(n)).data());
}

/// Its vector-Jacobian product: a row read several times receives the sum of its readers.
///     dw[ids[n], :] += dy[n, :]
template <class T>
void embedding_vjp(Ids ids, In<T> dy, View<T> dw) {
    for (std::size_t n = 0; n < ids.size(); ++n)
        for (Index d = 0; d < dw.dim(1); ++d) dw(ids[n], d) += dy(n, d);
}

}  // namespace smolvlm::ref
