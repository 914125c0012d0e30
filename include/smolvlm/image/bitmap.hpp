#pragma once
/// Bitmap: what the decoders of files hand over: RGBRGB... or RGBARGBA... bytes, and how the picture lay in the camera.

#include <array>
#include <vector>

#include <smolvlm/image/bytes.hpp>
#include <smolvlm/image/exif.hpp>

namespace smolvlm {

/// What becomes of transparency.
///     drop   as the reference reads files: an alpha channel (or a table of alphas) is dropped, so that the colour
///     stored
///            under it shows; a colour key, one colour or palette entry that stands for "nothing here", shows white
///     white  everything transparent is blended with white
enum class Alpha { drop, white };

namespace detail {

struct Bitmap {
    Index width = 0, height = 0;
    int channels = 3;  // or 4: with alpha
    std::vector<std::uint8_t> pixels;
    int orientation = 1;                                            // see exif.hpp
    std::optional<std::array<std::uint8_t, 3>> key = std::nullopt;  // the colour that is transparent

    Bitmap() = default;
    Bitmap(Index w, Index h, int c) : width(w), height(h), channels(c), pixels(static_cast<std::size_t>(w * h * c)) {}
};

/// Called with the size in a file's header, before anything is allocated for its pixels.
inline void check_image_size(const FileBytes& file, Index width, Index height, Index max_pixels) {
    SMOLVLM_CHECK(width >= 1 && height >= 1, FormatError, file.name(), ": a picture of ", width, "x", height,
                  " pixels has nothing to show");
    SMOLVLM_CHECK(
        width <= max_image_side && height <= max_image_side && width * height <= std::min(max_pixels, max_image_pixels),
        FormatError, file.name(), ": ", width, "x", height, " pixels is too large; expected at most ",
        std::min(max_pixels, max_image_pixels), " pixels and ", max_image_side, " a side");
}

/// The upright picture. The blend's arithmetic is that of Pillow's alpha_composite.
inline Image to_image(Bitmap bitmap, Alpha alpha) {
    const auto step = static_cast<std::size_t>(bitmap.channels);
    for (std::size_t i = 0; i < bitmap.pixels.size() && bitmap.channels == 4 && alpha == Alpha::white; i += step)
        for (std::size_t c = 0; c < 3; ++c) {
            const unsigned a = bitmap.pixels[i + 3];
            const unsigned sum = (bitmap.pixels[i + c] * a + 255u * (255u - a) + 128u) << 7;
            bitmap.pixels[i + c] = static_cast<std::uint8_t>(((sum >> 8) + sum) >> 15);
        }
    for (std::size_t i = 0; i < bitmap.pixels.size() && bitmap.key && alpha == Alpha::drop; i += step)
        if (std::equal(bitmap.key->begin(), bitmap.key->end(), bitmap.pixels.data() + i))
            std::fill_n(bitmap.pixels.data() + i, 3, std::uint8_t(255));
    const Image image = Image::from_interleaved(bitmap.pixels.data(), bitmap.width, bitmap.height, bitmap.channels);
    return apply_orientation(image, bitmap.orientation);
}

}  // namespace detail
}  // namespace smolvlm
