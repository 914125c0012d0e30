#pragma once
/// normalize: bytes to the numbers that the vision tower takes, per channel c:
///
///     v = x * rescale_factor         y = (v - mean_c) / std_c          (1/255, 0.5, 0.5: bytes to [-1, 1])
///
/// v is computed in double and rounded to float, y in float: the reference's roundings exactly (transformers,
/// image_transforms.py, rescale and normalize). A byte has 256 values, so each channel is one table.

#include <array>

#include <smolvlm/core/parallel.hpp>
#include <smolvlm/core/host_tensor.hpp>

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
};

/// x [F, 3, H, W]  ->  y [F, 3, H, W]
inline HostTensor<float> normalize(const HostTensor<std::uint8_t>& x, const PixelScaling& scaling,
                                   int threads = default_threads()) {
    const auto [frames, channels, height, width] = dims<4>(x.cview());
    SMOLVLM_CHECK(channels == 3, ShapeError, "normalize: pixels are ", x.shape(),
                  ", expected 3 channels: [F, 3, H, W]");
    std::array<std::array<float, 256>, 3> table{};
    for (int c = 0; c < 3; ++c)
        for (int value = 0; value < 256; ++value)
            table[static_cast<std::size_t>(c)][static_cast<std::size_t>(value)] = scaling(value, c);
    HostTensor<float> y(x.shape());
    const Index plane = height * width;
    const std::uint8_t* from = x.data();
    float* to = y.data();
    parallel_for(threads, frames * channels, 1, [&table, from, to, plane](Index begin, Index end) {
        for (Index p = begin; p < end; ++p) {
            const std::array<float, 256>& values = table[static_cast<std::size_t>(p % 3)];
            for (Index i = p * plane; i < (p + 1) * plane; ++i) to[i] = values[from[i]];
        }
    });
    return y;
}

}  // namespace smolvlm
