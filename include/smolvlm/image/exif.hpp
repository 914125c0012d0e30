#pragma once
/// The orientation of a photograph: EXIF tag 0x0112, or the same in an XMP packet, and the turn that it asks for.
///
///     1 upright   2 mirrored   3 upside down    4 upside down and mirrored
///     5 transposed   6 turn clockwise   7 transposed over the other diagonal   8 turn anticlockwise
///
/// Damaged metadata says nothing: a picture is never refused because of it. Source: EXIF 2.32, section 4.6.4; TIFF 6.0,
/// 2; which entry counts (first of two equal tags, first value, XMP last) follows Pillow's Image.getexif.

#include <optional>
#include <span>
#include <string_view>

#include <smolvlm/image/image.hpp>

namespace smolvlm {

/// Orientation in the first directory of a TIFF structure (with or without the prefix "Exif\0\0"), if it is there.
inline std::optional<int> exif_orientation(std::span<const std::uint8_t> tiff) {
    constexpr std::uint8_t prefix[6] = {'E', 'x', 'i', 'f', 0, 0};
    while (tiff.size() >= 6 && std::equal(prefix, prefix + 6, tiff.begin())) tiff = tiff.subspan(6);
    if (tiff.size() < 8 || tiff[0] != tiff[1] || (tiff[0] != 'I' && tiff[0] != 'M')) return std::nullopt;
    const bool little = tiff[0] == 'I';
    const auto fits = [&](std::size_t at, std::size_t bytes) { return at <= tiff.size() && bytes <= tiff.size() - at; };
    const auto number = [&](std::size_t at, std::size_t bytes) {
        std::uint32_t value = 0;
        for (std::size_t i = 0; i < bytes; ++i) value = value << 8 | tiff[little ? at + bytes - 1 - i : at + i];
        return value;
    };
    const std::size_t directory = number(4, 4);
    if (!fits(directory, 2)) return std::nullopt;
    const std::size_t entries = number(directory, 2);
    for (std::size_t i = 0; i < entries && fits(directory + 2 + 12 * i, 12); ++i) {
        const std::size_t entry = directory + 2 + 12 * i;
        if (number(entry, 2) != 0x0112) continue;
        const std::uint32_t type = number(entry + 2, 2);
        const std::size_t bytes = type == 3 || type == 8 ? 2 : type == 4 || type == 9 ? 4 : 0;  // short or long
        const std::uint64_t size = std::uint64_t(bytes) * number(entry + 4, 4);
        if (size == 0) continue;
        const std::size_t at = size <= 4 ? entry + 8 : number(entry + 8, 4);
        if (fits(at, bytes) && fits(at, static_cast<std::size_t>(size))) return static_cast<int>(number(at, bytes));
    }
    return std::nullopt;
}

/// Orientation in an XMP packet: tiff:Orientation="6" or <tiff:Orientation>6<.
inline std::optional<int> xmp_orientation(std::string_view xmp) {
    constexpr std::string_view key = "tiff:Orientation";
    for (std::size_t at = xmp.find(key); at != xmp.npos; at = xmp.find(key, at + 1)) {
        std::string_view rest = xmp.substr(at + key.size());
        if (rest.starts_with("=\""))
            rest.remove_prefix(2);
        else if (rest.starts_with('>'))
            rest.remove_prefix(1);
        else
            continue;
        if (!rest.empty() && rest[0] >= '0' && rest[0] <= '9') return rest[0] - '0';
    }
    return std::nullopt;
}

/// The picture upright. Orientations other than 2 to 8 leave it as it is.
inline Image apply_orientation(const Image& image, int orientation) {
    if (orientation < 2 || orientation > 8) return image;
    const Index w = image.width(), h = image.height();
    const bool swapped = orientation >= 5;
    // Pixel (x, y) of the result lies at start + x step_x + y step_y of the source plane.
    const bool from_right = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
    const bool from_bottom = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
    const Index start = (from_right ? w - 1 : 0) + (from_bottom ? (h - 1) * w : 0);
    const Index along_row = from_right ? -1 : 1, along_column = from_bottom ? -w : w;
    const Index step_x = swapped ? along_column : along_row, step_y = swapped ? along_row : along_column;
    Image turned(swapped ? h : w, swapped ? w : h);
    for (int c = 0; c < 3; ++c) {
        const std::uint8_t* source = image.plane(c);
        for (Index y = 0; y < turned.height(); ++y) {
            std::uint8_t* row = turned.row(c, y);
            for (Index x = 0; x < turned.width(); ++x) row[x] = source[start + x * step_x + y * step_y];
        }
    }
    return turned;
}

}  // namespace smolvlm
