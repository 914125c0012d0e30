#pragma once
#include <smolvlm/nn/module.hpp>

namespace smolvlm {

/// Rows shifted to mean 0 and scaled to variance 1.                                                 ref/layer_norm.hpp
template <Backend B>
struct LayerNorm {
    Index width = 0;
    double eps = 1e-6;
    Tensor<B> weight, bias;  // [width]

    LayerNorm() = default;
    LayerNorm(Index row_width, double epsilon) : width(row_width), eps(epsilon) {}

    Tensor<B> forward(B& be, const Tensor<B>& x) const { return be.layer_norm(x, weight, bias, eps); }  // [N, width]

    /// The norm of x& += h: in one pass on a backend that has one, which no contract asks for.
    Tensor<B> forward_sum(B& be, Tensor<B>& x, Tensor<B> h) const {
        if constexpr (requires { be.add_layer_norm(x, h, weight, bias, eps); }) {
            return be.add_layer_norm(x, h, weight, bias, eps);
        } else {
            be.add_to(x, h);
            h = Tensor<B>{};  // its memory is free for the result
            return forward(be, x);
        }
    }

    static void visit(auto& self, auto&& f) {
        f("weight", self.weight, Shape{self.width});
        f("bias", self.bias, Shape{self.width});
    }
};

}  // namespace smolvlm
