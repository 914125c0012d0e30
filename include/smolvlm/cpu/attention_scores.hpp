#pragma once
/// Scores of queries and keys in small integers, sums of products exact in 32 bits:
///
///     score_ij = s_i t_j sum_k a_ik c_jk       query i ~ s_i a_i,   key j - centre ~ t_j c_j       a scale for each row
///
///     words    |a|, |c| <= sqrt(2^31 / K), 5792 for K = 64                      centre 0
///     bytes    |a|, |c| <= 127                                                  centre: the mean of some of the keys
///
/// A number taken from all scores of a row changes no weight, so keys may be counted from any centre: with what they have in
/// common out of the way (a bias, a large channel) bytes are fine enough for the rest (Zhang et al. 2024, arXiv:2410.02367).
/// Bytes of keys lie as c + 128 (cpu/integer_dot.hpp); the 128 sum_k a_ik that this is too much is where sums begin.

#include <cmath>

#include <smolvlm/cpu/attention_block.hpp>
#include <smolvlm/cpu/integer_tiles.hpp>
#include <smolvlm/cpu/word_tiles.hpp>

namespace smolvlm::cpu {

namespace attention_detail {

/// The largest |a| of which K products fit into 32 bits.
inline float most_word(Index K) {
    constexpr float most_product = 2147483647.0f;
    return std::min(32767.0f, std::floor(std::sqrt(most_product / static_cast<float>(K)) - 0.5f));
}

/// to [count, width] = rows, ld numbers apart, less centre [width]; may be in place.
struct Subtract {
    template <int Bytes>
    SMOLVLM_INLINE static void run(const float* rows, Index ld, Index count, Index width, const float* centre, float* to) {
        using V = Vec<float, lanes<float, Bytes>>;
        for (Index r = 0; r < count; ++r, rows += ld, to += width)
            for (Index d = 0; d < width; d += V::lanes) (V::load(rows + d) - V::load(centre + d)).store(to + d);
    }
};

/// centre [K] = the mean of up to 16 of `count` keys, evenly spaced; 0 where that is no number.
template <class S>
void mean_of_some(const HeadRows<S>& keys, Index count, Index K, float* centre) {
    const Index some = std::min<Index>(count, 16);
    std::fill_n(centre, K, 0.0f);
    for (Index i = 0; i < some; ++i) {
        const HeadRows<S> key = keys.from(i * count / some);
        for (Index d = 0; d < K; ++d) centre[d] += static_cast<float>(key.data[d]) * key.template scale<float>(0);
    }
    for (Index d = 0; d < K; ++d) centre[d] = std::isfinite(centre[d]) ? centre[d] / static_cast<float>(some) : 0.0f;
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

/// A panel [lines, key_panel] of groups of 4 bytes, and what becomes of it: scores of rows with its keys, from `to` on.
struct ScorePanel {
    const float *groups, *scales;
    Index lines;
    float* to;
};

/// R rows of words, or of bytes, times C registers of keys, whose groups begin at `groups`.
template <class Words, int R, int C>
SMOLVLM_INLINE void score_tile(const ScaledWords& q, const float* groups, Index lines, const PutScores& put) {
    word_tile<Words, R, C>(q.q, q.stride, reinterpret_cast<const std::int16_t*>(groups), 2 * key_panel<float>, lines, put);
}
template <class Dots, int R, int C>
SMOLVLM_INLINE void score_tile(const IntegerRows& q, const float* groups, Index lines, const PutScores& put) {
    typename Dots::Ints sums[std::size_t{R}][std::size_t{C}];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
        for (int c = 0; c < C; ++c) detail::broadcast(q.start + r, sums[r][c]);
    const auto* const w = reinterpret_cast<const std::byte*>(groups);
    in_pairs(lines, [] {}, [&](Index i) __attribute__((always_inline)) {
        integer_detail::add_line<Dots, R, C, false>(q.q + 4 * i, q.stride, w + i * 4 * key_panel<float>, sums);
    });
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
        for (int c = 0; c < C; ++c) put.put(r, c, integer_detail::to_float<Dots>(sums[r][c]));
}

/// Rows of queries in words, or in bytes, times one panel. Products: sums of two products of words, or of four of bytes.
struct Scores {
    template <class Products, class Rows>
    SMOLVLM_INLINE static void run(Index rows, Rows q, ScorePanel panel) {
        constexpr int R = Products::bytes == 64 ? 6 : 2, C = Products::bytes == 64 ? 4 : 2;
        for (Index column = 0; column < key_panel<float>; column += C * Products::L)
            in_tiles<R>(rows, [&](Index r, auto height) __attribute__((always_inline)) {
                score_tile<Products, height, C>(
                    q.at(r), panel.groups + column, panel.lines,
                    PutScores{q.scale + r, panel.scales + column, panel.to + r * score_stride<float> + column});
            });
    }
};

/// How keys and queries are packed and multiplied. `width`: K up to whole cache lines of floats, zeros behind it.
struct IntegerScores {
    Index K, width;
    bool bytes;
    CpuPath path;

    Index lines() const { return bytes ? (K + 3) / 4 : (K + 1) / 2; }
    Index q_stride() const { return width + 32; }  // words; not a power of two
    Index query_numbers(Index rows) const { return rows * (q_stride() / 2 + 2); }
    Index pack_numbers() const { return unit_keys * (width + query_numbers(1)) + width; }

    /// The keys `first` .. first + count - 1 of the `all` of a head: panels of groups, [lines, key_panel] each, and scales.
    template <class S>
    void pack_keys(const HeadRows<S>& keys, Index all, Index first, Index count, float* panels, float* scales,
                   float* scratch) const {
        float *const padded = scratch, *const centre = padded + unit_keys * width, *const narrow = centre + width;
        auto [rows, ld] = padded_rows(keys.from(first), count, K, padded, width, unit_keys);
        if (bytes) {
            std::fill_n(centre, width, 0.0f);
            mean_of_some(keys, all, K, centre);
            dispatch<Subtract>(path, rows, ld, count, width, static_cast<const float*>(centre), padded);
            rows = padded, ld = width;
        }
        round(rows, ld, unit_keys, 1.0f, narrow, unit_keys, scales);
        for (Index j = 0; j < unit_keys; j += key_panel<float>) {
            float* const panel = panels + j * lines();
            turn_keys(static_cast<const float*>(narrow + j * q_stride() / 2), q_stride() / 2,  // groups move as floats do
                      std::clamp<Index>(count - j, 0, key_panel<float>), lines(), panel, path);
            auto* const groups = reinterpret_cast<std::uint32_t*>(panel);
            for (Index i = 0; bytes && i < lines() * key_panel<float>; ++i) groups[i] ^= 0x80808080u;
        }
    }
    /// Row r of the block is at q + r / shared * stride + r % shared * K.
    void pack_queries(const float* q, Index stride, const Block<float>& b, float* memory, float* padded) const {
        for (Index r = 0; r < b.rows; ++r)
            copy_padded(q + r / b.shared * stride + r % b.shared * K, K, 1, K, padded + r * width, width, 1);
        round(padded, width, b.rows, exponent_unit<float>() / std::sqrt(static_cast<float>(K)), memory, b.rows,
              scales_in(memory, b.rows));
    }
    /// b.scores of the keys in `panels`, from column j on.
    void multiply(const Block<float>& b, float* memory, const float* panels, const float* scales, Index j) const {
        const ScorePanel panel{panels, scales, lines(), b.scores + j};
        if (bytes)
            dispatch_integers<Scores>(path, b.rows, bytes_in(memory, b.rows, scales_in(memory, b.rows)), panel);
        else
            dispatch_words<Scores>(path, b.rows, words_in(memory, b.rows), panel);
    }

private:
    float* scales_in(float* memory, Index rows) const { return memory + rows * q_stride() / 2; }
    ScaledWords words_in(float* memory, Index rows) const {
        return {reinterpret_cast<std::int16_t*>(memory), q_stride(), scales_in(memory, rows), 1};
    }
    IntegerRows bytes_in(float* memory, Index rows, float* scales) const {
        return {reinterpret_cast<std::int8_t*>(memory), 2 * q_stride(), scales,
                reinterpret_cast<std::int32_t*>(scales_in(memory, rows) + rows), 1};
    }
    /// x [count, width], ldx numbers apart, to integers in `memory` for `rows` of them, and their scales times `times`.
    void round(const float* x, Index ldx, Index count, float times, float* memory, Index rows, float* scales) const {
        if (!bytes)
            return dispatch<RoundWords>(path, x, ldx, count, width, most_word(K), times, words_in(memory, rows).q, q_stride(),
                                        scales);
        dispatch<QuantizeRows>(path, x, ldx, count, width, width, centres_weights(path) ? 0 : 128,
                               bytes_in(memory, rows, scales));
        for (Index r = 0; r < count; ++r) scales[r] *= times;
    }
};

}  // namespace attention_detail

}  // namespace smolvlm::cpu
