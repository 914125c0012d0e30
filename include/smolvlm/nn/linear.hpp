#pragma once
#include <array>

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

/// Three maps of the same x, as attention needs them: at once on a backend that can, which no contract asks for.
template <Backend B>
std::array<Tensor<B>, 3> forward_three(B& be, const Tensor<B>& x, const Linear<B>& a, const Linear<B>& b, const Linear<B>& c) {
    if constexpr (requires { be.linear_three(x, a.weight, a.bias, b.weight, b.bias, c.weight, c.bias); })
        return be.linear_three(x, a.weight, a.bias, b.weight, b.bias, c.weight, c.bias);
    else
        return {a.forward(be, x), b.forward(be, x), c.forward(be, x)};
}

}  // namespace smolvlm
