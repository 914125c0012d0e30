#pragma once
#include <smolvlm/nn/module.hpp>

namespace smolvlm {

/// y = x W^T + b                                                                                        ref/linear.hpp
template <Backend B>
struct Linear {
    Index in = 0, out = 0;
    bool has_bias = false;
    Weight<B> weight;  // [out, in]
    Tensor<B> bias;    // [out], or empty

    Linear() = default;
    Linear(Index in_features, Index out_features, bool with_bias = false)
        : in(in_features), out(out_features), has_bias(with_bias) {}

    Tensor<B> forward(B& be, const Tensor<B>& x) const { return be.linear(x, weight, bias); }  // [N, in] -> [N, out]

    static void visit(auto& self, auto&& f) {
        f("weight", self.weight, Shape{self.out, self.in});
        if (self.has_bias) f("bias", self.bias, Shape{self.out});
    }
};

}  // namespace smolvlm
