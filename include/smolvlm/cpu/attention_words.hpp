#pragma once
/// Attention to many keys in words: q, k, v and the weights of v are rounded to 16-bit numbers, sums are exact in 32 bits.
/// Half as fast again as floats where the processor has VNNI (195 beside 125 GFLOP/s on a core of a Xeon), and used where
/// matrices are narrow too (Precision).
///
///     q_i = s_i a_i     k_j = t_j c_j     |a|, |c| <= sqrt(2^31 / K), 5792 for K = 64       a scale for each row
///     v_jd = u_d g_jd   |g| <= 2047       weights e^(s - m) = p / 8191, 0 <= p <= 8191      a scale for each column of a unit
///
/// K products of a and c fit into 32 bits, and so do the unit's 128 of p and g: 128 * 8191 * 2047 < 2^31. The weights are
/// rounded before they are summed, so they sum to one. A row or column with a NaN or an infinity has the scale NaN.

#include <cmath>

#include <smolvlm/cpu/attention_block.hpp>
#include <smolvlm/cpu/word_dot.hpp>
#include <smolvlm/cpu/word_rows.hpp>

namespace smolvlm::cpu {

namespace attention_detail {

inline constexpr float most_weight = 8191, most_value = 2047;
inline constexpr float most_product = 2147483647.0f;
inline constexpr Index weight_stride = key_block + 32;  // words; not a power of two

/// The largest |a| of which K products fit into 32 bits.
inline float most_word(Index K) { return std::min(32767.0f, std::floor(std::sqrt(most_product / static_cast<float>(K)) - 0.5f)); }

/// values [unit_keys, width] to pairs of rows [unit_keys / 2, width, 2] and the scales of the columns.
struct RoundValues {
    template <int Bytes>
    SMOLVLM_INLINE static void run(const float* values, Index width, std::int16_t* pairs, float* scales) {
        constexpr int L = lanes<float, Bytes>;
        using V = Vec<float, L>;
        for (Index d = 0; d < width; d += L) {
            Magnitudes<V> seen{V::zero(), V::zero()};
            for (Index j = 0; j < unit_keys; ++j) seen.look(V::load(values + j * width + d));
            const V factors = seen.of_columns(most_value, scales + d);
            for (Index j = 0; j < unit_keys; j += 2) {
                const auto even = rounded_words(V::load(values + j * width + d) * factors);
                const auto odd = rounded_words(V::load(values + (j + 1) * width + d) * factors);
                word_pairs(even, odd).store(reinterpret_cast<std::int32_t*>(pairs + (j / 2 * width + d) * 2));
            }
        }
    }
};

/// Where things are in a unit of 128 keys, counted in floats.
struct WordUnit {
    Index pairs, width;  // pairs of words in a key, columns of values

    Index key_scales() const { return unit_keys * pairs; }  // panels come first
    Index values() const { return key_scales() + unit_keys; }
    Index value_scales() const { return values() + unit_keys / 2 * width; }
    Index numbers() const { return value_scales() + width; }
};

/// Query rows as words, and the weights of one step.
struct WordRows {
    std::int16_t *q, *weights;  // [rows, q_stride], [rows, weight_stride]
    float* scales;              // [rows]
    Index q_stride;
};

/// Takes up the keys j0 .. j0 + count - 1, packed in `units`.
struct WordStep {
    template <class Words>
    SMOLVLM_INLINE static void run(Block<float> b, WordRows rows, WordUnit unit, const float* units, Index j0, Index count) {
        constexpr int L = Words::L, R = Words::bytes == 64 ? 6 : 2, C = Words::bytes == 64 ? 4 : 2;
        using V = Vec<float, L>;
        constexpr Index P = key_panel<float>;
        for (Index j = 0; j < count; j += P) {
            const float* const at = units + j / unit_keys * unit.numbers();
            const float *const panel = at + j % unit_keys * unit.pairs, *const scales = at + unit.key_scales() + j % unit_keys;
            for (Index column = 0; column < P; column += C * L)
                for (Index r = 0, taken = 0; r < b.rows; r += taken)
                    taken = scores<Words, R, C>(b, rows, r, words(panel + column), unit.pairs, scales + column, j + column);
        }
        for (Index r = 0; r < b.rows; ++r) {
            std::int16_t* const p = rows.weights + r * weight_stride;
            softmax_row<V>(b, r, b.seen(r, j0, count), count, [p](Index j, const V& x) __attribute__((always_inline)) {
                const V visible = V::of(x.v < -30.0f ? -30.0f - detail::Raw<float, L>{} : x.v);  // a NaN stays one
                const V weight = exp2_below_one<4>(visible) * most_weight;
                store_words<L>(rounded_words(weight), p + j);
                return weight + 0x1.8p23f - 0x1.8p23f;  // what was stored
            });
        }
        for (Index j = 0; j < count; j += unit_keys) {
            const float* const at = units + j / unit_keys * unit.numbers();
            const Index lines = (std::min(unit_keys, count - j) + 1) / 2;
            Index column = 0;
            for (; column + C * L <= b.width; column += C * L)
                for (Index r = 0, taken = 0; r < b.rows; r += taken)
                    taken = values<Words, R, C>(b, rows, r, at, unit, j, lines, column);
            for (; column < b.width; column += L)
                for (Index r = 0, taken = 0; r < b.rows; r += taken)
                    taken = values<Words, R, 1>(b, rows, r, at, unit, j, lines, column);
        }
    }

private:
    SMOLVLM_INLINE static const std::int16_t* words(const float* packed) {
        return reinterpret_cast<const std::int16_t*>(packed);
    }
    /// scores[r, c] = s[r] t[c] sum, where a tile of them begins.
    struct PutScores {
        const float *row_scales, *key_scales;
        float* scores;

        template <int L>
        SMOLVLM_INLINE void put(int r, int c, const Vec<float, L>& sum) const {
            (sum * (Vec<float, L>::load(key_scales + c * L) * row_scales[r])).store(scores + r * score_stride<float> + c * L);
        }
    };
    /// o[r, c] += u[c] sum
    struct AddValues {
        const float* scales;
        float* o;
        Index width;

        template <int L>
        SMOLVLM_INLINE void put(int r, int c, const Vec<float, L>& sum) const {
            Vec<float, L> total = Vec<float, L>::load(o + r * width + c * L);
            total.add_product(sum, Vec<float, L>::load(scales + c * L));
            total.store(o + r * width + c * L);
        }
    };
    /// R rows from row r on, or as many as there are: returns their number.
    template <class Words, int R, int C>
    SMOLVLM_INLINE static Index scores(const Block<float>& b, const WordRows& rows, Index r, const std::int16_t* panel,
                                       Index lines, const float* key_scales, Index j) {
        if constexpr (R > 1)
            if (b.rows - r < R) return scores<Words, R / 2, C>(b, rows, r, panel, lines, key_scales, j);
        word_tile<Words, R, C>(rows.q + r * rows.q_stride, rows.q_stride, panel, 2 * key_panel<float>, lines,
                               PutScores{rows.scales + r, key_scales, b.scores + r * score_stride<float> + j});
        return R;
    }
    template <class Words, int R, int C>
    SMOLVLM_INLINE static Index values(const Block<float>& b, const WordRows& rows, Index r, const float* at, WordUnit unit,
                                       Index j, Index lines, Index column) {
        if constexpr (R > 1)
            if (b.rows - r < R) return values<Words, R / 2, C>(b, rows, r, at, unit, j, lines, column);
        word_tile<Words, R, C>(rows.weights + r * weight_stride + j, weight_stride, words(at + unit.values() + column),
                               2 * b.width, lines,
                               AddValues{at + unit.value_scales() + column, b.o + r * b.width + column, b.width});
        return R;
    }
};

struct WordAttention {
    using Number = float;
    Index K, width;
    CpuPath path;

    Index unit_numbers() const { return unit().numbers(); }
    Index query_numbers(Index rows) const { return rows * (q_stride() / 2 + weight_stride / 2 + 1 + width); }

    Index pack_numbers() const { return unit_keys * (width + q_stride() / 2); }

    template <class S>
    void pack(const HeadRows<S>& k, const HeadRows<S>& v, Index count, float* to, float* padded) const {
        const WordUnit at = unit();
        float* const rows = padded + unit_keys * width;  // of words, which move in pairs as floats do
        const Index stride = q_stride() / 2;
        copy_padded(k, count, K, padded, width, unit_keys);
        dispatch<RoundWords>(path, static_cast<const float*>(padded), unit_keys, width, most_word(K), 1.0f,
                             reinterpret_cast<std::int16_t*>(rows), q_stride(), to + at.key_scales());
        for (Index j = 0; j < unit_keys; j += key_panel<float>)
            turn_keys(static_cast<const float*>(rows + j * stride), stride, std::clamp<Index>(count - j, 0, key_panel<float>),
                      at.pairs, to + j * at.pairs, path);
        copy_padded(v, count, K, padded, width, unit_keys);
        dispatch<RoundValues>(path, static_cast<const float*>(padded), width,
                              reinterpret_cast<std::int16_t*>(to + at.values()), to + at.value_scales());
    }
    void begin(const float* q, Index stride, const Block<float>& b, float* memory) const {
        const WordRows rows = rows_in(memory, b.rows);
        float* const padded = rows.scales + b.rows;
        for (Index r = 0; r < b.rows; ++r)
            copy_padded(q + r / b.shared * stride + r % b.shared * K, K, 1, K, padded + r * width, width, 1);
        const float units = exponent_unit<float>() / std::sqrt(static_cast<float>(K));
        dispatch<RoundWords>(path, static_cast<const float*>(padded), b.rows, width, most_word(K), units, rows.q, q_stride(),
                             rows.scales);
    }
    void step(const Block<float>& b, float* memory, const float* units, Index j0, Index count) const {
        dispatch_words<WordStep>(path, b, rows_in(memory, b.rows), unit(), units, j0, count);
    }

private:
    WordUnit unit() const { return {(K + 1) / 2, width}; }
    Index q_stride() const { return width + 32; }  // words
    WordRows rows_in(float* memory, Index rows) const {
        auto* const q = reinterpret_cast<std::int16_t*>(memory);
        auto* const weights = q + rows * q_stride();
        return {q, weights, reinterpret_cast<float*>(weights + rows * weight_stride), q_stride()};
    }
};

}  // namespace attention_detail

}  // namespace smolvlm::cpu
