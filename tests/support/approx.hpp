#pragma once
/// How far one tensor is from another, in words a failed test can print.
///     CHECK(departure(found, expected, 1e-6) == "");

#include <cmath>
#include <string>

#include <smolvlm/core/host_tensor.hpp>

namespace testing {

using smolvlm::Index;

struct Difference {
    double max_abs = 0;      // largest |found - expected|
    double max_rel = 0;      // the same over the largest |expected|
    double cosine = 1;       // of the angle between the two, as vectors
    Index worst = 0;         // where the largest difference is
    double found = 0, expected = 0;  // the elements there
};

template <class A, class B>
Difference difference(const smolvlm::HostTensor<A>& found, const smolvlm::HostTensor<B>& expected) {
    Difference d;
    double largest = 0, dot = 0, norm_a = 0, norm_b = 0;
    for (Index i = 0; i < expected.numel(); ++i) {
        const auto a = static_cast<double>(found.data()[i]), b = static_cast<double>(expected.data()[i]);
        const double gap = a == b ? 0 : std::abs(a - b);  // equal infinities do not differ
        if (gap > d.max_abs || (std::isnan(gap) && !std::isnan(d.max_abs))) {
            d.max_abs = gap;
            d.worst = i;
        }
        largest = std::max(largest, std::abs(b));
        dot += a * b;
        norm_a += a * a;
        norm_b += b * b;
    }
    if (expected.numel() > 0) {
        d.found = static_cast<double>(found.data()[d.worst]);
        d.expected = static_cast<double>(expected.data()[d.worst]);
    }
    d.max_rel = d.max_abs == 0 ? 0 : d.max_abs / largest;
    d.cosine = norm_a > 0 && norm_b > 0 ? dot / std::sqrt(norm_a * norm_b) : 1;
    return d;
}

/// Empty when the shapes agree and no element is further off than `tolerance` times the largest magnitude of `expected`;
/// else a sentence with the worst element and its index. NaN is never within tolerance.
template <class A, class B>
std::string departure(const smolvlm::HostTensor<A>& found, const smolvlm::HostTensor<B>& expected, double tolerance) {
    if (!(found.shape() == expected.shape()))
        return smolvlm::join("shape ", found.shape(), ", expected ", expected.shape());
    const Difference d = difference(found, expected);
    if (d.max_rel <= tolerance) return "";
    return smolvlm::join("element ", d.worst, " of ", expected.shape(), " is ", d.found, ", expected ", d.expected,
                         " (off by ", d.max_abs, ", ", d.max_rel, " of the largest; tolerance ", tolerance, "; cosine ",
                         d.cosine, ")");
}

/// Empty when both have the same shape and bits (up to the sign of zero); else where they first differ.
template <class A, class B>
std::string inequality(const smolvlm::HostTensor<A>& found, const smolvlm::HostTensor<B>& expected) {
    if (!(found.shape() == expected.shape()))
        return smolvlm::join("shape ", found.shape(), ", expected ", expected.shape());
    for (Index i = 0; i < expected.numel(); ++i)
        if (!(found.data()[i] == expected.data()[i]))
            return smolvlm::join("element ", i, " of ", expected.shape(), " is ", static_cast<double>(found.data()[i]),
                                 ", expected ", static_cast<double>(expected.data()[i]));
    return "";
}

}  // namespace testing
