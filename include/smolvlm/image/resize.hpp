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
#include <smolvlm/image/resize_avx2.hpp>
#include <smolvlm/image/resize_vnni.hpp>
#include <smolvlm/image/transpose_bytes.hpp>

namespace smolvlm {

namespace detail {

/// How many bytes are summed side by side: one register of bytes, one to four registers of sums.
constexpr Index resample_lanes = 16;

/// The sums along one axis, as this processor is best at them. Keeps a reference to the axis.
class Resampler {
public:
    explicit Resampler(const ResampleWeights& axis, [[maybe_unused]] CpuPath path = cpu_path()) : axis_(axis) {
#if defined(__x86_64__)
        if (path >= CpuPath::avx2) pairs_.emplace(axis);
#endif
    }
    Index size() const { return static_cast<Index>(axis_.first.size()); }

    /// y[0..16) = output i of sixteen lines side by side, whose inputs lie `step` bytes apart from x on.
    void lanes(const std::uint8_t* x, Index step, Index i, std::uint8_t* y) const {
#if defined(__x86_64__)
        const auto at = static_cast<std::size_t>(i);
        if (pairs_) return resample_16_avx2(x + axis_.first[at] * step, step, *pairs_, at, axis_.count[at], y);
#endif
        plain<resample_lanes>(x, step, i, y);
    }

    /// The same of `n` lines, as it is defined.
    template <Index n>
    void plain(const std::uint8_t* x, Index step, Index i, std::uint8_t* y) const {
        const auto at = static_cast<std::size_t>(i);
        x += axis_.first[at] * step;
        std::int32_t sum[std::size_t{n}];
        for (Index lane = 0; lane < n; ++lane) sum[lane] = ResampleWeights::half;
        for (Index tap = 0; tap < axis_.count[at]; ++tap, x += step)
            for (Index lane = 0; lane < n; ++lane) sum[lane] += axis_.weight(at, tap) * std::int32_t(x[lane]);
        for (Index lane = 0; lane < n; ++lane)
            y[lane] = static_cast<std::uint8_t>(std::clamp(sum[lane] >> ResampleWeights::fraction_bits, 0, 255));
    }

private:
    const ResampleWeights& axis_;
#if defined(__x86_64__)
    std::optional<WordPairs> pairs_;
#endif
};

/// Rows [height, in] of a plane to rows [height, out].
inline void resample_rows(const std::uint8_t* x, Index in, Index height, const Resampler& sums, std::uint8_t* y,
                          int threads) {
    const Index out = sums.size();
    const Index strips = (height + resample_lanes - 1) / resample_lanes;
    parallel_for(threads, strips, 1, [&](Index begin, Index end) {
        std::vector<std::uint8_t> from(static_cast<std::size_t>(in * resample_lanes));
        std::vector<std::uint8_t> to(static_cast<std::size_t>(out * resample_lanes));
        for (Index strip = begin; strip < end; ++strip) {
            const Index top = strip * resample_lanes;
            const Index rows = std::min(resample_lanes, height - top);
            transpose_bytes(x + top * in, in, rows, in, from.data(), resample_lanes);
            for (Index i = 0; i < out; ++i)
                sums.lanes(from.data(), resample_lanes, i, to.data() + i * resample_lanes);
            transpose_bytes(to.data(), resample_lanes, out, rows, y + top * out, out);
        }
    });
}

/// Columns of a plane [in, width] to [out, width].
inline void resample_columns(const std::uint8_t* x, Index width, const Resampler& sums, std::uint8_t* y, int threads) {
    parallel_for(threads, sums.size(), 8, [&](Index begin, Index end) {
        for (Index i = begin; i < end; ++i) {
            std::uint8_t* const row = y + i * width;
            if (width < resample_lanes) {
                for (Index column = 0; column < width; ++column) sums.plain<1>(x + column, width, i, row + column);
                continue;
            }
            for (Index column = 0; column < width; column += resample_lanes) {
                const Index from = std::min(column, width - resample_lanes);  // the last group overlaps its neighbour
                sums.lanes(x + from, width, i, row + from);
            }
        }
    });
}

/// One pass along the rows, by the loops above.
inline Image resize_rows(const Image& x, const ResampleWeights& axis, int threads) {
    Image y(static_cast<Index>(axis.first.size()), x.height());
    const Resampler sums(axis);
    for (int c = 0; c < 3; ++c) resample_rows(x.plane(c), x.width(), x.height(), sums, y.plane(c), threads);
    return y;
}
/// One pass along the columns.
inline Image resize_columns(const Image& x, const ResampleWeights& axis, int threads) {
    Image y(x.width(), static_cast<Index>(axis.first.size()));
    const Resampler sums(axis);
    for (int c = 0; c < 3; ++c) resample_columns(x.plane(c), x.width(), sums, y.plane(c), threads);
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
