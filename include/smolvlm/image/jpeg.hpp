#pragma once
/// scan_jpeg: the segments of a JPEG that decide how its samples become a picture.
///
/// A JPEG is a row of segments: FF, a marker, a length, data; after a start of scan (DA) come coded samples, in which
/// an FF of the data is followed by 00, up to the next real marker. It ends with D9; without that it is cut short and
/// refused, as the reference refuses it.
///
/// Errors: FormatError naming the offset. Source: ITU-T T.81, annex B; Pillow, JpegImagePlugin.py (EXIF may be spread
/// over several segments).

#include <smolvlm/image/bitmap.hpp>

namespace smolvlm::detail {

struct JpegScan {
    Index width = 0, height = 0;
    int channels = 0;
    int orientation = 1;
};

/// A segment of Huffman tables: class and number, how many codes there are of each length, their values. The decoder
/// has room for 256 values a table and does not look.
inline void check_code_tables(const FileBytes& file, Index at, Index length) {
    for (const Index end = at + length; at < end;) {
        Index codes = 0;
        for (const std::uint8_t count : file.slice(at + 1, 16)) codes += count;
        SMOLVLM_CHECK(codes <= 256 && codes <= end - at - 17, FormatError, file.name(),
                      ": broken JPEG: a code table of ", codes, " values at offset ", at);
        at += 17 + codes;
    }
}

inline JpegScan scan_jpeg(const FileBytes& file, Index max_pixels) {
    JpegScan jpeg;
    std::vector<std::uint8_t> exif;
    std::optional<int> xmp;
    bool scans = false;
    Index at = 2;
    while (true) {
        // To the next marker; anything in between is padding, damage, or the samples of a scan.
        const std::uint8_t* bytes = file.all().data();
        while (at + 1 < file.size() && (bytes[at] != 0xff || bytes[at + 1] == 0x00 || bytes[at + 1] == 0xff)) ++at;
        SMOLVLM_CHECK(at + 1 < file.size(), FormatError, file.name(), ": truncated: the JPEG has no end marker");
        const unsigned marker = file.u8(at + 1);
        at += 2;
        if (marker == 0xd9) break;                                           // end
        if (marker == 0x01 || (marker >= 0xd0 && marker <= 0xd8)) continue;  // restarts and the like: no data
        const Index length = file.be16(at);
        SMOLVLM_CHECK(length >= 2, FormatError, file.name(), ": broken JPEG: a segment of length ", length,
                      " at offset ", at);
        const auto data = file.slice(at + 2, length - 2);
        const std::string_view text(reinterpret_cast<const char*>(data.data()), data.size());
        constexpr std::string_view exif_name("Exif\0\0", 6), xmp_name("http://ns.adobe.com/xap/1.0/\0", 29);
        if (marker == 0xe1 && !scans && text.starts_with(exif_name)) {
            exif.insert(exif.end(), data.begin() + 6, data.end());
        } else if (marker == 0xe1 && !scans && text.starts_with(xmp_name)) {
            xmp = xmp_orientation(text.substr(xmp_name.size()));
        } else if (marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc && !scans) {
            // A frame header; C4 and CC bring tables, C8 is reserved.
            SMOLVLM_CHECK(length >= 8, FormatError, file.name(), ": broken JPEG: a frame header of ", length, " bytes");
            SMOLVLM_CHECK(marker <= 0xc2, FormatError, file.name(), ": a JPEG of kind ", marker - 0xc0,
                          "; baseline, extended and progressive Huffman-coded ones (0, 1, 2) can be read");
            SMOLVLM_CHECK(data[0] == 8, FormatError, file.name(), ": a JPEG of ", data[0],
                          " bits a sample; expected 8");
            jpeg.height = file.be16(at + 3);
            jpeg.width = file.be16(at + 5);
            jpeg.channels = data[5];
            check_image_size(file, jpeg.width, jpeg.height, max_pixels);
        } else if (marker == 0xc4) {
            check_code_tables(file, at + 2, length - 2);
        } else if (marker == 0xda) {
            SMOLVLM_CHECK(jpeg.width > 0, FormatError, file.name(), ": broken JPEG: samples before the frame header");
            scans = true;
        }
        at += length;
    }
    SMOLVLM_CHECK(scans, FormatError, file.name(), ": broken JPEG: no picture data");
    // Every block of 8x8 pixels takes a bit at least, so a header that promises more is not believed.
    SMOLVLM_CHECK((jpeg.width / 8) * (jpeg.height / 8) <= file.size() * 8, FormatError, file.name(),
                  ": truncated: ", file.size(), " bytes cannot hold a JPEG of ", jpeg.width, "x", jpeg.height,
                  " pixels");
    const std::optional<int> tag = exif_orientation(exif);
    jpeg.orientation = tag ? *tag : xmp.value_or(1);
    return jpeg;
}

}  // namespace smolvlm::detail
