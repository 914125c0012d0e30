#pragma once
/// scan_png: what stands in a PNG around its pixels, and the same picture as a minimal PNG for the decoder.
///
/// A PNG is a signature and chunks: length, four letters, data, checksum. The minimal PNG has the header, the palette
/// filled up to 256 colours with black (what the reference shows for indices beyond its end), the transparency if it is
/// wanted, and the data. Checksums are verified up to the data, as the reference does; the data has a checksum of its
/// own inside.
///
/// Errors: FormatError naming chunk and offset. Source: W3C, Portable Network Graphics (third edition); Pillow,
/// PngImagePlugin.py.

#include <smolvlm/image/bitmap.hpp>

namespace smolvlm::detail {

struct PngScan {
    Index width = 0, height = 0;
    unsigned depth = 0, colour = 0;  // bits a sample; 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGB and alpha
    int orientation = 1;
    std::vector<std::uint8_t> minimal;
    Index decoded_bytes = 0;  // of the inflated rows, at most

    bool is_grey16() const { return colour == 0 && depth == 16; }
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

/// `inflate(bytes)` returns the text that zlib packed into them (std::string; empty when damaged or far too long).
template <class Inflate>
PngScan scan_png(const FileBytes& file, Alpha alpha, Index max_pixels, Inflate&& inflate) {
    PngScan png;
    Index at = 8;
    const auto put32 = [&](std::uint64_t value) {
        for (int shift = 24; shift >= 0; shift -= 8) png.minimal.push_back(static_cast<std::uint8_t>(value >> shift));
    };
    const auto put = [&](std::string_view type, std::span<const std::uint8_t> data, std::size_t fill = 0) {
        put32(data.size() + fill);
        png.minimal.insert(png.minimal.end(), type.begin(), type.end());
        png.minimal.insert(png.minimal.end(), data.begin(), data.end());
        png.minimal.resize(png.minimal.size() + fill + 4);  // no checksum: the decoder asks for none
    };
    const auto signature = file.slice(0, 8);
    png.minimal.assign(signature.begin(), signature.end());
    std::optional<int> exif, profile, xmp;
    std::vector<std::uint8_t> data;
    bool palette = false, any_data = false, after_data = false;

    while (true) {
        const bool at_end = at + 8 > file.size();
        if (at_end && any_data) break;  // the end chunk may be missing
        const Index length = file.be32(at);
        const auto letters = file.slice(at + 4, 4);
        const std::string_view type(reinterpret_cast<const char*>(letters.data()), 4);
        const auto is_letter = [](char c) {
            return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        };
        const bool plausible = std::all_of(type.begin(), type.end(), is_letter);
        if (!plausible && any_data) break;
        SMOLVLM_CHECK(plausible, FormatError, file.name(), ": broken PNG: no chunk at offset ", at);
        if (type == "IDAT" &&
            at + 12 + length > file.size()) {  // cut short: the decoder will tell whether all rows are there
            const auto rest = file.slice(at + 8, file.size() - at - 8);
            data.insert(data.end(), rest.begin(), rest.begin() + std::min<std::ptrdiff_t>(length, std::ssize(rest)));
            any_data = true;
            break;
        }
        if (any_data && at + 12 + length > file.size()) break;
        const auto chunk = file.slice(at + 8, length);
        const std::string_view text(reinterpret_cast<const char*>(chunk.data()), chunk.size());
        if (!any_data && type != "IDAT")
            SMOLVLM_CHECK(file.be32(at + 8 + length) == png_checksum(file.slice(at + 4, 4 + length)), FormatError,
                          file.name(), ": broken PNG: wrong checksum of chunk ", type, " at offset ", at);
        SMOLVLM_CHECK(png.width > 0 || type == "IHDR", FormatError, file.name(), ": broken PNG: chunk ", type,
                      " at offset ", at, " stands before the header");
        if (type == "IHDR" && png.width == 0) {
            SMOLVLM_CHECK(length >= 13, FormatError, file.name(), ": broken PNG: a header of ", length,
                          " bytes, expected 13");
            png.width = file.be32(at + 8);
            png.height = file.be32(at + 12);
            png.depth = file.u8(at + 16);
            png.colour = file.u8(at + 17);
            check_image_size(file, png.width, png.height, max_pixels);
            const unsigned samples[] = {1, 0, 3, 1, 2, 0, 4};
            const unsigned d = png.depth;
            const bool known = png.colour <= 6 && samples[png.colour] != 0 &&
                               (d == 8 || (d == 16 && png.colour != 3) ||
                                ((d == 1 || d == 2 || d == 4) && (png.colour == 0 || png.colour == 3)));
            SMOLVLM_CHECK(known, FormatError, file.name(), ": PNG of colour type ", png.colour, " with ", d,
                          " bits a sample does not exist");
            // The rows with their filter bytes; an interlaced picture has fewer than twice as many rows.
            png.decoded_bytes = (png.width * Index(samples[png.colour] * d) / 8 + 2) * png.height * 2 + 64;
            put("IHDR", chunk.first(13));
        } else if (type == "PLTE" && png.colour == 3 && !palette) {
            const std::size_t given = std::min<std::size_t>(chunk.size() / 3 * 3, 768);
            put("PLTE", chunk.first(given), 768 - given);
            palette = true;
        } else if (type == "tRNS" && !any_data && alpha == Alpha::white) {
            if (png.colour == 3 && palette) put("tRNS", chunk.first(std::min<std::size_t>(chunk.size(), 256)));
            if (png.colour == 0 && png.depth < 16 && length >= 2) put("tRNS", chunk.first(2));
            if (png.colour == 2 && length >= 6) put("tRNS", chunk.first(6));
        } else if (type == "IDAT" && !after_data) {
            data.insert(data.end(), chunk.begin(), chunk.end());
            any_data = true;
        } else if (type == "eXIf") {
            exif = exif_orientation(chunk);
        } else if (type == "iTXt" && text.starts_with(std::string_view("XML:com.adobe.xmp\0", 18)) &&
                   text.size() > 20) {
            // keyword 0, compressed?, method, language 0, translated keyword 0, text
            std::size_t body = text.find('\0', text.find('\0', 20) + 1);
            if (text.find('\0', 20) == text.npos || body == text.npos) body = text.size() - 1;
            const bool packed = text[18] != 0;
            xmp = xmp_orientation(packed ? std::string_view(inflate(chunk.subspan(body + 1))) : text.substr(body + 1));
        } else if (type == "tEXt" && text.starts_with(std::string_view("Raw profile type exif\0", 22))) {
            profile = exif_orientation(hex_profile(text.substr(22)));
        } else if (type == "zTXt" && text.starts_with(std::string_view("Raw profile type exif\0", 22)) &&
                   text.size() > 23) {
            profile = exif_orientation(hex_profile(inflate(chunk.subspan(23))));
        } else if (type == "IEND") {
            break;
        }
        after_data = any_data && type != "IDAT";
        at += 12 + length;
    }
    SMOLVLM_CHECK(any_data, FormatError, file.name(), ": broken PNG: no picture data");
    if (png.colour == 3 && !palette) put("PLTE", {}, 768);
    // One byte of packed data yields at most 1032 of plain data, so a header that promises more is not believed.
    const Index least = (png.width * Index(png.depth) + 7) / 8 * png.height / 1040;
    SMOLVLM_CHECK(static_cast<Index>(data.size()) >= least, FormatError, file.name(), ": truncated: ", data.size(),
                  " bytes of PNG data cannot hold ", png.width, "x", png.height, " pixels");
    put("IDAT", data);
    put("IEND", {});
    png.orientation = exif ? *exif : profile ? *profile : xmp ? *xmp : 1;
    return png;
}

}  // namespace smolvlm::detail
