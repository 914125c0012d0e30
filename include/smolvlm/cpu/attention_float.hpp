#pragma once
/// Attention to many keys in numbers of type T: products are tiles of multiply-adds (cpu/gemm.hpp).

#include <smolvlm/cpu/attention_block.hpp>

namespace smolvlm::cpu {

namespace attention_detail {

/// Takes up the keys j0 .. j0 + count - 1, packed in `units`.
template <class T>
struct FloatStep {
    template <int Bytes>
    SMOLVLM_INLINE static void run(Block<T> b, const T* q, const T* units, Index j0, Index count) {
        constexpr int L = lanes<T, Bytes>, R = 6;
        constexpr Index P = key_panel<T>;
        constexpr int C = tile_columns(R, static_cast<int>(P) / L, Bytes);
        using V = Vec<T, L>;
        const Index unit = unit_keys * (b.K + b.width);
        const auto panel = [&](Index j) { return units + j / unit_keys * unit + j % unit_keys * b.K; };
        for (Index j = 0; j < count; j += P)
            tiles<L, R, C>(b.rows, q, b.width, panel(j), P, b.K, P, TileOut<T>{nullptr, 0, b.scores + j, score_stride<T>});
        for (Index r = 0; r < b.rows; ++r) {
            T* const s = b.scores + r * score_stride<T>;
            softmax_row<V>(b, r, b.seen(r, j0, count), count, T(0), [s](Index j, const V& x) __attribute__((always_inline)) {
                const V e = exp_of_units(x);
                e.store(s + j);
                return e;
            });
        }
        const TileOut<T> o{b.o, b.width, b.o, b.width};
        for (Index j = 0; j < count; j += unit_keys) {
            const T *const weights = b.scores + j, *const v = units + j / unit_keys * unit + unit_keys * b.K;
            const Index keys = std::min(unit_keys, count - j);
            Index column = 0;
            for (; column + C * L <= b.width; column += C * L)
                tiles<L, R, C>(b.rows, weights, score_stride<T>, v + column, b.width, keys, C * L, o.at(0, column));
            for (; column < b.width; column += L)
                tiles<L, R, 1>(b.rows, weights, score_stride<T>, v + column, b.width, keys, L, o.at(0, column));
        }
    }
};

/// Row r is head r % shared of position r / shared: at from + r / shared * stride + r % shared * K; to [rows, width].
template <class T>
struct ScaleQueries {
    template <int Bytes>
    SMOLVLM_INLINE static void run(const T* from, Index stride, Index rows, Index shared, Index K, T factor, T* to,
                                   Index width) {
        using V = Vec<T, lanes<T, Bytes>>;
        for (Index r = 0; r < rows; ++r, to += width) {
            const T* const row = from + r / shared * stride + r % shared * K;
            Index d = 0;
            for (; d + V::lanes <= K; d += V::lanes) (V::load(row + d) * factor).store(to + d);
            for (; d < K; ++d) to[d] = row[d] * factor;
        }
    }
};

template <class T>
struct FloatAttention {
    using Number = T;
    Index K, width;
    CpuPath path;

    /// A unit: panels of keys, then rows of values.
    Index unit_numbers() const { return unit_keys * (K + width); }
    Index query_numbers(Index rows) const { return rows * width; }

    Index pack_numbers() const { return 0; }

    /// The keys and values first .. first + count - 1 of a head, count <= unit_keys.
    template <class S>
    void pack(const HeadRows<S>& k, const HeadRows<S>& v, Index, Index first, Index count, T* unit, T*) const {
        for (Index j = 0; j < unit_keys; j += key_panel<T>)
            turn_keys(k.from(first + j * (j < count)), std::clamp<Index>(count - j, 0, key_panel<T>), K, unit + j * K, path);
        copy_padded(v.from(first), count, K, unit + unit_keys * K, width, unit_keys);
    }
    void begin(const T* q, Index stride, const Block<T>& b, T* rows) const {
        const T factor = exponent_unit<T>() / std::sqrt(static_cast<T>(K));
        dispatch<ScaleQueries<T>>(path, q, stride, b.rows, b.shared, K, factor, rows, width);
    }
    void step(const Block<T>& b, const T* rows, const T* units, Index j0, Index count) const {
        dispatch<FloatStep<T>>(path, b, rows, units, j0, count);
    }
};

}  // namespace attention_detail

}  // namespace smolvlm::cpu
