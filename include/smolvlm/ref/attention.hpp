#pragma once
#include <cmath>
#include <vector>

#include <smolvlm/backend/segments.hpp>
#include <smolvlm/core/view.hpp>
#include <smolvlm/ref/linear.hpp>
#include <smolvlm/ref/softmax.hpp>

namespace smolvlm::ref {

/// Grouped-query attention (Vaswani et al. 2017, arXiv:1706.03762; Ainslie et al. 2023, arXiv:2305.13245). Query head h reads
/// key/value head g = h / (H/G).
///     a[t, h, j] = softmax_j( q[t, h] . k[j, g] / sqrt(K) )      over the keys j of the segment that t may see
///     y[t, h]    = sum_j a[t, h, j] v[j, g]
/// q [N, H*K]   k, v [R, G*K]   ->   y [N, H*K]
template <class T>
void attention(In<T> q, In<T> k, In<T> v, Heads heads, const Segments& segments, View<T> y) {
    const Index H = heads.query, G = heads.kv, K = q.dim(1) / H;
    const auto head = [K](auto row, Index h) {
        return row.subspan(static_cast<std::size_t>(h * K), static_cast<std::size_t>(K));
    };
    const T scale = T(1) / std::sqrt(T(K));
    std::vector<T> a;
    for (const Segment& s : segments)
        for (Index t = 0; t < s.n; ++t)
            for (Index h = 0; h < H; ++h) {
                const Index g = h / (H / G);
                a.assign(static_cast<std::size_t>(segments.visible(s, t)), T(0));
                for (std::size_t j = 0; j < a.size(); ++j)
                    a[j] = scale * dot<T>(head(q.row(s.q0 + t), h), head(k.row(s.k0 + static_cast<Index>(j)), g));
                softmax_in_place<T>(a);
                auto out = head(y.row(s.q0 + t), h);
                std::ranges::fill(out, T(0));
                for (std::size_t j = 0; j < a.size(); ++j) {
                    const auto value = head(v.row(s.k0 + static_cast<Index>(j)), g);
                    for (std::size_t i = 0; i < out.size(); ++i) out[i] += a[j] * value[i];
                }
            }
}

}  // namespace smolvlm::ref
