#pragma once
/// Weights as small integers, in the order in which integer products read them: panels of 48 output rows, in a panel
/// groups of four k, so that a register of groups meets one group of an activation row (integer_dot.hpp).
///
///     a line: 48 groups    | row 0: k k+1 k+2 k+3 | row 1: k k+1 k+2 k+3 | ... | row 47 |          192 bytes
///
///     int8     K/4 lines, then 48 float scales                                              w = s (u - 128)
///     Q8_0     64 k at a time: 8 lines, 8 lines, 48 half scales, 48 half scales             w = d (u - 128)
///     Q4_0     64 k at a time: 4 lines, 4 lines, 48 half scales, 48 half scales             w = d (u - 8)
///              byte j of a block: k = j in its low half, k = j + 16 in its high half
///
/// Integers are kept unsigned, as the dot products want them. What the offset adds depends on the activations alone,
///     sum_k (u_k - offset) x_k  =  -offset sum_k x_k  +  sum_k u_k x_k
/// and is where sums begin. Q8_0 and Q4_0 hold exactly what the file holds; int8 is made here from floats, a scale a
/// row: s = max |w| / 127. Rows beyond the last have scale zero.

#include <smolvlm/core/quant.hpp>

namespace smolvlm::cpu {

enum class IntegerFormat : std::uint8_t { none, int8, q8_0, q4_0 };

/// Where things are in a panel of that format and K columns.
struct IntegerLayout {
    static constexpr Index width = 48, line = 4 * width;

    IntegerFormat format = IntegerFormat::none;
    Index K = 0;

    bool has_blocks() const { return format != IntegerFormat::int8; }
    int offset() const { return format == IntegerFormat::q4_0 ? 8 : 128; }
    Index block() const { return has_blocks() ? 32 : std::max<Index>(K, 1); }  // k that share a scale
    Index blocks() const { return (K + block() - 1) / block(); }
    Index block_lines() const { return format == IntegerFormat::q8_0 ? 8 : format == IntegerFormat::q4_0 ? 4 : (K + 3) / 4; }
    Index panel_bytes() const {
        return has_blocks() ? (blocks() + 1) / 2 * (2 * block_lines() + 1) * line : (block_lines() + 1) * line;
    }
    Index lines_at(Index b) const { return (b / 2 * (2 * block_lines() + 1) + b % 2 * block_lines()) * line; }
    Index scales_at(Index b) const {
        return has_blocks() ? (b / 2 * (2 * block_lines() + 1) + 2 * block_lines()) * line + b % 2 * (line / 2)
                            : block_lines() * line;
    }
};

/// The format in which a weight of that type is multiplied as integers; `floats`: floating ones too.
constexpr IntegerFormat integer_format(DType dtype, bool floats) {
    if (dtype == DType::q8_0) return IntegerFormat::q8_0;
    if (dtype == DType::q4_0) return IntegerFormat::q4_0;
    return floats && is_floating(dtype) ? IntegerFormat::int8 : IntegerFormat::none;
}

namespace detail {

inline void pack_int8_row(const float* row, const IntegerLayout& at, Index c, std::byte* panel) {
    float most = 0;
    for (Index k = 0; k < at.K; ++k) most = std::max(most, std::abs(row[k]));
    const float factor = most > 1e-36f ? 127 / most : 0.0f;
    for (Index k = 0; k < at.block_lines() * 4; k += 4) {
        std::uint32_t group = 0;
        for (Index i = 0; i < 4; ++i) {
            const float v = k + i < at.K ? row[k + i] * factor : 0.0f;
            group |= static_cast<std::uint32_t>(static_cast<int>(v + (v < 0 ? -0.5f : 0.5f)) + 128) << (8 * i);
        }
        smolvlm::detail::store(panel + k / 4 * at.line + c * 4, group);
    }
    smolvlm::detail::store(panel + at.scales_at(0) + c * 4, factor > 0 ? most / 127 : 0.0f);
}

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

/// Row c of a panel from its bytes in a file; null: a row of zeros. `wide` [K] is scratch.
inline void pack_integer_row(DType dtype, const std::byte* row, const IntegerLayout& at, Index c, std::byte* panel,
                             float* wide) {
    if (!row) {
        const Index scale = at.has_blocks() ? 2 : 4;
        for (Index b = 0; b < at.blocks(); ++b)
            std::fill_n(panel + at.scales_at(b) + c * scale, scale, std::byte(0));
        for (Index b = 0; b < at.blocks(); ++b)
            for (Index i = 0; i < at.block_lines(); ++i)
                std::fill_n(panel + at.lines_at(b) + i * at.line + c * 4, 4, std::byte(0));
    } else if (at.has_blocks()) {
        detail::pack_block_row(row, at, c, panel);
    } else {
        dequantize_row(dtype, row, at.K, wide);
        detail::pack_int8_row(wide, at, c, panel);
    }
}

/// w[c, k] of a panel.
inline float integer_value(const IntegerLayout& at, const std::byte* panel, Index c, Index k) {
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
