#pragma once
/// RMSNorm and LayerNorm (ref/rms_norm.hpp, ref/layer_norm.hpp): two norms, one kernel. RMSNorm is the one whose mean
/// is taken for 0.
///
///     y_j = w_j (x_j - m) s + b_j          s = 1 / sqrt(mean_j (x_j - m)^2 + eps)
///
/// One block of 128 threads a row; the row is read twice, the second time from the cache. Any width. The residual that
/// stands before most norms is added on the way: x += h, then the norm of x.

#include <smolvlm/cuda/launch.cuh>
#include <smolvlm/cuda/reduce.cuh>

#include <smolvlm/cuda/platform.cuh>

namespace smolvlm::cuda {

struct NormShared {
    float partial[4];
};

struct Moments {
    float m, s;
};

/// Mean (of LayerNorm) and factor of one row, for all threads of the block.
template <bool Centred, class T>
__device__ Moments row_moments(const T* row, int D, float eps, float (&partial)[4]) {
    float mean = 0;
    if constexpr (Centred) {
        float sum = 0;
        for (int j = thread(); j < D; j += 128) sum += wide(row[j]);
        mean = block_sum(sum, partial) / static_cast<float>(D);
    }
    float squares = 0;
    for (int j = thread(); j < D; j += 128) {
        const float z = wide(row[j]) - mean;
        squares += z * z;
    }
    squares = block_sum(squares, partial);
    return {mean, 1.0f / sqrtf(squares / static_cast<float>(D) + eps)};
}

/// x [N, D]   w [D]   b [D] or null   ->   y [N, D]
/// With h [N, D], which may be null, sum = x + h is made first, rounded as in memory, and y is its norm. sum may be x.
template <bool Centred, class T>
__global__ void __launch_bounds__(128, 8)
    norm_kernel(const T* x, const T* h, T* sum, const T* w, const T* b, float eps, T* y, int D) {
    auto& s = shared_memory<NormShared>();
    const Index first = static_cast<Index>(block()) * D;
    const T* row = x + first;
    if (h) {
        for (int j = thread(); j < D; j += 128) sum[first + j] = narrow<T>(wide(row[j]) + wide(h[first + j]));
        row = sum + first;  // of which every thread reads what it wrote itself
    }
    const Moments of = row_moments<Centred>(row, D, eps, s.partial);
    for (int j = thread(); j < D; j += 128) {
        const float z = (wide(row[j]) - of.m) * of.s;
        y[first + j] = narrow<T>(wide(w[j]) * z + (b ? wide(b[j]) : 0.0f));
    }
}

/// With z_j = (x_j - m) s and g_j = w_j dy_j:
///     dx_j += s (g_j - mean_k g_k - z_j mean_k g_k z_k)          the first mean is LayerNorm's alone
/// and the moments of every row, which the derivative in w needs once more.
template <bool Centred, class T>
__global__ void __launch_bounds__(128, 8)
    norm_vjp_kernel(const T* x, const T* w, float eps, const T* dy, Sink<T> dx, Moments* moments, int D) {
    auto& s = shared_memory<NormShared>();
    const Index first = static_cast<Index>(block()) * D;
    const Moments of = row_moments<Centred>(x + first, D, eps, s.partial);
    float mean_g = 0, mean_gz = 0;
    for (int j = thread(); j < D; j += 128) {
        const float g = wide(w[j]) * wide(dy[first + j]);
        if constexpr (Centred) mean_g += g;
        mean_gz += g * ((wide(x[first + j]) - of.m) * of.s);
    }
    if constexpr (Centred) mean_g = block_sum(mean_g, s.partial) / static_cast<float>(D);
    mean_gz = block_sum(mean_gz, s.partial) / static_cast<float>(D);
    for (int j = thread(); j < D; j += 128) {
        const float z = (wide(x[first + j]) - of.m) * of.s;
        dx.put(first + j, of.s * (wide(w[j]) * wide(dy[first + j]) - mean_g - z * mean_gz));
    }
    if (thread() == 0) moments[block()] = of;
}

struct ColumnShared {
    float weight[8][32], bias[8][32];
};

/// dw_j += sum over rows of dy_j z_j          db_j += sum over rows of dy_j
/// Without moments z is left out: the sum of columns alone, which is the derivative in any bias. A block of 256
/// threads sums 32 columns, eight rows at a time.
template <class T>
__global__ void __launch_bounds__(256, 4) column_sums_kernel(const T* x, const Moments* moments, const T* dy, Sink<T> dw,
                                                             Sink<T> db, int N, int D) {
    auto& s = shared_memory<ColumnShared>();
    const int j = block() * 32 + lane();
    float weight = 0, bias = 0;
    for (int n = warp(); n < N && j < D; n += 8) {
        const Index i = static_cast<Index>(n) * D + j;
        const float g = wide(dy[i]);
        bias += g;
        if (moments) weight += g * ((wide(x[i]) - moments[n].m) * moments[n].s);
    }
    s.weight[warp()][lane()] = weight;
    s.bias[warp()][lane()] = bias;
    __syncthreads();
    if (warp() != 0 || j >= D) return;
    weight = bias = 0;
    for (int part = 0; part < 8; ++part) {
        weight += s.weight[part][lane()];
        bias += s.bias[part][lane()];
    }
    dw.put(j, weight);
    db.put(j, bias);
}

template <bool Centred, class T>
void norm(Stream& on, const T* x, const T* h, T* sum, const T* w, const T* b, float eps, T* y, Index N, Index D) {
    if (N > 0)
        launch(on, norm_kernel<Centred, T>, static_cast<unsigned>(N), 128, sizeof(NormShared), x, h, sum, w, b, eps, y,
               static_cast<int>(D));
}
/// moments: room for N of them.
template <bool Centred, class T>
void norm_vjp(Stream& on, const T* x, const T* w, float eps, const T* dy, Sink<T> dx, Sink<T> dw, Sink<T> db,
              Moments* moments, Index N, Index D) {
    if (N > 0)
        launch(on, norm_vjp_kernel<Centred, T>, static_cast<unsigned>(N), 128, sizeof(NormShared), x, w, eps, dy, dx,
               moments, static_cast<int>(D));
    if (dw.data || db.data)
        launch(on, column_sums_kernel<T>, blocks_for(D, 32), 256, sizeof(ColumnShared), x,
               static_cast<const Moments*>(moments), dy, dw, db, static_cast<int>(N), static_cast<int>(D));
}
/// db[j] += sum over rows of dy[n, j]
template <class T>
void column_sums(Stream& on, const T* dy, Sink<T> db, Index N, Index D) {
    if (db.data)
        launch(on, column_sums_kernel<T>, blocks_for(D, 32), 256, sizeof(ColumnShared), static_cast<const T*>(nullptr),
               static_cast<const Moments*>(nullptr), dy, Sink<T>{}, db, static_cast<int>(N), static_cast<int>(D));
}

}  // namespace smolvlm::cuda

#include <smolvlm/cuda/platform_end.cuh>
