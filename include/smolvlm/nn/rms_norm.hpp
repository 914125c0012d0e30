#pragma once
#include <smolvlm/nn/module.hpp>

namespace smolvlm {

/// Rows scaled to unit root mean square.                                                              ref/rms_norm.hpp
template <Backend B>
struct RmsNorm {
    Index width = 0;
    double eps = 1e-5;
    Tensor<B> weight;  // [width]

    RmsNorm() = default;
    RmsNorm(Index row_width, double epsilon) : width(row_width), eps(epsilon) {}

    Tensor<B> forward(B& be, const Tensor<B>& x) const { return be.rms_norm(x, weight, eps); }  // [N, width]

    /// The norm of x& += h: in one pass on a backend that has one, which no contract asks for.
    Tensor<B> forward_sum(B& be, Tensor<B>& x, Tensor<B> h) const {
        if constexpr (requires { be.add_rms_norm(x, h, weight, eps); }) {
            return be.add_rms_norm(x, h, weight, eps);
        } else {
            be.add_to(x, h);
            h = Tensor<B>{};  // its memory is free for the result
            return forward(be, x);
        }
    }

    static void visit(auto& self, auto&& f) { f("weight", self.weight, Shape{self.width}); }
};

}  // namespace smolvlm
