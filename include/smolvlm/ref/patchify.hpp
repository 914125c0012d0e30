#pragma once
#include <smolvlm/core/view.hpp>

namespace smolvlm::ref {

/// f(patch, column, pixel) for all pixels of all whole p x p patches of pictures [I, C, height, width]: element
/// `column` of row `patch` is element `pixel` of the pictures.
template <class F>
void for_each_patch_pixel(const Shape& x, Index p, F f) {
    const Index I = x[0], C = x[1], height = x[2], width = x[3], rows = height / p, cols = width / p;
    for (Index i = 0; i < I; ++i)
        for (Index Y = 0; Y < rows; ++Y)
            for (Index X = 0; X < cols; ++X)
                for (Index c = 0; c < C; ++c)
                    for (Index dy = 0; dy < p; ++dy)
                        for (Index dx = 0; dx < p; ++dx)
                            f((i * rows + Y) * cols + X, (c * p + dy) * p + dx,
                              ((i * C + c) * height + Y * p + dy) * width + X * p + dx);
}

/// Cuts pictures into patches of p x p pixels and flattens each, channel first: what a convolution with kernel = stride
/// = p multiplies with its weights. Pixels right of and below the last whole patch are dropped, as by the convolution.
///     y[(i, Y, X), (c, dy, dx)] = x[i, c, Y*p + dy, X*p + dx]
/// x [I, C, height, width]   ->   y [I * (height/p) * (width/p), C*p*p]
template <class T>
void patchify(In<T> x, Index p, View<T> y) {
    for_each_patch_pixel(x.shape(), p,
                         [&](Index patch, Index column, Index pixel) { y(patch, column) = x.data()[pixel]; });
}

/// Its vector-Jacobian product: every pixel takes back the gradient of its only copy; dropped pixels get none.
///     dx[i, c, Y*p + dy, X*p + dx] += dy[(i, Y, X), (c, dy, dx)]
template <class T>
void patchify_vjp(Index p, In<T> dy, View<T> dx) {
    for_each_patch_pixel(dx.shape(), p,
                         [&](Index patch, Index column, Index pixel) { dx.data()[pixel] += dy(patch, column); });
}

}  // namespace smolvlm::ref
