#pragma once
/// Attention on tensor cores, for half and bfloat16: the tiles and sums of attention.cuh, with 64 pairs to a block of 128
/// threads, sixteen a warp, and 64 keys at a time (FlashAttention-2, Dao 2023, arXiv:2307.08691).
///
/// Scores are fragments c of mma_m16n8k16: a lane holds, of eight keys, two columns of the rows lane / 4 and lane / 4 + 8.
/// Rounded to T, two such fragments are the fragment a of the product with the values, so weights never leave registers.
/// While one tile of keys and values is worked on, the next is on its way (cp.async); chunks of 16 bytes are swizzled as
/// in linear_mma.cuh. Shared memory: 40 KiB for heads of 64 columns, 80 for 128.

#include <smolvlm/cuda/attention.cuh>
#include <smolvlm/cuda/mma.cuh>
#include <smolvlm/cuda/weight.cuh>

#include <smolvlm/cuda/platform.cuh>

namespace smolvlm::cuda {

inline constexpr int mma_pairs = 64, mma_keys = 64;

/// 64 rows of a head, chunk c of row r at c with its low three bits turned by r.
template <int Width, class T>
using HeadTile = Eight<T>[64][std::size_t{Width} / 8];
__device__ inline int swizzled(int r, int c) { return c ^ (r % 8); }

template <int Width, class T>
struct AttentionMmaShared {
    HeadTile<Width, T> q, k[2], v[2];
};

/// Rows of a head to shared memory; from(r): where row r begins, or -1 for zeros.
template <int Width, class T, class From>
__device__ void load_head(const T* x, int K, From from, HeadTile<Width, T>& to) {
    for (int i = thread(); i < 64 * Width / 8; i += 128) {
        const int r = i / (Width / 8), c = i % (Width / 8);
        const Index first = from(r);
        const bool there = first >= 0 && c * 8 < K;
        cp_async16(&to[r][swizzled(r, c)], x + (there ? first + c * 8 : 0), there);
    }
}

/// The row of a head that pair p of a tile is, or -1 where there is none.
__device__ inline Index query_of(const PairTile& t, const HeadShape& of, int g, int p) {
    const int pair = t.first + p, group = of.group();
    return pair < t.pairs ? of.query(t.q0 + pair / group, g * group + pair % group) : -1;
}

/// Two numbers of T in one register, the first one low.
template <class T>
__device__ unsigned packed(float low, float high) {
    return static_cast<unsigned>(narrow<T>(low).bits) | static_cast<unsigned>(narrow<T>(high).bits) << 16;
}
/// Over the four lanes that hold one row.
__device__ inline float row_max(float x) {
    x = fmaxf(x, __shfl_xor_sync(whole_warp, x, 1));
    x = fmaxf(x, __shfl_xor_sync(whole_warp, x, 2));
    return x;
}
__device__ inline float row_sum(float x) {
    x += __shfl_xor_sync(whole_warp, x, 1);
    x += __shfl_xor_sync(whole_warp, x, 2);
    return x;
}

/// sum [16, Width] += weights x: a warp's weights, fragments c of 16 rows, rounded to T; rows first .. of x. Two fragments
/// of weights are one fragment a.
template <int Width, class T, std::size_t Eights>
__device__ void add_weighted_rows(const float (&weight)[Eights][4], const HeadTile<Width, T>& x, int first,
                                  float (&sum)[std::size_t{Width} / 8][4]) {
#pragma unroll
    for (int j = 0; j < static_cast<int>(Eights) / 2; ++j) {
        const unsigned a[4] = {packed<T>(weight[2 * j][0], weight[2 * j][1]), packed<T>(weight[2 * j][2], weight[2 * j][3]),
                               packed<T>(weight[2 * j + 1][0], weight[2 * j + 1][1]),
                               packed<T>(weight[2 * j + 1][2], weight[2 * j + 1][3])};
#pragma unroll
        for (int d = 0; d < Width / 16; ++d) {
            unsigned b[4];
            const int r = first + j * 16 + lane() % 16;
            ldmatrix_x4_trans(b, &x[r][swizzled(r, d * 2 + lane() / 16)]);
            const unsigned low[2] = {b[0], b[1]}, high[2] = {b[2], b[3]};
            mma_m16n8k16<T>(sum[2 * d], a, low);
            mma_m16n8k16<T>(sum[2 * d + 1], a, high);
        }
    }
}

/// q [N, H*K]   k, v [R, G*K]   ->   y [N, H*K]; grid (tiles of 64 pairs, G); K a multiple of 8, at most Width
template <int Width, class T>
__global__ void __launch_bounds__(128, 2)
    attention_mma_kernel(const T* q, const T* k, const T* v, const PairTile* tiles, HeadShape of, T* y) {
    auto& s = shared_memory<AttentionMmaShared<Width, T>>();
    const PairTile t = tiles[block()];
    const int g = block_y(), group = of.group(), reach = t.reach(group, mma_pairs);
    const auto query = [&](int p) { return query_of(t, of, g, p); };
    const auto load = [&](int j0, int stage) {
        const auto key = [&](int j) -> Index { return j0 + j < reach ? of.key(t.k0 + j0 + j, g) : -1; };
        load_head<Width>(k, of.K, key, s.k[stage]);
        load_head<Width>(v, of.K, key, s.v[stage]);
    };
    load_head<Width>(q, of.K, query, s.q);
    if (reach > 0) load(0, 0);
    cp_async_commit();

    const int upper = warp() * 16 + lane() / 4, column = lane() % 4 * 2;  // of this lane in a fragment c
    int visible[2];
    for (int r = 0; r < 2; ++r) visible[r] = t.visible(t.first + upper + 8 * r, group);
    unsigned a[std::size_t{Width} / 16][4];
    float largest[2] = {-INFINITY, -INFINITY}, weight[2] = {}, sum[std::size_t{Width} / 8][4] = {};

    for (int j0 = 0; j0 < reach; j0 += mma_keys) {
        const int stage = j0 / mma_keys % 2;
        cp_async_wait<0>();
        __syncthreads();  // this tile is here, and nobody reads the one before
        if (j0 + mma_keys < reach) load(j0 + mma_keys, stage ^ 1);
        cp_async_commit();
        if (j0 == 0)
#pragma unroll
            for (int d = 0; d < Width / 16; ++d) {
                const int r = warp() * 16 + lane() % 16;
                ldmatrix_x4(a[d], &s.q[r][swizzled(r, d * 2 + lane() / 16)]);
            }
        float score[8][4] = {};
#pragma unroll
        for (int d = 0; d < Width / 16; ++d)
#pragma unroll
            for (int j = 0; j < 4; ++j) {
                unsigned b[4];
                const int r = j * 16 + lane() % 8 + lane() / 16 * 8;
                ldmatrix_x4(b, &s.k[stage][r][swizzled(r, d * 2 + lane() / 8 % 2)]);
                const unsigned first[2] = {b[0], b[1]}, second[2] = {b[2], b[3]};
                mma_m16n8k16<T>(score[2 * j], a[d], first);
                mma_m16n8k16<T>(score[2 * j + 1], a[d], second);
            }
#pragma unroll
        for (int r = 0; r < 2; ++r) {  // the two rows of this lane
            float most = largest[r];
#pragma unroll
            for (int j = 0; j < 16; ++j) {
                float& x = score[j / 2][2 * r + j % 2];
                x = j0 + j / 2 * 8 + column + j % 2 < visible[r] ? of.scale * x : -INFINITY;
                most = fmaxf(most, x);
            }
            most = row_max(most);
            const float base = most == -INFINITY ? 0.0f : most, shrink = expf(largest[r] - base);
            float total = 0;
#pragma unroll
            for (int j = 0; j < 16; ++j) {
                float& x = score[j / 2][2 * r + j % 2];
                x = expf(x - base);
                total += x;
            }
            weight[r] = weight[r] * shrink + total;  // of this lane's columns; the row's at the end
            largest[r] = most;
#pragma unroll
            for (int d = 0; d < Width / 8; ++d) {
                sum[d][2 * r] *= shrink;
                sum[d][2 * r + 1] *= shrink;
            }
        }
        add_weighted_rows<Width, T>(score, s.v[stage], 0, sum);
    }
    cp_async_wait<0>();
#pragma unroll
    for (int r = 0; r < 2; ++r) {
        const float total = row_sum(weight[r]), inverse = total > 0 ? 1.0f / total : 0.0f;
        const Index to = query(upper + 8 * r);
#pragma unroll
        for (int d = 0; d < Width / 8; ++d)
#pragma unroll
            for (int e = 0; e < 2; ++e)
                if (to >= 0 && d * 8 + column + e < of.K)
                    y[to + d * 8 + column + e] = narrow<T>(sum[d][2 * r + e] * inverse);
    }
}

template <class T>
void attention_mma(Stream& on, const T* q, const T* k, const T* v, const PairTile* tiles, Index count, const HeadShape& of,
                   T* y) {
    if (count == 0) return;
    const dim3 grid(static_cast<unsigned>(count), static_cast<unsigned>(of.G));
    if (of.K <= 64)
        launch(on, attention_mma_kernel<64, T>, grid, 128, sizeof(AttentionMmaShared<64, T>), q, k, v, tiles, of, y);
    else
        launch(on, attention_mma_kernel<128, T>, grid, 128, sizeof(AttentionMmaShared<128, T>), q, k, v, tiles, of, y);
}

}  // namespace smolvlm::cuda

#include <smolvlm/cuda/platform_end.cuh>
