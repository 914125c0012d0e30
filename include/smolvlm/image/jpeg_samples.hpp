#pragma once
/// From the coefficients of a JPEG to pixels, with the integer arithmetic of libjpeg's default settings, bit for bit:
/// the inverse cosine transform, the interpolation of halved colour channels, and YCbCr to RGB.
///
/// The standard leaves the rounding of all three to the decoder; decoders differ by a few levels in 255. The reference
/// decodes with libjpeg-turbo, so its roundings are used here. Source: ITU-T T.81, A.3.3 and T.871, 7; libjpeg's files
/// jidctint.c (accurate integer method), jdsample.c ("fancy" upsampling) and jdcolor.c, which document them.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include <smolvlm/core/shape.hpp>

namespace smolvlm::detail {

inline std::uint8_t clamp_byte(std::int32_t value) { return static_cast<std::uint8_t>(std::clamp(value, 0, 255)); }

/// Eight values of a one-dimensional inverse cosine transform, scaled up by 2^13 sqrt(8); x is read `step` apart.
/// Unsigned, because the coefficients of a damaged file may overflow. C. Loeffler, A. Ligtenberg and G. Moschytz,
/// "Practical fast 1-D DCT algorithms with 11 multiplications" (ICASSP 1989).
template <class T>
inline void idct_8(const T* x, int step, std::int32_t (&y)[8]) {
    using Word = std::uint32_t;
    constexpr auto fixed = [](double c) {
        return static_cast<Word>(static_cast<std::int32_t>(c * 8192 + (c < 0 ? -0.5 : 0.5)));
    };
    const auto in = [&](int i) { return static_cast<Word>(static_cast<std::int32_t>(x[i * step])); };
    // Even part: inputs 0, 4 and the rotation of 2, 6.
    const Word turned = (in(2) + in(6)) * fixed(0.541196100);
    const Word low = turned + in(6) * fixed(-1.847759065), high = turned + in(2) * fixed(0.765366865);
    const Word sum = (in(0) + in(4)) * 8192, difference = (in(0) - in(4)) * 8192;
    const Word even[4] = {sum + high, difference + low, difference - low, sum - high};
    // Odd part: inputs 7, 5, 3, 1.
    const Word shared = (in(7) + in(3) + in(5) + in(1)) * fixed(1.175875602);
    const Word z1 = (in(7) + in(1)) * fixed(-0.899976223), z2 = (in(5) + in(3)) * fixed(-2.562915447);
    const Word z3 = (in(7) + in(3)) * fixed(-1.961570560) + shared, z4 = (in(5) + in(1)) * fixed(-0.390180644) + shared;
    const Word odd[4] = {in(1) * fixed(1.501321110) + z1 + z4, in(3) * fixed(3.072711026) + z2 + z3,
                         in(5) * fixed(2.053119869) + z2 + z4, in(7) * fixed(0.298631336) + z1 + z3};
    for (int i = 0; i < 4; ++i) {
        y[i] = static_cast<std::int32_t>(even[i] + odd[i]);
        y[7 - i] = static_cast<std::int32_t>(even[i] - odd[i]);
    }
}

/// 64 dequantised coefficients, row by row, to 8x8 samples: columns first, keeping two fractional bits, then rows.
inline void idct_block(std::uint8_t* out, int out_stride, short coefficients[64]) {
    const auto descale = [](std::int32_t v, int bits) {
        return static_cast<std::int32_t>(static_cast<std::uint32_t>(v) + (1u << (bits - 1))) >> bits;
    };
    std::int32_t columns[64], y[8];
    for (int i = 0; i < 8; ++i) {
        idct_8(coefficients + i, 8, y);
        for (int j = 0; j < 8; ++j) columns[8 * j + i] = descale(y[j], 11);
    }
    for (int j = 0; j < 8; ++j) {
        idct_8(columns + 8 * j, 1, y);
        for (int i = 0; i < 8; ++i) out[j * out_stride + i] = clamp_byte(descale(y[i], 18) + 128);
    }
}

/// One channel as decoded: `width` x `height` samples in rows `stride` apart, to be enlarged h by v times.
struct JpegChannel {
    const std::uint8_t* samples;
    Index width, height, stride;
    int h, v;
};

/// Row y of the enlarged channel: `width` samples at `out`. Halved axes are interpolated 3:1 between the two nearest
/// samples, with roundings that alternate between down and up; other factors repeat the sample.
class JpegUpsampler {
public:
    JpegUpsampler(const JpegChannel& channel, Index width)
        : channel_(channel), row_(static_cast<std::size_t>(width + 16)) {
        sums_.resize(static_cast<std::size_t>(channel.width));
    }

    const std::uint8_t* row(Index y) {
        const JpegChannel& c = channel_;
        // libjpeg repeats samples instead when a row has only one or two of them.
        const bool smooth_h = c.h == 2 && c.width > 2 && c.v <= 2;
        const bool smooth_v = c.v == 2 && (c.h == 1 || smooth_h);
        const Index source = y / c.v;
        const std::uint8_t* near = c.samples + source * c.stride;
        if (c.h == 1 && c.v == 1) return near;
        if (!smooth_v) {
            for (Index x = 0; x < c.width; ++x) sums_[static_cast<std::size_t>(x)] = near[x];
        } else {
            const Index other = std::clamp<Index>(y % 2 ? source + 1 : source - 1, 0, c.height - 1);
            const std::uint8_t* far = c.samples + other * c.stride;
            for (Index x = 0; x < c.width; ++x) sums_[static_cast<std::size_t>(x)] = 3 * near[x] + far[x];
        }
        std::uint8_t* out = row_.data();
        const Index last = c.width - 1;
        if (smooth_h) {  // sums_ carry a factor 1 or 4; the weights 3:1 add another 4
            const int bits = smooth_v ? 4 : 2;
            const int half = 1 << (bits - 1);
            const int down = smooth_v ? half : half - 1, up = smooth_v ? half - 1 : half;
            const auto sum = [&](Index x) { return sums_[static_cast<std::size_t>(x)]; };
            for (Index x = 0; x < c.width; ++x) {
                const int left = sum(std::max<Index>(x - 1, 0)), right = sum(std::min(x + 1, last));
                out[2 * x] = static_cast<std::uint8_t>((3 * sum(x) + left + down) >> bits);
                out[2 * x + 1] = static_cast<std::uint8_t>((3 * sum(x) + right + up) >> bits);
            }
        } else if (smooth_v) {
            for (Index x = 0; x < c.width; ++x)
                out[x] = static_cast<std::uint8_t>((sums_[static_cast<std::size_t>(x)] + (y % 2 ? 2 : 1)) >> 2);
        } else {
            for (Index x = 0; x < static_cast<Index>(row_.size()); ++x) out[x] = near[std::min(x / c.h, last)];
        }
        return out;
    }

private:
    JpegChannel channel_;
    std::vector<std::uint8_t> row_;
    std::vector<int> sums_;
};

/// y, cb, cr in bytes to RGBRGB..., in 16-bit fixed point:
///     R = Y + 1.402 (Cr - 128)    G = Y - 0.34414 (Cb - 128) - 0.71414 (Cr - 128)    B = Y + 1.772 (Cb - 128)
inline void ycc_to_rgb(const std::uint8_t* y, const std::uint8_t* cb, const std::uint8_t* cr, Index count,
                       std::uint8_t* rgb) {
    constexpr auto fixed = [](double c) { return static_cast<std::int32_t>(c * 65536 + 0.5); };
    constexpr std::int32_t half = 1 << 15;
    for (Index i = 0; i < count; ++i, rgb += 3) {
        const std::int32_t blue = cb[i] - 128, red = cr[i] - 128;
        rgb[0] = clamp_byte(y[i] + ((fixed(1.40200) * red + half) >> 16));
        rgb[1] = clamp_byte(y[i] + ((-fixed(0.34414) * blue - fixed(0.71414) * red + half) >> 16));
        rgb[2] = clamp_byte(y[i] + ((fixed(1.77200) * blue + half) >> 16));
    }
}

}  // namespace smolvlm::detail
