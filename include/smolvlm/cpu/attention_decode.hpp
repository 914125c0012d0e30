#pragma once
/// Attention of a few new tokens to many keys, which are read where they are.       definition: ref/attention.hpp
///
/// The keys are cut into stretches that different threads take ("flash-decoding"); each leaves the maximum m, the sum
/// l and the weighted sum o of its stretch, and stretches are joined as the online softmax joins blocks
/// (cpu/attention.hpp).

#include <limits>

#include <smolvlm/backend/segments.hpp>
#include <smolvlm/core/view.hpp>
#include <smolvlm/cpu/dispatch.hpp>
#include <smolvlm/cpu/team.hpp>

namespace smolvlm::cpu {

namespace attention_detail {

inline constexpr Index decode_rows = 4;      // new tokens of a segment that count as few
inline constexpr Index decode_stretch = 64;  // keys a task takes: no function of the threads, as results must not be

/// One query row and the keys k, v [count, stride ld]: result = {m, l, o[K]}. first: of the query rows with these keys, so
/// that memory has to be asked for what comes next.
template <class T>
struct Stretch {
    template <int Bytes>
    SMOLVLM_INLINE static void run(const T* q, const T* k, const T* v, Index ld, Index K, Index count, bool first,
                                   T* scores, T* result) {
        constexpr Index L = lanes<T, Bytes>, at_once = 4;
        using V = Vec<T, lanes<T, Bytes>>;
        const Index whole = K / L * L;
        const T scale = T(1) / std::sqrt(static_cast<T>(K));
        Index j = 0;
        for (; j + at_once <= count; j += at_once) {
            if (first)
                for (Index i = 0; i < at_once; ++i)
                    for (Index d = 0; d < K; d += 64 / static_cast<Index>(sizeof(T))) {
                        __builtin_prefetch(k + (j + i + decode_stretch) * ld + d, 0, 2);
                        __builtin_prefetch(v + (j + i + decode_stretch) * ld + d, 0, 2);
                    }
            score<V, at_once>(q, k + j * ld, ld, K, scale, scores + j);
        }
        for (; j < count; ++j) score<V, 1>(q, k + j * ld, ld, K, scale, scores + j);
        T m = -std::numeric_limits<T>::infinity();
        for (Index i = 0; i < count; ++i) m = std::max(m, scores[i]);
        V total = V::zero();
        T l = 0;
        for (j = 0; j + L <= count; j += L) {
            const V e = exp<true>(V::load(scores + j) - m);
            e.store(scores + j);
            total = total + e;
        }
        if (j < count) {
            const V e = exp<true>(V::load_first(scores + j, count - j) - m);
            e.store_first(scores + j, count - j);
            for (Index i = j; i < count; ++i) l += scores[i];
        }
        result[0] = m;
        result[1] = l + sum(total);
        T* const o = result + 2;
        constexpr int wide = Bytes == 64 ? 4 : 8;  // 64 floats in registers
        Index d = 0;
        for (; d + wide * L <= whole; d += wide * L) weighted_sum<V, wide>(scores, v + d, ld, count, o + d);
        for (; d < whole; d += L) weighted_sum<V, 1>(scores, v + d, ld, count, o + d);
        for (; d < K; ++d) {
            o[d] = 0;
            for (Index i = 0; i < count; ++i) o[d] += scores[i] * v[i * ld + d];
        }
    }

    /// scores[r] = scale q . k[r] for R keys side by side: one sum alone would wait for its additions.
    template <class V, int R>
    SMOLVLM_INLINE static void score(const T* q, const T* k, Index ld, Index K, T scale, T* scores) {
        const Index whole = K / V::lanes * V::lanes;
        V products[std::size_t{R}];
#pragma GCC unroll 4
        for (int r = 0; r < R; ++r) products[r] = V::zero();
        for (Index d = 0; d < whole; d += V::lanes) {
            const V x = V::load(q + d);
#pragma GCC unroll 4
            for (int r = 0; r < R; ++r) products[r].add_product(x, V::load(k + r * ld + d));
        }
#pragma GCC unroll 4
        for (int r = 0; r < R; ++r) {
            T s = sum(products[r]);
            for (Index d = whole; d < K; ++d) s += q[d] * k[r * ld + d];
            scores[r] = s * scale;
        }
    }

    template <class V, int C>
    SMOLVLM_INLINE static void weighted_sum(const T* weights, const T* v, Index ld, Index count, T* o) {
        V sums[std::size_t{C}];
#pragma GCC unroll 8
        for (int c = 0; c < C; ++c) sums[c] = V::zero();
        for (Index j = 0; j < count; ++j) {
            const T weight = weights[j];
#pragma GCC unroll 8
            for (int c = 0; c < C; ++c) sums[c].add_product(weight, V::load(v + j * ld + c * V::lanes));
        }
#pragma GCC unroll 8
        for (int c = 0; c < C; ++c) sums[c].store(o + c * V::lanes);
    }
};

/// The few rows of one segment.
template <class T>
void attention_few(In<T> q, In<T> k, In<T> v, Heads heads, const Segments& segments, const Segment& segment, View<T> y,
                   CpuPath path, const Team& team) {
    const Index H = heads.query, G = heads.kv, K = q.dim(1) / H, shared = H / G, ld = G * K;
    const Index stretches = std::max<Index>(1, (segment.keys + decode_stretch - 1) / decode_stretch), size = K + 2;
    Storage memory = team.pool->take(static_cast<std::size_t>(segment.n * H * stretches * size) * sizeof(T));
    T* const results = reinterpret_cast<T*>(memory.data());  // [n, H, stretches, size]
    for_each_task<T>(team, G * stretches, decode_stretch, [&](T* scores, Index task) {
        const Index stretch = task / G, g = task % G, j0 = stretch * decode_stretch;
        const Index row = (segment.k0 + j0) * ld + g * K;
        for (Index t = 0; t < segment.n; ++t)
            for (Index h = g * shared; h < (g + 1) * shared; ++h) {
                const Index count = std::clamp<Index>(segments.visible(segment, t) - j0, 0, decode_stretch);
                const T* const query = q.data() + ((segment.q0 + t) * H + h) * K;
                dispatch<Stretch<T>>(path, query, k.data() + row, v.data() + row, ld, K, count,
                                     t == 0 && h == g * shared, scores,
                                     results + ((t * H + h) * stretches + stretch) * size);
            }
    });
    for (Index i = 0; i < segment.n * H; ++i) {
        const T* const parts = results + i * stretches * size;
        T m = -std::numeric_limits<T>::infinity(), l = 0;
        for (Index s = 0; s < stretches; ++s) m = std::max(m, parts[s * size]);
        T* const out = y.data() + segment.q0 * H * K + i * K;
        std::fill_n(out, K, T(0));
        for (Index s = 0; s < stretches; ++s) {
            const T* const part = parts + s * size;
            if (part[1] == T(0)) continue;  // no key of this stretch is visible
            const T factor = std::exp(part[0] - m);
            l += part[1] * factor;
            for (Index d = 0; d < K; ++d) out[d] += part[2 + d] * factor;
        }
        for (Index d = 0; d < K; ++d) out[d] = l == T(0) ? T(0) : out[d] / l;
    }
}

}  // namespace attention_detail

}  // namespace smolvlm::cpu
