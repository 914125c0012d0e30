#pragma once
#include <algorithm>
#include <cmath>
#include <span>

namespace smolvlm::ref {

/// Softmax in place.
///     a_j = exp(a_j - max) / sum_i exp(a_i - max)
/// Subtracting the maximum changes nothing mathematically (numerator and denominator shrink by the same factor) and keeps
/// exp from overflowing: the largest exponent is 0.
template <class T>
void softmax_in_place(std::span<T> a) {
    if (a.empty()) return;
    const T largest = *std::max_element(a.begin(), a.end());
    T sum = 0;
    for (T& value : a) sum += value = std::exp(value - largest);
    for (T& value : a) value /= sum;
}

}  // namespace smolvlm::ref
