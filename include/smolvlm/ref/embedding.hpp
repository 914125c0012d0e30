#pragma once
#include <smolvlm/backend/segments.hpp>
#include <smolvlm/core/host_weight.hpp>
#include <smolvlm/core/view.hpp>

namespace smolvlm::ref {

/// Embedding: row ids[n] of the table, widened.
///     y[n, :] = w[ids[n], :]
/// w [V, D]   ids [N]   ->   y [N, D]
template <class T>
void embedding(const HostWeight& w, Ids ids, View<T> y) {
    for (std::size_t n = 0; n < ids.size(); ++n) w.row(ids[n], y.row(static_cast<Index>(n)).data());
}

}  // namespace smolvlm::ref
