#pragma once
/// Image: a picture as three planes of bytes, red, green, blue [3, height, width]; rows run downwards, without padding.
///
/// Planes rather than RGBRGB...: a tile of the model's input is [3, T, T], every filter below treats the channels
/// alike, and neighbouring bytes of one channel are what vector instructions want.

#include <cstdint>

#include <smolvlm/core/host_tensor.hpp>
#include <smolvlm/image/deinterleave.hpp>

namespace smolvlm {

/// No side and no picture is larger; a scanned A0 poster at 600 dpi has 2^29 pixels, a camera's picture 2^26.
constexpr Index max_image_side = Index(1) << 20;
constexpr Index max_image_pixels = Index(1) << 28;

/// Throws ValueError when a picture may not have these sides.
inline void require_sides(Index width, Index height) {
    SMOLVLM_CHECK(width >= 1 && height >= 1 && width <= max_image_side && height <= max_image_side &&
                      width * height <= max_image_pixels,
                  ValueError, "image: ", width, "x", height, " pixels; a side holds 1 to ", max_image_side,
                  " and the whole at most ", max_image_pixels);
}

/// Copies share their pixels, as tensors do: write to a picture before you hand it on, not after.
class Image {
public:
    Image() = default;
    /// Uninitialised pixels.
    Image(Index width, Index height) : width_(width), height_(height) {
        require_sides(width, height);
        pixels_ = HostTensor<std::uint8_t>(Shape{3, height, width});
    }
    /// From RGBRGB... (or RGBARGBA..., whose alpha is dropped) as cameras and decoders hand pictures over.
    static Image from_interleaved(const std::uint8_t* source, Index width, Index height, int channels = 3) {
        SMOLVLM_CHECK(channels == 3 || channels == 4, ValueError, "image: ", channels, " channels; expected 3 or 4");
        Image image(width, height);
        detail::deinterleave(source, width * height, channels, {image.plane(0), image.plane(1), image.plane(2)});
        return image;
    }

    Index width() const { return width_; }
    Index height() const { return height_; }
    bool empty() const { return pixels_.empty(); }
    /// [3, height, width]
    const HostTensor<std::uint8_t>& pixels() const { return pixels_; }

    /// Not for an empty picture, which has no planes and no rows.
    std::uint8_t* plane(int c) {
        std::uint8_t* const first = pixels_.data();
        if (!first) __builtin_unreachable();  // or g++ -O3 warns of writing through null
        return first + c * width_ * height_;
    }
    const std::uint8_t* plane(int c) const { return const_cast<Image*>(this)->plane(c); }
    std::uint8_t* row(int c, Index y) { return plane(c) + y * width_; }
    const std::uint8_t* row(int c, Index y) const { return plane(c) + y * width_; }

    /// Same size, same bytes.
    friend bool operator==(const Image& a, const Image& b) {
        return a.width_ == b.width_ && a.height_ == b.height_ &&
               (a.empty() || std::equal(a.plane(0), a.plane(0) + 3 * a.width_ * a.height_, b.plane(0)));
    }

private:
    Index width_ = 0, height_ = 0;
    HostTensor<std::uint8_t> pixels_;
};

}  // namespace smolvlm
