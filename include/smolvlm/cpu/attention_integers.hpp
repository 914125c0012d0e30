#pragma once
/// Attention to many keys in small integers, used where matrices are narrow too (Precision) and sums of words are fast: twice
/// as fast as floats where the processor has VNNI.
///
///     scores           words, or bytes beside int8 weights                                    cpu/attention_scores.hpp
///     v_jd = u_d g_jd   |g| <= 2047       weights e^(s - m) = p / 8192, 0 <= p <= 8192      a scale for each column of a unit
///
/// The unit's 128 products of p and g fit into 32 bits: 128 * 8192 * 2047 < 2^31. The weights are rounded before they are
/// summed, so they sum to one. A row or column with a NaN or an infinity has the scale NaN.

#include <smolvlm/cpu/attention_scores.hpp>

namespace smolvlm::cpu {

namespace attention_detail {

inline constexpr float weight_bits = 13, most_value = 2047;
inline constexpr Index weight_stride = key_block + 32;  // words; not a power of two

/// values [unit_keys, width], ld numbers apart, to pairs of rows [unit_keys / 2, width, 2] and the scales of the columns.
struct RoundValues {
    template <int Bytes>
    SMOLVLM_INLINE static void run(const float* values, Index ld, Index width, std::int16_t* pairs, float* scales) {
        constexpr int L = lanes<float, Bytes>;
        using V = Vec<float, L>;
        for (Index d = 0; d < width; d += L) {
            Magnitudes<L> seen;
            for (Index j = 0; j < unit_keys; ++j) seen.look(V::load(values + j * ld + d));
            const V factors = seen.of_columns(most_value, scales + d);
            for (Index j = 0; j < unit_keys; j += 2) {
                const auto even = rounded_words(V::load(values + j * ld + d) * factors);
                const auto odd = rounded_words(V::load(values + (j + 1) * ld + d) * factors);
                word_pairs(even, odd).store(reinterpret_cast<std::int32_t*>(pairs + (j / 2 * width + d) * 2));
            }
        }
    }
};

/// The scores of a block become weights [rows, weight_stride].
struct WeighWords {
    template <int Bytes>
    SMOLVLM_INLINE static void run(Block<float> b, std::int16_t* weights, Index j0, Index count) {
        constexpr int L = lanes<float, Bytes>;
        using V = Vec<float, L>;
        for (Index r = 0; r < b.rows; ++r) {
            std::int16_t* const p = weights + r * weight_stride;
            softmax_row<V>(b, r, b.seen(r, j0, count), count, weight_bits, [p](Index j, const V& x) __attribute__((always_inline)) {
                const V shifted = exp2_below_one<4>(max(V::of(V::zero().v - 30.0f), x)) + 0x1.8p23f;  // a NaN stays one
                const V stored = shifted - 0x1.8p23f;  // (after store_words GCC would keep a copy of shifted in memory)
                Vec<std::int32_t, L> bits;
                detail::reinterpret(shifted.v, bits.v);
                store_words<L>(bits, p + j);
                return stored;
            });
        }
    }
};

/// o += weights [rows, 2 lines] times the values of a unit, pairs of rows [lines, width].
struct AddValues {
    template <class Words>
    SMOLVLM_INLINE static void run(Block<float> b, const std::int16_t* weights, const std::int16_t* pairs, const float* scales,
                                   Index lines) {
        constexpr int L = Words::L, R = Words::bytes == 64 ? 6 : 2, C = Words::bytes == 64 ? 4 : 2;
        const auto add = [&](Index column, auto registers) __attribute__((always_inline)) {
            in_tiles<R>(b.rows, [&](Index r, auto height) __attribute__((always_inline)) {
                word_tile<Words, height, registers>(weights + r * weight_stride, weight_stride, pairs + 2 * column, 2 * b.width,
                                                    lines, Put{scales + column, b.o + r * b.width + column, b.width});
            });
        };
        Index column = 0;
        for (; column + C * L <= b.width; column += C * L) add(column, std::integral_constant<int, C>());
        for (; column < b.width; column += L) add(column, std::integral_constant<int, 1>());
    }

private:
    /// o[r, c] += u[c] sum
    struct Put {
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
};

/// A unit of 128 keys, in floats: panels of keys, their scales, pairs of values, the scales of their columns.
struct IntegerAttention {
    using Number = float;
    Index K, width;
    bool bytes;  // scores of bytes, else of words
    CpuPath path;

    Index unit_numbers() const { return value_scales() + width; }
    Index pack_numbers() const { return scores().pack_numbers(); }
    Index query_numbers(Index rows) const { return weights(rows) + rows * (weight_stride / 2 + width); }

    template <class S>
    void pack(const HeadRows<S>& k, const HeadRows<S>& v, Index all, Index first, Index count, float* unit,
              float* scratch) const {
        scores().pack_keys(k, all, first, count, unit, unit + key_scales(), scratch);
        const auto [values, ld] = padded_rows(v.from(first), count, K, scratch, width, unit_keys);
        dispatch<RoundValues>(path, values, ld, width, reinterpret_cast<std::int16_t*>(unit + values_at()),
                              unit + value_scales());
    }
    void begin(const float* q, Index stride, const Block<float>& b, float* memory) const {
        scores().pack_queries(q, stride, b, memory, memory + weights(b.rows) + b.rows * weight_stride / 2);
    }
    void step(const Block<float>& b, float* memory, const float* units, Index j0, Index count) const {
        auto* const p = reinterpret_cast<std::int16_t*>(memory + weights(b.rows));
        const auto unit_of = [&](Index j) { return units + j / unit_keys * unit_numbers(); };
        for (Index j = 0; j < count; j += key_panel<float>) {
            const float* const unit = unit_of(j);
            const Index within = j % unit_keys;
            scores().multiply(b, memory, unit + within * scores().lines(), unit + key_scales() + within, j);
        }
        dispatch<WeighWords>(path, b, p, j0, count);
        for (Index j = 0; j < count; j += unit_keys) {
            const float* const unit = unit_of(j);
            dispatch_words<AddValues>(path, b, static_cast<const std::int16_t*>(p + j),
                                      reinterpret_cast<const std::int16_t*>(unit + values_at()), unit + value_scales(),
                                      (std::min(unit_keys, count - j) + 1) / 2);
        }
    }

private:
    IntegerScores scores() const { return {K, width, bytes, path}; }
    Index key_scales() const { return unit_keys * scores().lines(); }
    Index values_at() const { return key_scales() + unit_keys; }
    Index value_scales() const { return values_at() + unit_keys / 2 * width; }
    Index weights(Index rows) const { return round_up(scores().query_numbers(rows), 16); }
};

}  // namespace attention_detail

}  // namespace smolvlm::cpu
