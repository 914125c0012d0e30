#pragma once
#include <algorithm>

#include <smolvlm/backend/segments.hpp>
#include <smolvlm/core/view.hpp>

namespace smolvlm::ref {

/// y[i, :] = x[ids[i], :]
/// x [R, D]   ids [N]   ->   y [N, D]
template <class T>
void gather_rows(In<T> x, Ids ids, View<T> y) {
    for (std::size_t i = 0; i < ids.size(); ++i)
        std::ranges::copy(x.row(ids[i]), y.row(static_cast<Index>(i)).begin());
}

/// x[ids[i], :] = rows[i, :]. How the features of an image take the places of its <image> tokens.
/// x [R, D]   ids [N]   rows [N, D]
template <class T>
void scatter_rows(View<T> x, Ids ids, In<T> rows) {
    for (std::size_t i = 0; i < ids.size(); ++i)
        std::ranges::copy(rows.row(static_cast<Index>(i)), x.row(ids[i]).begin());
}

/// The new rows of every segment become the last n of its keys: slab[k0 + past + t, :] = rows[q0 + t, :].
/// slab [R, D]   rows [N, D]
template <class T>
void write_rows(View<T> slab, const Segments& segments, In<T> rows) {
    for (const Segment& s : segments)
        for (Index t = 0; t < s.n; ++t)
            std::ranges::copy(rows.row(s.q0 + t), slab.row(s.k0 + s.past() + t).begin());
}

}  // namespace smolvlm::ref
