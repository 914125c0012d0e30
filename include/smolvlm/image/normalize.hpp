#pragma once
/// normalize: bytes to the numbers that the vision tower takes, per channel c:
///
///     v = x * rescale_factor         y = (v - mean_c) / std_c          (1/255, 0.5, 0.5: bytes to [-1, 1])
///
/// v is computed in double and rounded to float, y in float: the reference's roundings exactly (transformers,
/// image_transforms.py, rescale and normalize). A byte has 256 values, so each channel is one table (core/byte_pixels.hpp).

#include <array>

#include <smolvlm/core/byte_pixels.hpp>

namespace smolvlm {

struct PixelScaling {
    bool do_rescale = true;
    double rescale_factor = 1.0 / 255.0;
    bool do_normalize = true;
    std::array<double, 3> mean{0.5, 0.5, 0.5};
    std::array<double, 3> std{0.5, 0.5, 0.5};

    /// The value of byte x in channel c.
    float operator()(int x, int c) const {
        const auto channel = static_cast<std::size_t>(c);
        float v = do_rescale ? static_cast<float>(x * rescale_factor) : static_cast<float>(x);
        if (do_normalize) v = (v - static_cast<float>(mean[channel])) / static_cast<float>(std[channel]);
        return v;
    }
    /// The values of all bytes, channel after channel.
    std::vector<float> table() const {
        std::vector<float> values;
        for (int c = 0; c < 3; ++c)
            for (int x = 0; x < 256; ++x) values.push_back((*this)(x, c));
        return values;
    }
};

/// x [F, 3, H, W]  ->  y [F, 3, H, W]
inline HostTensor<float> normalize(const HostTensor<std::uint8_t>& x, const PixelScaling& scaling,
                                   int threads = default_threads()) {
    return in_numbers<float>({x.cview(), scaling.table()}, threads);
}

}  // namespace smolvlm
