#pragma once
/// Weights to panels of integers (core/integer_layout.hpp says where things are in them).

#include <bit>

#include <smolvlm/core/integer_layout.hpp>
#include <smolvlm/cpu/turn.hpp>
#include <smolvlm/cpu/word_dot.hpp>
#include <smolvlm/cpu/word_rows.hpp>

namespace smolvlm::cpu {

/// What bf16 weights are multiplied as: themselves where the processor has such products, words (word_tiles.hpp) where those
/// are twice as fast as floats; none: floats.
constexpr IntegerFormat format_of_bf16(CpuPath path) {
    if (path >= CpuPath::avx512bf16) return IntegerFormat::bf16;
    return has_fast_words(path) ? IntegerFormat::int16 : IntegerFormat::none;
}

/// The format in which a weight of that type is multiplied, none: as floats. `floats`: floating ones as int8.
constexpr IntegerFormat integer_format(DType dtype, bool floats, CpuPath path) {
    if (dtype == DType::q8_0) return IntegerFormat::q8_0;
    if (dtype == DType::q4_0) return IntegerFormat::q4_0;
    if (floats && is_floating(dtype)) return IntegerFormat::int8;
    return dtype == DType::bf16 ? format_of_bf16(path) : IntegerFormat::none;
}

inline constexpr float most_word_weight = 4095;  // what activations may then be: word_tiles.hpp

namespace detail {

/// Bytes of a row of floats: u = 128 + round(127 w / max |w|).
struct RoundRow {
    template <int Bytes>
    SMOLVLM_INLINE static void run(const float* row, Index K, std::uint8_t* q, float* scale) {
        constexpr int L = lanes<float, Bytes>;
        using V = Vec<float, L>;
        const Index whole = K / L * L;
        V high = V::zero();
        for (Index k = 0; k < whole; k += L) high = max(max(V::load(row + k), V::zero() - V::load(row + k)), high);
        float most = largest(high);
        for (Index k = whole; k < K; ++k) most = std::max(most, std::abs(row[k]));
        const float factor = most > 1e-36f ? 127 / most : 0.0f;
        *scale = factor > 0 ? most / 127 : 0.0f;
        const auto round = [&](const V& x, std::uint8_t* to) __attribute__((always_inline)) {
            Raw<std::uint32_t, L> bits;
            reinterpret((x * factor + (0x1.8p23f + 128)).v, bits);  // the sum is rounded to an integer, in its low bits
            store_low_bytes<L>(bits, to);
        };
        for (Index k = 0; k < whole; k += L) round(V::load(row + k), q + k);
        if (whole == K) return;
        std::uint8_t rest[std::size_t{L}];
        round(V::load_first(row + whole, K - whole), rest);
        std::copy_n(rest, K - whole, q + whole);
    }
};

inline void pack_block_row(const std::byte* row, const IntegerLayout& at, Index c, std::byte* panel) {
    const std::uint32_t flip = at.format == IntegerFormat::q8_0 ? 0x80808080u : 0u;  // signed to unsigned: + 128
    for (Index b = 0; b < at.blocks(); ++b) {
        smolvlm::detail::store(panel + at.scales_at(b) + c * 2, smolvlm::detail::load<half>(row));
        row += 2;
        for (Index i = 0; i < at.block_lines(); ++i, row += 4)
            smolvlm::detail::store(panel + at.lines_at(b) + i * at.line + c * 4,
                                   smolvlm::detail::load<std::uint32_t>(row) ^ flip);
    }
}

/// The even and the odd numbers of L groups of two bf16.
template <int L>
SMOLVLM_INLINE std::pair<Vec<float, L>, Vec<float, L>> bf16_pairs(const std::byte* groups) {
    const auto bits = Vec<std::uint32_t, L>::load(reinterpret_cast<const std::uint32_t*>(groups)).v;
    Vec<float, L> even, odd;
    reinterpret(bits << 16, even.v);
    reinterpret(bits & 0xffff0000u, odd.v);
    return {even, odd};
}

/// A panel of bf16 pairs to one of words: q = round(4095 w / max |w|) of each of its 48 rows. `to` may be `from`.
struct PairsToWords {
    template <int Bytes>
    SMOLVLM_INLINE static void run(const std::byte* from, Index lines, std::byte* to) {
        constexpr int L = lanes<float, Bytes>;
        using V = Vec<float, L>;
        auto* const scales = reinterpret_cast<float*>(to + lines * IntegerLayout::line);
        for (Index c = 0; c < IntegerLayout::width; c += L) {
            Magnitudes<L> seen;
            for (Index i = 0; i < lines; ++i) {
                const auto [even, odd] = bf16_pairs<L>(from + i * IntegerLayout::line + 4 * c);
                seen.look(even);
                seen.look(odd);
            }
            const V factors = seen.of_columns(most_word_weight, scales + c);
            for (Index i = 0; i < lines; ++i) {
                const auto [even, odd] = bf16_pairs<L>(from + i * IntegerLayout::line + 4 * c);
                word_pairs(rounded_words(even * factors), rounded_words(odd * factors))
                    .store(reinterpret_cast<std::int32_t*>(to + i * IntegerLayout::line + 4 * c));
            }
        }
    }
};

/// The same panel from its 48 rows of bf16 in a file, of `lines` >= 16 groups each, which are turned as they become words.
struct RowsToWords {
    template <int Bytes>
    SMOLVLM_INLINE static void run(const std::byte* rows, Index row_bytes, Index lines, std::byte* to) {
        constexpr int L = lanes<float, Bytes>;
        using Bits = Vec<std::uint16_t, 2 * L>;  // twice these are those of the magnitude, and compare as it does
        auto* const scales = reinterpret_cast<float*>(to + lines * IntegerLayout::line);
        float factors[IntegerLayout::width];
        for (Index c = 0; c < IntegerLayout::width; ++c) {
            Bits most = Bits::zero();
            for_squares<L>(lines, [&](Index i) __attribute__((always_inline)) {
                const Bits x = Bits::load(reinterpret_cast<const std::uint16_t*>(rows + c * row_bytes + 4 * i));
                most = max(x + x, most);
            });
            std::uint32_t bits = 0;
            for (int lane = 0; lane < 2 * L; ++lane) bits = std::max<std::uint32_t>(bits, most.v[lane]);
            const float largest_magnitude = std::bit_cast<float>(bits << 15);
            const RowScale s(largest_magnitude, most_word_weight);
            factors[c] = s.factor;
            scales[c] = s.scale;
        }
        for (Index c = 0; c < IntegerLayout::width; c += L)
            for_squares<L>(lines, [&](Index i) __attribute__((always_inline)) {
                Vec<std::int32_t, L> square[std::size_t{L}];
#pragma GCC unroll 16
                for (int r = 0; r < L; ++r) {
                    const auto [even, odd] = bf16_pairs<L>(rows + (c + r) * row_bytes + 4 * i);
                    square[r] = word_pairs(rounded_words(even * factors[c + r]), rounded_words(odd * factors[c + r]));
                }
                turn_detail::turn_square<L / 2>(square);
#pragma GCC unroll 16
                for (int r = 0; r < L; ++r)
                    square[r].store(reinterpret_cast<std::int32_t*>(to + (i + r) * IntegerLayout::line + 4 * c));
            });
    }

private:
    /// f(i) for squares of L that cover [0, lines); the last one ends there.
    template <int L, class F>
    SMOLVLM_INLINE static void for_squares(Index lines, F&& f) {
        for (Index i = 0; i + L <= lines; i += L) f(i);
        if (lines % L != 0) f(lines - L);
    }
};

}  // namespace detail

/// The same panel as words, where it is not yet; `to` may be `panel`.
inline void pairs_to_words(const std::byte* panel, const IntegerLayout& at, std::byte* to) {
    dispatch<detail::PairsToWords>(cpu_path(), panel, at.block_lines(), to);
}

/// A panel from `count` <= 48 rows of a file, row_bytes apart; `scratch` as many floats as integer_scratch says.
inline Index integer_scratch(const IntegerLayout& at) { return at.has_blocks() ? 0 : at.K + 48 * at.block_lines(); }
inline void pack_integer_panel(DType dtype, const std::byte* rows, Index row_bytes, Index count,
                               const IntegerLayout& at, std::byte* panel, float* scratch) {
    const bool half_pair = at.has_blocks() && at.blocks() % 2 != 0;
    if (count < at.width || half_pair) std::fill_n(panel, at.panel_bytes(), std::byte(0));  // scales too
    if (at.has_blocks()) {
        for (Index c = 0; c < count; ++c) detail::pack_block_row(rows + c * row_bytes, at, c, panel);
        return;
    }
    const Index lines = at.block_lines();
    const bool in_groups = at.K % 2 == 0 && reinterpret_cast<std::uintptr_t>(rows) % 4 == 0;
    if (at.is_int16()) {
        if (in_groups && count == at.width && lines >= 16)
            return dispatch<detail::RowsToWords>(cpu_path(), rows, row_bytes, lines, panel);
        pack_integer_panel(dtype, rows, row_bytes, count, {IntegerFormat::bf16, at.K}, panel, scratch);
        return pairs_to_words(panel, at, panel);
    }
    if (at.is_bf16() && in_groups) {
        dispatch<Turn>(cpu_path(), reinterpret_cast<const float*>(rows), row_bytes / 4, count, lines,
                       reinterpret_cast<float*>(panel), at.width);
        return;
    }
    float* const groups = scratch + at.K;  // [48, lines], of four bytes each: the panel is its transpose
    for (Index c = 0; c < count; ++c) {
        if (at.is_bf16()) {
            std::memset(groups + c * lines + (lines - 1), 0, 4);  // an odd K leaves half a group
            std::memcpy(groups + c * lines, rows + c * row_bytes, static_cast<std::size_t>(2 * at.K));
            continue;
        }
        dequantize_row(dtype, rows + c * row_bytes, at.K, scratch);
        auto* const q = reinterpret_cast<std::uint8_t*>(groups + c * lines);
        float scale = 0;
        dispatch<detail::RoundRow>(cpu_path(), static_cast<const float*>(scratch), at.K, q, &scale);
        std::fill(q + at.K, q + 4 * lines, std::uint8_t(128));
        smolvlm::detail::store(panel + at.scales_at(0) + c * 4, scale);
    }
    dispatch<Turn>(cpu_path(), static_cast<const float*>(groups), lines, count, lines, reinterpret_cast<float*>(panel),
                   at.width);
}

}  // namespace smolvlm::cpu
