#pragma once
/// Attention of a few new tokens to many keys, which are read where they are.       definition: ref/attention.hpp
///
/// The keys are cut into stretches that different threads take ("flash-decoding"); each leaves the maximum m, the sum
/// l and the weighted sum o of its stretch, and stretches are joined as the online softmax joins blocks
/// (cpu/attention.hpp).

#include <limits>
#include <utility>

#include <smolvlm/backend/segments.hpp>
#include <smolvlm/core/view.hpp>
#include <smolvlm/cpu/dispatch.hpp>
#include <smolvlm/cpu/kept_rows.hpp>
#include <smolvlm/cpu/team.hpp>
#include <smolvlm/cpu/turn.hpp>

namespace smolvlm::cpu {

namespace attention_detail {

inline constexpr Index decode_rows = 4;      // new tokens of a segment that count as few
inline constexpr Index decode_stretch = 64;  // keys of a stretch: no function of the threads, as results must not be
inline constexpr int decode_heads = 3;       // query rows that share a load of keys: what the registers of AVX2 hold

/// Query rows q [rows, K] that see the same `count` keys and values, held as S: result r, `size` numbers apart, is
/// {m, l, o[K]}. first: no other query rows have met these keys, so memory has to be asked for them.
template <class T, class S>
struct Stretch {
    template <int Bytes>
    SMOLVLM_INLINE static void run(const T* q, Index rows, HeadRows<S> k, HeadRows<S> v, Index K, Index count, bool first,
                                   T* scores, T* results, Index size) {
        using V = Vec<T, lanes<T, Bytes>>;
        for (; rows >= decode_heads; rows -= decode_heads, q += decode_heads * K, results += decode_heads * size)
            heads<V, decode_heads>(q, k, v, K, count, std::exchange(first, false), scores, results, size);
        for (; rows > 0; --rows, q += K, results += size)
            heads<V, 1>(q, k, v, K, count, std::exchange(first, false), scores, results, size);
    }

private:
    static constexpr Index line = 64 / static_cast<Index>(sizeof(S));  // numbers of a line of cache

    template <class V, int Q>
    SMOLVLM_INLINE static void heads(const T* q, const HeadRows<S>& k, const HeadRows<S>& v, Index K, Index count, bool first,
                                     T* scores, T* results, Index size) {
        constexpr Index L = V::lanes;
        const T scale = T(1) / std::sqrt(static_cast<T>(K));
        Index j = 0;
        for (; j + L <= count; j += L) {
            for (Index i = j; first && i < j + L; ++i)  // the values of these keys, before they are weighted
                for (Index d = 0; d < K; d += line) __builtin_prefetch(v.data + i * v.ld + d, 0, 2);
            score_register<V, Q>(q, k.from(j), K, scale, scores + j);
        }
        for (; j < count; ++j) score_one<V, Q>(q, k.data + j * k.ld, K, scale * k.template scale<T>(j), scores + j);
        for (int h = 0; h < Q; ++h) {
            T* const s = scores + h * decode_stretch;
            V highest = V::zero() - std::numeric_limits<T>::infinity();
            for (j = 0; j + L <= count; j += L) highest = max(V::load(s + j), highest);
            T m = largest(highest);
            for (; j < count; ++j) m = std::max(m, s[j]);
            V total = V::zero();
            T l = 0;
            for (j = 0; j + L <= count; j += L) {
                const V e = exp<true>(V::load(s + j) - m);
                v.scaled(e, j).store(s + j);
                total = total + e;
            }
            if (j < count) {
                const V e = exp<true>(V::load_first(s + j, count - j) - m);
                e.store_first(s + j, count - j);
                for (Index i = j; i < count; ++i) l += s[i], s[i] *= v.template scale<T>(i);
            }
            results[h * size] = m;
            results[h * size + 1] = l + sum(total);
        }
        const S* const next = first ? k.data + decode_stretch * k.ld : nullptr;  // keys, asked for while values are read
        constexpr int wide = Q > 1 || L == 16 ? 4 : 8;  // sums in registers: 12 of 16 on AVX2
        Index d = 0;
        for (; d + wide * L <= K; d += wide * L) weighted_sum<V, Q, wide>(scores, v, next, d, count, results + 2, size);
        for (; d + L <= K; d += L) weighted_sum<V, Q, 1>(scores, v, next, d, count, results + 2, size);
        for (; d < K; ++d)
            for (int h = 0; h < Q; ++h) {
                T o = 0;
                for (Index i = 0; i < count; ++i) o += scores[h * decode_stretch + i] * static_cast<T>(v.data[i * v.ld + d]);
                results[h * size + 2 + d] = o;
            }
    }

    /// scores[h, j] = scale q[h] . k[j] for a register of keys. Lanes are added up for all of them together, which takes a
    /// third of the steps of adding up each for itself.
    template <class V, int Q>
    SMOLVLM_INLINE static void score_register(const T* q, const HeadRows<S>& k, Index K, T scale, T* scores) {
        constexpr int L = V::lanes, R = L < 4 ? L : 4, groups = L / R;  // R keys side by side: one would wait for its sums
        V parts[std::size_t{Q}][std::size_t{groups}];
#pragma GCC unroll 4
        for (int g = 0; g < groups; ++g) {
            V products[std::size_t{Q}][std::size_t{R}];
            multiply<V, Q, R>(q, k.data + g * R * k.ld, k.ld, K, products);
#pragma GCC unroll 4
            for (int h = 0; h < Q; ++h) {
                turn_detail::fold<L / 2, R>(products[h]);
                parts[h][g] = products[h][0];
            }
        }
#pragma GCC unroll 4
        for (int h = 0; h < Q; ++h) {
            turn_detail::fold<L / R / 2, groups>(parts[h]);
            const V sums = in_order<R>(parts[h][0], std::make_index_sequence<std::size_t{L}>());
            k.scaled(sums * scale, 0).store(scores + h * decode_stretch);
        }
        for (Index d = K / L * L; d < K; ++d)
            for (int h = 0; h < Q; ++h)
                for (int j = 0; j < L; ++j)
                    scores[h * decode_stretch + j] +=
                        scale * k.template scale<T>(j) * q[h * K + d] * static_cast<T>(k.data[j * k.ld + d]);
    }
    template <class V, int Q>
    SMOLVLM_INLINE static void score_one(const T* q, const S* k, Index K, T scale, T* scores) {
        V products[std::size_t{Q}][1];
        multiply<V, Q, 1>(q, k, 0, K, products);
        for (int h = 0; h < Q; ++h) {
            T s = sum(products[h][0]);
            for (Index d = K / V::lanes * V::lanes; d < K; ++d) s += q[h * K + d] * static_cast<T>(k[d]);
            scores[h * decode_stretch] = s * scale;
        }
    }
    /// products[h, r]: lane by lane q[h] . k[r], of the numbers that fill registers.
    template <class V, int Q, int R>
    SMOLVLM_INLINE static void multiply(const T* q, const S* k, Index ld, Index K,
                                        V (&products)[std::size_t{Q}][std::size_t{R}]) {
#pragma GCC unroll 4
        for (int h = 0; h < Q; ++h)
#pragma GCC unroll 4
            for (int r = 0; r < R; ++r) products[h][r] = V::zero();
        for (Index d = 0; d + V::lanes <= K; d += V::lanes) {
            V x[std::size_t{Q}];
#pragma GCC unroll 4
            for (int h = 0; h < Q; ++h) x[h] = V::load(q + h * K + d);
#pragma GCC unroll 4
            for (int r = 0; r < R; ++r) {
                const V key = load_as<T, V::lanes>(k + r * ld + d);
#pragma GCC unroll 4
                for (int h = 0; h < Q; ++h) products[h][r].add_product(x[h], key);
            }
        }
    }
    /// From lane r * (L / R) + g, where folding leaves it, to lane g * R + r, the key's own.
    template <int R, int L, std::size_t... Lane>
    SMOLVLM_INLINE static Vec<T, L> in_order(const Vec<T, L>& x, std::index_sequence<Lane...>) {
        constexpr std::size_t rows = std::size_t{R}, groups = std::size_t{L} / rows;
        return Vec<T, L>::of(__builtin_shufflevector(x.v, x.v, (Lane % rows * groups + Lane / rows)...));
    }

    /// o[h, :] = sum_j weights[h, j] v[j, :] for C registers of columns from d on. Of as many rows from `next` on, if not null,
    /// the same columns are asked for.
    template <class V, int Q, int C>
    SMOLVLM_INLINE static void weighted_sum(const T* weights, const HeadRows<S>& v, const S* next, Index d, Index count, T* o,
                                            Index size) {
        V sums[std::size_t{C}][std::size_t{Q}];
#pragma GCC unroll 8
        for (int c = 0; c < C; ++c)
#pragma GCC unroll 4
            for (int h = 0; h < Q; ++h) sums[c][h] = V::zero();
        for (Index j = 0; j < count; ++j) {
            for (Index ahead = 0; next && ahead < C * V::lanes; ahead += line)
                __builtin_prefetch(next + j * v.ld + d + ahead, 0, 2);
#pragma GCC unroll 8
            for (int c = 0; c < C; ++c) {
                const V value = load_as<T, V::lanes>(v.data + j * v.ld + d + c * V::lanes);
#pragma GCC unroll 4
                for (int h = 0; h < Q; ++h) sums[c][h].add_product(weights[h * decode_stretch + j], value);
            }
        }
#pragma GCC unroll 8
        for (int c = 0; c < C; ++c)
#pragma GCC unroll 4
            for (int h = 0; h < Q; ++h) sums[c][h].store(o + h * size + d + c * V::lanes);
    }
};

/// From the parts {m, l, o[K]} of stretches, `step` numbers apart; each m becomes its stretch's factor.
///
///     y = sum_s e^(m_s - m) o_s / sum_s e^(m_s - m) l_s,    m = max_s m_s;    0 where no key is visible
template <class T>
struct JoinStretches {
    template <int Bytes>
    SMOLVLM_INLINE static void run(T* parts, Index stretches, Index step, Index K, T* y) {
        using V = Vec<T, lanes<T, Bytes>>;
        constexpr Index L = V::lanes;
        T m = -std::numeric_limits<T>::infinity(), l = 0;
        for (Index s = 0; s < stretches; ++s) m = std::max(m, parts[s * step]);
        for (Index s = 0; s < stretches; ++s) {
            T* const p = parts + s * step;
            p[0] = p[1] == T(0) ? T(0) : exp<true>(V::all(p[0] - m)).v[0];
            l += p[1] * p[0];
        }
        const T whole = l == T(0) ? T(0) : 1 / l;
        Index d = 0;
        for (; d + 4 * L <= K; d += 4 * L) columns<V, 4>(parts, stretches, step, d, whole, y);
        for (; d + L <= K; d += L) columns<V, 1>(parts, stretches, step, d, whole, y);
        for (; d < K; ++d) {
            T o = 0;
            for (Index s = 0; s < stretches; ++s) o += parts[s * step] * parts[s * step + 2 + d];
            y[d] = o * whole;
        }
    }

private:
    /// C registers of columns from d on.
    template <class V, int C>
    SMOLVLM_INLINE static void columns(const T* parts, Index stretches, Index step, Index d, T whole, T* y) {
        V sums[std::size_t{C}];
#pragma GCC unroll 4
        for (int c = 0; c < C; ++c) sums[c] = V::zero();
        for (Index s = 0; s < stretches; ++s, parts += step)
#pragma GCC unroll 4
            for (int c = 0; c < C; ++c) sums[c].add_product(parts[0], V::load(parts + 2 + d + c * V::lanes));
#pragma GCC unroll 4
        for (int c = 0; c < C; ++c) (sums[c] * whole).store(y + d + c * V::lanes);
    }
};

/// The few rows of one segment.
template <class T, class S>
void attention_few(In<T> q, const KeptRows<S>& k, const KeptRows<S>& v, Heads heads, const Segments& segments,
                   const Segment& segment, View<T> y, CpuPath path, const Team& team) {
    const Index H = heads.query, G = heads.kv, K = q.dim(1) / H, shared = H / G;
    const Index stretches = std::max<Index>(1, (segment.keys + decode_stretch - 1) / decode_stretch), size = K + 2;
    Storage memory = team.pool->take(static_cast<std::size_t>(segment.n * H * stretches * size) * sizeof(T));
    T* const results = reinterpret_cast<T*>(memory.data());  // [stretches, n, H, size]
    // Every thread has stretches that follow each other, so that what it asks memory for is its own.
    parallel_for(team.threads, stretches, 1, [&](Index begin, Index end) {
        alignas(64) T scores[decode_heads * decode_stretch];
        for (Index i = begin * G; i < end * G; ++i) {
            const Index stretch = i / G, g = i % G, j0 = stretch * decode_stretch;
            const HeadRows<S> keys = k.head(segment.k0 + j0, g * K), values = v.head(segment.k0 + j0, g * K);
            for (Index t = 0; t < segment.n; ++t) {
                const Index count = std::clamp<Index>(segments.visible(segment, t) - j0, 0, decode_stretch);
                const Index head = t * H + g * shared;
                dispatch<Stretch<T, S>>(path, q.data() + (segment.q0 * H + head) * K, shared, keys, values, K, count,
                                        t == 0, static_cast<T*>(scores), results + (stretch * segment.n * H + head) * size, size);
            }
        }
    });
    for (Index i = 0; i < segment.n * H; ++i)
        dispatch<JoinStretches<T>>(path, results + i * size, stretches, segment.n * H * size, K,
                                   y.data() + (segment.q0 * H + i) * K);
}

}  // namespace attention_detail

}  // namespace smolvlm::cpu
