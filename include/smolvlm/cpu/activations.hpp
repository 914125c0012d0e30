#pragma once
/// Elementwise functions, vectorised.                                             definitions: ref/activations.hpp

#include <smolvlm/core/parallel.hpp>
#include <smolvlm/core/view.hpp>
#include <smolvlm/cpu/dispatch.hpp>

namespace smolvlm::cpu {

template <class F>
struct Elementwise {
    template <int Bytes, class T>
    SMOLVLM_INLINE static void run(const T* a, const T* b, T* y, Index n) {
        constexpr int L = lanes<T, Bytes>;
        using V = Vec<T, L>;
        Index i = 0;
        for (; i + L <= n; i += L) F::of(V::load(a + i), V::load(b + i)).store(y + i);
        if (i < n) F::of(V::load_first(a + i, n - i), V::load_first(b + i, n - i)).store_first(y + i, n - i);
    }
};

/// y = f(a, b), three tensors of one shape; y may be a or b.
template <class F, class T>
void elementwise(In<T> a, In<T> b, View<T> y, CpuPath path, int threads) {
    parallel_for(threads, y.numel(), Index(8192), [&](Index begin, Index end) {
        dispatch<Elementwise<F>>(path, a.data() + begin, b.data() + begin, y.data() + begin, end - begin);
    });
}

struct Add {
    template <class V>
    SMOLVLM_INLINE static V of(const V& a, const V& b) {
        return a + b;
    }
};

/// x/2 (1 + tanh(u)) = x / (1 + e^(-2u)) with u = sqrt(2/pi) (x + 0.044715 x^3): one exp, and no cancellation where x
/// < 0.
struct GeluTanh {
    template <class T, int L>
    SMOLVLM_INLINE static Vec<T, L> of(const Vec<T, L>& x, const Vec<T, L>&) {
        constexpr T c = T(-1.5957691216057307117597842397375);  // -2 sqrt(2/pi)
        return x / (exp((x * x * T(0.044715) + T(1)) * (x * c)) + T(1));
    }
};

/// gate / (1 + e^-gate) * up
struct SiluMul {
    template <class T, int L>
    SMOLVLM_INLINE static Vec<T, L> of(const Vec<T, L>& gate, const Vec<T, L>& up) {
        using V = Vec<T, L>;
        return gate / (exp(V::zero() - gate) + T(1)) * up;
    }
};

}  // namespace smolvlm::cpu
