#pragma once
/// load_image: a picture file to an upright RGB Image, equal to what transformers' Pillow-backed loader makes of that
/// file.
///
///     PNG   all kinds; 16-bit grey saturates at 255, 16-bit colour keeps the high byte, as Pillow does
///     JPEG  baseline and progressive; grey, YCbCr, RGB, CMYK, YCCK; libjpeg's roundings (jpeg_samples.hpp)
///     GIF   the first frame (gif.hpp)        BMP   bmp.hpp
///
/// The EXIF or XMP orientation is applied. Transparency is dropped or, on request, blended with white (see Alpha).
///
/// Errors are sentences that begin with the file's name: ValueError when it cannot be opened or is a directory,
/// FormatError when it is empty, no picture, damaged, truncated or larger than LoadOptions::max_pixels; the size is
/// checked before anything is allocated for pixels.
///
/// This is the only file that knows stb_image, which unpacks PNG and entropy-decodes JPEG. It is compiled privately
/// into namespace smolvlm::detail::stb, so that a program may use its own copy beside it and include this header in
/// many files.

#include <assert.h>
#include <errno.h>
#include <limits.h>

#include <cstdarg>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif
#if defined(__ARM_NEON)
#include <arm_neon.h>
#endif

#include <memory>
#include <smolvlm/image/bmp.hpp>
#include <smolvlm/image/gif.hpp>
#include <smolvlm/image/jpeg.hpp>
#include <smolvlm/image/jpeg_samples.hpp>
#include <smolvlm/image/picture_file.hpp>
#include <smolvlm/image/png.hpp>

namespace smolvlm::detail::stb {
/// stb_image inflates until the data ends; a small file may hold gigabytes of zeros. No single block may exceed this.
inline thread_local std::size_t allocation_limit = 0;
/// Zeroed, so that what a damaged file leaves out is the same in every run.
inline void* allocate(std::size_t bytes) { return bytes <= allocation_limit ? std::calloc(bytes, 1) : nullptr; }
inline void* reallocate(void* block, std::size_t bytes) {
    return bytes <= allocation_limit ? std::realloc(block, bytes) : nullptr;
}
}  // namespace smolvlm::detail::stb

#pragma push_macro("STB_IMAGE_IMPLEMENTATION")
#pragma push_macro("STB_IMAGE_STATIC")
#pragma push_macro("STBI_INCLUDE_STB_IMAGE_H")
#pragma push_macro("STBIDEF")
#pragma push_macro("STBI_ASSERT")
#pragma push_macro("STBI_MALLOC")
#pragma push_macro("STBI_REALLOC")
#pragma push_macro("STBI_REALLOC_SIZED")
#pragma push_macro("STBI_FREE")
#pragma push_macro("stbi__err")
#undef STB_IMAGE_IMPLEMENTATION
#undef STB_IMAGE_STATIC
#undef STBI_INCLUDE_STB_IMAGE_H
#undef STBIDEF
#undef STBI_ASSERT
#undef STBI_MALLOC
#undef STBI_REALLOC
#undef STBI_REALLOC_SIZED
#undef STBI_FREE
#undef stbi__err
#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_ONLY_JPEG
#define STBI_ONLY_PNG
#define STBI_NO_STDIO
#define STBI_NO_LINEAR
#define STBI_NO_HDR
#define STBI_ASSERT(condition) static_cast<void>(0)
#define STBI_MALLOC(bytes) allocate(bytes)
#define STBI_REALLOC(block, bytes) reallocate(block, bytes)
#define STBI_FREE(block) std::free(block)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wall"
#pragma GCC diagnostic ignored "-Wextra"
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wunused-function"
namespace smolvlm::detail::stb {
#if __has_include(<stb/stb_image.h>)
#include <stb/stb_image.h>
#else
#include <stb_image.h>
#endif
}  // namespace smolvlm::detail::stb
#pragma GCC diagnostic pop
#undef STBI_NO_HDR
#undef STBI_NO_LINEAR
#undef STBI_NO_STDIO
#undef STBI_ONLY_PNG
#undef STBI_ONLY_JPEG
#undef STBI_NO_BMP
#undef STBI_NO_PSD
#undef STBI_NO_TGA
#undef STBI_NO_GIF
#undef STBI_NO_PIC
#undef STBI_NO_PNM
#pragma pop_macro("STB_IMAGE_IMPLEMENTATION")
#pragma pop_macro("STB_IMAGE_STATIC")
#pragma pop_macro("STBI_INCLUDE_STB_IMAGE_H")
#pragma pop_macro("STBIDEF")
#pragma pop_macro("STBI_ASSERT")
#pragma pop_macro("STBI_MALLOC")
#pragma pop_macro("STBI_REALLOC")
#pragma pop_macro("STBI_REALLOC_SIZED")
#pragma pop_macro("STBI_FREE")
#pragma pop_macro("stbi__err")

namespace smolvlm {

struct LoadOptions {
    Alpha alpha = Alpha::drop;
    Index max_pixels = max_image_pixels;
};

namespace detail {

struct FreeDeleter {
    void operator()(void* block) const { std::free(block); }
};
template <class T>
using Malloced = std::unique_ptr<T, FreeDeleter>;

inline std::string stb_inflate(std::span<const std::uint8_t> packed, std::size_t limit) {
    stb::allocation_limit = limit;
    int length = 0;
    const Malloced<char> text(stb::stbi_zlib_decode_malloc(reinterpret_cast<const char*>(packed.data()),
                                                           static_cast<int>(packed.size()), &length));
    return text ? std::string(text.get(), static_cast<std::size_t>(length)) : std::string();
}

inline Bitmap decode_png(const FileBytes& file, const LoadOptions& options) {
    const PngScan png = scan_png(file, options.max_pixels, [](std::span<const std::uint8_t> metadata) {
        return stb_inflate(metadata, std::size_t(1) << 20);
    });
    // The inflater begins with its input's size or a guess at the output's and doubles that until all fits.
    const Index inflated = std::max({2 * png.unpacked_bytes(), 2 * std::ssize(png.data), Index(1) << 16});
    if (png.suspect) {
        std::uint32_t stored = 0;
        for (const std::uint8_t byte : std::span(png.data).last(std::min<std::size_t>(png.data.size(), 4)))
            stored = stored << 8 | byte;
        SMOLVLM_CHECK(adler32(stb_inflate(png.data, static_cast<std::size_t>(inflated))) == stored, FormatError,
                      file.name(), ": broken PNG: wrong checksum of the picture data");
    }
    const bool grey16 = png.is_grey16(), with_alpha = options.alpha == Alpha::white && !grey16;
    const std::vector<std::uint8_t> bytes = minimal_png(png, with_alpha);
    const int size = static_cast<int>(bytes.size());
    Bitmap bitmap(png.width, png.height, with_alpha ? 4 : 3);
    bitmap.orientation = png.orientation();
    bitmap.key = png_colour_key(png);
    stb::allocation_limit = static_cast<std::size_t>(std::max(inflated, png.width * png.height * 8 + (1 << 16)));
    int width = 0, height = 0;
    if (grey16) {
        const Malloced<unsigned short> grey(
            stb::stbi_load_16_from_memory(bytes.data(), size, &width, &height, nullptr, 1));
        SMOLVLM_CHECK(grey, FormatError, file.name(), ": broken PNG: ", stb::stbi_failure_reason());
        for (std::size_t i = 0; i < bitmap.pixels.size(); ++i)
            bitmap.pixels[i] = static_cast<std::uint8_t>(std::min<int>(grey.get()[i / 3], 255));
    } else {
        const Malloced<std::uint8_t> pixels(
            stb::stbi_load_from_memory(bytes.data(), size, &width, &height, nullptr, bitmap.channels));
        SMOLVLM_CHECK(pixels, FormatError, file.name(), ": broken PNG: ", stb::stbi_failure_reason());
        std::copy_n(pixels.get(), bitmap.pixels.size(), bitmap.pixels.begin());
    }
    return bitmap;
}

inline Bitmap decode_jpeg(const FileBytes& file, const LoadOptions& options) {
    const JpegScan scan = scan_jpeg(file, options.max_pixels);
    stb::allocation_limit = std::size_t(1) << 32;  // bounded by the size in the header, which is checked
    stb::stbi__context context;
    stb::stbi__start_mem(&context, file.all().data(), static_cast<int>(file.size()));
    context.img_n = 0;
    // stb's decoder up to the samples of each channel, with our inverse transform in place of its own.
    const auto cleanup = [](stb::stbi__jpeg* j) {
        stb::stbi__cleanup_jpeg(j);
        delete j;
    };
    const std::unique_ptr<stb::stbi__jpeg, decltype(cleanup)> jpeg(new stb::stbi__jpeg{}, cleanup);
    jpeg->s = &context;
    stb::stbi__setup_jpeg(jpeg.get());
    jpeg->idct_block_kernel = idct_block;
    SMOLVLM_CHECK(stb::stbi__decode_jpeg_image(jpeg.get()), FormatError, file.name(),
                  ": broken JPEG: ", stb::stbi_failure_reason());
    const int channels = context.img_n;
    SMOLVLM_CHECK(static_cast<Index>(context.img_x) == scan.width && static_cast<Index>(context.img_y) == scan.height &&
                      channels == scan.channels && (channels == 1 || channels == 3 || channels == 4),
                  FormatError, file.name(), ": broken JPEG: its headers contradict one another");

    std::vector<JpegUpsampler> upsamplers;
    for (int c = 0; c < channels; ++c) {
        const auto& part = jpeg->img_comp[c];
        const JpegChannel channel{
            part.data, part.x, part.y, part.w2, jpeg->img_h_max / part.h, jpeg->img_v_max / part.v};
        upsamplers.emplace_back(channel, scan.width);
    }
    // Which colours the channels are: JFIF says YCbCr, else Adobe's segment names the transform, else the channels'
    // names.
    const int adobe = jpeg->app14_color_transform;  // -1: no such segment
    const bool rgb = channels == 3 && !jpeg->jfif && (adobe == 0 || (adobe < 0 && jpeg->rgb == 3));
    const bool cmyk = channels == 4 && adobe <= 0;
    Bitmap bitmap(scan.width, scan.height, 3);
    bitmap.orientation = scan.orientation;
    for (Index y = 0; y < scan.height; ++y) {
        std::uint8_t* out = bitmap.pixels.data() + y * scan.width * 3;
        const std::uint8_t* row[4] = {};
        for (int c = 0; c < channels; ++c) row[c] = upsamplers[static_cast<std::size_t>(c)].row(y);
        if (channels == 1 || rgb || cmyk) {
            for (Index x = 0; x < scan.width; ++x)
                for (int c = 0; c < 3; ++c) out[3 * x + c] = row[channels == 1 ? 0 : c][x];
        } else {
            ycc_to_rgb(row[0], row[1], row[2], scan.width, out);
        }
        if (channels == 4)  // black ink scales the rest; CMYK is stored inverted, YCCK's first three are not
            for (Index x = 0; x < 3 * scan.width; ++x) {
                const unsigned light = row[3][x / 3], product = (cmyk ? 255u - out[x] : out[x]) * light + 128u;
                out[x] = static_cast<std::uint8_t>(light - ((product + (product >> 8)) >> 8));
            }
    }
    return bitmap;
}

}  // namespace detail

/// The picture in these bytes; `name` stands in error messages.
inline Image load_image_bytes(std::span<const std::uint8_t> bytes, const LoadOptions& options = {},
                              std::string_view name = "picture") {
    const detail::FileBytes file(bytes, name);
    SMOLVLM_CHECK(file.size() > 0, FormatError, name, ": the file is empty");
    SMOLVLM_CHECK(file.size() <= INT_MAX, FormatError, name, ": larger than 2 GiB: no picture is");
    const auto decode = [&] {
        using detail::PictureFormat;
        switch (detail::picture_format(file)) {
            case PictureFormat::png:
                return detail::decode_png(file, options);
            case PictureFormat::jpeg:
                return detail::decode_jpeg(file, options);
            case PictureFormat::gif:
                return detail::decode_gif(file, options.max_pixels);
            case PictureFormat::bmp:
                return detail::decode_bmp(file, options.max_pixels);
            case PictureFormat::none:
                break;
        }
        fail<FormatError>(name, ": ", detail::foreign_format(file), "; expected a PNG, JPEG, GIF or BMP file");
    };
    return detail::to_image(decode(), options.alpha);
}

/// The picture in a file.
inline Image load_image(const std::string& path, const LoadOptions& options = {}) {
    return load_image_bytes(detail::read_picture_file(path, std::size_t(1) << 30), options, path);
}

}  // namespace smolvlm
