#pragma once
/// Gradients of elementwise functions, vectorised.                                definitions: ref/activations.hpp

#include <smolvlm/cpu/activations.hpp>
#include <smolvlm/cpu/sink.hpp>

namespace smolvlm::cpu {

/// da (+)= , db (+)= what F makes of a, b and dy.
template <class F>
struct ElementwiseVjp {
    template <int Bytes, class T>
    SMOLVLM_INLINE static void run(const T* a, const T* b, const T* dy, Sink<T> da, Sink<T> db, Index n) {
        constexpr int L = lanes<T, Bytes>;
        using V = Vec<T, L>;
        Index i = 0;
        V to_a = V::zero(), to_b = to_a;
        for (; i + L <= n; i += L) {
            F::of(V::load(a + i), V::load(b + i), V::load(dy + i), to_a, to_b);
            if (da) da.put(i, to_a);
            if (db) db.put(i, to_b);
        }
        if (i < n) {
            F::of(V::load_first(a + i, n - i), V::load_first(b + i, n - i), V::load_first(dy + i, n - i), to_a, to_b);
            if (da) da.put_first(i, to_a, n - i);
            if (db) db.put_first(i, to_b, n - i);
        }
    }
};

template <class F, class T>
void elementwise_vjp(In<T> a, In<T> b, In<T> dy, Sink<T> da, Sink<T> db, CpuPath path, int threads) {
    parallel_for(threads, dy.numel(), Index(8192), [&](Index begin, Index end) {
        dispatch<ElementwiseVjp<F>>(path, a.data() + begin, b.data() + begin, dy.data() + begin, da.at(begin),
                                    db.at(begin), end - begin);
    });
}

/// With gelu_tanh(x) = x s and s = 1 / (1 + e^(-2u)), u = sqrt(2/pi) (x + 0.044715 x^3):
///     dx += dy (s + x s (1 - s) 2u')
struct GeluTanhVjp {
    template <class T, int L>
    SMOLVLM_INLINE static void of(const Vec<T, L>& x, const Vec<T, L>&, const Vec<T, L>& dy, Vec<T, L>& dx,
                                  Vec<T, L>&) {
        using V = Vec<T, L>;
        constexpr T c = T(1.5957691216057307117597842397375);  // 2 sqrt(2/pi)
        const V square = x * x, denominator = exp((square * T(-0.044715) - T(1)) * (x * c)) + T(1);
        const V s = (V::zero() + T(1)) / denominator, slope = (square * T(3 * 0.044715) + T(1)) * c;
        dx = dy * s * (x * ((V::zero() + T(1)) - s) * slope + T(1));
    }
};

/// With s = 1 / (1 + e^-gate):
///     dgate += dy up s (1 + gate (1 - s))          dup += dy gate s
struct SiluMulVjp {
    template <class T, int L>
    SMOLVLM_INLINE static void of(const Vec<T, L>& gate, const Vec<T, L>& up, const Vec<T, L>& dy, Vec<T, L>& dgate,
                                  Vec<T, L>& dup) {
        using V = Vec<T, L>;
        const V s = (V::zero() + T(1)) / (exp(V::zero() - gate) + T(1)), slope = dy * s;
        dgate = slope * up * (gate * ((V::zero() + T(1)) - s) + T(1));
        dup = slope * gate;
    }
};

}  // namespace smolvlm::cpu
