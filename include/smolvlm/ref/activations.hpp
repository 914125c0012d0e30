#pragma once
#include <smolvlm/core/scalar_math.hpp>
#include <smolvlm/core/view.hpp>

namespace smolvlm::ref {

/// y = gelu_tanh(x), elementwise.
template <class T>
void gelu_tanh(In<T> x, View<T> y) {
    for (Index i = 0; i < x.numel(); ++i) y.data()[i] = smolvlm::gelu_tanh(x.data()[i]);
}

/// SwiGLU's gate (Shazeer 2020, arXiv:2002.05202): y = silu(gate) * up, elementwise.
template <class T>
void silu_mul(In<T> gate, In<T> up, View<T> y) {
    for (Index i = 0; i < gate.numel(); ++i) y.data()[i] = silu(gate.data()[i]) * up.data()[i];
}

/// x += h, elementwise: the residual connection.
template <class T>
void add_to(View<T> x, In<T> h) {
    for (Index i = 0; i < x.numel(); ++i) x.data()[i] += h.data()[i];
}

}  // namespace smolvlm::ref
