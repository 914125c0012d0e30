#pragma once
/// Clipping by the global norm (Pascanu et al. 2013, arXiv:1211.5063): all gradients together are one vector, and when
/// it is longer than `most`, it is shortened to that length. Its direction stays.
///
///     norm = sqrt(sum over parameters and elements of g^2)        scale = min(1, most / (norm + 1e-6))
///
/// As torch.nn.utils.clip_grad_norm_. Sums are in double and over pieces of fixed size, so that the number of threads
/// changes no bit.

#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include <smolvlm/core/host_tensor.hpp>
#include <smolvlm/core/parallel.hpp>

namespace smolvlm {

/// Sum of g_i^2; not finite if any element is not (or if the sum overflows a double).
template <class T>
double sum_of_squares(std::span<const T> g, int threads = 1) {
    constexpr std::size_t piece = 1 << 14;
    std::vector<double> sums((g.size() + piece - 1) / piece, 0.0);
    parallel_for(threads, static_cast<Index>(sums.size()), Index(1), [&](Index begin, Index end) {
        for (auto p = static_cast<std::size_t>(begin); p < static_cast<std::size_t>(end); ++p)
            for (std::size_t i = p * piece; i < std::min(g.size(), (p + 1) * piece); ++i)
                sums[p] += static_cast<double>(g[i]) * static_cast<double>(g[i]);
    });
    return std::accumulate(sums.begin(), sums.end(), 0.0);
}

/// What gradients of that norm are multiplied by. most <= 0: no clipping.
inline double clip_scale(double norm, double most) { return most > 0 ? std::min(1.0, most / (norm + 1e-6)) : 1.0; }

/// The first element that is NaN or infinite, or the number of elements.
template <class T>
std::size_t first_not_finite(std::span<const T> values) {
    std::size_t i = 0;
    while (i < values.size() && std::isfinite(values[i])) ++i;
    return i;
}

}  // namespace smolvlm
