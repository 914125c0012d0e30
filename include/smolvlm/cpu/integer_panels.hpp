#pragma once
/// Weights as small integers (or bf16), in the order in which products of groups read them: panels of 48 output rows,
/// in a panel groups of four k, so that a register of groups meets one group of an activation row (integer_dot.hpp).
///
///     a line: 48 groups    | row 0: k k+1 k+2 k+3 | row 1: k k+1 k+2 k+3 | ... | row 47 |          192 bytes
///
///     int8     K/4 lines, then 48 float scales                                              w = s (u - 128)
///     bf16     K/2 lines, a group being two bf16 numbers (no integers, but the same order)  w as it is
///     Q8_0     64 k at a time: 8 lines, 8 lines, 48 half scales, 48 half scales             w = d (u - 128)
///     Q4_0     64 k at a time: 4 lines, 4 lines, 48 half scales, 48 half scales             w = d (u - 8)
///              byte j of a block: k = j in its low half, k = j + 16 in its high half
///
/// Integers are kept unsigned, as the dot products want them. What the offset adds depends on the activations alone,
///     sum_k (u_k - offset) x_k  =  -offset sum_k x_k  +  sum_k u_k x_k
/// and is where sums begin. Q8_0 and Q4_0 hold exactly what the file holds; int8 is made here from floats, a scale a
/// row: s = max |w| / 127. Rows beyond the last have scale zero.

#include <smolvlm/core/quant.hpp>
#include <smolvlm/cpu/turn.hpp>

namespace smolvlm::cpu {

enum class IntegerFormat : std::uint8_t { none, int8, q8_0, q4_0, bf16 };

/// Where things are in a panel of that format and K columns.
struct IntegerLayout {
    static constexpr Index width = 48, line = 4 * width;

    IntegerFormat format = IntegerFormat::none;
    Index K = 0;

    bool has_blocks() const { return format == IntegerFormat::q8_0 || format == IntegerFormat::q4_0; }
    bool is_bf16() const { return format == IntegerFormat::bf16; }
    int offset() const { return format == IntegerFormat::q4_0 ? 8 : 128; }
    Index block() const { return has_blocks() ? 32 : std::max<Index>(K, 1); }  // k that share a scale
    Index blocks() const { return (K + block() - 1) / block(); }
    Index block_lines() const {
        switch (format) {
            case IntegerFormat::q8_0: return 8;
            case IntegerFormat::q4_0: return 4;
            case IntegerFormat::bf16: return (K + 1) / 2;
            default: return (K + 3) / 4;
        }
    }
    Index panel_bytes() const {
        if (has_blocks()) return (blocks() + 1) / 2 * (2 * block_lines() + 1) * line;
        return (block_lines() + (is_bf16() ? 0 : 1)) * line;
    }
    Index lines_at(Index b) const { return (b / 2 * (2 * block_lines() + 1) + b % 2 * block_lines()) * line; }
    Index scales_at(Index b) const {
        return has_blocks() ? (b / 2 * (2 * block_lines() + 1) + 2 * block_lines()) * line + b % 2 * (line / 2)
                            : block_lines() * line;
    }
};

/// The format in which a weight of that type is multiplied, none: as floats. `floats`: floating ones as int8;
/// `bf16_products`: there are such.
constexpr IntegerFormat integer_format(DType dtype, bool floats, bool bf16_products) {
    if (dtype == DType::q8_0) return IntegerFormat::q8_0;
    if (dtype == DType::q4_0) return IntegerFormat::q4_0;
    if (floats && is_floating(dtype)) return IntegerFormat::int8;
    return dtype == DType::bf16 && bf16_products ? IntegerFormat::bf16 : IntegerFormat::none;
}

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

}  // namespace detail

/// A panel from `count` <= 48 rows of a file, row_bytes apart; `scratch` as many floats as integer_scratch says.
inline Index integer_scratch(const IntegerLayout& at) { return at.has_blocks() ? 0 : at.K + 48 * at.block_lines(); }
inline void pack_integer_panel(DType dtype, const std::byte* rows, Index row_bytes, Index count,
                               const IntegerLayout& at, std::byte* panel, float* scratch) {
    if (count < at.width) std::fill_n(panel, at.panel_bytes(), std::byte(0));  // scales too
    if (at.has_blocks()) {
        for (Index c = 0; c < count; ++c) detail::pack_block_row(rows + c * row_bytes, at, c, panel);
        return;
    }
    const Index lines = at.block_lines();
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

/// w[c, k] of a panel.
inline float integer_value(const IntegerLayout& at, const std::byte* panel, Index c, Index k) {
    if (at.is_bf16())
        return smolvlm::detail::load<bfloat16>(panel + k / 2 * at.line + c * 4 + k % 2 * 2);
    const Index b = k / at.block(), j = k % at.block();
    const bool nibbles = at.format == IntegerFormat::q4_0;
    const Index place = nibbles ? j % 16 : j;
    const int stored = std::to_integer<int>(panel[at.lines_at(b) + place / 4 * at.line + c * 4 + place % 4]);
    const int u = !nibbles ? stored : j < 16 ? stored & 15 : stored >> 4;
    const std::byte* const scale = panel + at.scales_at(b) + c * (at.has_blocks() ? 2 : 4);
    const float s = at.has_blocks() ? float(smolvlm::detail::load<half>(scale)) : smolvlm::detail::load<float>(scale);
    return s * static_cast<float>(u - at.offset());
}

}  // namespace smolvlm::cpu
