#pragma once
#include <smolvlm/core/view.hpp>

namespace smolvlm::ref {

/// Cuts pictures into patches of p x p pixels and flattens each, channel first: what a convolution with kernel = stride = p
/// multiplies with its weights. Pixels right of and below the last whole patch are dropped, as by the convolution.
///     y[(i, Y, X), (c, dy, dx)] = x[i, c, Y*p + dy, X*p + dx]
/// x [I, C, height, width]   ->   y [I * (height/p) * (width/p), C*p*p]
template <class T>
void patchify(In<T> x, Index p, View<T> y) {
    const auto [I, C, height, width] = dims<4>(x);
    const Index rows = height / p, cols = width / p;
    for (Index i = 0; i < I; ++i)
        for (Index Y = 0; Y < rows; ++Y)
            for (Index X = 0; X < cols; ++X)
                for (Index c = 0; c < C; ++c)
                    for (Index dy = 0; dy < p; ++dy)
                        for (Index dx = 0; dx < p; ++dx)
                            y((i * rows + Y) * cols + X, (c * p + dy) * p + dx) = x(i, c, Y * p + dy, X * p + dx);
}

}  // namespace smolvlm::ref
