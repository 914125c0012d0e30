#pragma once
#include <algorithm>
#include <vector>

#include <smolvlm/backend/segments.hpp>
#include <smolvlm/core/view.hpp>

namespace smolvlm::ref {

/// y[i, :] = x[ids[i], :]
/// x [R, D], held as S   ids [N]   ->   y [N, D]
template <class S, class T>
void gather_rows(View<const S> x, Ids ids, View<T> y) {
    for (std::size_t i = 0; i < ids.size(); ++i)
        std::ranges::copy(x.row(ids[i]), y.row(static_cast<Index>(i)).begin());
}

/// dx[ids[i], :] += dy[i, :], so that a row gathered twice receives both.
template <class T>
void gather_rows_vjp(Ids ids, In<T> dy, View<T> dx) {
    for (std::size_t i = 0; i < ids.size(); ++i)
        for (Index d = 0; d < dx.dim(1); ++d) dx(ids[i], d) += dy(i, d);
}

/// x[ids[i], :] = rows[i, :]. How the features of an image take the places of its <image> tokens. Of two rows for one
/// place the later one stays.
/// x [R, D]   ids [N]   rows [N, D]
template <class T>
void scatter_rows(View<T> x, Ids ids, In<T> rows) {
    for (std::size_t i = 0; i < ids.size(); ++i)
        std::ranges::copy(rows.row(static_cast<Index>(i)), x.row(ids[i]).begin());
}

/// Its vector-Jacobian product, seen as y = scatter_rows(x, rows): the gradient of a row goes to whoever wrote it.
///     drows[i, :] += dy[ids[i], :]          dx[r, :] += dy[r, :]   for the places r that nothing was written to
template <class T>
void scatter_rows_vjp(Ids ids, In<T> dy, View<T> dx, Out<T> drows) {
    const auto [R, D] = dims<2>(dy);
    std::vector<Index> writer(static_cast<std::size_t>(R), -1);
    for (std::size_t i = 0; i < ids.size(); ++i) writer[static_cast<std::size_t>(ids[i])] = static_cast<Index>(i);
    for (Index r = 0; r < R; ++r) {
        const Index i = writer[static_cast<std::size_t>(r)];
        for (Index d = 0; d < D; ++d) {
            if (i < 0 && dx) dx(r, d) += dy(r, d);
            if (i >= 0 && drows) drows(i, d) += dy(r, d);
        }
    }
}

/// The new rows of every segment become the last n of its keys: slab[k0 + past + t, :] = rows[q0 + t, :].
/// slab [R, D], held as S   rows [N, D]
template <class S, class T>
void write_rows(View<S> slab, const Segments& segments, View<const T> rows) {
    const auto rounded = [](T number) {
        if constexpr (sizeof(S) < sizeof(float))
            return static_cast<S>(static_cast<float>(number));
        else
            return static_cast<S>(number);
    };
    for (const Segment& s : segments)
        for (Index t = 0; t < s.n; ++t)
            std::ranges::transform(rows.row(s.q0 + t), slab.row(s.k0 + s.past() + t).begin(), rounded);
}

}  // namespace smolvlm::ref
