#pragma once
/// Norms, a row at a time.                                        definitions: ref/rms_norm.hpp, ref/layer_norm.hpp

#include <smolvlm/core/parallel.hpp>
#include <smolvlm/core/view.hpp>
#include <smolvlm/cpu/activations.hpp>
#include <smolvlm/cpu/dispatch.hpp>

namespace smolvlm::cpu {

/// y_j = w_j (x_j - m) s + b_j, with the mean m taken away or not: LayerNorm or RMSNorm. w, b [D] (b may be null).
template <bool subtract_mean>
struct NormRows {
    template <int Bytes, class T>
    SMOLVLM_INLINE static void run(const T* x, const T* w, const T* b, T eps, T* y, Index rows, Index D) {
        using V = Vec<T, lanes<T, Bytes>>;
        constexpr Index L = V::lanes;
        const Index whole = D / L * L;
        for (Index n = 0; n < rows; ++n, x += D, y += D) {
            T m = 0;
            if constexpr (subtract_mean) {
                V total = V::zero();
                for (Index j = 0; j < whole; j += L) total = total + V::load(x + j);
                if (whole < D) total = total + V::load_first(x + whole, D - whole);
                m = sum(total) / static_cast<T>(D);
            }
            V squares = V::zero();
            for (Index j = 0; j < whole; j += L) {
                const V centred = V::load(x + j) - m;
                squares.add_product(centred, centred);
            }
            T total = sum(squares);
            for (Index j = whole; j < D; ++j) total += (x[j] - m) * (x[j] - m);
            const T s = T(1) / std::sqrt(total / static_cast<T>(D) + eps);
            for (Index j = 0; j < whole; j += L) {
                const V scaled = V::load(w + j) * ((V::load(x + j) - m) * s);
                (b ? scaled + V::load(b + j) : scaled).store(y + j);
            }
            for (Index j = whole; j < D; ++j) y[j] = w[j] * ((x[j] - m) * s) + (b ? b[j] : T(0));
        }
    }
};

template <bool subtract_mean, class T>
void norm(In<T> x, In<T> w, In<T> b, std::type_identity_t<T> eps, View<T> y, CpuPath path, int threads) {
    const Index D = x.dim(1);
    parallel_for(threads, x.dim(0), Index(16), [&](Index begin, Index end) {
        dispatch<NormRows<subtract_mean>>(path, x.data() + begin * D, w.data(), b.data(), eps, y.data() + begin * D,
                                          end - begin, D);
    });
}

/// x += h and the norm of the sum, a few rows at a time: they are still in the first cache when they are normed.
template <bool subtract_mean, class T>
void add_norm(View<T> x, In<T> h, In<T> w, In<T> b, std::type_identity_t<T> eps, View<T> y, CpuPath path, int threads) {
    const Index D = x.dim(1), step = std::max<Index>(1, 4096 / std::max<Index>(D, 1));
    parallel_for(threads, x.dim(0), Index(16), [&](Index begin, Index end) {
        for (Index n = begin; n < end; n += step) {
            const Index rows = std::min(step, end - n);
            T* const sum = x.data() + n * D;
            dispatch<Elementwise<Add>>(path, static_cast<const T*>(sum), h.data() + n * D, sum, rows * D);
            dispatch<NormRows<subtract_mean>>(path, static_cast<const T*>(sum), w.data(), b.data(), eps, y.data() + n * D, rows,
                                              D);
        }
    });
}

}  // namespace smolvlm::cpu
