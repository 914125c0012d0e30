#pragma once
#include <cmath>

#include <smolvlm/backend/segments.hpp>
#include <smolvlm/core/view.hpp>

namespace smolvlm::ref {

/// f(n, a, b, cos, sin) for each pair of columns a, b that RoPE turns in each row n.
///     angle = position * theta^(-2i / K)          i = 0 .. K/2 - 1,  a = i and b = i + K/2 of a head
template <class F>
void for_each_rotation(Index heads, Index K, double theta, const Segments& segments, F f) {
    for (const Segment& s : segments)
        for (Index t = 0; t < s.n; ++t)
            for (Index i = 0; i < K / 2; ++i) {
                const double exponent = -2.0 * static_cast<double>(i) / static_cast<double>(K);
                const double angle = static_cast<double>(s.past() + t) * std::pow(theta, exponent);
                const double cos = std::cos(angle), sin = std::sin(angle);
                for (Index h = 0; h < heads; ++h) f(s.q0 + t, h * K + i, h * K + i + K / 2, cos, sin);
            }
}

/// Rotary position embedding, Su et al. 2021 (arXiv:2104.09864), in the half-split order of transformers: element i of
/// a head is paired with element i + K/2 (GGUF files pair 2i with 2i + 1; their q and k rows are put back at load).
///     angle     = position * theta^(-2i / K)              i = 0 .. K/2 - 1
///     y_i       = x_i cos(angle) - x_{i+K/2} sin(angle)
///     y_{i+K/2} = x_{i+K/2} cos(angle) + x_i sin(angle)
/// x [N, heads*K], row t of a segment at position past + t   ->   y [N, heads*K]
template <class T>
void rope(In<T> x, Index heads, double theta, const Segments& segments, View<T> y) {
    const Index K = x.dim(1) / heads;
    for_each_rotation(heads, K, theta, segments, [&](Index n, Index a, Index b, double cos, double sin) {
        const T c = static_cast<T>(cos), s = static_cast<T>(sin);
        y(n, a) = x(n, a) * c - x(n, b) * s;
        y(n, b) = x(n, b) * c + x(n, a) * s;
    });
}

/// Its vector-Jacobian product. The transpose of a rotation is the rotation by the opposite angle:
///     dx_i += dy_i cos(angle) + dy_{i+K/2} sin(angle)          dx_{i+K/2} += dy_{i+K/2} cos(angle) - dy_i sin(angle)
template <class T>
void rope_vjp(Index heads, double theta, const Segments& segments, In<T> dy, View<T> dx) {
    const Index K = dy.dim(1) / heads;
    for_each_rotation(heads, K, theta, segments, [&](Index n, Index a, Index b, double cos, double sin) {
        const T c = static_cast<T>(cos), s = static_cast<T>(sin);
        dx(n, a) += dy(n, a) * c + dy(n, b) * s;
        dx(n, b) += dy(n, b) * c - dy(n, a) * s;
    });
}

}  // namespace smolvlm::ref
