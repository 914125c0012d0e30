#pragma once
/// What the two forms of attention to many keys share (cpu/attention_float.hpp, cpu/attention_integers.hpp): a block of query
/// rows, its state, and the step of the online softmax.                              the whole: cpu/attention.hpp

#include <limits>
#include <utility>

#include <smolvlm/cpu/gemm.hpp>
#include <smolvlm/cpu/kept_rows.hpp>
#include <smolvlm/cpu/turn.hpp>

namespace smolvlm::cpu {

namespace attention_detail {

template <class T>
inline constexpr Index key_panel = 256 / static_cast<Index>(sizeof(T));  // keys in a panel: four registers of AVX-512
inline constexpr Index unit_keys = 128;   // keys that are packed together, and values that are summed without a pause
inline constexpr Index key_block = 512;   // keys of one step of the online softmax
inline constexpr Index query_rows = 48;   // rows of a block (more where heads demand it)
template <class T>  // a power of two would put the rows of a tile into the same cache sets
inline constexpr Index score_stride = key_block + 64 / static_cast<Index>(sizeof(T));

constexpr Index round_up(Index n, Index step) { return (n + step - 1) / step * step; }

/// panel [K, key_panel] = the first `count` keys [count, stride ld] turned, zeros after them.
template <class T, class S>
void turn_keys(const S* keys, Index ld, Index count, Index K, T* panel, CpuPath path) {
    if (count < key_panel<T>) std::fill_n(panel, K * key_panel<T>, T(0));
    dispatch<Turn>(path, keys, ld, count, K, panel, key_panel<T>);
}
template <class T, class S>
void turn_keys(const HeadRows<S>& keys, Index count, Index K, T* panel, CpuPath path) {
    turn_keys(keys.data, keys.ld, count, K, panel, path);
    if constexpr (has_scales<S>)
        for (Index d = 0; d < K; ++d, panel += key_panel<T>)
            for (Index c = 0; c < count; ++c) panel[c] *= keys.template scale<T>(c);
}
/// to [rows, width] = the first `count` rows [count, stride ld], zeros around them.
template <class T, class S>
void copy_padded(const S* from, Index ld, Index count, Index K, T* to, Index width, Index rows = key_panel<T>) {
    for (Index c = 0; c < rows; ++c, to += width) {
        const Index copied = c < count ? K : 0;
        std::copy_n(from + c * ld * (copied > 0), copied, to);
        std::fill(to + copied, to + width, T(0));
    }
}
template <class T, class S>
void copy_padded(const HeadRows<S>& from, Index count, Index K, T* to, Index width, Index rows) {
    copy_padded(from.data, from.ld, count, K, to, width, rows);
    if constexpr (has_scales<S>)
        for (Index c = 0; c < count; ++c)
            for (Index d = 0; d < K; ++d) to[c * width + d] *= from.template scale<T>(c);
}

/// The first `count` rows where they are, if they need neither widening nor padding; else in `to`, as copy_padded puts them.
template <class S>
std::pair<const float*, Index> padded_rows(const HeadRows<S>& from, Index count, Index K, float* to, Index width, Index rows) {
    if constexpr (std::is_same_v<S, float>)
        if (count == rows && K == width) return {from.data, from.ld};
    copy_padded(from, count, K, to, width, rows);
    return {to, width};
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

/// A block of query rows: row r is head r % shared of position r / shared. Rows of o stand `width` numbers apart, K rounded
/// up to whole cache lines.
template <class T>
struct Block {
    T *scores, *o, *m, *l;  // [rows, score_stride], [rows, width], [rows], [rows]
    Index rows, K, width, shared;
    Index first_visible;  // keys that row 0 may see
    bool causal;          // every `shared` rows later it is one key more

    static Index numbers(Index rows, Index width) { return rows * (width + score_stride<T> + 2); }
    static Block in(T* memory, Index rows, Index width) {
        Block b{};
        b.scores = memory;
        b.o = memory + rows * score_stride<T>;
        b.m = b.o + rows * width;
        b.l = b.m + rows;
        b.width = width;
        return b;
    }
    Index visible(Index r) const { return causal ? first_visible + r / shared : first_visible; }
    /// Keys of the `count` from j0 on that row r may see.
    Index seen(Index r, Index j0, Index count) const { return std::clamp<Index>(visible(r) - j0, 0, count); }
};

template <class T>
struct ClearBlock {
    template <int Bytes>
    SMOLVLM_INLINE static void run(Block<T> b) {
        using V = Vec<T, lanes<T, Bytes>>;
        for (Index i = 0; i < b.rows * b.width; i += V::lanes) V::zero().store(b.o + i);
        std::fill_n(b.m, b.rows, -std::numeric_limits<T>::infinity());
        std::fill_n(b.l, b.rows, T(0));
    }
};

/// Row r to y + r / shared * stride + r % shared * K; a row that has seen no key is zero.
template <class T>
struct EndBlock {
    template <int Bytes>
    SMOLVLM_INLINE static void run(Block<T> b, T* y, Index stride) {
        using V = Vec<T, lanes<T, Bytes>>;
        for (Index r = 0; r < b.rows; ++r) {
            const T factor = b.l[r] == T(0) ? T(0) : T(1) / b.l[r];
            const T* const from = b.o + r * b.width;
            T* const to = y + r / b.shared * stride + r % b.shared * b.K;
            Index d = 0;
            for (; d + V::lanes <= b.K; d += V::lanes) (V::load(from + d) * factor).store(to + d);
            for (; d < b.K; ++d) to[d] = from[d] * factor;
        }
    }
};

/// Row r meets `count` new scores, the first `seen` of which are visible to it: the state is corrected, and
/// weigh(j, s - m + above) makes weights e^(s - m + above) of the scores j .. j + L - 1 and returns them.
template <class V, class T, class Weigh>
SMOLVLM_INLINE void softmax_row(const Block<T>& b, Index r, Index seen, Index count, T above, Weigh weigh) {
    constexpr Index L = V::lanes;
    T* const s = b.scores + r * score_stride<T>;
    const Index end = round_up(count, L);
    std::fill(s + seen, s + end, -std::numeric_limits<T>::infinity());
    V highest = V::load(s), other = highest;
    for (Index j = L; j < end; j += 2 * L) {
        highest = max(V::load(s + j), highest);
        if (j + L < end) other = max(V::load(s + j + L), other);
    }
    const T before = b.m[r];
    T m = std::max(before, largest(max(highest, other)));
    if (m == -std::numeric_limits<T>::infinity()) m = 0;  // nothing seen yet: all weights are zero
    V total = V::zero();
    const T least = m - above;
    for (Index j = 0; j < end; j += L) total = total + weigh(j, V::load(s + j) - least);
    if (m > before) {
        const T shrink = std::exp((before - m) / exponent_unit<T>());  // 0 at the first keys: before is -infinity
        b.l[r] *= shrink;
        T* const o = b.o + r * b.width;
        for (Index i = 0; i < b.width; i += L) (V::load(o + i) * shrink).store(o + i);
    }
    b.l[r] += sum(total);
    if (seen > 0) b.m[r] = m;
}

}  // namespace attention_detail

}  // namespace smolvlm::cpu
