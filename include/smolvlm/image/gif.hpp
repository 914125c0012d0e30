#pragma once
/// decode_gif: the first frame of a GIF, as Pillow shows it.
///
/// A frame covers part of a canvas; what it leaves uncovered has the frame's transparent index, or index 0 (not the
/// background index of the header). A palette that is the grey ramp 0, 1, 2, ... is no palette: indices are grey
/// values, also beyond its end; beyond the end of any other palette there is black. A local grey ramp yields to a
/// global palette. Pixels are LZW codes of growing width, least significant bit first:
///
///     code < clear: that colour     clear: forget the table     clear + 1: the end     else: a string met before
///
/// Source: GIF89a specification, appendix F; Pillow, GifImagePlugin.py and GifDecode.c.

#include <smolvlm/image/bitmap.hpp>

namespace smolvlm::detail {

/// The indices of one image's pixels, in file order.
inline std::vector<std::uint8_t> gif_indices(const FileBytes& file, Index at, Index wanted) {
    const unsigned bits = file.u8(at++);
    SMOLVLM_CHECK(bits >= 1 && bits <= 11, FormatError, file.name(), ": GIF code size ", bits, " at offset ", at - 1,
                  ", expected 1 to 11");
    constexpr unsigned max_codes = 4096;
    const unsigned clear = 1u << bits, end = clear + 1;
    // A string is its prefix's string and one more colour; `length` says where its last colour is to be written.
    std::vector<std::uint16_t> prefix(max_codes), length(max_codes);
    std::vector<std::uint8_t> last(max_codes);
    for (unsigned code = 0; code < clear; ++code) {
        last[code] = static_cast<std::uint8_t>(code);
        length[code] = 1;
    }
    std::vector<std::uint8_t> indices;
    unsigned next = clear + 2, width = bits + 1, previous = clear;
    std::uint32_t buffer = 0;
    unsigned filled = 0;
    Index block_left = 0;
    while (static_cast<Index>(indices.size()) < wanted) {
        while (filled < width) {
            if (block_left == 0) block_left = file.u8(at++);
            SMOLVLM_CHECK(block_left > 0, FormatError, file.name(), ": truncated: the GIF's data ends at offset ",
                          at - 1, " after ", indices.size(), " of ", wanted, " pixels");
            buffer |= file.u8(at++) << filled;
            filled += 8;
            --block_left;
        }
        const unsigned code = buffer & ((1u << width) - 1);
        buffer >>= width;
        filled -= width;
        if (code == clear) {
            next = clear + 2;
            width = bits + 1;
            previous = clear;
            continue;
        }
        SMOLVLM_CHECK(code != end, FormatError, file.name(), ": truncated: the GIF's data ends at offset ", at - 1,
                      " after ", indices.size(), " of ", wanted, " pixels");
        // The string may be the one that this very code completes: the previous one and its own first colour again.
        const bool first = previous == clear;
        SMOLVLM_CHECK(code < (first ? clear : std::min(next + 1, max_codes)), FormatError, file.name(), ": GIF code ",
                      code, " before offset ", at, " refers to a string that was not yet defined");
        const bool completes_itself = !first && code == next;
        const unsigned known = completes_itself ? previous : code;
        const std::size_t begin = indices.size();
        const std::size_t count = length[known];
        indices.resize(begin + count + (completes_itself ? 1 : 0));
        unsigned walk = known;
        for (std::size_t i = count; i-- > 0; walk = prefix[walk]) indices[begin + i] = last[walk];
        const std::uint8_t first_colour = indices[begin];
        if (completes_itself) indices.back() = first_colour;
        if (!first && next < max_codes) {
            prefix[next] = static_cast<std::uint16_t>(previous);
            last[next] = first_colour;
            length[next] = static_cast<std::uint16_t>(length[previous] + 1);
            ++next;
            if (next == 1u << width && width < 12) ++width;
        }
        previous = code;
    }
    indices.resize(static_cast<std::size_t>(wanted));
    return indices;
}

inline Bitmap decode_gif(const FileBytes& file, Index max_pixels) {
    // Palettes are RGBRGB...; an absent one is empty, which counts as a grey ramp.
    using Palette = std::span<const std::uint8_t>;
    const auto palette_at = [&](Index at, unsigned flags) {
        return flags & 128 ? file.slice(at, Index(3) << ((flags & 7) + 1)) : Palette{};
    };
    const auto is_grey_ramp = [](Palette palette) {
        for (std::size_t i = 0; i < palette.size(); ++i)
            if (palette[i] != i / 3) return false;
        return true;
    };
    Index width = file.le16(6), height = file.le16(8);
    const Palette global = palette_at(13, file.u8(10));
    Index at = 13 + static_cast<Index>(global.size());
    const auto skip_blocks = [&] {
        while (const unsigned bytes = file.u8(at++)) at += bytes;
    };
    int transparent = -1;
    for (unsigned kind = file.u8(at++); kind != ','; kind = file.u8(at++)) {
        SMOLVLM_CHECK(kind != ';', FormatError, file.name(), ": the GIF holds no picture");
        if (kind != '!') continue;
        const unsigned label = file.u8(at++);
        if (label == 0xf9 && file.u8(at) >= 4 && file.u8(at + 1) & 1) transparent = static_cast<int>(file.u8(at + 4));
        skip_blocks();
    }
    const Index left = file.le16(at), top = file.le16(at + 2);
    const Index frame_width = file.le16(at + 4), frame_height = file.le16(at + 6);
    const unsigned flags = file.u8(at + 8);
    const Palette local = palette_at(at + 9, flags);
    at += 9 + static_cast<Index>(local.size());
    width = std::max(width, left + frame_width);  // the reference lets a frame enlarge its canvas
    height = std::max(height, top + frame_height);
    check_image_size(file, width, height, max_pixels);
    const Palette palette = is_grey_ramp(local) ? global : local;
    const bool grey = is_grey_ramp(palette);

    const auto indices = gif_indices(file, at, frame_width * frame_height);
    Bitmap bitmap(width, height, transparent >= 0 ? 4 : 3);
    const auto colour = [&](std::size_t index, std::size_t c) {
        const std::size_t byte = 3 * index + c;
        return grey ? static_cast<std::uint8_t>(index) : byte < palette.size() ? palette[byte] : std::uint8_t(0);
    };
    const std::size_t nothing = transparent >= 0 ? static_cast<std::size_t>(transparent) : 0;
    if (transparent >= 0) bitmap.key = {colour(nothing, 0), colour(nothing, 1), colour(nothing, 2)};
    const auto paint = [&](Index x, Index y, std::size_t index) {
        std::uint8_t* pixel = bitmap.pixels.data() + (y * width + x) * bitmap.channels;
        for (std::size_t c = 0; c < 3; ++c) pixel[c] = colour(index, c);
        if (transparent >= 0) pixel[3] = index == nothing ? 0 : 255;
    };
    if (frame_width != width || frame_height != height)
        for (Index y = 0; y < height; ++y)
            for (Index x = 0; x < width; ++x) paint(x, y, nothing);
    // Interlaced rows come in four passes: every 8th, the 8ths between, the 4ths between, the odd ones.
    const bool interlaced = flags & 64;
    std::size_t i = 0;
    for (int pass = 0; pass < (interlaced ? 4 : 1); ++pass) {
        constexpr Index starts[4] = {0, 4, 2, 1}, steps[4] = {8, 8, 4, 2};
        for (Index y = interlaced ? starts[pass] : 0; y < frame_height; y += interlaced ? steps[pass] : 1)
            for (Index x = 0; x < frame_width; ++x) paint(left + x, top + y, indices[i++]);
    }
    return bitmap;
}

}  // namespace smolvlm::detail
