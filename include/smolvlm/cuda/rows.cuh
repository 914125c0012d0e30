#pragma once
/// Kernels that move whole rows: gather, scatter, the cache's rows, embedding, pixel shuffle, patches; and what their
/// vector-Jacobian products need. All of them are copies by a map from places to sources, so one kernel of each kind is
/// enough; the maps are made on the host, where the ids are.
///
/// One thread an element, blocks of 256. Definitions: ref/rows.hpp, ref/embedding.hpp, ref/pixel_shuffle.hpp,
/// ref/patchify.hpp.

#include <smolvlm/cuda/launch.cuh>
#include <smolvlm/cuda/numbers.cuh>
#include <smolvlm/cuda/row_maps.cuh>
#include <smolvlm/cuda/weight.cuh>

#include <smolvlm/cuda/platform.cuh>

namespace smolvlm::cuda {

/// y[to, :] = or += x[from, :] for every move; no two moves have one destination.
template <class T>
__global__ void __launch_bounds__(256, 4) move_rows_kernel(const T* x, const Move* moves, Sink<T> y, Index n, int D) {
    const Index i = global_thread();
    if (i >= n) return;
    const Move move = moves[i / D];
    y.put(move.to * static_cast<Index>(D) + i % D, wide(x[move.from * static_cast<Index>(D) + i % D]));
}

/// y[to, :] += x[sources[begin], :] + ... + x[sources[end - 1], :], in this order
template <class T>
__global__ void __launch_bounds__(256, 4)
    sum_rows_kernel(const T* x, const Sum* sums, const std::int32_t* sources, Sink<T> y, Index n, int D) {
    const Index i = global_thread();
    if (i >= n) return;
    const Sum of = sums[i / D];
    float value = 0;
    for (int s = of.begin; s < of.end; ++s) value += wide(x[sources[s] * static_cast<Index>(D) + i % D]);
    y.put(of.to * static_cast<Index>(D) + i % D, value);
}

/// slab[cache row of n, :] = rows[n, :]: new keys and values into their cache
template <class T>
__global__ void __launch_bounds__(256, 4)
    write_rows_kernel(const T* rows, const RowPlace* places, T* slab, Index n, int D) {
    const Index i = global_thread();
    if (i < n) slab[places[i / D].cache_row * static_cast<Index>(D) + i % D] = rows[i];
}

/// y[n, :] = w[ids[n], :], widened
template <class Rows, class T>
__global__ void __launch_bounds__(256, 4) embedding_kernel(Rows w, const std::int32_t* ids, T* y, Index n, int D) {
    const Index i = global_thread();
    if (i < n) y[i] = narrow<T>(w.at(ids[i / D], static_cast<int>(i % D)));
}

/// The element of y that element i of x [I * rows*cols, D] becomes under pixel shuffle by s.
struct PixelShuffle {
    int rows, cols, s, D;

    __device__ Index operator()(Index i) const {
        const Index n = i / D, image = n / (rows * cols);
        const int row = static_cast<int>(n / cols % rows), col = static_cast<int>(n % cols);
        const Index token = (image * (rows / s) + row / s) * (cols / s) + col / s;
        return (token * (s * s) + (row % s) * s + col % s) * D + i % D;
    }
};

/// The pixel of x [I, C, height, width] that element i of its patches [I * patches, C*p*p] is.
struct PatchPixel {
    int C, height, width, p;

    __device__ Index operator()(Index i) const {
        const int columns = C * p * p, across = width / p, down = height / p;
        const Index patch = i / columns;
        const int column = static_cast<int>(i % columns), X = static_cast<int>(patch % across);
        const int Y = static_cast<int>(patch / across % down);
        const int c = column / (p * p), dy = column / p % p, dx = column % p;
        return ((patch / (across * down) * C + c) * height + Y * p + dy) * width + X * p + dx;
    }
};

/// y[map(i)] = x[i], a permutation or an injection
template <class Map, class T>
__global__ void __launch_bounds__(256, 4) scatter_kernel(const T* x, Map map, Sink<T> y, Index n) {
    const Index i = global_thread();
    if (i < n) y.put(map(i), wide(x[i]));
}
/// y[i] = x[map(i)]
template <class Map, class T>
__global__ void __launch_bounds__(256, 4) gather_kernel(const T* x, Map map, Sink<T> y, Index n) {
    const Index i = global_thread();
    if (i < n) y.put(i, wide(x[map(i)]));
}

/// y[i] = numbers[c, x[map(i)]]: patches of what the bytes of each channel stand for
template <class T>
__global__ void __launch_bounds__(256, 4)
    patchify_bytes_kernel(const std::uint8_t* x, const float* numbers, PatchPixel map, T* y, Index n) {
    const Index i = global_thread();
    if (i >= n) return;
    const int c = static_cast<int>(i % (map.C * map.p * map.p)) / (map.p * map.p);
    y[i] = narrow<T>(numbers[256 * c + x[map(i)]]);
}

template <class T>
void move_rows(Stream& on, const T* x, const Move* moves, Index count, Sink<T> y, Index D) {
    const Index n = count * D;
    if (n > 0) launch(on, move_rows_kernel<T>, blocks_for(n, 256), 256, 0, x, moves, y, n, static_cast<int>(D));
}
template <class T>
void sum_rows(Stream& on, const T* x, const Sum* sums, Index count, const std::int32_t* sources, Sink<T> y, Index D) {
    const Index n = count * D;
    if (n > 0)
        launch(on, sum_rows_kernel<T>, blocks_for(n, 256), 256, 0, x, sums, sources, y, n, static_cast<int>(D));
}
template <class T>
void write_rows(Stream& on, const T* rows, const RowPlace* places, T* slab, Index N, Index D) {
    const Index n = N * D;
    if (n > 0) launch(on, write_rows_kernel<T>, blocks_for(n, 256), 256, 0, rows, places, slab, n, static_cast<int>(D));
}
template <class Rows, class T>
void embedding(Stream& on, const Rows& w, const std::int32_t* ids, T* y, Index N, Index D) {
    const Index n = N * D;
    if (n > 0) launch(on, embedding_kernel<Rows, T>, blocks_for(n, 256), 256, 0, w, ids, y, n, static_cast<int>(D));
}
template <class Map, class T>
void scatter(Stream& on, const T* x, const Map& map, Sink<T> y, Index n) {
    if (n > 0) launch(on, scatter_kernel<Map, T>, blocks_for(n, 256), 256, 0, x, map, y, n);
}
template <class Map, class T>
void gather(Stream& on, const T* x, const Map& map, Sink<T> y, Index n) {
    if (n > 0) launch(on, gather_kernel<Map, T>, blocks_for(n, 256), 256, 0, x, map, y, n);
}
template <class T>
void patchify_bytes(Stream& on, const std::uint8_t* x, const float* numbers, const PatchPixel& map, T* y, Index n) {
    if (n > 0) launch(on, patchify_bytes_kernel<T>, blocks_for(n, 256), 256, 0, x, numbers, map, y, n);
}

}  // namespace smolvlm::cuda

#include <smolvlm/cuda/platform_end.cuh>
