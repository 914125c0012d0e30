#pragma once
/// Weights as small integers (or bf16), in the order in which products of groups read them: panels of 48 output rows,
/// in a panel groups of four k, so that a register of groups meets one group of an activation row. The same on every
/// processor, so that files may hold weights so (checkpoint/panel_file.hpp).
///
///     a line: 48 groups    | row 0: k k+1 k+2 k+3 | row 1: k k+1 k+2 k+3 | ... | row 47 |          192 bytes
///
///     int8     K/4 lines, then 48 float scales                                              w = s (u - 128)
///     bf16     K/2 lines, a group being two bf16 numbers (no integers, but the same order)  w as it is
///     int16    K/2 lines, a group being two signed words, then 48 float scales              w = s q
///     Q8_0     64 k at a time: 8 lines, 8 lines, 48 half scales, 48 half scales             w = d (u - 128)
///     Q4_0     64 k at a time: 4 lines, 4 lines, 48 half scales, 48 half scales             w = d (u - 8)
///              byte j of a block: k = j in its low half, k = j + 16 in its high half
///
/// Bytes and nibbles are kept unsigned, as their dot products want them. What the offset adds depends on the activations alone,
///     sum_k (u_k - offset) x_k  =  -offset sum_k x_k  +  sum_k u_k x_k
/// and is where sums begin. Q8_0 and Q4_0 hold exactly what the file holds; int8 is made here from floats, a scale a
/// row: s = max |w| / 127, and int16 from bf16: s = max |w| / 4095. Rows beyond the last have scale zero, columns beyond the
/// K-th the integer zero.

#include <algorithm>

#include <smolvlm/core/quant.hpp>

namespace smolvlm {

enum class IntegerFormat : std::uint8_t { none, int8, q8_0, q4_0, bf16, int16 };

/// Where things are in a panel of that format and K columns.
struct IntegerLayout {
    static constexpr Index width = 48, line = 4 * width;

    IntegerFormat format = IntegerFormat::none;
    Index K = 0;

    bool has_blocks() const { return format == IntegerFormat::q8_0 || format == IntegerFormat::q4_0; }
    bool is_bf16() const { return format == IntegerFormat::bf16; }
    bool is_int16() const { return format == IntegerFormat::int16; }
    bool in_pairs() const { return is_bf16() || is_int16(); }
    int offset() const { return format == IntegerFormat::q4_0 ? 8 : 128; }
    Index block() const { return has_blocks() ? 32 : std::max<Index>(K, 1); }  // k that share a scale
    Index blocks() const { return (K + block() - 1) / block(); }
    Index block_lines() const {
        switch (format) {
            case IntegerFormat::q8_0: return 8;
            case IntegerFormat::q4_0: return 4;
            case IntegerFormat::bf16:
            case IntegerFormat::int16: return (K + 1) / 2;
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

/// w[c, k] of a panel.
inline float integer_value(const IntegerLayout& at, const std::byte* panel, Index c, Index k) {
    if (at.in_pairs()) {
        const std::byte* const number = panel + k / 2 * at.line + c * 4 + k % 2 * 2;
        if (at.is_bf16()) return detail::load<bfloat16>(number);
        return detail::load<float>(panel + at.scales_at(0) + c * 4) * static_cast<float>(detail::load<std::int16_t>(number));
    }
    const Index b = k / at.block(), j = k % at.block();
    const bool nibbles = at.format == IntegerFormat::q4_0;
    const Index place = nibbles ? j % 16 : j;
    const int stored = std::to_integer<int>(panel[at.lines_at(b) + place / 4 * at.line + c * 4 + place % 4]);
    const int u = !nibbles ? stored : j < 16 ? stored & 15 : stored >> 4;
    const std::byte* const scale = panel + at.scales_at(b) + c * (at.has_blocks() ? 2 : 4);
    const float s = at.has_blocks() ? float(detail::load<half>(scale)) : detail::load<float>(scale);
    return s * static_cast<float>(u - at.offset());
}

}  // namespace smolvlm
