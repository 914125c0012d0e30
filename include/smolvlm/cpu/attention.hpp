#pragma once
/// Attention without the matrix of scores.                                          definition: ref/attention.hpp
///
/// Many rows: a block of query rows meets its keys 512 at a time; a row's maximum m and sum l are corrected whenever
/// a new block of keys raises the maximum (online softmax, Milakov & Gimelshein 2018, arXiv:1805.02867; Dao et al.
/// 2022, arXiv:2205.14135):
///     m' = max(m, max_j s_j)    l' = l e^(m - m') + sum_j e^(s_j - m')    o' = o e^(m - m') + sum_j e^(s_j - m') v_j
/// and y = o / l in the end. The query heads that share a key/value head form one block of rows (position-major), so
/// they share every load of K and V. K is turned into panels once per call, as a weight would be; V is copied
/// together. Few rows (decoding): cpu/attention_decode.hpp.

#include <limits>

#include <smolvlm/backend/segments.hpp>
#include <smolvlm/cpu/attention_decode.hpp>
#include <smolvlm/cpu/gemm.hpp>
#include <smolvlm/cpu/team.hpp>
#include <smolvlm/cpu/turn.hpp>

namespace smolvlm::cpu {

namespace attention_detail {

template <class T>
inline constexpr Index key_panel = 256 / static_cast<Index>(sizeof(T));  // keys in a panel: four registers of AVX-512
inline constexpr Index key_block = 512;                                 // keys of one step of the online softmax
inline constexpr Index query_rows = 48;                                 // rows of a block (more where heads demand it)
template <class T>  // a power of two would put the rows of a tile into the same cache sets
inline constexpr Index score_stride = key_block + 64 / static_cast<Index>(sizeof(T));

constexpr Index round_up(Index n, Index step) { return (n + step - 1) / step * step; }

/// panel [K, key_panel] = the first `count` keys [count, stride ld] turned, zeros after them.
template <class T, class S>
void turn_keys(const S* keys, Index ld, Index count, Index K, T* panel, CpuPath path) {
    if (count < key_panel<T>) std::fill_n(panel, K * key_panel<T>, T(0));
    dispatch<Turn>(path, keys, ld, count, K, panel, key_panel<T>);
}
/// to [key_panel, width] = the first `count` rows [count, stride ld], zeros around them.
template <class T, class S>
void copy_padded(const S* rows, Index ld, Index count, Index K, T* to, Index width) {
    for (Index c = 0; c < key_panel<T>; ++c, to += width) {
        const Index copied = c < count ? K : 0;
        std::copy_n(rows + c * ld * (copied > 0), copied, to);
        std::fill(to + copied, to + width, T(0));
    }
}

/// Scores are kept in units in which the exponential is quickest: times log2 e for float, so that it is a power of two.
template <class T>
constexpr T exponent_unit() {
    return sizeof(T) == 4 ? T(1.4426950408889634074) : T(1);
}
template <class T, int L>
SMOLVLM_INLINE Vec<T, L> exp_of_units(const Vec<T, L>& x) {
    if constexpr (sizeof(T) == 4)
        return exp2_below_one(x);
    else
        return exp<true>(x);
}

/// The block of query rows and its state. Rows of q and o stand `width` numbers apart, K rounded up to
/// whole cache lines.
template <class T>
struct Block {
    T *q, *scores, *o, *m, *l;  // [rows, width], [rows, score_stride], [rows, width], [rows], [rows]
    Index rows, K, width;
    Index first_visible;  // keys that row 0 may see
    Index rows_per_key;   // causal: so many rows later it is one key more; 0: all rows see the same keys

    Index visible(Index r) const { return rows_per_key > 0 ? first_visible + r / rows_per_key : first_visible; }
};

/// to = from * factor, K numbers; `whole` of them in registers.
template <class V, class T>
SMOLVLM_INLINE void scaled(const T* from, T factor, Index K, T* to) {
    Index d = 0;
    for (; d + V::lanes <= K; d += V::lanes) (V::load(from + d) * factor).store(to + d);
    for (; d < K; ++d) to[d] = from[d] * factor;
}

/// Row r of a block is head r % shared of position r / shared: at q + r / shared * stride + r % shared * K.
template <class T>
struct BeginBlock {
    template <int Bytes>
    SMOLVLM_INLINE static void run(Block<T> b, const T* q, Index stride, Index shared, T factor) {
        using V = Vec<T, lanes<T, Bytes>>;
        for (Index r = 0; r < b.rows; ++r) {
            scaled<V>(q + r / shared * stride + r % shared * b.K, factor, b.K, b.q + r * b.width);
            b.m[r] = -std::numeric_limits<T>::infinity();
            b.l[r] = 0;
        }
        for (Index i = 0; i < b.rows * b.width; i += V::lanes) V::zero().store(b.o + i);
    }
};
template <class T>
struct EndBlock {
    template <int Bytes>
    SMOLVLM_INLINE static void run(Block<T> b, T* y, Index stride, Index shared) {
        for (Index r = 0; r < b.rows; ++r)  // a row that has seen no key is zero
            scaled<Vec<T, lanes<T, Bytes>>>(b.o + r * b.width, b.l[r] > 0 ? T(1) / b.l[r] : T(0), b.K,
                                            y + r / shared * stride + r % shared * b.K);
    }
};

/// Takes up the keys j0 .. j0 + count - 1: k_panels [count/key_panel][K][key_panel], v [count, width].
template <class T>
struct Step {
    template <int Bytes>
    SMOLVLM_INLINE static void run(Block<T> b, const T* k_panels, const T* v, Index j0, Index count) {
        constexpr int L = lanes<T, Bytes>, R = 6;
        using V = Vec<T, L>;
        constexpr Index P = key_panel<T>;
        constexpr int C = tile_columns(R, static_cast<int>(P) / L, Bytes);
        const Index padded = round_up(count, P);
        for (Index j = 0; j < padded; j += P)
            tiles<L, R, C>(b.rows, b.q, b.width, k_panels + j * b.K, P, b.K, P,
                           TileOut<T>{nullptr, 0, b.scores + j, score_stride<T>});
        for (Index r = 0; r < b.rows; ++r) softmax_row<V>(b, r, std::clamp<Index>(b.visible(r) - j0, 0, count), count);
        const TileOut<T> o{b.o, b.width, b.o, b.width};
        Index column = 0;
        for (; column + C * L <= b.width; column += C * L)
            tiles<L, R, C>(b.rows, b.scores, score_stride<T>, v + column, b.width, count, C * L, o.at(0, column));
        for (; column < b.width; column += L)
            tiles<L, R, 1>(b.rows, b.scores, score_stride<T>, v + column, b.width, count, L, o.at(0, column));
    }

    /// Scores of row r to e^(s - m), and the state corrected. `seen` of the `count` keys are visible to the row.
    template <class V>
    SMOLVLM_INLINE static void softmax_row(Block<T> b, Index r, Index seen, Index count) {
        constexpr Index L = V::lanes;
        T* const s = b.scores + r * score_stride<T>;
        const Index end = round_up(count, L);
        std::fill(s + seen, s + end, -std::numeric_limits<T>::infinity());
        if (seen == 0) return std::fill(s, s + end, T(0));
        V highest = V::load(s), other = highest;
        for (Index j = L; j < end; j += 2 * L) {
            highest = max(V::load(s + j), highest);
            if (j + L < end) other = max(V::load(s + j + L), other);
        }
        const T before = b.m[r], m = std::max(before, largest(max(highest, other)));
        V total = V::zero();
        for (Index j = 0; j < end; j += L) {
            const V e = exp_of_units(V::load(s + j) - m);
            e.store(s + j);
            total = total + e;
        }
        if (m > before) {
            // 0 at the first block, where before is -infinity.
            const T shrink = std::exp((before - m) / exponent_unit<T>());
            b.l[r] *= shrink;
            T* const o = b.o + r * b.width;
            for (Index i = 0; i < b.width; i += L) (V::load(o + i) * shrink).store(o + i);
        }
        b.l[r] += sum(total);
        b.m[r] = m;
    }
};

}  // namespace attention_detail

/// q [N, H*K]   k, v [R, G*K], held as S   ->   y [N, H*K]
template <class T, class S>
void attention(In<T> q, View<const S> k, View<const S> v, Heads heads, const Segments& segments, View<T> y, CpuPath path,
               const Team& team) {
    using namespace attention_detail;
    const Index H = heads.query, G = heads.kv, K = q.dim(1) / H, shared = H / G;
    const Index width = round_up(K, 64 / static_cast<Index>(sizeof(T)));
    constexpr Index P = key_panel<T>;

    for (const Segment& segment : segments) {
        if (segment.n <= decode_rows) {
            attention_few<T, S>(q, k, v, heads, segments, segment, y, path, team);
            continue;
        }
        // K to panels and V together, for every key/value head.
        const Index panels = (segment.keys + P - 1) / P, keys = panels * P;
        const Index head_size = keys * (K + width);
        Storage packed = team.pool->take(static_cast<std::size_t>(G * head_size) * sizeof(T));
        T* const base = reinterpret_cast<T*>(packed.data());
        parallel_for(team.threads, G * panels, 1, [&](Index begin, Index end) {
            for (Index i = begin; i < end; ++i) {
                const Index g = i / panels, first = i % panels * P, count = std::min(P, segment.keys - first);
                const Index source = ((segment.k0 + first) * G + g) * K;
                T* const head = base + g * head_size;
                turn_keys(k.data() + source, G * K, count, K, head + first * K, path);
                copy_padded(v.data() + source, G * K, count, K, head + keys * K + first * width, width);
            }
        });

        const Index positions = std::max<Index>(1, query_rows / shared), rows_most = positions * shared;
        const Index blocks = (segment.n + positions - 1) / positions;
        const T factor = exponent_unit<T>() / std::sqrt(static_cast<T>(K));
        for_each_task<T>(team, G * blocks, rows_most * (2 * width + score_stride<T> + 2), [&](T* scratch, Index task) {
            const Index g = task / blocks, block = blocks - 1 - task % blocks;  // causal: the longest first
            const Index t0 = block * positions, rows = std::min(positions, segment.n - t0) * shared;
            Block<T> b{.q = scratch,
                       .scores = scratch + rows_most * width,
                       .o = scratch + rows_most * (width + score_stride<T>),
                       .m = scratch + rows_most * (2 * width + score_stride<T>),
                       .l = scratch + rows_most * (2 * width + score_stride<T> + 1),
                       .rows = rows,
                       .K = K,
                       .width = width,
                       .first_visible = segments.visible(segment, t0),
                       .rows_per_key = segments.causal() ? shared : 0};
            const Index first = ((segment.q0 + t0) * H + g * shared) * K;
            dispatch<BeginBlock<T>>(path, b, q.data() + first, H * K, shared, factor);
            const Index most = b.visible(rows - 1);
            const T *const k_panels = base + g * head_size, *const v_rows = k_panels + keys * K;
            for (Index j = 0; j < most; j += key_block)
                dispatch<Step<T>>(path, b, k_panels + j * K, v_rows + j * width, j, std::min(key_block, most - j));
            dispatch<EndBlock<T>>(path, b, y.data() + first, H * K, shared);
        });
    }
}

}  // namespace smolvlm::cpu
