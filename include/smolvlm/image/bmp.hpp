#pragma once
/// decode_bmp: Windows and OS/2 bitmaps of 1, 4, 8, 16, 24 and 32 bits, plain, with bit fields, or run-length coded.
///
/// Rows are padded to four bytes and run upwards unless the height is negative. As in Pillow, which is the reference:
/// the fourth byte of a plain 32-bit pixel is no alpha; bit fields come in a fixed set of layouts; a 5-bit value v
/// becomes floor(255 v / 31); what a run-length picture skips has index 0; a palette entry that the file lacks is
/// black. Source: Microsoft, "Bitmap Storage" (BITMAPINFOHEADER, BITMAPV5HEADER); Pillow, BmpImagePlugin.py.

#include <smolvlm/image/bitmap.hpp>

namespace smolvlm::detail {

struct BmpHeader {
    Index width = 0, height = 0;
    bool top_down = false;
    unsigned bits = 0;
    std::uint32_t compression = 0;          // 0 none, 1 RLE8, 2 RLE4, 3 bit fields
    std::uint32_t masks[4] = {0, 0, 0, 0};  // of red, green, blue, alpha
    Index palette_at = 0, palette_stride = 4, palette_colours = 0, pixels_at = 0;
};

inline BmpHeader read_bmp_header(const FileBytes& file) {
    BmpHeader h;
    h.pixels_at = file.le32(10);
    const Index size = file.le32(14);
    SMOLVLM_CHECK(size == 12 || size == 40 || size == 52 || size == 56 || size == 64 || size == 108 || size == 124,
                  FormatError, file.name(), ": BMP header of ", size,
                  " bytes; expected 12, 40, 52, 56, 64, 108 or 124");
    h.palette_at = 14 + size;
    if (size == 12) {
        h.width = file.le16(18);
        h.height = file.le16(20);
        h.bits = file.le16(24);
        h.palette_stride = 3;
    } else {
        h.width = file.le32(18);
        h.top_down = file.u8(25) == 0xff;
        h.height = h.top_down ? (Index(1) << 32) - file.le32(22) : file.le32(22);
        h.bits = file.le16(28);
        h.compression = file.le32(30);
        h.palette_colours = file.le32(46);
        if (h.compression == 3) {  // a 40-byte header has three masks behind it, the others within or behind
            for (Index i = 0; i < (size >= 56 ? 4 : 3); ++i) h.masks[i] = file.le32(54 + 4 * i);
            if (size < 52) h.palette_at += 12;
        }
    }
    if (h.palette_colours == 0 && h.bits <= 8) h.palette_colours = Index(1) << h.bits;
    if (h.bits <= 8 && h.pixels_at == 14 + size) h.pixels_at += h.palette_stride * h.palette_colours;
    if (h.pixels_at == 0) h.pixels_at = h.palette_at + (h.bits <= 8 ? h.palette_stride * h.palette_colours : 0);
    const bool known_bits = h.bits == 1 || h.bits == 4 || h.bits == 8 || h.bits == 16 || h.bits == 24 || h.bits == 32;
    SMOLVLM_CHECK(known_bits, FormatError, file.name(), ": BMP of ", h.bits,
                  " bits a pixel; expected 1, 4, 8, 16, 24 or 32");
    SMOLVLM_CHECK(h.compression == 0 || (h.compression == 1 && h.bits == 8) || (h.compression == 2 && h.bits == 4) ||
                      (h.compression == 3 && h.bits >= 16),
                  FormatError, file.name(), ": BMP compression ", h.compression, " of ", h.bits,
                  "-bit pixels is not supported");
    return h;
}

/// The palette indices of a run-length coded picture, row by row in file order.
inline std::vector<std::uint8_t> bmp_run_lengths(const FileBytes& file, const BmpHeader& h) {
    const bool nibbles = h.compression == 2;
    const std::size_t wanted = static_cast<std::size_t>(h.width * h.height);
    std::vector<std::uint8_t> indices;
    indices.reserve(wanted);
    Index at = h.pixels_at, x = 0;
    while (indices.size() < wanted) {
        const unsigned count = file.u8(at++), value = file.u8(at++);
        if (count > 0) {  // a run, cut at the end of the row
            const Index run = std::min<Index>(count, std::max<Index>(h.width - x, 0));
            for (Index i = 0; i < run; ++i)
                indices.push_back(static_cast<std::uint8_t>(!nibbles ? value : i % 2 ? value & 15 : value >> 4));
            x += run;
        } else if (value == 0) {  // end of the row
            while (indices.size() % static_cast<std::size_t>(h.width)) indices.push_back(0);
            x = 0;
        } else if (value == 1) {  // end of the picture
            break;
        } else if (value == 2) {  // skip to the right and up
            const Index skip = Index(file.u8(at)) + Index(file.u8(at + 1)) * h.width;
            at += 2;
            indices.resize(std::min(wanted, indices.size() + static_cast<std::size_t>(skip)));
            x = static_cast<Index>(indices.size()) % h.width;
        } else {  // so many pixels as they are, padded to 16 bits
            const std::size_t plain = std::min<std::size_t>(value, wanted - indices.size());
            for (std::size_t i = 0; i < plain; ++i) {
                const unsigned byte = file.u8(at + static_cast<Index>(nibbles ? i / 2 : i));
                indices.push_back(static_cast<std::uint8_t>(!nibbles ? byte : i % 2 ? byte & 15 : byte >> 4));
            }
            at += static_cast<Index>(nibbles ? (plain + 1) / 2 : plain);
            at += at % 2;
            x += value;
        }
    }
    SMOLVLM_CHECK(indices.size() >= wanted, FormatError, file.name(), ": truncated: the BMP's data ends after ",
                  indices.size(), " of ", wanted, " pixels");
    return indices;
}

/// Where each channel's byte lies in a pixel of 3 or 4 bytes; alpha -1: none.
struct BmpBytes {
    int red, green, blue, alpha;
};
inline BmpBytes bmp_byte_order(const FileBytes& file, const BmpHeader& h) {
    if (h.compression == 0) return {2, 1, 0, -1};
    constexpr struct {
        unsigned bits;
        std::uint32_t masks[4];
        BmpBytes order;
    } layouts[] = {{32, {0xff0000, 0xff00, 0xff, 0}, {2, 1, 0, -1}},
                   {32, {0xff000000, 0xff0000, 0xff00, 0}, {3, 2, 1, -1}},
                   {32, {0xff000000, 0xff00, 0xff, 0}, {3, 1, 0, -1}},
                   {32, {0xff000000, 0xff0000, 0xff00, 0xff}, {3, 2, 1, 0}},
                   {32, {0xff, 0xff00, 0xff0000, 0xff000000}, {0, 1, 2, 3}},
                   {32, {0xff0000, 0xff00, 0xff, 0xff000000}, {2, 1, 0, 3}},
                   {32, {0xff000000, 0xff00, 0xff, 0xff0000}, {3, 1, 0, 2}},
                   {32, {0, 0, 0, 0}, {2, 1, 0, 3}},
                   {24, {0xff0000, 0xff00, 0xff, 0}, {2, 1, 0, -1}}};
    for (const auto& layout : layouts)
        if (h.bits == layout.bits && std::equal(h.masks, h.masks + (h.bits == 32 ? 4 : 3), layout.masks))
            return layout.order;
    fail<FormatError>(file.name(), ": BMP bit fields of ", h.bits, "-bit pixels are of an unknown layout");
}

inline Bitmap decode_bmp(const FileBytes& file, Index max_pixels) {
    const BmpHeader h = read_bmp_header(file);
    check_image_size(file, h.width, h.height, max_pixels);
    const Index stride = (h.width * h.bits + 31) / 32 * 4;
    const bool run_lengths = h.compression == 1 || h.compression == 2;
    if (!run_lengths) file.slice(h.pixels_at, stride * h.height);
    const std::vector<std::uint8_t> indices = run_lengths ? bmp_run_lengths(file, h) : std::vector<std::uint8_t>{};
    const BmpBytes order = h.bits >= 24 ? bmp_byte_order(file, h) : BmpBytes{0, 0, 0, -1};
    const bool fields_565 = h.compression == 3 && h.masks[0] == 0xf800 && h.masks[1] == 0x7e0 && h.masks[2] == 0x1f;
    const bool fields_555 = h.compression == 0 || (h.masks[0] == 0x7c00 && h.masks[1] == 0x3e0 && h.masks[2] == 0x1f);
    SMOLVLM_CHECK(h.bits != 16 || fields_565 || fields_555, FormatError, file.name(),
                  ": BMP bit fields of 16-bit pixels are neither 5-6-5 nor 5-5-5");

    Bitmap bitmap(h.width, h.height, order.alpha >= 0 ? 4 : 3);
    const auto colour = [&](Index index, Index c) {  // of the palette, which stores blue first
        const Index at = h.palette_at + index * h.palette_stride + 2 - c;
        return index < h.palette_colours && at < file.size() ? static_cast<std::uint8_t>(file.u8(at)) : std::uint8_t(0);
    };
    for (Index y = 0; y < h.height; ++y) {
        std::uint8_t* pixel = bitmap.pixels.data() + (h.top_down ? y : h.height - 1 - y) * h.width * bitmap.channels;
        const Index row = h.pixels_at + y * stride;
        for (Index x = 0; x < h.width; ++x, pixel += bitmap.channels) {
            if (h.bits >= 24) {
                const std::uint8_t* bytes = file.all().data() + row + x * (h.bits / 8);
                pixel[0] = bytes[order.red];
                pixel[1] = bytes[order.green];
                pixel[2] = bytes[order.blue];
                if (order.alpha >= 0) pixel[3] = bytes[order.alpha];
            } else if (h.bits == 16) {
                const unsigned value = file.le16(row + 2 * x);
                pixel[0] = static_cast<std::uint8_t>((value >> (fields_565 ? 11 : 10) & 31) * 255 / 31);
                pixel[1] =
                    static_cast<std::uint8_t>(fields_565 ? (value >> 5 & 63) * 255 / 63 : (value >> 5 & 31) * 255 / 31);
                pixel[2] = static_cast<std::uint8_t>((value & 31) * 255 / 31);
            } else {
                const unsigned shift = 8 - h.bits - static_cast<unsigned>(x * h.bits % 8);
                const unsigned index = run_lengths ? indices[static_cast<std::size_t>(y * h.width + x)]
                                                   : file.u8(row + x * h.bits / 8) >> shift & ((1u << h.bits) - 1);
                for (Index c = 0; c < 3; ++c) pixel[c] = colour(index, c);
            }
        }
    }
    return bitmap;
}

}  // namespace smolvlm::detail
