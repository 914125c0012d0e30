#pragma once
/// Low-rank adapters: a frozen weight W [M, K] learns through two thin matrices A [r, K] and B [M, r] beside it.
///
///     LoRA (Hu et al. 2021, arXiv:2106.09685)       y = x W^T + bias + s (x' A^T) B^T
///     DoRA (Liu et al. 2024, arXiv:2402.09353)      y = x W^T + bias + (g - 1) (x' W^T) + g s (x' A^T) B^T
///
///     s = alpha / r      x' = x with elements dropped out      g = m / |W + s B A| for every output, m [M] learned
///
/// As PEFT: the norm takes no part in the gradient. Layers do not know of adapters: they hang on the Weight of Grad<B>,
/// and Grad's linear applies them (autograd/grad.hpp).

#include <cmath>
#include <smolvlm/backend/differentiable.hpp>
#include <smolvlm/core/random.hpp>
#include <vector>

namespace smolvlm {

/// G is Grad<B>.
template <class G>
struct Adapter {
    typename G::Weight a, b;       // [r, K], [M, r]
    typename G::Tensor magnitude;  // m [M]; empty: LoRA
    typename G::Weight scaling;    // s on the diagonal of [r, r], a constant
    double dropout = 0;

    /// What linear(x, w, bias) is with this adapter.
    typename G::Tensor forward(G& be, const typename G::Tensor& x, const typename G::Weight& w,
                               const typename G::Tensor& bias) const;
    /// W + s B A, as a matrix of the backend.
    template <class Inner, class InnerWeight, class B>
    Inner summed(B& inner, const InnerWeight& w) const;
    /// 1 / |row| of it.
    template <class T, class InnerWeight, class B>
    HostTensor<T> inverse_norms(B& inner, const InnerWeight& w) const;
};

namespace adapter_detail {

/// f(n, m) for the elements of a matrix.
template <class T, class F>
HostTensor<T> filled(Index N, Index M, F f) {
    HostTensor<T> y({N, M});
    for (Index n = 0; n < N; ++n)
        for (Index m = 0; m < M; ++m) y.data()[n * M + m] = f(n, m);
    return y;
}

/// y = x c, elementwise with constants c [N, K]
template <class G>
typename G::Tensor times(G& be, const typename G::Tensor& x, const HostTensor<typename G::Scalar>& c) {
    using T = typename G::Scalar;
    const auto product = [](const HostTensor<T>& u, const HostTensor<T>& v) {
        HostTensor<T> y(u.shape());
        for (Index i = 0; i < y.numel(); ++i) y.data()[i] = u.data()[i] * v.data()[i];
        return y;
    };
    auto& inner = be.inner();
    return be.record(
        inner.from_host(product(inner.to_host(x.value), c)), {x.parent()},
        [c, product](auto& b, const auto& dy, auto d) { d.pass(0, b.from_host(product(b.to_host(dy), c))); });
}

/// y = z g + bias with g = m inverse, per column:  z [N, M], m [M], inverse [M] constant, bias [M] or empty.
///     dz += dy g          dm += inverse sum of dy z over the rows          dbias += sum of dy over the rows
template <class G>
typename G::Tensor scale_columns(G& be, const typename G::Tensor& z, const typename G::Tensor& m,
                                 const HostTensor<typename G::Scalar>& inverse, const typename G::Tensor& bias) {
    using T = typename G::Scalar;
    auto& inner = be.inner();
    const Index N = z.shape()[0], M = z.shape()[1];
    const HostTensor<T> zs = inner.to_host(z.value), ms = inner.to_host(m.value);
    const HostTensor<T> bs = bias.empty() ? HostTensor<T>::zeros({M}) : inner.to_host(bias.value);
    auto y = filled<T>(N, M, [&](Index n, Index j) {
        return zs.data()[n * M + j] * (ms.data()[j] * inverse.data()[j]) + bs.data()[j];
    });
    return be.record(inner.from_host(y), {z.parent(), m.parent(), bias.parent()},
                     [zs, ms, inverse, N, M](auto& b, const auto& dy, auto d) {
                         const HostTensor<T> dys = b.to_host(dy);
                         d.pass(0, b.from_host(filled<T>(N, M, [&](Index n, Index j) {
                             return dys.data()[n * M + j] * (ms.data()[j] * inverse.data()[j]);
                         })));
                         auto dm = HostTensor<T>::zeros({M}), dbias = HostTensor<T>::zeros({M});
                         for (Index n = 0; n < N; ++n)
                             for (Index j = 0; j < M; ++j) {
                                 dm.data()[j] += dys.data()[n * M + j] * zs.data()[n * M + j];
                                 dbias.data()[j] += dys.data()[n * M + j];
                             }
                         for (Index j = 0; j < M; ++j) dm.data()[j] *= inverse.data()[j];
                         d.pass(1, b.from_host(dm));
                         d.pass(2, b.from_host(dbias));
                     });
}

}  // namespace adapter_detail

template <class G>
typename G::Tensor Adapter<G>::forward(G& be, const typename G::Tensor& x, const typename G::Weight& w,
                                       const typename G::Tensor& bias) const {
    using namespace adapter_detail;
    using Tensor = typename G::Tensor;
    using T = typename G::Scalar;
    HostTensor<T> kept;  // 0 for a dropped element, 1 / (1 - dropout) for the others
    if (dropout > 0 && be.dropping_out()) {
        Random random = be.next_dropout();
        const T survivor = static_cast<T>(1 / (1 - dropout));
        kept = filled<T>(x.shape()[0], x.shape()[1],
                         [&](Index, Index) { return random.uniform() < dropout ? T(0) : survivor; });
    }
    const Tensor thinned = kept.empty() ? x : times(be, x, kept);
    const auto low_rank = [&] { return be.linear(be.linear(be.linear(thinned, a, {}), scaling, {}), b, {}); };
    if (magnitude.empty()) {
        Tensor y = be.plain_linear(x, w, bias);
        be.add_to(y, low_rank());
        return y;
    }
    Tensor z = be.plain_linear(thinned, w, {});
    be.add_to(z, low_rank());
    const HostTensor<T> inverse = inverse_norms<T>(be.inner(), w.value);
    if (kept.empty()) return scale_columns(be, z, magnitude, inverse, bias);
    // What was dropped takes the plain way: x W^T - x' W^T = (x - x') W^T.
    for (T& factor : kept.flat()) factor = 1 - factor;
    Tensor y = be.plain_linear(times(be, x, kept), w, bias);
    be.add_to(y, scale_columns(be, z, magnitude, inverse, {}));
    return y;
}

template <class G>
template <class Inner, class InnerWeight, class B>
Inner Adapter<G>::summed(B& inner, const InnerWeight& w) const {
    const auto rows = [&](const auto& matrix) {  // an embedding of all ids is the matrix itself
        std::vector<std::int32_t> all(static_cast<std::size_t>(matrix.shape()[0]));
        for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<std::int32_t>(i);
        return inner.embedding(matrix, all);
    };
    // dx += dy W is, with dy = s B and W = A, the sum that is asked for.
    Inner sum = rows(w);
    inner.linear_vjp(Inner(), a.value, inner.linear(rows(b.value), scaling.value, Inner()), &sum, nullptr, nullptr);
    return sum;
}

template <class G>
template <class T, class InnerWeight, class B>
HostTensor<T> Adapter<G>::inverse_norms(B& inner, const InnerWeight& w) const {
    const HostTensor<T> rows = inner.to_host(summed<typename B::Tensor>(inner, w));
    HostTensor<T> inverse({rows.dim(0)});
    for (Index m = 0; m < rows.dim(0); ++m) {
        double squares = 0;
        for (const T value : std::as_const(rows).view().row(m))
            squares += static_cast<double>(value) * static_cast<double>(value);
        inverse.data()[m] = static_cast<T>(1 / std::sqrt(squares));
    }
    return inverse;
}

}  // namespace smolvlm
