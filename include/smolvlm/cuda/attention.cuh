#pragma once
/// Grouped-query attention over ragged segments (ref/attention.hpp), without the matrix of scores: keys come by in tiles
/// of 32, and every row keeps the largest score m and the sum l of its weights so far, by which what it has added up is
/// scaled when a larger score comes (online softmax, Milakov & Gimelshein 2018, arXiv:1805.02867; in tiles, Dao et al.
/// 2022, arXiv:2205.14135).
///
///     m' = max(m, max_j s_j)     l' = l e^(m - m') + sum_j e^(s_j - m')     y' = y e^(m - m') + sum_j e^(s_j - m') v_j
///
/// A block of 128 threads takes 16 pairs (row, query head) of one segment that read one key/value head, four a warp: the
/// heads of a group share the keys in shared memory. For scores a lane is a key, for sums a lane is a column.

#include <smolvlm/cuda/launch.cuh>
#include <smolvlm/cuda/reduce.cuh>

#include <smolvlm/cuda/platform.cuh>

namespace smolvlm::cuda {

/// Sixteen pairs of one segment, or as many as the kernel takes: pair p is row q0 + p / group and head p % group of the
/// block's group.
struct PairTile {
    std::int32_t q0, first, pairs;  // pairs: of the whole segment
    std::int32_t k0, past, keys;
    std::int32_t causal;

    __device__ int visible(int pair, int group) const { return causal ? past + pair / group + 1 : keys; }
    /// Keys that any of the tile's pairs sees.
    __device__ int reach(int group, int size = 16) const {
        const int last = (first + size < pairs ? first + size : pairs) - 1;
        return visible(last, group);
    }
};

/// Numbers of heads, width of a head.
struct HeadShape {
    int H, G, K;
    float scale;  // 1 / sqrt(K)

    __device__ int group() const { return H / G; }
    __device__ Index query(int row, int head) const { return (static_cast<Index>(row) * H + head) * K; }
    __device__ Index key(int row, int g) const { return (static_cast<Index>(row) * G + g) * K; }
};

/// Head g of key rows row .. row + count - 1 to shared memory, zeros beyond them and beyond the width of the head.
template <int Width, std::size_t Padded, class T>
__device__ void load_keys(const T* k, const HeadShape& of, int row, int count, int g, float (&tile)[32][Padded]) {
    for (int i = thread(); i < 32 * Width; i += 128) {
        const int j = i / Width, d = i % Width;
        tile[j][d] = j < count && d < of.K ? wide(k[of.key(row + j, g) + d]) : 0.0f;
    }
}
/// The sixteen pairs' heads of q, or of anything of its shape.
template <int Width, std::size_t Padded, class T>
__device__ void load_pairs(const T* q, const HeadShape& of, const PairTile& t, int g, float (&tile)[16][Padded]) {
    for (int i = thread(); i < 16 * Width; i += 128) {
        const int p = i / Width, d = i % Width, pair = t.first + p, group = of.group();
        const bool there = pair < t.pairs && d < of.K;
        tile[p][d] = there ? wide(q[of.query(t.q0 + pair / group, g * group + pair % group) + d]) : 0.0f;
    }
}

template <int Width, std::size_t Padded>
__device__ float dot(const float (&a)[Padded], const float (&b)[Padded]) {
    float sum = 0;
#pragma unroll 16
    for (int d = 0; d < Width; ++d) sum += a[d] * b[d];
    return sum;
}

/// A row of a head in shared memory: one more than its width, so that a column lies in all banks.
template <int Width>
inline constexpr std::size_t padded = std::size_t{Width} + 1;
/// The columns of a head that one lane adds up: lane, lane + 32, ...
template <int Width>
inline constexpr std::size_t per_lane = std::size_t{Width} / 32;

template <int Width>
struct AttentionShared {
    float q[16][padded<Width>], k[32][padded<Width>], v[32][padded<Width>];
    float p[16][33];
};

/// q [N, H*K]   k, v [R, G*K]   ->   y [N, H*K]; grid (tiles, G). Width: K rounded up to what a warp holds.
template <int Width, class T>
__global__ void __launch_bounds__(128, 4)
    attention_kernel(const T* q, const T* k, const T* v, const PairTile* tiles, HeadShape of, T* y) {
    auto& s = shared_memory<AttentionShared<Width>>();
    const PairTile t = tiles[block()];
    const int g = block_y(), group = of.group(), reach = t.reach(group);
    load_pairs<Width>(q, of, t, g, s.q);
    float largest[4], weight[4] = {}, sum[4][per_lane<Width>] = {};
    for (int i = 0; i < 4; ++i) largest[i] = -INFINITY;

    for (int j0 = 0; j0 < reach; j0 += 32) {
        __syncthreads();  // the tile before has been read
        load_keys<Width>(k, of, t.k0 + j0, reach - j0, g, s.k);
        load_keys<Width>(v, of, t.k0 + j0, reach - j0, g, s.v);
        __syncthreads();
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const int p = warp() * 4 + i;
            const bool seen = t.first + p < t.pairs && j0 + lane() < t.visible(t.first + p, group);
            const float score = seen ? of.scale * dot<Width>(s.q[p], s.k[lane()]) : -INFINITY;
            const float most = fmaxf(largest[i], warp_max(score));
            const float base = most == -INFINITY ? 0.0f : most;  // nothing seen yet: all weights are 0
            const float a = expf(score - base), shrink = expf(largest[i] - base);
            weight[i] = weight[i] * shrink + warp_sum(a);
            largest[i] = most;
            s.p[p][lane()] = a;
#pragma unroll
            for (int e = 0; e < Width / 32; ++e) sum[i][e] *= shrink;
        }
        __syncwarp();
        for (int j = 0; j < 32; ++j)
#pragma unroll
            for (int e = 0; e < Width / 32; ++e)
#pragma unroll
                for (int i = 0; i < 4; ++i) sum[i][e] += s.p[warp() * 4 + i][j] * s.v[j][lane() + 32 * e];
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        const int pair = t.first + warp() * 4 + i;
        if (pair >= t.pairs) continue;
        const Index to = of.query(t.q0 + pair / group, g * group + pair % group);
        const float inverse = weight[i] > 0 ? 1.0f / weight[i] : 0.0f;
#pragma unroll
        for (int e = 0; e < Width / 32; ++e)
            if (lane() + 32 * e < of.K) y[to + lane() + 32 * e] = narrow<T>(sum[i][e] * inverse);
    }
}

/// f(constant) with the width in {32, 64, 96, 128} that holds a head of K columns.
template <class F>
void with_width(Index K, F&& f) {
    SMOLVLM_CHECK(K <= 128, ValueError, "attention: heads of ", K, " numbers; the kernels of CUDA hold up to 128");
    if (K <= 32) return f(std::integral_constant<int, 32>{});
    if (K <= 64) return f(std::integral_constant<int, 64>{});
    if (K <= 96) return f(std::integral_constant<int, 96>{});
    f(std::integral_constant<int, 128>{});
}

template <class T>
void attention(Stream& on, const T* q, const T* k, const T* v, const PairTile* tiles, Index count, const HeadShape& of,
               T* y) {
    if (count == 0) return;
    with_width(of.K, [&](auto width) {
        launch(on, attention_kernel<width(), T>, dim3(static_cast<unsigned>(count), static_cast<unsigned>(of.G)), 128,
               sizeof(AttentionShared<width()>), q, k, v, tiles, of, y);
    });
}

}  // namespace smolvlm::cuda

#include <smolvlm/cuda/platform_end.cuh>
