#pragma once
/// Attention of few rows over many keys, which is what a decode step asks for; the sums are those of attention.cuh. The
/// time goes into reading every key and value once, so the keys of one row are spread over the device (Flash-Decoding,
/// Dao, Haziza, Massa & Sizov 2023): over blocks, and in a block of 128 threads over streams of Width / 8 lanes. A lane
/// holds eight columns of up to four queries, and reads eight numbers of a key at a time.
///
/// Streams, and then blocks, are put together by what each knows of its keys: the largest score m, the sum l of weights
/// and the weighted sum y of values.
///
///     m = max_i m_i          l = sum_i l_i e^(m_i - m)          y = sum_i y_i e^(m_i - m) / l

#include <smolvlm/cuda/attention.cuh>
#include <smolvlm/cuda/weight.cuh>

#include <smolvlm/cuda/platform.cuh>

namespace smolvlm::cuda {

inline constexpr int few_pairs = 4;         // of one tile
inline constexpr Index most_key_parts = 32;  // blocks that share the keys of one tile

template <int Width>
struct FewAttentionShared {
    static constexpr std::size_t streams = 128 / (std::size_t{Width} / 8);
    float largest[4][streams], weight[4][streams];
    float sum[4][streams][std::size_t{Width}];
};

/// What one block knows of one pair: [N, H, parts] of them, each m, l, y [K].
struct KeyParts {
    float* data;
    int count, K;

    __device__ float* of(Index pair, int part) const { return data + (pair * count + part) * (K + 2); }
    static std::size_t bytes(Index pairs, Index parts, Index K) {
        return static_cast<std::size_t>(pairs * parts * (K + 2)) * sizeof(float);
    }
};

/// q [N, H*K]   k, v [R, G*K]   ->   y [N, H*K], or parts if there are several; grid (tiles of 4 pairs, G, parts);
/// K a multiple of 8, at most Width.
template <int Width, class T>
__global__ void __launch_bounds__(128, 4)
    attention_few_kernel(const T* q, const T* k, const T* v, const PairTile* tiles, HeadShape of, KeyParts parts, T* y) {
    constexpr int lanes = Width / 8, streams = 128 / lanes;
    auto& s = shared_memory<FewAttentionShared<Width>>();
    const PairTile t = tiles[block()];
    const int g = block_y(), group = of.group(), reach = t.reach(group, few_pairs);
    const int part = static_cast<int>(blockIdx.z), each = (reach + parts.count - 1) / parts.count;
    const int begin = part * each, end = begin + each < reach ? begin + each : reach;
    const int stream = thread() / lanes, column = thread() % lanes * 8;
    const bool here = column < of.K;
    const DenseRows<T> keys{k, of.G * of.K}, values{v, of.G * of.K}, queries{q, of.H * of.K};

    float query[4][8] = {}, largest[4], weight[4] = {}, sum[4][8] = {};
#pragma unroll
    for (int p = 0; p < few_pairs; ++p) {
        const int pair = t.first + p;
        largest[p] = -INFINITY;
        if (here && pair < t.pairs)
            queries.eight(t.q0 + pair / group, (g * group + pair % group) * of.K + column, query[p]);
    }
    for (int first = begin; first < end; first += streams) {  // as often for all lanes, which exchange their sums
        const int j = first + stream;
        float key[8] = {}, value[8] = {};
        if (here && j < end) {
            keys.eight(t.k0 + j, g * of.K + column, key);
            values.eight(t.k0 + j, g * of.K + column, value);
        }
#pragma unroll
        for (int p = 0; p < few_pairs; ++p) {
            if (t.first + p >= t.pairs) continue;  // the same answer for the whole block
            float score = 0;
#pragma unroll
            for (int i = 0; i < 8; ++i) score += query[p][i] * key[i];
#pragma unroll
            for (int step = lanes / 2; step > 0; step /= 2) score += __shfl_xor_sync(whole_warp, score, step);
            const bool seen = j < end && j < t.visible(t.first + p, group);
            score = seen ? of.scale * score : -INFINITY;
            const float most = fmaxf(largest[p], score), base = most == -INFINITY ? 0.0f : most;
            const float a = expf(score - base), shrink = expf(largest[p] - base);
            largest[p] = most;
            weight[p] = weight[p] * shrink + a;
#pragma unroll
            for (int i = 0; i < 8; ++i) sum[p][i] = sum[p][i] * shrink + a * value[i];
        }
    }
#pragma unroll
    for (int p = 0; p < few_pairs; ++p) {
        if (column == 0) {
            s.largest[p][stream] = largest[p];
            s.weight[p][stream] = weight[p];
        }
#pragma unroll
        for (int i = 0; i < 8; ++i) s.sum[p][stream][column + i] = sum[p][i];
    }
    __syncthreads();
    const int p = warp(), pair = t.first + p;  // a warp a pair
    if (pair >= t.pairs) return;
    float most = -INFINITY, total = 0;
    for (int i = 0; i < streams; ++i) most = fmaxf(most, s.largest[p][i]);
    const float base = most == -INFINITY ? 0.0f : most;
    for (int i = 0; i < streams; ++i) total += s.weight[p][i] * expf(s.largest[p][i] - base);
    const int row = t.q0 + pair / group, head = g * group + pair % group;
    float* mine = parts.of(static_cast<Index>(row) * of.H + head, part);
    for (int d = lane(); d < of.K; d += 32) {
        float x = 0;
        for (int i = 0; i < streams; ++i) x += s.sum[p][i][d] * expf(s.largest[p][i] - base);
        if (parts.count == 1)
            y[of.query(row, head) + d] = narrow<T>(total > 0 ? x / total : 0.0f);
        else
            mine[2 + d] = x;
    }
    if (parts.count > 1 && lane() == 0) {
        mine[0] = most;
        mine[1] = total;
    }
}

/// parts -> y [N*H, K]; a block of 32 threads a pair
template <class T>
__global__ void __launch_bounds__(32, 16) join_key_parts_kernel(KeyParts parts, T* y) {
    float most = -INFINITY, total = 0;
    for (int i = 0; i < parts.count; ++i) most = fmaxf(most, parts.of(block(), i)[0]);
    const float base = most == -INFINITY ? 0.0f : most;
    for (int i = 0; i < parts.count; ++i) total += parts.of(block(), i)[1] * expf(parts.of(block(), i)[0] - base);
    for (int d = lane(); d < parts.K; d += 32) {
        float x = 0;
        for (int i = 0; i < parts.count; ++i) x += parts.of(block(), i)[2 + d] * expf(parts.of(block(), i)[0] - base);
        y[static_cast<Index>(block()) * parts.K + d] = narrow<T>(total > 0 ? x / total : 0.0f);
    }
}

/// Into how many parts to cut `keys` keys so that `blocks` times as many blocks are two for each multiprocessor, and
/// every part still has work: 128 keys.
inline Index key_parts(Index blocks, Index keys, Index multiprocessors) {
    return std::clamp<Index>(std::min(2 * multiprocessors / std::max<Index>(1, blocks), keys / 128), 1, most_key_parts);
}

/// room: for the parts, if there are several
template <class T>
void attention_few(Stream& on, const T* q, const T* k, const T* v, const PairTile* tiles, Index count,
                   const HeadShape& of, Index N, Index parts, float* room, T* y) {
    if (count == 0) return;
    const dim3 grid(static_cast<unsigned>(count), static_cast<unsigned>(of.G), static_cast<unsigned>(parts));
    const KeyParts known{room, static_cast<int>(parts), of.K};
    const auto with = [&](auto width) {
        launch(on, attention_few_kernel<width(), T>, grid, 128, sizeof(FewAttentionShared<width()>), q, k, v, tiles, of,
               known, y);
    };
    if (of.K <= 64)
        with(std::integral_constant<int, 64>{});
    else
        with(std::integral_constant<int, 128>{});
    if (parts > 1)
        launch(on, join_key_parts_kernel<T>, static_cast<unsigned>(N * of.H), 32, 0, known, y);
}

}  // namespace smolvlm::cuda

#include <smolvlm/cuda/platform_end.cuh>
