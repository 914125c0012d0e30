#pragma once
#include <algorithm>
#include <cmath>
#include <span>
#include <type_traits>

namespace smolvlm::ref {

/// Softmax in place.
///     a_j = exp(a_j - max) / sum_i exp(a_i - max)
/// Subtracting the maximum changes nothing mathematically (numerator and denominator shrink by the same factor) and
/// keeps exp from overflowing: the largest exponent is 0.
template <class T>
void softmax_in_place(std::span<T> a) {
    if (a.empty()) return;
    const T largest = *std::max_element(a.begin(), a.end());
    double sum = 0;
    for (T& value : a) sum += static_cast<double>(value = std::exp(value - largest));
    for (T& value : a) value /= static_cast<T>(sum);
}

/// Its vector-Jacobian product, in place too: da becomes the gradient of what softmax was taken of. From
/// da_i/ds_j = a_i ([i = j] - a_j), with a the result of softmax:
///     ds_j = a_j (da_j - sum_i a_i da_i)
template <class T>
void softmax_vjp_in_place(std::span<const std::type_identity_t<T>> a, std::span<T> da) {
    T mean = 0;
    for (std::size_t i = 0; i < a.size(); ++i) mean += a[i] * da[i];
    for (std::size_t j = 0; j < a.size(); ++j) da[j] = a[j] * (da[j] - mean);
}

}  // namespace smolvlm::ref
