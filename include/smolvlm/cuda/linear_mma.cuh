#pragma once
/// Linear maps on tensor cores: x [N, K], w [M, K], both half or both bfloat16 (w also Q8_0 or Q4_0, widened on the way
/// to shared memory), products of 16 x 8 x 16 summed in float (mma.sync.m16n8k16).
///
/// Steps of 64 along K come through three stages of shared memory: while one is multiplied, two are under way
/// (cp.async). A row of a stage is 128 bytes, eight chunks of 16; chunk c of row r lies at c ^ (r % 8), so that the eight
/// rows that one phase of ldmatrix reads lie in all 32 banks.

#include <smolvlm/cuda/linear.cuh>
#include <smolvlm/cuda/mma.cuh>

#include <smolvlm/cuda/platform.cuh>

namespace smolvlm::cuda {

/// Whether there are tensor cores for numbers of this type that lose none of their digits.
template <class T>
inline constexpr bool tensor_cores = !std::is_same_v<T, float>;

/// A block of Down x Across warps, each of which makes Tall*16 x 32 results.
template <int Down, int Across, int Tall>
struct MmaTiles {
    static constexpr int rows = Down * Tall * 16, columns = Across * 32, threads = Down * Across * 32;
    static constexpr int depth = 64, stages = 3;
};

template <class Tiles, class T>
struct MmaShared {
    struct Stage {
        Eight<T> x[std::size_t{Tiles::rows}][8], w[std::size_t{Tiles::columns}][8];
    };
    Stage stage[std::size_t{Tiles::stages}];
};

/// Rows first .. of a matrix [R, K], columns k0 .. k0 + 63, to swizzled shared memory; zeros beyond its ends.
template <int Threads, std::size_t Count, class T>
__device__ void load_stage(const DenseRows<T>& rows, int first, int R, int k0, int K, Eight<T> (&to)[Count][8]) {
    for (int i = thread(); i < static_cast<int>(Count) * 8; i += Threads) {
        const int r = i / 8, c = i % 8;
        const bool there = first + r < R && k0 + c * 8 < K;
        const T* from = rows.values + (there ? static_cast<Index>(first + r) * K + k0 + c * 8 : 0);
        cp_async16(&to[r][c ^ r % 8], from, there);
    }
}
template <int Threads, std::size_t Count, class T, class Rows>
__device__ void load_stage(const Rows& rows, int first, int R, int k0, int K, Eight<T> (&to)[Count][8]) {
    for (int i = thread(); i < static_cast<int>(Count) * 8; i += Threads) {
        const int r = i / 8, c = i % 8;
        float x[8] = {};
        if (first + r < R && k0 + c * 8 < K) rows.eight(first + r, k0 + c * 8, x);
        for (int j = 0; j < 8; ++j) to[r][c ^ r % 8].value[j] = narrow<T>(x[j]);
    }
}

/// y[n, m] = or += bias[m] + sum_k x[n, k] w[m, k], K a multiple of 8
template <class Tiles, class Rows, class T>
__global__ void __launch_bounds__(Tiles::threads, 1)
    linear_mma_kernel(DenseRows<T> x, Rows w, const T* bias, Sink<T> y, int N, int M, int K) {
    auto& s = shared_memory<MmaShared<Tiles, T>>();
    constexpr int tall = Tiles::rows / 16 * Tiles::columns / 32 / (Tiles::threads / 32), across = Tiles::columns / 32;
    const int n0 = block_y() * Tiles::rows, m0 = block() * Tiles::columns, steps = (K + 63) / 64;
    const int row = warp() / across * tall * 16, column = warp() % across * 32;  // of this warp in the block
    const auto load = [&](int step) {
        auto& stage = s.stage[step % Tiles::stages];
        load_stage<Tiles::threads>(x, n0, N, step * 64, K, stage.x);
        load_stage<Tiles::threads>(w, m0, M, step * 64, K, stage.w);
    };
    for (int step = 0; step < Tiles::stages - 1; ++step) {
        if (step < steps) load(step);
        cp_async_commit();
    }
    float sum[std::size_t{tall}][4][4] = {};
    for (int step = 0; step < steps; ++step) {
        cp_async_wait<Tiles::stages - 2>();
        __syncthreads();  // everybody's part of this stage is here, and the stage before it is no longer read
        if (step + Tiles::stages - 1 < steps) load(step + Tiles::stages - 1);
        cp_async_commit();
        const auto& stage = s.stage[step % Tiles::stages];
#pragma unroll
        for (int k = 0; k < 4; ++k) {
            unsigned a[std::size_t{tall}][4], b[2][4];
#pragma unroll
            for (int i = 0; i < tall; ++i) {  // lane: row lane % 16, left or right eight columns
                const int r = row + i * 16 + lane() % 16;
                ldmatrix_x4(a[i], &stage.x[r][(k * 2 + lane() / 16) ^ r % 8]);
            }
#pragma unroll
            for (int j = 0; j < 2; ++j) {  // two columns of eight results: lane % 8 + 8 (lane / 16), halves of k
                const int r = column + j * 16 + lane() % 8 + lane() / 16 * 8;
                ldmatrix_x4(b[j], &stage.w[r][(k * 2 + lane() / 8 % 2) ^ r % 8]);
            }
#pragma unroll
            for (int i = 0; i < tall; ++i)
#pragma unroll
                for (int j = 0; j < 4; ++j) {
                    const unsigned pair[2] = {b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]};
                    mma_m16n8k16<T>(sum[i][j], a[i], pair);
                }
        }
    }
    cp_async_wait<0>();
#pragma unroll  // or the sums would be looked up in memory
    for (int i = 0; i < tall; ++i)
#pragma unroll
        for (int j = 0; j < 4; ++j)
#pragma unroll
            for (int e = 0; e < 4; ++e) {
                const int n = n0 + row + i * 16 + lane() / 4 + e / 2 * 8, m = m0 + column + j * 8 + lane() % 4 * 2 + e % 2;
                if (n < N && m < M)
                    y.put(static_cast<Index>(n) * M + m, sum[i][j][e] + (bias ? wide(bias[m]) : 0.0f));
            }
}

template <class Tiles, class Rows, class T>
void launch_linear_mma(Stream& on, const DenseRows<T>& x, const Rows& w, const T* bias, Sink<T> y, Index N, Index M,
                       Index K) {
    launch(on, linear_mma_kernel<Tiles, Rows, T>, dim3(blocks_for(M, Tiles::columns), blocks_for(N, Tiles::rows)),
           static_cast<unsigned>(Tiles::threads), sizeof(MmaShared<Tiles, T>), x, w, bias, y, static_cast<int>(N),
           static_cast<int>(M), static_cast<int>(K));
}

/// The way of a linear map: few rows, tensor cores (large tiles where they fill a large device), or neither.
template <class Rows, class T>
void linear(Stream& on, const DenseRows<T>& x, const Rows& w, const T* bias, T* y, Index N, Index M, Index K) {
    if (N == 0 || M == 0) return;
    if (N <= few_rows) return linear_few(on, x.values, w, bias, y, N, M, K);
    if constexpr (tensor_cores<T>) {
        if (K % 8 == 0 && N / 128 * (M / 128) >= 128)
            return launch_linear_mma<MmaTiles<2, 4, 4>>(on, x, w, bias, Sink<T>{y}, N, M, K);
        if (K % 8 == 0) return launch_linear_mma<MmaTiles<2, 2, 2>>(on, x, w, bias, Sink<T>{y}, N, M, K);
    }
    gemm(on, x, w, bias, Sink<T>{y}, N, M, K);
}

}  // namespace smolvlm::cuda

#include <smolvlm/cuda/platform_end.cuh>
