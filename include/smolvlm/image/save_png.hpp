#pragma once
/// save_png: writes an Image as a PNG file, whole or not at all. The only file that knows stb_image_write, which is
/// compiled privately into namespace smolvlm::detail::stb_write.

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include <smolvlm/image/image.hpp>

#pragma push_macro("INCLUDE_STB_IMAGE_WRITE_H")
#pragma push_macro("STB_IMAGE_WRITE_IMPLEMENTATION")
#pragma push_macro("STB_IMAGE_WRITE_STATIC")
#pragma push_macro("STBIWDEF")
#undef INCLUDE_STB_IMAGE_WRITE_H
#undef STB_IMAGE_WRITE_IMPLEMENTATION
#undef STB_IMAGE_WRITE_STATIC
#undef STBIWDEF
#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STB_IMAGE_WRITE_STATIC
#define STBI_WRITE_NO_STDIO
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wall"
#pragma GCC diagnostic ignored "-Wextra"
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wunused-function"
namespace smolvlm::detail::stb_write {
#if __has_include(<stb/stb_image_write.h>)
#include <stb/stb_image_write.h>
#else
#include <stb_image_write.h>
#endif
}  // namespace smolvlm::detail::stb_write
#pragma GCC diagnostic pop
#undef STBI_WRITE_NO_STDIO
#pragma pop_macro("STBIWDEF")
#pragma pop_macro("STB_IMAGE_WRITE_STATIC")
#pragma pop_macro("STB_IMAGE_WRITE_IMPLEMENTATION")
#pragma pop_macro("INCLUDE_STB_IMAGE_WRITE_H")

namespace smolvlm {

/// The bytes of a PNG file with this picture.
inline std::vector<std::uint8_t> encode_png(const Image& image) {
    SMOLVLM_CHECK(!image.empty(), ValueError, "encode_png: the picture is empty");
    std::vector<std::uint8_t> pixels(static_cast<std::size_t>(3 * image.width() * image.height()));
    for (int c = 0; c < 3; ++c)
        for (std::size_t i = 0; i < pixels.size() / 3; ++i)
            pixels[3 * i + static_cast<std::size_t>(c)] = image.plane(c)[i];
    std::vector<std::uint8_t> bytes;
    const auto collect = [](void* context, void* data, int size) {
        auto& out = *static_cast<std::vector<std::uint8_t>*>(context);
        const auto* from = static_cast<const std::uint8_t*>(data);
        out.insert(out.end(), from, from + size);
    };
    const int ok = detail::stb_write::stbi_write_png_to_func(collect, &bytes, static_cast<int>(image.width()),
                                                             static_cast<int>(image.height()), 3, pixels.data(),
                                                             static_cast<int>(3 * image.width()));
    SMOLVLM_CHECK(ok && !bytes.empty(), ValueError, "encode_png: no memory for a picture of ", image.width(), "x",
                  image.height(), " pixels");
    return bytes;
}

/// Throws ValueError when the file cannot be written; then none is left behind. An older file of that name is replaced
/// only by a complete one.
inline void save_png(const std::string& path, const Image& image) {
    const std::vector<std::uint8_t> bytes = encode_png(image);
    const std::string draft = path + ".part" + std::to_string(::getpid());
    struct stat status {};
    SMOLVLM_CHECK(::stat(path.c_str(), &status) != 0 || S_ISREG(status.st_mode), ValueError, path,
                  ": cannot be written: it is no regular file");
    std::FILE* file = std::fopen(draft.c_str(), "wb");
    SMOLVLM_CHECK(file, ValueError, path, ": cannot be written: ", std::strerror(errno));
    const bool written = std::fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size();
    const bool closed = std::fclose(file) == 0;
    if (written && closed && std::rename(draft.c_str(), path.c_str()) == 0) return;
    const int reason = errno;
    std::remove(draft.c_str());
    fail<ValueError>(path, ": cannot be written: ", std::strerror(reason));
}

}  // namespace smolvlm
