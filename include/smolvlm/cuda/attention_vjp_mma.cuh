#pragma once
/// The vector-Jacobian product of attention on tensor cores, for half and bfloat16: equations and the two kernels of
/// attention_vjp.cuh, tiles of 64 pairs x 64 keys, a block of 128 threads, sixteen rows a warp (FlashAttention-2, Dao 2023,
/// arXiv:2307.08691).
///
/// By queries, a warp's rows are pairs and scores are q k^T; by keys, its rows are keys and scores are k q^T. In both, what
/// they are turned into, a and ds, is rounded to T and multiplied from registers (attention_mma.cuh), and the next tile is on
/// its way while one is worked on. Shared memory: 48 and 50 KiB for heads of 64 columns, 96 and 98 for 128.

#include <smolvlm/cuda/attention_mma.cuh>
#include <smolvlm/cuda/attention_vjp.cuh>

#include <smolvlm/cuda/platform.cuh>

namespace smolvlm::cuda {

/// c[j] += dot products of a warp's sixteen rows of a, from `row` on, and eight rows of b, from first + 8 j on.
template <int Width, class T, std::size_t Eights>
__device__ void row_products(const HeadTile<Width, T>& a, int row, const HeadTile<Width, T>& b, int first,
                             float (&c)[Eights][4]) {
#pragma unroll
    for (int d = 0; d < Width / 16; ++d) {
        unsigned left[4];
        const int r = row + lane() % 16;
        ldmatrix_x4(left, &a[r][swizzled(r, d * 2 + lane() / 16)]);
#pragma unroll
        for (int j = 0; j < static_cast<int>(Eights) / 2; ++j) {
            unsigned right[4];
            const int n = first + j * 16 + lane() % 8 + lane() / 16 * 8;
            ldmatrix_x4(right, &b[n][swizzled(n, d * 2 + lane() / 8 % 2)]);
            const unsigned low[2] = {right[0], right[1]}, high[2] = {right[2], right[3]};
            mma_m16n8k16<T>(c[2 * j], left, low);
            mma_m16n8k16<T>(c[2 * j + 1], left, high);
        }
    }
}

template <int Width, class T>
struct AttentionVjpQueriesShared {
    HeadTile<Width, T> q, dy, k[2], v[2];
};

/// grid (tiles of 64 pairs, G)   ->   dq [N, H*K], sums [N, H]; K a multiple of 8, at most Width
template <int Width, class T>
__global__ void __launch_bounds__(128, 2)
    attention_vjp_queries_mma_kernel(const T* q, const T* k, const T* v, const T* dy, const PairTile* tiles, HeadShape of,
                                     Sink<T> dq, PairSums* sums) {
    auto& s = shared_memory<AttentionVjpQueriesShared<Width, T>>();
    const PairTile t = tiles[block()];
    const int g = block_y(), group = of.group(), reach = t.reach(group, mma_pairs);
    const int lap = (reach + mma_keys - 1) / mma_keys;  // steps over all keys: first for the sums of softmax, then for ds k
    const auto query = [&](int p) { return query_of(t, of, g, p); };
    const auto load = [&](int step) {
        const int j0 = step % lap * mma_keys;
        const auto key = [&](int j) -> Index { return j0 + j < reach ? of.key(t.k0 + j0 + j, g) : -1; };
        load_head<Width>(k, of.K, key, s.k[step % 2]);
        load_head<Width>(v, of.K, key, s.v[step % 2]);
    };
    load_head<Width>(q, of.K, query, s.q);
    load_head<Width>(dy, of.K, query, s.dy);
    if (lap > 0) load(0);
    cp_async_commit();

    const int upper = warp() * 16 + lane() / 4, column = lane() % 4 * 2;  // of this lane in a fragment c
    int visible[2];
    for (int r = 0; r < 2; ++r) visible[r] = t.visible(t.first + upper + 8 * r, group);
    float largest[2] = {-INFINITY, -INFINITY}, weight[2] = {}, delta[2] = {}, sum[std::size_t{Width} / 8][4] = {};

    for (int step = 0; step < 2 * lap; ++step) {
        cp_async_wait<0>();
        __syncthreads();  // this tile is here, and nobody reads the one before
        if (step + 1 < 2 * lap) load(step + 1);
        cp_async_commit();
#pragma unroll 1  // half of the keys at a time, or what they become would not fit into registers
        for (int first = 0; first < mma_keys; first += 32) {
            float a[4][4] = {}, da[4][4] = {};
            row_products<Width, T>(s.q, warp() * 16, s.k[step % 2], first, a);
            row_products<Width, T>(s.dy, warp() * 16, s.v[step % 2], first, da);
            const int j0 = step % lap * mma_keys + first + column;
#pragma unroll
            for (int r = 0; r < 2; ++r) {  // the two rows of this lane
                const auto score = [&](int j) {
                    return j0 + j / 2 * 8 + j % 2 < visible[r] ? of.scale * a[j / 2][2 * r + j % 2] : -INFINITY;
                };
                if (step < lap) {
                    float most = largest[r];
#pragma unroll
                    for (int j = 0; j < 8; ++j) most = fmaxf(most, score(j));
                    most = row_max(most);
                    const float base = most == -INFINITY ? 0.0f : most, shrink = expf(largest[r] - base);
                    weight[r] *= shrink;
                    delta[r] *= shrink;
                    largest[r] = most;
#pragma unroll
                    for (int j = 0; j < 8; ++j) {  // of this lane's columns; the row's at the end
                        const float x = expf(score(j) - base);
                        weight[r] += x;
                        delta[r] += x * da[j / 2][2 * r + j % 2];
                    }
                } else {
#pragma unroll
                    for (int j = 0; j < 8; ++j) {
                        float& x = da[j / 2][2 * r + j % 2];
                        x = expf(score(j) - weight[r]) * (x - delta[r]);
                    }
                }
            }
            if (step >= lap) add_weighted_rows<Width, T>(da, s.k[step % 2], first, sum);
        }
        if (step + 1 == lap)  // all sums of softmax are known
#pragma unroll
            for (int r = 0; r < 2; ++r) {
                const float total = row_sum(weight[r]);
                delta[r] = row_sum(delta[r]) * (total > 0 ? 1.0f / total : 0.0f);
                weight[r] = total > 0 ? largest[r] + logf(total) : 0.0f;  // from here on log_sum_exp
            }
    }
    cp_async_wait<0>();
#pragma unroll
    for (int r = 0; r < 2; ++r) {
        const Index to = query(upper + 8 * r);
        if (to >= 0 && column == 0) sums[to / of.K] = {weight[r], delta[r]};
#pragma unroll
        for (int d = 0; d < Width / 8; ++d)
#pragma unroll
            for (int e = 0; e < 2; ++e)
                if (to >= 0 && d * 8 + column + e < of.K) dq.put(to + d * 8 + column + e, of.scale * sum[d][2 * r + e]);
    }
}

/// What the second kernel knows of a pair: its sums, and which key rows it sees.
struct alignas(16) KnownPair {
    PairSums sums;
    int first, end;
};
template <int Width, class T>
struct AttentionVjpKeysShared {
    HeadTile<Width, T> k, v, q[2], dy[2];
    KnownPair pair[2][mma_pairs];
};

/// grid (R / 64, G): dk, dv [R, G*K] of 64 key rows, from all tiles of pairs of all segments that reach them
template <int Width, class T>
__global__ void __launch_bounds__(128, 2)
    attention_vjp_keys_mma_kernel(const T* q, const T* k, const T* v, const T* dy, const PairTile* tiles, int count,
                                  HeadShape of, const PairSums* sums, Sink<T> dk, Sink<T> dv, int R) {
    auto& s = shared_memory<AttentionVjpKeysShared<Width, T>>();
    const int g = block_y(), group = of.group(), row = block() * mma_keys;
    const auto next = [&](int index) {  // of the tiles that reach these keys; the same for the whole block
        while (index < count && (tiles[index].k0 >= row + mma_keys ||
                                 tiles[index].k0 + tiles[index].reach(group, mma_pairs) <= row))
            ++index;
        return index;
    };
    const auto load = [&](int index, int stage) {
        const PairTile t = tiles[index];
        const auto query = [&](int p) { return query_of(t, of, g, p); };
        load_head<Width>(q, of.K, query, s.q[stage]);
        load_head<Width>(dy, of.K, query, s.dy[stage]);
        if (thread() >= mma_pairs) return;
        const Index from = query(thread());
        KnownPair known{{0.0f, 0.0f}, 0, 0};  // a pair that is none sees nothing
        if (from >= 0) known = {sums[from / of.K], t.k0, t.k0 + t.visible(t.first + thread(), group)};
        s.pair[stage][thread()] = known;
    };
    const auto key = [&](int j) -> Index { return row + j < R ? of.key(row + j, g) : -1; };
    load_head<Width>(k, of.K, key, s.k);
    load_head<Width>(v, of.K, key, s.v);
    int index = next(0);
    if (index < count) load(index, 0);
    cp_async_commit();

    const int upper = warp() * 16 + lane() / 4, column = lane() % 4 * 2;  // of this lane in a fragment c
    float sum_k[std::size_t{Width} / 8][4] = {}, sum_v[std::size_t{Width} / 8][4] = {};
    for (int stage = 0; index < count; stage ^= 1) {
        cp_async_wait<0>();
        __syncthreads();  // this tile is here, and nobody reads the one before
        index = next(index + 1);
        if (index < count) load(index, stage ^ 1);
        cp_async_commit();
#pragma unroll 1  // half of the pairs at a time, or the sums would not fit into registers
        for (int first = 0; first < mma_pairs; first += 32) {
            float a[4][4] = {}, ds[4][4] = {};
            row_products<Width, T>(s.k, warp() * 16, s.q[stage], first, a);
            row_products<Width, T>(s.v, warp() * 16, s.dy[stage], first, ds);
#pragma unroll
            for (int i = 0; i < 4; ++i)
#pragma unroll
                for (int e = 0; e < 4; ++e) {
                    const KnownPair& pair = s.pair[stage][first + i * 8 + column + e % 2];
                    const int j = row + upper + e / 2 * 8;
                    // Key rows that nobody owns may hold anything, NaN too: chosen, not multiplied by 0.
                    const bool seen = j >= pair.first && j < pair.end;
                    a[i][e] = seen ? expf(of.scale * a[i][e] - pair.sums.log_sum_exp) : 0.0f;
                    ds[i][e] = seen ? a[i][e] * (ds[i][e] - pair.sums.delta) : 0.0f;
                }
            add_weighted_rows<Width, T>(a, s.dy[stage], first, sum_v);
            add_weighted_rows<Width, T>(ds, s.q[stage], first, sum_k);
        }
    }
    cp_async_wait<0>();
#pragma unroll
    for (int d = 0; d < Width / 8; ++d)
#pragma unroll
        for (int e = 0; e < 4; ++e) {
            const int j = upper + e / 2 * 8, c = d * 8 + column + e % 2;
            if (row + j >= R || c >= of.K) continue;
            dk.put(key(j) + c, of.scale * sum_k[d][e]);
            dv.put(key(j) + c, sum_v[d][e]);
        }
}

/// tiles: of 64 pairs; sums: room for N * H of them.
template <class T>
void attention_vjp_mma(Stream& on, const T* q, const T* k, const T* v, const T* dy, const PairTile* tiles, Index count,
                       const HeadShape& of, Sink<T> dq, Sink<T> dk, Sink<T> dv, PairSums* sums, Index R) {
    const auto with = [&](auto width) {
        constexpr int W = decltype(width)::value;
        const auto G = static_cast<unsigned>(of.G);
        if (count > 0)
            launch(on, attention_vjp_queries_mma_kernel<W, T>, dim3(static_cast<unsigned>(count), G), 128,
                   sizeof(AttentionVjpQueriesShared<W, T>), q, k, v, dy, tiles, of, dq, sums);
        if (R > 0 && (dk.data || dv.data))
            launch(on, attention_vjp_keys_mma_kernel<W, T>, dim3(blocks_for(R, mma_keys), G), 128,
                   sizeof(AttentionVjpKeysShared<W, T>), q, k, v, dy, tiles, static_cast<int>(count), of,
                   static_cast<const PairSums*>(sums), dk, dv, static_cast<int>(R));
    };
    if (of.K <= 64)
        with(std::integral_constant<int, 64>{});
    else
        with(std::integral_constant<int, 128>{});
}

}  // namespace smolvlm::cuda

#include <smolvlm/cuda/platform_end.cuh>
