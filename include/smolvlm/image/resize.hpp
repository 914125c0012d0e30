#pragma once
/// resize: separable resampling with Pillow's 8-bit arithmetic, bit for bit.
///
/// Each axis is one pass of weighted sums (resample_weights.hpp): y_i = sum_j w_ij x_j, with weights of 22 fractional
/// bits. Each of the two passes is rounded to bytes, so their order shows: rows come first, except when the height
/// shrinks by more than twice as many pixels as the width. An unchanged side has no pass. The result depends on no
/// thread count and on no instruction set: the sums are integer.
///
/// Errors: ValueError for sizes outside Image's bounds. Source: Pillow 13, src/libImaging/Resample.c (8 bits a channel;
/// the order of the passes: python-pillow/Pillow#9549, earlier versions always begin with the rows).

#include <optional>
#include <vector>

#include <smolvlm/core/cpu_features.hpp>
#include <smolvlm/core/parallel.hpp>
#include <smolvlm/image/image.hpp>
#include <smolvlm/image/resample_weights.hpp>
#include <smolvlm/image/resize_vnni.hpp>
#include <smolvlm/image/transpose_bytes.hpp>

namespace smolvlm {

namespace detail {

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
    if (cpu_path() >= CpuPath::avx2) return {&resample_strip_avx2, &resample_row_avx2};
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
            transpose_bytes(x + top * in, in, rows, in, from.data(), resample_lanes);
            kernels.strip(from.data(), axis, to.data());
            transpose_bytes(to.data(), resample_lanes, out, rows, y + top * out, out);
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

/// One pass along the rows, by the loops above.
inline Image resize_rows(const Image& x, const ResampleWeights& axis, int threads) {
    Image y(static_cast<Index>(axis.first.size()), x.height());
    for (int c = 0; c < 3; ++c) resample_rows(x.plane(c), x.width(), x.height(), axis, y.plane(c), threads);
    return y;
}
/// One pass along the columns.
inline Image resize_columns(const Image& x, const ResampleWeights& axis, int threads) {
    Image y(x.width(), static_cast<Index>(axis.first.size()));
    for (int c = 0; c < 3; ++c) resample_columns(x.plane(c), x.width(), axis, y.plane(c), threads);
    return y;
}

/// Rows, then columns, where that axis is given.
inline Image resize_both(const Image& x, const ResampleWeights* rows, const ResampleWeights* columns, int threads,
                         [[maybe_unused]] bool fast) {
    if (!rows && !columns) return x;
#if defined(__x86_64__)
    if (fast)
        if (auto y = resize_vnni(x, rows, columns, threads)) return *y;
#endif
    const Image wide = rows ? resize_rows(x, *rows, threads) : x;
    return columns ? resize_columns(wide, *columns, threads) : wide;
}

inline Image resize(const Image& image, Index width, Index height, Resample filter, int threads, bool fast) {
    require_sides(width, height);
    std::optional<ResampleWeights> rows, columns;
    if (width != image.width()) rows.emplace(image.width(), width, filter);
    if (height != image.height()) columns.emplace(image.height(), height, filter);
    const ResampleWeights* const r = rows ? &*rows : nullptr;
    const ResampleWeights* const c = columns ? &*columns : nullptr;
    const Index lost_rows = image.height() - height, lost_columns = image.width() - width;
    if (lost_rows > 0 && lost_rows > 2 * lost_columns)
        return resize_both(resize_both(image, nullptr, c, threads, fast), r, nullptr, threads, fast);
    return resize_both(image, r, c, threads, fast);
}

}  // namespace detail

/// The picture at width x height.
inline Image resize(const Image& image, Index width, Index height, Resample filter = Resample::lanczos,
                    int threads = default_threads()) {
    return detail::resize(image, width, height, filter, threads, detail::has_resize_vnni());
}

}  // namespace smolvlm
