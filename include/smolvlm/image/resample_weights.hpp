#pragma once
/// The weights of a resampling along one axis. Output pixel i of n gathers the input pixels j under a kernel f centred
/// on it (in = input size):
///
///     scale = in / n      center_i = (i + 1/2) scale      stretch = max(scale, 1)
///     w_ij = f((j - center_i + 1/2) / stretch), divided by sum_j w_ij        y_i = sum_j w_ij x_j
///
/// so that enlarging interpolates and shrinking averages over everything that an output pixel covers. The weights are
/// rounded to 22 fractional bits. Source: Pillow 13, src/libImaging/Resample.c (8 bits a channel).

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include <smolvlm/core/shape.hpp>

namespace smolvlm {

/// The values are Pillow's, as the key "resample" of preprocessor_config.json has them.
enum class Resample : int { lanczos = 1, bilinear = 2, bicubic = 3 };

namespace detail {

/// The kernel's value at x; it is zero from `reach` on.
inline double resample_kernel(Resample filter, double x) {
    const auto sinc = [](double t) {
        if (t == 0.0) return 1.0;
        t *= std::numbers::pi;
        return std::sin(t) / t;
    };
    switch (filter) {
        case Resample::lanczos:
            return x >= -3.0 && x < 3.0 ? sinc(x) * sinc(x / 3) : 0.0;
        case Resample::bilinear:
            x = std::abs(x);
            return x < 1.0 ? 1.0 - x : 0.0;
        case Resample::bicubic: {  // Keys' cubic convolution
            constexpr double a = -0.5;
            x = std::abs(x);
            if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
            if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * a;
            return 0.0;
        }
    }
    return 0.0;
}
constexpr double resample_reach(Resample filter) {
    return filter == Resample::lanczos ? 3.0 : filter == Resample::bicubic ? 2.0 : 1.0;
}

/// The weights of one axis: output i gathers count[i] inputs from first[i] on with weights[i * stride ...].
struct ResampleWeights {
    static constexpr int fraction_bits = 32 - 8 - 2;  // a byte, and two bits for sums beyond 255 and below 0
    static constexpr std::int32_t half = 1 << (fraction_bits - 1);

    Index stride = 0;
    std::vector<Index> first, count;
    std::vector<std::int32_t> weights;

    std::int32_t weight(std::size_t i, Index tap) const {
        return weights[i * static_cast<std::size_t>(stride) + static_cast<std::size_t>(tap)];
    }

    ResampleWeights(Index in, Index out, Resample filter) {
        const double scale = static_cast<double>(in) / static_cast<double>(out);
        const double stretch = std::max(scale, 1.0);
        const double support = resample_reach(filter) * stretch;
        const double step = 1.0 / stretch;
        stride = static_cast<Index>(std::ceil(support)) * 2 + 1;
        first.resize(static_cast<std::size_t>(out));
        count.resize(static_cast<std::size_t>(out));
        weights.assign(static_cast<std::size_t>(out * stride), 0);
        std::vector<double> exact(static_cast<std::size_t>(stride));
        for (Index i = 0; i < out; ++i) {
            const double center = (static_cast<double>(i) + 0.5) * scale;
            // Truncated towards zero, as the reference does.
            const Index begin = std::max<Index>(static_cast<Index>(center - support + 0.5), 0);
            const Index end = std::min<Index>(static_cast<Index>(center + support + 0.5), in);
            double sum = 0.0;
            for (Index j = begin; j < end; ++j) {
                const double w = resample_kernel(filter, (static_cast<double>(j) - center + 0.5) * step);
                exact[static_cast<std::size_t>(j - begin)] = w;
                sum += w;
            }
            for (Index j = 0; j < end - begin; ++j) {
                double w = exact[static_cast<std::size_t>(j)];
                if (sum != 0.0) w /= sum;
                weights[static_cast<std::size_t>(i * stride + j)] =
                    static_cast<std::int32_t>(w * (1 << fraction_bits) + (w < 0 ? -0.5 : 0.5));
            }
            first[static_cast<std::size_t>(i)] = begin;
            count[static_cast<std::size_t>(i)] = end - begin;
        }
    }
};

}  // namespace detail

}  // namespace smolvlm
