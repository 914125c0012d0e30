#pragma once
#include <algorithm>

#include <smolvlm/core/view.hpp>

namespace smolvlm::ref {

/// Where patch n of pictures of rows x cols patches lands: in which token, as which of the s*s corners of its square.
struct ShuffledPatch {
    Index token, corner;

    ShuffledPatch(Index n, Index rows, Index cols, Index s) {
        const Index i = n / (rows * cols), row = n / cols % rows, col = n % cols;
        token = (i * (rows / s) + row / s) * (cols / s) + col / s;
        corner = (row % s) * s + col % s;
    }
};

/// Space-to-depth ("pixel shuffle" in SmolVLM, arXiv:2504.05299; the inverse direction of arXiv:1609.05158).
/// An s x s square of neighbouring patches becomes one token that is s*s times as wide:
///
///     cols = 4, s = 2     patches            tokens
///                       a b | c d        [ a b e f ] [ c d g h ]
///                       e f | g h   ->
///                       ----+----        [ i j m n ] [ k l o p ]
///                       i j | k l
///                       m n | o p
///
///     y[(i, Y, X), (dy*s + dx)*D + d] = x[(i, Y*s + dy, X*s + dx), d]
///
/// x [I * rows*cols, D]   ->   y [I * (rows/s)*(cols/s), s*s*D]
template <class T>
void pixel_shuffle(In<T> x, Index rows, Index cols, Index s, View<T> y) {
    const auto [N, D] = dims<2>(x);
    for (Index n = 0; n < N; ++n) {
        const ShuffledPatch place(n, rows, cols, s);
        std::ranges::copy(x.row(n), y.row(place.token).begin() + place.corner * D);
    }
}

/// Its vector-Jacobian product. The transpose of a permutation is its inverse: every patch takes its part of dy back.
template <class T>
void pixel_shuffle_vjp(Index rows, Index cols, Index s, In<T> dy, View<T> dx) {
    const auto [N, D] = dims<2>(dx);
    for (Index n = 0; n < N; ++n) {
        const ShuffledPatch place(n, rows, cols, s);
        for (Index d = 0; d < D; ++d) dx(n, d) += dy(place.token, place.corner * D + d);
    }
}

}  // namespace smolvlm::ref
