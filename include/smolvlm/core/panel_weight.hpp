#pragma once
/// A weight in the panels of core/integer_layout.hpp, in bytes that are owned or borrowed from a mapped file. A backend
/// that multiplies such panels takes them as they are; for all others there are rows().

#include <smolvlm/core/host_weight.hpp>
#include <smolvlm/core/integer_layout.hpp>

namespace smolvlm {

struct PanelWeight {
    IntegerFormat format = IntegerFormat::none;
    Shape extents;    // [M, K]; of other shapes the first dimension by all others
    Storage storage;  // [panels, panel_bytes], 64-byte aligned

    Index M() const { return extents.rank() == 0 ? 0 : extents[0]; }
    Index K() const { return M() == 0 ? 0 : extents.numel() / M(); }
    IntegerLayout layout() const { return {format, K()}; }
    Index panels() const { return (M() + IntegerLayout::width - 1) / IntegerLayout::width; }
    Index bytes() const { return panels() * layout().panel_bytes(); }

    /// The same bytes as rows: those of a file for Q8_0, Q4_0 and bf16; int8 and int16 become F32, with exactly their values.
    HostWeight rows(int threads = 1) const;
};

/// The type of its rows().
constexpr DType dtype_of_rows(IntegerFormat format) {
    return format == IntegerFormat::q8_0   ? DType::q8_0
           : format == IntegerFormat::q4_0 ? DType::q4_0
           : format == IntegerFormat::bf16 ? DType::bf16
                                           : DType::f32;
}

namespace detail {

/// Row c of a panel as a file has it.
inline void unpack_integer_row(const IntegerLayout& at, const std::byte* panel, Index c, std::byte* row) {
    if (at.has_blocks()) {
        const std::uint32_t flip = at.format == IntegerFormat::q8_0 ? 0x80808080u : 0u;
        for (Index b = 0; b < at.blocks(); ++b) {
            store(row, load<half>(panel + at.scales_at(b) + c * 2));
            row += 2;
            for (Index i = 0; i < at.block_lines(); ++i, row += 4)
                store(row, load<std::uint32_t>(panel + at.lines_at(b) + i * at.line + c * 4) ^ flip);
        }
        return;
    }
    for (Index k = 0; k < at.K; ++k) {
        if (at.is_bf16())
            store(row + 2 * k, load<bfloat16>(panel + k / 2 * at.line + c * 4 + k % 2 * 2));  // NaNs stay the same
        else
            store(row + 4 * k, integer_value(at, panel, c, k));
    }
}

}  // namespace detail

inline HostWeight PanelWeight::rows(int threads) const {
    const IntegerLayout at = layout();
    const DType dtype = dtype_of_rows(format);
    HostWeight out{dtype, extents, Storage::allocate(static_cast<std::size_t>(bytes_of(dtype, extents)))};
    const Index row_bytes = M() == 0 ? 0 : bytes_of(dtype, extents) / M();
    parallel_for(threads, M(), 1, [&](Index begin, Index end) {
        for (Index m = begin; m < end; ++m)
            detail::unpack_integer_row(at, storage.data() + m / at.width * at.panel_bytes(), m % at.width,
                                       out.storage.data() + m * row_bytes);
    });
    return out;
}

}  // namespace smolvlm
