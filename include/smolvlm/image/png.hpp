#pragma once
/// scan_png: what stands in a PNG around its pixels; minimal_png: the same picture with nothing else, for the decoder.
///
/// A PNG is a signature and chunks: length, four letters, data, checksum. The minimal PNG has the header, the palette
/// filled up to 256 colours with black (what the reference shows for indices beyond its end), the transparency if it is
/// wanted, and the data. Like the reference, scan_png refuses wrong checksums before the data, and forgives them around
/// the data if the checksum inside it is right.
///
/// Errors: FormatError naming chunk and offset. Source: W3C, Portable Network Graphics (third edition); Pillow,
/// PngImagePlugin.py.

#include <smolvlm/image/bitmap.hpp>

namespace smolvlm::detail {

struct PngScan {
    Index width = 0, height = 0;
    unsigned depth = 0, colour = 0;  // bits a sample; 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGB and alpha
    std::span<const std::uint8_t> header, palette, transparency;
    std::vector<std::uint8_t> data;         // the packed rows
    bool suspect = false;                   // a checksum around them is wrong: ask the one inside
    std::optional<int> exif, profile, xmp;  // orientation in an eXIf chunk, in hexadecimal EXIF text, in XMP

    bool is_grey16() const { return colour == 0 && depth == 16; }
    int orientation() const { return exif ? *exif : profile ? *profile : xmp.value_or(1); }
    Index bits_per_pixel() const { return Index(depth) * (colour == 2 ? 3 : colour == 4 ? 2 : colour == 6 ? 4 : 1); }
    /// At least as many bytes as the unpacked rows with their filter bytes have; interlacing adds less than as many
    /// again.
    Index unpacked_bytes() const { return (width * bits_per_pixel() / 8 + 2) * height * 2 + 64; }
};

inline std::uint32_t png_checksum(std::span<const std::uint8_t> bytes) {
    static const auto table = [] {
        std::array<std::uint32_t, 256> values{};
        for (std::uint32_t n = 0; n < 256; ++n) {
            std::uint32_t c = n;
            for (int bit = 0; bit < 8; ++bit) c = c & 1 ? 0xedb88320u ^ (c >> 1) : c >> 1;
            values[n] = c;
        }
        return values;
    }();
    std::uint32_t c = 0xffffffffu;
    for (std::uint8_t byte : bytes) c = table[(c ^ byte) & 255] ^ (c >> 8);
    return ~c;
}

/// The checksum at the end of zlib's data, over what it unpacks to.
inline std::uint32_t adler32(std::string_view text) {
    std::uint32_t a = 1, b = 0;
    for (const char c : text) {
        a = (a + static_cast<std::uint8_t>(c)) % 65521;
        b = (b + a) % 65521;
    }
    return b << 16 | a;
}

/// The bytes of a TIFF structure's hexadecimal text, as some programs store EXIF ("Raw profile type exif").
inline std::vector<std::uint8_t> hex_profile(std::string_view text) {
    for (int line = 0; line < 3; ++line) {
        const std::size_t end = text.find('\n');
        if (end == text.npos) return {};
        text.remove_prefix(end + 1);
    }
    std::vector<std::uint8_t> bytes;
    int high = -1;
    for (char c : text) {
        const char lower = static_cast<char>(c | 32);
        const int digit = c >= '0' && c <= '9' ? c - '0' : lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
        if (digit < 0) continue;
        if (high >= 0) bytes.push_back(static_cast<std::uint8_t>(high * 16 + digit));
        high = high >= 0 ? -1 : digit;
    }
    return bytes;
}

inline void read_png_header(PngScan& png, const FileBytes& file, Index at, Index length, Index max_pixels) {
    SMOLVLM_CHECK(length >= 13, FormatError, file.name(), ": broken PNG: a header of ", length, " bytes, expected 13");
    png.header = file.slice(at, 13);
    png.width = file.be32(at);
    png.height = file.be32(at + 4);
    png.depth = file.u8(at + 8);
    png.colour = file.u8(at + 9);
    check_image_size(file, png.width, png.height, max_pixels);
    const unsigned d = png.depth, c = png.colour;
    const bool known = (d == 8 && (c == 0 || c == 2 || c == 3 || c == 4 || c == 6)) ||
                       (d == 16 && (c == 0 || c == 2 || c == 4 || c == 6)) ||
                       ((d == 1 || d == 2 || d == 4) && (c == 0 || c == 3));
    SMOLVLM_CHECK(known, FormatError, file.name(), ": PNG of colour type ", c, " with ", d,
                  " bits a sample does not exist");
}

/// `inflate` returns the text that zlib packed into some bytes; empty when they are damaged or hold far too much.
inline void read_png_metadata(PngScan& png, std::string_view type, std::span<const std::uint8_t> chunk,
                              std::string (*inflate)(std::span<const std::uint8_t>)) {
    using namespace std::string_view_literals;
    const std::string_view text(reinterpret_cast<const char*>(chunk.data()), chunk.size());
    constexpr auto xmp_key = "XML:com.adobe.xmp\0"sv, exif_key = "Raw profile type exif\0"sv;
    if (type == "eXIf") {
        png.exif = exif_orientation(chunk);
    } else if (type == "tEXt" && text.starts_with(exif_key)) {
        png.profile = exif_orientation(hex_profile(text.substr(exif_key.size())));
    } else if (type == "zTXt" && text.starts_with(exif_key) && text.size() > exif_key.size()) {
        png.profile = exif_orientation(hex_profile(inflate(chunk.subspan(exif_key.size() + 1))));  // + the method
    } else if (type == "iTXt" && text.starts_with(xmp_key) && text.size() > xmp_key.size() + 2) {
        // packed or not, the method, language 0, translated keyword 0, text
        const bool packed = text[xmp_key.size()] != 0;
        const std::size_t language_end = text.find('\0', xmp_key.size() + 2);
        const std::size_t keyword_end = language_end == text.npos ? text.npos : text.find('\0', language_end + 1);
        if (keyword_end == text.npos) return;
        png.xmp = packed ? xmp_orientation(inflate(chunk.subspan(keyword_end + 1)))
                         : xmp_orientation(text.substr(keyword_end + 1));
    }
}

inline PngScan scan_png(const FileBytes& file, Index max_pixels,
                        std::string (*inflate)(std::span<const std::uint8_t>)) {
    PngScan png;
    bool data_begun = false, data_ended = false;
    for (Index at = 8;;) {
        if (data_begun && at + 12 > file.size()) break;  // the reference forgives a missing end, and so do we
        const Index length = file.be32(at);
        const auto letters = file.slice(at + 4, 4);
        const std::string_view type(reinterpret_cast<const char*>(letters.data()), 4);
        const bool data = type == "IDAT" && !data_ended;
        if (at + 12 + length > file.size() && (data || data_begun)) {
            // Cut short: the decoder will tell whether all rows are there.
            const auto rest = file.slice(at + 8, std::min(length, file.size() - at - 8));
            if (data) png.data.insert(png.data.end(), rest.begin(), rest.end());
            break;
        }
        const auto chunk = file.slice(at + 8, length);
        const bool intact = file.be32(at + 8 + length) == png_checksum(file.slice(at + 4, 4 + length));
        SMOLVLM_CHECK(intact || data || data_begun, FormatError, file.name(),
                      ": broken PNG: wrong checksum of the chunk at offset ", at);
        SMOLVLM_CHECK(!png.header.empty() || type == "IHDR", FormatError, file.name(),
                      ": broken PNG: the chunk at offset ", at, " stands before the header");
        if (type == "IHDR" && png.header.empty()) read_png_header(png, file, at + 8, length, max_pixels);
        if (type == "PLTE" && !data_begun) png.palette = chunk;
        if (type == "tRNS" && !data_begun) png.transparency = chunk;
        if (type == "IEND") break;
        if (data) {
            png.data.insert(png.data.end(), chunk.begin(), chunk.end());
            png.suspect |= !intact;
            data_begun = true;
        } else {
            data_ended = data_begun;
            if (intact) read_png_metadata(png, type, chunk, inflate);
        }
        at += 12 + length;
    }
    SMOLVLM_CHECK(!png.data.empty(), FormatError, file.name(), ": broken PNG: no picture data");
    // One packed byte yields at most 1032 plain ones, so a header that promises more is not believed.
    SMOLVLM_CHECK(std::ssize(png.data) >= (png.width * png.bits_per_pixel() + 7) / 8 * png.height / 1040, FormatError,
                  file.name(), ": truncated: ", png.data.size(), " bytes of PNG data cannot hold ", png.width, "x",
                  png.height, " pixels");
    return png;
}

/// The colour that the reference takes for transparent, if the picture names one. It compares what it has decoded with
/// the sample values as they are stored, whatever the depth, and knows the first channel only of 1- and 16-bit grey.
inline std::optional<std::array<std::uint8_t, 3>> png_colour_key(const PngScan& png) {
    const auto& t = png.transparency;
    const auto low_byte = [&](std::size_t sample) { return t[2 * sample + 1]; };
    if (png.colour == 0 && t.size() >= 2) {
        const unsigned value = t[0] * 256u + t[1];
        if (png.depth == 1) return std::array<std::uint8_t, 3>{static_cast<std::uint8_t>(value ? 255 : 0), 0, 0};
        if (png.depth == 16) return std::array<std::uint8_t, 3>{low_byte(0), 0, 0};
        const auto grey = static_cast<std::uint8_t>(std::min(value, 255u));
        return std::array<std::uint8_t, 3>{grey, grey, grey};
    }
    if (png.colour == 2 && t.size() >= 6) return std::array<std::uint8_t, 3>{low_byte(0), low_byte(1), low_byte(2)};
    if (png.colour == 3 && std::count(t.begin(), t.end(), 255) == std::ssize(t) - 1) {
        const auto clear = std::find_if(t.begin(), t.end(), [](int alpha) { return alpha != 255; });
        if (*clear != 0) return std::nullopt;
        std::array<std::uint8_t, 3> key{};  // black when the palette lacks the entry
        const auto at = static_cast<std::size_t>(3 * (clear - t.begin()));
        if (at + 3 <= png.palette.size()) std::copy_n(png.palette.begin() + std::ptrdiff_t(at), 3, key.begin());
        return key;
    }
    return std::nullopt;
}

/// The same picture without anything else. Its checksums are zero: the decoder does not look at them.
inline std::vector<std::uint8_t> minimal_png(const PngScan& png, bool with_transparency) {
    std::vector<std::uint8_t> out = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    const auto put = [&out](std::string_view type, std::span<const std::uint8_t> data, std::size_t zeros = 0) {
        for (int shift = 24; shift >= 0; shift -= 8)
            out.push_back(static_cast<std::uint8_t>((data.size() + zeros) >> shift));
        out.insert(out.end(), type.begin(), type.end());
        out.insert(out.end(), data.begin(), data.end());
        out.resize(out.size() + zeros + 4);
    };
    put("IHDR", png.header);
    if (png.colour == 3) {
        const std::size_t given = std::min<std::size_t>(png.palette.size() / 3 * 3, 768);
        put("PLTE", png.palette.first(given), 768 - given);
    }
    const std::size_t clear = png.colour == 3   ? std::min<std::size_t>(png.transparency.size(), 256)
                              : png.colour == 0 ? 2
                              : png.colour == 2 ? 6
                                                : 0;
    if (with_transparency && clear > 0 && png.transparency.size() >= clear) put("tRNS", png.transparency.first(clear));
    put("IDAT", png.data);
    put("IEND", {});
    return out;
}

}  // namespace smolvlm::detail
