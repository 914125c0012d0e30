#pragma once
/// What is said about the runs: means, and whether a difference between arms could be chance.

#include <cmath>
#include <cstdint>
#include <vector>

#include "one_run.hpp"

namespace finding {

inline double mean(const std::vector<double>& values) {
    double sum = 0;
    for (const double v : values) sum += v;
    return values.empty() ? 0 : sum / static_cast<double>(values.size());
}

/// Exact permutation test of paired differences, two-sided: if the two arms were alike, every difference could as well
/// have the other sign. The share of the 2^n choices of signs whose sum is at least as far from 0 as the one seen.
inline double sign_flip_p(const std::vector<double>& differences) {
    const std::size_t n = differences.size();
    SMOLVLM_CHECK(n >= 1 && n <= 24, ValueError, "permutation test: ", n, " pairs, expected 1 to 24");
    double seen = 0;
    for (const double d : differences) seen += d;
    std::uint64_t as_far = 0;
    for (std::uint64_t signs = 0; signs < std::uint64_t(1) << n; ++signs) {
        double sum = 0;
        for (std::size_t i = 0; i < n; ++i) sum += signs >> i & 1 ? -differences[i] : differences[i];
        as_far += std::abs(sum) >= std::abs(seen) - 1e-12;
    }
    return static_cast<double>(as_far) / static_cast<double>(std::uint64_t(1) << n);
}

/// Mean exact match over all evaluations of a run: the earlier it reads, the more.
inline double mean_exact(const std::vector<Point>& points) {
    std::vector<double> values;
    for (const Point& p : points) values.push_back(p.exact);
    return mean(values);
}

/// The exact match at the evaluation nearest to a step.
inline double exact_at(const std::vector<Point>& points, Index step) {
    const Point* nearest = &points.front();
    for (const Point& p : points)
        if (std::abs(p.step - step) < std::abs(nearest->step - step)) nearest = &p;
    return nearest->exact;
}

/// The exact match that was reached within so many seconds of training.
inline double exact_within(const std::vector<Point>& points, double seconds) {
    double exact = 0;
    for (const Point& p : points)
        if (p.seconds <= seconds) exact = p.exact;
    return exact;
}

/// The step at which half of the answers are exact, between two evaluations; 0 when that is never.
inline double step_of_half(const std::vector<Point>& points) {
    Point before;
    for (const Point& p : points) {
        if (p.exact >= 0.5)
            return static_cast<double>(before.step) +
                   static_cast<double>(p.step - before.step) * (0.5 - before.exact) / (p.exact - before.exact);
        before = p;
    }
    return 0;
}

/// Steps between the first evaluation at which nearly every first character is one of the picture's (in_picture 0.9)
/// and the first at which half of the answers are exact: it knows what is in the picture, not where. -1: no end was
/// seen.
inline double plateau(const std::vector<Point>& points) {
    const double end = step_of_half(points);
    if (end == 0) return -1;
    for (const Point& p : points)
        if (p.in_picture >= 0.9) return std::max(0.0, end - static_cast<double>(p.step));
    return -1;
}

}  // namespace finding
