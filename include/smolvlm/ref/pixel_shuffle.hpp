#pragma once
#include <algorithm>

#include <smolvlm/core/view.hpp>

namespace smolvlm::ref {

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
        const Index i = n / (rows * cols), row = n / cols % rows, col = n % cols;
        const Index token = (i * (rows / s) + row / s) * (cols / s) + col / s;  // where the square lands
        const Index corner = (row % s) * s + col % s;                           // which of its s*s corners this is
        std::ranges::copy(x.row(n), y.row(token).begin() + corner * D);
    }
}

}  // namespace smolvlm::ref
