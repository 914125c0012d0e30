#pragma once
/// The scalar functions of the model, each with its derivative.

#include <cmath>

// -ffast-math assumes away NaN and infinity, which softmax masks and error checks rely on.
#if defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__
#error "smolvlm: compile without -ffast-math / -ffinite-math-only"
#endif

namespace smolvlm {

/// GELU, tanh form (Hendrycks & Gimpel 2016, arXiv:1606.08415): x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))).
template <class T>
T gelu_tanh(T x) {
    const T c = T(0.7978845608028653558798921198687637369517172623298693153318516593);  // sqrt(2/pi)
    return T(0.5) * x * (T(1) + std::tanh(c * (x + T(0.044715) * x * x * x)));
}
template <class T>
T gelu_tanh_derivative(T x) {
    const T c = T(0.7978845608028653558798921198687637369517172623298693153318516593);
    const T t = std::tanh(c * (x + T(0.044715) * x * x * x));
    return T(0.5) * (T(1) + t) + T(0.5) * x * (T(1) - t * t) * c * (T(1) + T(3 * 0.044715) * x * x);
}

/// SiLU (the same paper): x / (1 + e^-x).
template <class T>
T silu(T x) {
    return x / (T(1) + std::exp(-x));
}
template <class T>
T silu_derivative(T x) {
    const T sigmoid = T(1) / (T(1) + std::exp(-x));
    return sigmoid * (T(1) + x * (T(1) - sigmoid));
}

}  // namespace smolvlm
