#pragma once
/// Linear maps in float arithmetic (ref/linear.hpp): the product of two matrices of any form in memory, and the product
/// with few rows that decoding is made of. Those of tensor cores: linear_mma.cuh.

#include <smolvlm/cuda/epilogue.cuh>
#include <smolvlm/cuda/launch.cuh>
#include <smolvlm/cuda/reduce.cuh>
#include <smolvlm/cuda/weight.cuh>

#include <smolvlm/cuda/platform.cuh>

namespace smolvlm::cuda {

inline constexpr int tile_rows = 64, tile_columns = 64, tile_depth = 16;

/// One step's part of both factors, k by k. Rows are padded by four: 16-byte reads stay aligned, and the stores of
/// neighbouring k do not meet in one bank.
struct LinearTile {
    float a[tile_depth][tile_rows + 4], b[tile_depth][tile_columns + 4];
};

/// Rows first .. first + 63, columns k0 .. k0 + 15 of a matrix [R, K] to shared memory; zeros beyond its ends.
template <class Rows>
__device__ void load_tile(const Rows& rows, int first, int R, int k0, int K, float (&tile)[tile_depth][tile_rows + 4]) {
    for (int i = 0; i < 4; ++i) {
        const int k = is_turned<Rows> ? thread() / 64 + 4 * i : thread() % 16;
        const int r = is_turned<Rows> ? thread() % 64 : thread() / 16 + 16 * i;
        tile[k][r] = first + r < R && k0 + k < K ? rows.at(first + r, k0 + k) : 0.0f;
    }
}

/// y(n, m, sum_k a(n, k) b(m, k)), y an epilogue
/// A block of 256 threads makes 64 x 64 results, a thread 4 x 4 of them. Shared memory: 8.5 KiB.
template <class A, class B, class Out>
__global__ void __launch_bounds__(256, 2) gemm_kernel(A a, B b, Out y, int N, int M, int K) {
    auto& s = shared_memory<LinearTile>();
    const int n0 = block_y() * tile_rows, m0 = block() * tile_columns;
    const int row = thread() / 16 * 4, column = thread() % 16 * 4;
    float sum[4][4] = {};
    for (int k0 = 0; k0 < K; k0 += tile_depth) {
        load_tile(a, n0, N, k0, K, s.a);
        load_tile(b, m0, M, k0, K, s.b);
        __syncthreads();
#pragma unroll
        for (int k = 0; k < tile_depth; ++k)
#pragma unroll
            for (int i = 0; i < 4; ++i)
#pragma unroll
                for (int j = 0; j < 4; ++j) sum[i][j] += s.a[k][row + i] * s.b[k][column + j];
        __syncthreads();  // nobody reads this step's tile any more
    }
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int j = 0; j < 4; j += Out::sums) {
            const int n = n0 + row + i, m = m0 + column + j;
            if (n < N && m < M) y(n, m, M, &sum[i][j]);
        }
}

/// x rows [N, K], w [M, K]: the sums of one m with N <= Few rows at a time, `split` warps sharing the K of one m.
/// A block of 128 threads makes 4 / split columns. What a decode step waits for is the memory that w is read from, so w
/// is read once, in words of 16 bytes, and enough warps are under way even where M is small.
template <int Few>
struct FewShared {
    float partial[4][std::size_t{Few}];
};
template <int Few, class Rows, class T, class Out>
__global__ void __launch_bounds__(128, 8)
    linear_few_kernel(const T* x, Rows w, Out y, int N, int M, int K, int split) {
    auto& s = shared_memory<FewShared<Few>>();
    const int m = block() * (4 / split) + warp() / split, first = block_y() * Few;
    const DenseRows<T> rows{x, K};
    float sum[std::size_t{Few}] = {};
    if (m < M && K % 8 == 0) {
        for (int k = (warp() % split * 32 + lane()) * 8; k < K; k += split * 256) {
            float b[8], a[8];
            w.eight(m, k, b);
#pragma unroll
            for (int i = 0; i < Few; ++i) {
                if (first + i >= N) continue;
                rows.eight(first + i, k, a);
#pragma unroll
                for (int j = 0; j < 8; ++j) sum[i] += a[j] * b[j];
            }
        }
    } else if (m < M) {
        for (int k = warp() % split * 32 + lane(); k < K; k += split * 32)
            for (int i = 0; i < Few; ++i)
                if (first + i < N) sum[i] += rows.at(first + i, k) * w.at(m, k);
    }
    for (int i = 0; i < Few; ++i) {
        const float total = warp_sum(sum[i]);
        if (lane() == 0) s.partial[warp()][i] = total;
    }
    __syncthreads();
    // Thread t finishes result t / Few of the block's and row t % Few.
    const int local = thread() / Few * Out::sums, column = block() * (4 / split) + local, n = first + thread() % Few;
    if (local >= 4 / split || column >= M || n >= N) return;
    float total[std::size_t{Out::sums}] = {};
#pragma unroll
    for (int e = 0; e < Out::sums; ++e)
        for (int part = 0; part < split; ++part) total[e] += s.partial[(local + e) * split + part][thread() % Few];
    y(n, column, M, total);
}

template <class A, class B, class Out>
void gemm(Stream& on, const A& a, const B& b, const Out& y, Index N, Index M, Index K) {
    if (N == 0 || M == 0) return;
    launch(on, gemm_kernel<A, B, Out>, dim3(blocks_for(M, tile_columns), blocks_for(N, tile_rows)), 256,
           sizeof(LinearTile), a, b, y, static_cast<int>(N), static_cast<int>(M), static_cast<int>(K));
}

/// Up to so many rows go the way of decoding, where every weight is read from memory for each four of them.
inline constexpr Index few_rows = 8;

template <class Rows, class T, class Out>
void linear_few(Stream& on, const T* x, const Rows& w, const Out& y, Index N, Index M, Index K) {
    const int split = K >= 1024 && M < 4096 ? 4 / Out::sums : 1;
    const unsigned columns = blocks_for(M, 4 / split);
    const auto n = static_cast<int>(N), m = static_cast<int>(M), k = static_cast<int>(K);
    if (N == 1)
        launch(on, linear_few_kernel<1, Rows, T, Out>, dim3(columns), 128, sizeof(FewShared<1>), x, w, y, n, m, k, split);
    else
        launch(on, linear_few_kernel<4, Rows, T, Out>, dim3(columns, blocks_for(N, 4)), 128, sizeof(FewShared<4>), x, w, y,
               n, m, k, split);
}

}  // namespace smolvlm::cuda

#include <smolvlm/cuda/platform_end.cuh>
