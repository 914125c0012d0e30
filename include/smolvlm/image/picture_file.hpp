#pragma once
/// The bytes of a picture file, and what a file is that is no picture for us.

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <smolvlm/image/bytes.hpp>
#include <vector>

namespace smolvlm::detail {

enum class PictureFormat { png, jpeg, gif, bmp, none };

inline PictureFormat picture_format(const FileBytes& file) {
    if (file.has(0, "\x89PNG\r\n\x1a\n")) return PictureFormat::png;
    if (file.has(0, "\xff\xd8\xff")) return PictureFormat::jpeg;
    if (file.has(0, "GIF87a") || file.has(0, "GIF89a")) return PictureFormat::gif;
    if (file.has(0, "BM")) return PictureFormat::bmp;
    return PictureFormat::none;
}

/// The name of a picture format that is known but not read; for messages.
inline std::string_view foreign_format(const FileBytes& file) {
    if (file.has(0, "RIFF") && file.has(8, "WEBP")) return "a WebP picture";
    if (file.has(0, std::string_view("II*\0", 4)) || file.has(0, std::string_view("MM\0*", 4))) return "a TIFF picture";
    if (file.has(4, "ftypavif")) return "an AVIF picture";
    if (file.has(4, "ftyphei") || file.has(4, "ftypmif1")) return "a HEIC picture";
    if (file.has(4, "ftyp")) return "a video or another ISO media file";
    if (file.has(0, "8BPS")) return "a Photoshop document";
    if (file.has(0, "%PDF")) return "a PDF document";
    if (file.has(0, "<svg") || file.has(0, "<?xml")) return "an SVG or XML document";
    return "no picture";
}

/// The whole file. Reading stops where the beginning is that of no picture, and beyond `limit`: devices may be endless.
inline std::vector<std::uint8_t> read_picture_file(const std::string& path, std::size_t limit) {
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"), std::fclose);
    SMOLVLM_CHECK(file, ValueError, path, ": cannot open the picture: ", std::strerror(errno));
    std::vector<std::uint8_t> bytes;
    for (std::size_t got = 1; got > 0;) {
        const std::size_t size = bytes.size();
        bytes.resize(std::max<std::size_t>(std::size_t(1) << 16, size * 2));
        got = std::fread(bytes.data() + size, 1, bytes.size() - size, file.get());
        bytes.resize(size + got);
        SMOLVLM_CHECK(!std::ferror(file.get()), ValueError, path, ": cannot read the picture: ", std::strerror(errno));
        if (picture_format(FileBytes(bytes, path)) == PictureFormat::none && bytes.size() >= 16) break;
        SMOLVLM_CHECK(bytes.size() <= limit, FormatError, path, ": larger than ", limit, " bytes: no picture is");
    }
    return bytes;
}

}  // namespace smolvlm::detail
