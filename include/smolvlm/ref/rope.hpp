#pragma once
#include <cmath>

#include <smolvlm/backend/segments.hpp>
#include <smolvlm/core/view.hpp>

namespace smolvlm::ref {

/// Rotary position embedding, Su et al. 2021 (arXiv:2104.09864), in the half-split order of transformers: element i of a
/// head is paired with element i + K/2 (GGUF files pair 2i with 2i + 1; their q and k rows are put back at load).
///     angle   = position * theta^(-2i / K)              i = 0 .. K/2 - 1
///     y_i       = x_i cos(angle) - x_{i+K/2} sin(angle)
///     y_{i+K/2} = x_{i+K/2} cos(angle) + x_i sin(angle)
/// x [N, heads*K], row t of a segment at position past + t   ->   y [N, heads*K]
template <class T>
void rope(In<T> x, Index heads, double theta, const Segments& segments, View<T> y) {
    const Index K = x.dim(1) / heads;
    for (const Segment& s : segments)
        for (Index t = 0; t < s.n; ++t)
            for (Index i = 0; i < K / 2; ++i) {
                const double angle = static_cast<double>(s.past() + t) *
                                     std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(K));
                const T c = static_cast<T>(std::cos(angle)), n = static_cast<T>(std::sin(angle));
                for (Index h = 0; h < heads; ++h) {
                    const Index a = h * K + i, b = a + K / 2;
                    const T xa = x(s.q0 + t, a), xb = x(s.q0 + t, b);
                    y(s.q0 + t, a) = xa * c - xb * n;
                    y(s.q0 + t, b) = xb * c + xa * n;
                }
            }
}

}  // namespace smolvlm::ref
