#pragma once
/// resize: separable resampling with Pillow's 8-bit arithmetic, bit for bit.
///
/// Along each axis, output pixel i of n gathers the input pixels j under a kernel f centred on it (in = input size):
///
///     scale = in / n      center_i = (i + 1/2) scale      stretch = max(scale, 1)
///     w_ij = f((j - center_i + 1/2) / stretch), divided by sum_j w_ij        y_i = sum_j w_ij x_j
///
/// so that enlarging interpolates and shrinking averages over everything that an output pixel covers. The weights are
/// rounded to 22 fractional bits, and each of the two passes is rounded to bytes, so their order shows: rows come
/// first, except when the height shrinks by more than twice as many pixels as the width. An unchanged side has no pass.
/// The result depends on no thread count and on no instruction set: the sums are integer.
///
/// Errors: ValueError for sizes outside Image's bounds. Source: Pillow 13, src/libImaging/Resample.c (8 bits a channel;
/// the order of the passes: python-pillow/Pillow#9549, earlier versions always begin with the rows).

#include <array>
#include <cmath>
#include <cstring>
#include <numbers>
#include <vector>

#include <smolvlm/core/parallel.hpp>
#include <smolvlm/image/image.hpp>

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

/// How many bytes are summed side by side: one register of bytes, one to four registers of sums.
constexpr Index resample_lanes = 16;

/// y[0..16) = the weighted sum of `taps` groups of 16 bytes, `step` bytes apart, rounded and clamped.
[[gnu::always_inline]] inline void resample_16(const std::uint8_t* x, Index step, const std::int32_t* weights,
                                               Index taps, std::uint8_t* y) {
    std::int32_t sum[resample_lanes];
    for (Index lane = 0; lane < resample_lanes; ++lane) sum[lane] = ResampleWeights::half;
    for (Index tap = 0; tap < taps; ++tap, x += step)
        for (Index lane = 0; lane < resample_lanes; ++lane) sum[lane] += weights[tap] * std::int32_t(x[lane]);
    for (Index lane = 0; lane < resample_lanes; ++lane)
        y[lane] = static_cast<std::uint8_t>(std::clamp(sum[lane] >> ResampleWeights::fraction_bits, 0, 255));
}

/// Sixteen neighbouring rows at once: x and y are strips [width][16], pixel columns transposed into lanes.
[[gnu::always_inline]] inline void resample_strip_body(const std::uint8_t* x, const ResampleWeights& axis,
                                                       std::uint8_t* y) {
    const auto out = static_cast<Index>(axis.first.size());
    for (Index i = 0; i < out; ++i) {
        const auto at = static_cast<std::size_t>(i);
        resample_16(x + axis.first[at] * resample_lanes, resample_lanes, axis.weights.data() + i * axis.stride,
                    axis.count[at], y + i * resample_lanes);
    }
}

/// One output row of width >= 16 from `taps` input rows that follow one another at x.
[[gnu::always_inline]] inline void resample_row_body(const std::uint8_t* x, Index width, const std::int32_t* weights,
                                                     Index taps, std::uint8_t* y) {
    for (Index column = 0; column < width; column += resample_lanes) {
        const Index from = std::min(column, width - resample_lanes);  // the last group overlaps its neighbour
        resample_16(x + from, width, weights, taps, y + from);
    }
}

// The same bodies compiled for wider registers and chosen at run time, so that a consumer's plain -O2 is fast, too.
inline void resample_strip_plain(const std::uint8_t* x, const ResampleWeights& axis, std::uint8_t* y) {
    resample_strip_body(x, axis, y);
}
inline void resample_row_plain(const std::uint8_t* x, Index width, const std::int32_t* weights, Index taps,
                               std::uint8_t* y) {
    resample_row_body(x, width, weights, taps, y);
}
#if defined(__x86_64__)
[[gnu::target("avx2")]] inline void resample_strip_avx2(const std::uint8_t* x, const ResampleWeights& axis,
                                                        std::uint8_t* y) {
    resample_strip_body(x, axis, y);
}
[[gnu::target("avx2")]] inline void resample_row_avx2(const std::uint8_t* x, Index width, const std::int32_t* weights,
                                                      Index taps, std::uint8_t* y) {
    resample_row_body(x, width, weights, taps, y);
}
#endif

struct ResampleKernels {
    decltype(&resample_strip_plain) strip = &resample_strip_plain;
    decltype(&resample_row_plain) row = &resample_row_plain;
};
inline ResampleKernels resample_kernels() {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2")) return {&resample_strip_avx2, &resample_row_avx2};
#endif
    return {};
}

/// Rows [height, in] of a plane to rows [height, out].
inline void resample_rows(const std::uint8_t* x, Index in, Index height, const ResampleWeights& axis, std::uint8_t* y,
                          int threads) {
    const auto out = static_cast<Index>(axis.first.size());
    const ResampleKernels kernels = resample_kernels();
    const Index strips = (height + resample_lanes - 1) / resample_lanes;
    parallel_for(threads, strips, 1, [&](Index begin, Index end) {
        std::vector<std::uint8_t> from(static_cast<std::size_t>(in * resample_lanes));
        std::vector<std::uint8_t> to(static_cast<std::size_t>(out * resample_lanes));
        for (Index strip = begin; strip < end; ++strip) {
            const Index top = strip * resample_lanes;
            const Index rows = std::min(resample_lanes, height - top);
            for (Index r = 0; r < rows; ++r)
                for (Index i = 0; i < in; ++i)
                    from[static_cast<std::size_t>(i * resample_lanes + r)] = x[(top + r) * in + i];
            kernels.strip(from.data(), axis, to.data());
            for (Index r = 0; r < rows; ++r)
                for (Index i = 0; i < out; ++i)
                    y[(top + r) * out + i] = to[static_cast<std::size_t>(i * resample_lanes + r)];
        }
    });
}

/// Columns of a plane [in, width] to [out, width].
inline void resample_columns(const std::uint8_t* x, Index width, const ResampleWeights& axis, std::uint8_t* y,
                             int threads) {
    const auto out = static_cast<Index>(axis.first.size());
    const ResampleKernels kernels = resample_kernels();
    parallel_for(threads, out, 8, [&](Index begin, Index end) {
        for (Index i = begin; i < end; ++i) {
            const auto at = static_cast<std::size_t>(i);
            const std::uint8_t* source = x + axis.first[at] * width;
            const std::int32_t* weights = axis.weights.data() + i * axis.stride;
            if (width >= resample_lanes) {
                kernels.row(source, width, weights, axis.count[at], y + i * width);
                continue;
            }
            for (Index column = 0; column < width; ++column) {
                std::int32_t sum = ResampleWeights::half;
                for (Index tap = 0; tap < axis.count[at]; ++tap)
                    sum += weights[tap] * std::int32_t(source[tap * width + column]);
                y[i * width + column] =
                    static_cast<std::uint8_t>(std::clamp(sum >> ResampleWeights::fraction_bits, 0, 255));
            }
        }
    });
}

}  // namespace detail

/// The picture at width x height.
inline Image resize(const Image& image, Index width, Index height, Resample filter = Resample::lanczos,
                    int threads = default_threads()) {
    const auto resize_rows = [&](const Image& x) {
        if (x.width() == width) return x;
        Image y(width, x.height());
        const detail::ResampleWeights axis(x.width(), width, filter);
        for (int c = 0; c < 3; ++c) detail::resample_rows(x.plane(c), x.width(), x.height(), axis, y.plane(c), threads);
        return y;
    };
    const auto resize_columns = [&](const Image& x) {
        if (x.height() == height) return x;
        Image y(x.width(), height);
        const detail::ResampleWeights axis(x.height(), height, filter);
        for (int c = 0; c < 3; ++c) detail::resample_columns(x.plane(c), x.width(), axis, y.plane(c), threads);
        return y;
    };
    const Index lost_rows = image.height() - height, lost_columns = image.width() - width;
    if (lost_rows > 0 && lost_rows > 2 * lost_columns) return resize_rows(resize_columns(image));
    return resize_columns(resize_rows(image));
}

}  // namespace smolvlm
