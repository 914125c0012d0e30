#pragma once
/// Products of matrices on tensor cores, for half and bfloat16: 16 x 8 x 16 at a time, summed in float (mma.sync). The
/// linear map x [N, K], w [M, K] and its derivatives are one kernel, whose factors lie in memory row by row or column by
/// column (weight.cuh); quantised weights are widened on the way to shared memory.
///
/// Steps of 64 along the sum come through three stages of shared memory: while one is multiplied, two are under way
/// (cp.async). A row of a stage is 8 or 16 chunks of 16 bytes; chunk c of row r lies at c ^ (r % 8), so that the eight
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
    static constexpr int tall = Tall, across = Across;
};

/// One step of a factor: Count of its rows, 64 of the sum; turned, if that is how it lies in memory.
template <bool Turned, int Count, class T>
using MmaPanel = std::conditional_t<Turned, Eight<T>[64][std::size_t{Count} / 8], Eight<T>[std::size_t{Count}][8]>;

template <class Tiles, bool TurnedA, bool TurnedB, class T>
struct MmaShared {
    struct Stage {
        MmaPanel<TurnedA, Tiles::rows, T> a;
        MmaPanel<TurnedB, Tiles::columns, T> b;
    };
    Stage stage[std::size_t{Tiles::stages}];
};

/// Eight neighbours in memory, of row r from k on, to shared memory: asynchronously where they lie as they are wanted.
template <class T>
__device__ void load_eight(const DenseRows<T>& from, int r, int k, bool there, Eight<T>& to) {
    cp_async16(&to, from.values + (there ? static_cast<Index>(r) * from.K + k : 0), there);
}
template <class T>
__device__ void load_eight(const DenseColumns<T>& from, int r, int k, bool there, Eight<T>& to) {
    load_eight(DenseRows<T>{from.values, from.width}, r, k, there, to);
}
template <class T, class Rows>
__device__ void load_eight(const Rows& from, int r, int k, bool there, Eight<T>& to) {
    float x[8] = {};
    if (there) from.eight(r, k, x);
    for (int j = 0; j < 8; ++j) to.value[j] = narrow<T>(x[j]);
}
template <class T, class Rows>
__device__ void load_eight(const Turned<Rows>& from, int r, int k, bool there, Eight<T>& to) {
    load_eight(from.rows, r, k, there, to);
}
template <class T, class Rows>
__device__ void load_eight(const Interleaved<Rows>& from, int r, int k, bool there, Eight<T>& to) {
    load_eight(from.of(r), r / 2, k, there, to);
}

/// The rows first .. of a factor with R of them, k0 .. k0 + 63 of a sum over K; zeros beyond its ends.
template <int Threads, class Factor, class T, std::size_t Down, std::size_t Across>
__device__ void load_panel(const Factor& from, int first, int R, int k0, int K, Eight<T> (&to)[Down][Across]) {
    constexpr int across = static_cast<int>(Across);
    for (int i = thread(); i < static_cast<int>(Down) * across; i += Threads) {
        const int r = i / across, c = i % across;
        if constexpr (is_turned<Factor>)
            load_eight(from, k0 + r, first + c * 8, k0 + r < K && first + c * 8 < R, to[r][c ^ r % 8]);
        else
            load_eight(from, first + r, k0 + c * 8, first + r < R && k0 + c * 8 < K, to[r][c ^ r % 8]);
    }
}

/// Fragment a of mma_m16n8k16: sixteen rows from `row` on, sixteen of the sum from k on.
template <bool Turned, class T, std::size_t Down, std::size_t Across>
__device__ void load_a(const Eight<T> (&from)[Down][Across], int row, int k, unsigned (&a)[4]) {
    if constexpr (Turned) {
        const int r = k + lane() % 8 + lane() / 16 * 8;
        ldmatrix_x4_trans(a, &from[r][(row / 8 + lane() / 8 % 2) ^ r % 8]);
    } else {
        const int r = row + lane() % 16;
        ldmatrix_x4(a, &from[r][(k / 8 + lane() / 16) ^ r % 8]);
    }
}
/// Two fragments b, of the rows (columns of the result) from `row` on and from row + 8 on.
template <bool Turned, class T, std::size_t Down, std::size_t Across>
__device__ void load_b(const Eight<T> (&from)[Down][Across], int row, int k, unsigned (&b)[4]) {
    if constexpr (Turned) {
        const int r = k + lane() % 16;
        ldmatrix_x4_trans(b, &from[r][(row / 8 + lane() / 16) ^ r % 8]);
    } else {
        const int r = row + lane() % 8 + lane() / 16 * 8;
        ldmatrix_x4(b, &from[r][(k / 8 + lane() / 8 % 2) ^ r % 8]);
    }
}

/// y(n, m, sum_k a(n, k) b(m, k)), y an epilogue; every row in memory a multiple of 8 long
template <class Tiles, class A, class B, class Out>
__global__ void __launch_bounds__(Tiles::threads, 1) gemm_mma_kernel(A a, B b, Out y, int N, int M, int K) {
    using T = typename Out::Element;
    auto& s = shared_memory<MmaShared<Tiles, is_turned<A>, is_turned<B>, T>>();
    constexpr int tall = Tiles::tall, across = Tiles::across;
    const int n0 = block_y() * Tiles::rows, m0 = block() * Tiles::columns, steps = (K + 63) / 64;
    const int row = warp() / across * tall * 16, column = warp() % across * 32;  // of this warp in the block
    const auto load = [&](int step) {
        auto& stage = s.stage[step % Tiles::stages];
        load_panel<Tiles::threads>(a, n0, N, step * 64, K, stage.a);
        load_panel<Tiles::threads>(b, m0, M, step * 64, K, stage.b);
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
        for (int k = 0; k < 64; k += 16) {
            unsigned left[std::size_t{tall}][4], right[2][4];
#pragma unroll
            for (int i = 0; i < tall; ++i) load_a<is_turned<A>>(stage.a, row + i * 16, k, left[i]);
#pragma unroll
            for (int j = 0; j < 2; ++j) load_b<is_turned<B>>(stage.b, column + j * 16, k, right[j]);
#pragma unroll
            for (int i = 0; i < tall; ++i)
#pragma unroll
                for (int j = 0; j < 4; ++j) {
                    const unsigned pair[2] = {right[j / 2][j % 2 * 2], right[j / 2][j % 2 * 2 + 1]};
                    mma_m16n8k16<T>(sum[i][j], left[i], pair);
                }
        }
    }
    cp_async_wait<0>();
#pragma unroll  // or the sums would be looked up in memory
    for (int i = 0; i < tall; ++i)
#pragma unroll
        for (int j = 0; j < 4; ++j)
#pragma unroll
            for (int e = 0; e < 4; e += Out::sums) {
                const int n = n0 + row + i * 16 + lane() / 4 + e / 2 * 8, m = m0 + column + j * 8 + lane() % 4 * 2 + e % 2;
                if (n < N && m < M) y(n, m, M, &sum[i][j][e]);
            }
}

template <class Tiles, class A, class B, class Out>
void gemm_mma(Stream& on, const A& a, const B& b, const Out& y, Index N, Index M, Index K) {
    launch(on, gemm_mma_kernel<Tiles, A, B, Out>, dim3(blocks_for(M, Tiles::columns), blocks_for(N, Tiles::rows)),
           static_cast<unsigned>(Tiles::threads),
           sizeof(MmaShared<Tiles, is_turned<A>, is_turned<B>, typename Out::Element>), a, b, y, static_cast<int>(N),
           static_cast<int>(M), static_cast<int>(K));
}

/// Whether a factor's neighbours in memory, of its R rows and K columns, come in whole words of eight.
template <class Factor>
bool in_words(const Factor&, Index R, Index K) {
    return (is_turned<Factor> ? R : K) % 8 == 0;
}

/// y = a b^T by tensor cores (large tiles where they fill a large device), or in float arithmetic where the type has none
/// or rows in memory come in no whole words. y: an epilogue, which may have nowhere to put anything.
template <class A, class B, class Out>
void product(Stream& on, const A& a, const B& b, const Out& y, Index N, Index M, Index K) {
    if (N == 0 || M == 0 || !y.y.data) return;
    if constexpr (tensor_cores<typename Out::Element>)
        if (in_words(a, N, K) && in_words(b, M, K)) {
            if (N / 128 * (M / 128) >= 128) return gemm_mma<MmaTiles<2, 4, 4>>(on, a, b, y, N, M, K);
            return gemm_mma<MmaTiles<2, 2, 2>>(on, a, b, y, N, M, K);
        }
    gemm(on, a, b, y, N, M, K);
}

/// The linear map: few rows go the way of decoding.
template <class T, class Rows, class Out>
void linear(Stream& on, const DenseRows<T>& x, const Rows& w, const Out& y, Index N, Index M, Index K) {
    if (N <= few_rows && N > 0 && M > 0) return linear_few(on, x.values, w, y, N, M, K);
    product(on, x, w, y, N, M, K);
}

}  // namespace smolvlm::cuda

#include <smolvlm/cuda/platform_end.cuh>
