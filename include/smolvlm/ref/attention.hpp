#pragma once
#include <algorithm>
#include <cmath>
#include <vector>

#include <smolvlm/backend/segments.hpp>
#include <smolvlm/core/view.hpp>
#include <smolvlm/ref/linear.hpp>
#include <smolvlm/ref/softmax.hpp>

namespace smolvlm::ref {

/// Head h of row n of a matrix [N, heads*K]: K numbers.
template <class T>
std::span<T> head(View<T> x, Index n, Index h, Index K) {
    return x.row(n).subspan(static_cast<std::size_t>(h * K), static_cast<std::size_t>(K));
}

/// The weights that one head of one query gives to the keys k0 .. k0 + a.size() - 1 of key/value head g.
///     a_j = softmax_j(query . k[k0 + j, g] / sqrt(K))
template <class T>
void attention_weights(std::span<const std::type_identity_t<T>> query, In<T> k, Index k0, Index g, std::span<T> a) {
    const auto K = static_cast<Index>(query.size());
    const T scale = T(1) / std::sqrt(T(K));
    for (std::size_t j = 0; j < a.size(); ++j) a[j] = scale * dot<T>(query, head(k, k0 + static_cast<Index>(j), g, K));
    softmax_in_place(a);
}

/// Grouped-query attention (Vaswani et al. 2017, arXiv:1706.03762; Ainslie et al. 2023, arXiv:2305.13245). Query head h
/// reads key/value head g = h / (H/G).
///     a[t, h, j] = softmax_j( q[t, h] . k[j, g] / sqrt(K) )      over the keys j of the segment that t may see
///     y[t, h]    = sum_j a[t, h, j] v[j, g]                      0 where it may see none
/// q [N, H*K]   k, v [R, G*K]   ->   y [N, H*K]
template <class T>
void attention(In<T> q, In<T> k, In<T> v, Heads heads, const Segments& segments, View<T> y) {
    const Index H = heads.query, G = heads.kv, K = q.dim(1) / H;
    std::vector<T> a;
    std::vector<double> sums;
    for (const Segment& s : segments)
        for (Index t = 0; t < s.n; ++t)
            for (Index h = 0; h < H; ++h) {
                const Index g = h / (H / G);
                a.resize(static_cast<std::size_t>(segments.visible(s, t)));
                attention_weights(head(q, s.q0 + t, h, K), k, s.k0, g, std::span(a));
                sums.assign(static_cast<std::size_t>(K), 0.0);
                for (std::size_t j = 0; j < a.size(); ++j) {
                    const auto value = head(v, s.k0 + static_cast<Index>(j), g, K);
                    for (std::size_t i = 0; i < sums.size(); ++i)
                        sums[i] += static_cast<double>(a[j]) * static_cast<double>(value[i]);
                }
                std::ranges::transform(sums, head(y, s.q0 + t, h, K).begin(), [](double sum) { return T(sum); });
            }
}

/// Its vector-Jacobian product. y = a v is linear in each factor and so is the score s = q . k / sqrt(K); softmax is
/// between them. For each query t, head h (reading g) and key j:
///     da[j] = dy[t, h] . v[j, g]          dv[j, g] += a[j] dy[t, h]          ds = softmax_vjp(a, da)
///     dq[t, h] += ds[j] k[j, g] / sqrt(K)          dk[j, g] += ds[j] q[t, h] / sqrt(K)
template <class T>
void attention_vjp(In<T> q, In<T> k, In<T> v, Heads heads, const Segments& segments, In<T> dy, View<T> dq, Out<T> dk,
                   Out<T> dv) {
    const Index H = heads.query, G = heads.kv, K = q.dim(1) / H;
    const T scale = T(1) / std::sqrt(T(K));
    std::vector<T> a, ds;
    for (const Segment& s : segments)
        for (Index t = 0; t < s.n; ++t)
            for (Index h = 0; h < H; ++h) {
                const Index n = s.q0 + t, g = h / (H / G), visible = segments.visible(s, t);
                a.resize(static_cast<std::size_t>(visible));
                ds.resize(a.size());
                attention_weights(head(q, n, h, K), k, s.k0, g, std::span(a));
                for (Index j = 0; j < visible; ++j)
                    ds[static_cast<std::size_t>(j)] = dot<T>(head(dy, n, h, K), head(v, s.k0 + j, g, K));
                softmax_vjp_in_place(a, std::span(ds));
                for (Index j = 0; j < visible; ++j) {
                    const T aj = a[static_cast<std::size_t>(j)], dsj = scale * ds[static_cast<std::size_t>(j)];
                    if (dq) add_scaled(head(dq, n, h, K), dsj, head(k, s.k0 + j, g, K));
                    if (dk) add_scaled(head(dk, s.k0 + j, g, K), dsj, head(q, n, h, K));
                    if (dv) add_scaled(head(dv, s.k0 + j, g, K), aj, head(dy, n, h, K));
                }
            }
}

}  // namespace smolvlm::ref
