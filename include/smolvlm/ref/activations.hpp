#pragma once
#include <smolvlm/core/scalar_math.hpp>
#include <smolvlm/core/view.hpp>

namespace smolvlm::ref {

/// y = gelu_tanh(x), elementwise.
template <class T>
void gelu_tanh(In<T> x, View<T> y) {
    for (Index i = 0; i < x.numel(); ++i) y.data()[i] = smolvlm::gelu_tanh(x.data()[i]);
}

/// dx += dy gelu_tanh'(x)
template <class T>
void gelu_tanh_vjp(In<T> x, In<T> dy, View<T> dx) {
    for (Index i = 0; i < x.numel(); ++i) dx.data()[i] += dy.data()[i] * gelu_tanh_derivative(x.data()[i]);
}

/// SwiGLU's gate (Shazeer 2020, arXiv:2002.05202): y = silu(gate) * up, elementwise.
template <class T>
void silu_mul(In<T> gate, In<T> up, View<T> y) {
    for (Index i = 0; i < gate.numel(); ++i) y.data()[i] = silu(gate.data()[i]) * up.data()[i];
}

/// dgate += dy up silu'(gate)          dup += dy silu(gate)
template <class T>
void silu_mul_vjp(In<T> gate, In<T> up, In<T> dy, View<T> dgate, Out<T> dup) {
    for (Index i = 0; i < gate.numel(); ++i) {
        if (dgate) dgate.data()[i] += dy.data()[i] * up.data()[i] * silu_derivative(gate.data()[i]);
        if (dup) dup.data()[i] += dy.data()[i] * silu(gate.data()[i]);
    }
}

/// x += h, elementwise: the residual connection. Its vector-Jacobian product is itself: dx += dy, dh += dy.
template <class T>
void add_to(View<T> x, In<T> h) {
    for (Index i = 0; i < x.numel(); ++i) x.data()[i] += h.data()[i];
}

}  // namespace smolvlm::ref
