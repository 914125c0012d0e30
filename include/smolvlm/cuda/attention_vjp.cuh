#pragma once
/// The vector-Jacobian product of attention (ref/attention.hpp), scores computed again instead of kept (Dao et al. 2022,
/// arXiv:2205.14135). With a_j the weights of one query, da_j = dy . v_j and
///
///     delta = sum_j a_j da_j          ds_j = a_j (da_j - delta)
///     dq += sum_j ds_j k_j / sqrt(K)          dk_j += ds_j q / sqrt(K)          dv_j += a_j dy
///
/// Two kernels, so that each sum lies in one block and needs no atomics: by queries for dq, which also leaves
/// (log_sum_exp, delta) of every pair; then by keys for dk and dv. Blocks of 128 threads, tiles of 16 pairs x 32 keys.

#include <smolvlm/cuda/attention.cuh>

#include <smolvlm/cuda/platform.cuh>

namespace smolvlm::cuda {

/// What the second kernel needs to know of a query: its softmax's denominator as a logarithm, and delta.
struct PairSums {
    float log_sum_exp, delta;
};

template <int Width>
struct AttentionVjpShared {
    float q[16][padded<Width>], dy[16][padded<Width>], k[32][padded<Width>], v[32][padded<Width>];
    float a[16][33], ds[16][33];
};

/// grid (tiles, G)   ->   dq [N, H*K], sums [N, H]
template <int Width, class T>
__global__ void __launch_bounds__(128, 2) attention_vjp_queries_kernel(const T* q, const T* k, const T* v, const T* dy,
                                                                       const PairTile* tiles, HeadShape of, Sink<T> dq,
                                                                       PairSums* sums) {
    auto& s = shared_memory<AttentionVjpShared<Width>>();
    const PairTile t = tiles[block()];
    const int g = block_y(), group = of.group(), reach = t.reach(group);
    load_pairs<Width>(q, of, t, g, s.q);
    load_pairs<Width>(dy, of, t, g, s.dy);
    float largest[4], weight[4] = {}, delta[4] = {}, sum[4][per_lane<Width>] = {};
    for (int i = 0; i < 4; ++i) largest[i] = -INFINITY;

    for (int j0 = 0; j0 < reach; j0 += 32) {  // once over the keys for the sums of softmax
        __syncthreads();
        load_keys<Width>(k, of, t.k0 + j0, reach - j0, g, s.k);
        load_keys<Width>(v, of, t.k0 + j0, reach - j0, g, s.v);
        __syncthreads();
        for (int i = 0; i < 4; ++i) {
            const int p = warp() * 4 + i;
            const bool seen = t.first + p < t.pairs && j0 + lane() < t.visible(t.first + p, group);
            const float score = seen ? of.scale * dot<Width>(s.q[p], s.k[lane()]) : -INFINITY;
            const float most = fmaxf(largest[i], warp_max(score));
            const float base = most == -INFINITY ? 0.0f : most;
            const float a = expf(score - base), shrink = expf(largest[i] - base);
            weight[i] = weight[i] * shrink + warp_sum(a);
            delta[i] = delta[i] * shrink + warp_sum(a * dot<Width>(s.dy[p], s.v[lane()]));
            largest[i] = most;
        }
    }
    for (int i = 0; i < 4; ++i) {
        delta[i] = weight[i] > 0 ? delta[i] / weight[i] : 0.0f;
        weight[i] = weight[i] > 0 ? largest[i] + logf(weight[i]) : 0.0f;  // from here on log_sum_exp
    }
    for (int j0 = 0; j0 < reach; j0 += 32) {  // and once for ds k
        __syncthreads();
        load_keys<Width>(k, of, t.k0 + j0, reach - j0, g, s.k);
        load_keys<Width>(v, of, t.k0 + j0, reach - j0, g, s.v);
        __syncthreads();
        for (int i = 0; i < 4; ++i) {
            const int p = warp() * 4 + i;
            const bool seen = t.first + p < t.pairs && j0 + lane() < t.visible(t.first + p, group);
            const float a = seen ? expf(of.scale * dot<Width>(s.q[p], s.k[lane()]) - weight[i]) : 0.0f;
            s.ds[p][lane()] = a * (dot<Width>(s.dy[p], s.v[lane()]) - delta[i]);
        }
        __syncwarp();
        for (int j = 0; j < 32; ++j)
#pragma unroll
            for (int e = 0; e < Width / 32; ++e)
#pragma unroll
                for (int i = 0; i < 4; ++i) sum[i][e] += s.ds[warp() * 4 + i][j] * s.k[j][lane() + 32 * e];
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        const int pair = t.first + warp() * 4 + i;
        if (pair >= t.pairs) continue;
        const int row = t.q0 + pair / group, head = g * group + pair % group;
#pragma unroll
        for (int e = 0; e < Width / 32; ++e)
            if (lane() + 32 * e < of.K) dq.put(of.query(row, head) + lane() + 32 * e, of.scale * sum[i][e]);
        if (lane() == 0) sums[static_cast<Index>(row) * of.H + head] = {weight[i], delta[i]};
    }
}

/// grid (R / 32, G): dk, dv [R, G*K] of 32 key rows, from all tiles of pairs of all segments that reach them
template <int Width, class T>
__global__ void __launch_bounds__(128, 2)
    attention_vjp_keys_kernel(const T* q, const T* k, const T* v, const T* dy, const PairTile* tiles, int count,
                              HeadShape of, const PairSums* sums, Sink<T> dk, Sink<T> dv, int R) {
    auto& s = shared_memory<AttentionVjpShared<Width>>();
    const int g = block_y(), group = of.group(), row = block() * 32;
    load_keys<Width>(k, of, row, R - row, g, s.k);
    load_keys<Width>(v, of, row, R - row, g, s.v);
    float sum_k[8][per_lane<Width>] = {}, sum_v[8][per_lane<Width>] = {};

    for (int index = 0; index < count; ++index) {
        const PairTile t = tiles[index];
        if (t.k0 >= row + 32 || t.k0 + t.reach(group) <= row) continue;  // the same answer for the whole block
        __syncthreads();
        load_pairs<Width>(q, of, t, g, s.q);
        load_pairs<Width>(dy, of, t, g, s.dy);
        __syncthreads();
        for (int i = 0; i < 4; ++i) {
            const int p = warp() * 4 + i, pair = t.first + p, j = row + lane() - t.k0;
            float a = 0, ds = 0;
            if (pair < t.pairs && j >= 0 && j < t.visible(pair, group)) {
                const PairSums of_pair =
                    sums[static_cast<Index>(t.q0 + pair / group) * of.H + g * group + pair % group];
                a = expf(of.scale * dot<Width>(s.q[p], s.k[lane()]) - of_pair.log_sum_exp);
                ds = a * (dot<Width>(s.dy[p], s.v[lane()]) - of_pair.delta);
            }
            s.a[p][lane()] = a;
            s.ds[p][lane()] = ds;
        }
        __syncthreads();
        for (int p = 0; p < 16; ++p)
#pragma unroll
            for (int e = 0; e < Width / 32; ++e)
#pragma unroll
                for (int i = 0; i < 8; ++i) {
                    sum_k[i][e] += s.ds[p][warp() * 8 + i] * s.q[p][lane() + 32 * e];
                    sum_v[i][e] += s.a[p][warp() * 8 + i] * s.dy[p][lane() + 32 * e];
                }
    }
#pragma unroll
    for (int i = 0; i < 8; ++i)
#pragma unroll
        for (int e = 0; e < Width / 32; ++e) {
            const int j = row + warp() * 8 + i, d = lane() + 32 * e;
            if (j >= R || d >= of.K) continue;
            dk.put(of.key(j, g) + d, of.scale * sum_k[i][e]);
            dv.put(of.key(j, g) + d, sum_v[i][e]);
        }
}

/// sums: room for N * H of them.
template <class T>
void attention_vjp(Stream& on, const T* q, const T* k, const T* v, const T* dy, const PairTile* tiles, Index count,
                   const HeadShape& of, Sink<T> dq, Sink<T> dk, Sink<T> dv, PairSums* sums, Index R) {
    with_width(of.K, [&](auto width) {
        const auto G = static_cast<unsigned>(of.G);
        if (count > 0)
            launch(on, attention_vjp_queries_kernel<width(), T>, dim3(static_cast<unsigned>(count), G), 128,
                   sizeof(AttentionVjpShared<width()>), q, k, v, dy, tiles, of, dq, sums);
        if (R > 0 && (dk.data || dv.data))
            launch(on, attention_vjp_keys_kernel<width(), T>, dim3(blocks_for(R, 32), G), 128,
                   sizeof(AttentionVjpShared<width()>), q, k, v, dy, tiles, static_cast<int>(count), of,
                   static_cast<const PairSums*>(sums), dk, dv, static_cast<int>(R));
    });
}

}  // namespace smolvlm::cuda

#include <smolvlm/cuda/platform_end.cuh>
