#pragma once
/// The connector in one product: y = pixel_shuffle(x) w^T (ref/pixel_shuffle.hpp). Pixel shuffle only says where an element
/// lies, so it is the addressing of the product's left factor, and no shuffled copy is made:
///
///     y[n, m] = sum_k x[patch(n, k / D), k % D] w[m, k]
///
/// where patch(n, i) is, of the s x s patches that become token n, number i.

#include <smolvlm/cuda/linear_mma.cuh>
#include <smolvlm/cuda/rows.cuh>

#include <smolvlm/cuda/platform.cuh>

namespace smolvlm::cuda {

/// The rows of pixel_shuffle(x), read from x [I * rows*cols, D] itself.
template <class T>
struct ShuffledRows {
    const T* values;
    PixelShuffle map;

    /// Where element k of row n lies in x.
    __device__ Index place(int n, int k) const {
        const int across = map.cols / map.s, down = map.rows / map.s, i = k / map.D;
        const int row = n / across % down * map.s + i / map.s, col = n % across * map.s + i % map.s;
        return ((static_cast<Index>(n / (across * down)) * map.rows + row) * map.cols + col) * map.D + k % map.D;
    }
    __device__ float at(int n, int k) const { return wide(values[place(n, k)]); }
};

/// Eight neighbours are of one patch where D is a multiple of 8.
template <class T>
__device__ void load_eight(const ShuffledRows<T>& from, int n, int k, bool there, Eight<T>& to) {
    cp_async16(&to, from.values + (there ? from.place(n, k) : 0), there);
}
template <class T>
bool in_words(const ShuffledRows<T>& x, Index, Index) {
    return x.map.D % 8 == 0;
}

/// x as rows of the map, w [M, s*s*D]   ->   y [N, M]
template <class T, class Rows>
void pixel_shuffle_linear(Stream& on, const T* x, const PixelShuffle& map, const Rows& w, T* y, Index N, Index M) {
    const Index K = static_cast<Index>(map.s) * map.s * map.D;
    product(on, ShuffledRows<T>{x, map}, w, Activated<Same, T>{nullptr, {y}}, N, M, K);
}

}  // namespace smolvlm::cuda

#include <smolvlm/cuda/platform_end.cuh>
