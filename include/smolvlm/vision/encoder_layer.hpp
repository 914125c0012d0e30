#pragma once
/// One pre-LN transformer block of the vision tower.
///     x += out_proj(attention(LN1(x)))          bidirectional, within a picture
///     x += fc2(gelu_tanh(fc1(LN2(x))))

#include <smolvlm/nn/layer_norm.hpp>
#include <smolvlm/nn/linear.hpp>
#include <smolvlm/vision/patch_grid.hpp>

namespace smolvlm {

template <Backend B>
struct VisionAttention {
    Index heads = 1;                             // H
    Linear<B> q_proj, k_proj, v_proj, out_proj;  // [D, D] with bias

    VisionAttention() = default;
    explicit VisionAttention(const VisionConfig& config)
        : heads(config.num_attention_heads),
          q_proj(config.hidden_size, config.hidden_size, true),
          k_proj(config.hidden_size, config.hidden_size, true),
          v_proj(config.hidden_size, config.hidden_size, true),
          out_proj(config.hidden_size, config.hidden_size, true) {}

    Tensor<B> forward(B& be, const Tensor<B>& x, const PatchGrid& grid) const {  // [I*P, D]
        auto [q, k, v] = forward_three(be, x, q_proj, k_proj, v_proj);
        if (!grid.key_rows.empty()) {  // some patches are padding: only the real ones are keys
            k = be.gather_rows(k, grid.key_rows);
            v = be.gather_rows(v, grid.key_rows);
        }
        return out_proj.forward(be, be.attention(q, k, v, {.query = heads, .kv = heads}, grid.segments));
    }

    static void visit(auto& self, auto&& f) {
        f("k_proj", self.k_proj);
        f("v_proj", self.v_proj);
        f("q_proj", self.q_proj);
        f("out_proj", self.out_proj);
    }
};

template <Backend B>
struct VisionMlp {
    Linear<B> fc1, fc2;  // D -> F -> D

    VisionMlp() = default;
    explicit VisionMlp(const VisionConfig& config)
        : fc1(config.hidden_size, config.intermediate_size, true), fc2(config.intermediate_size, config.hidden_size, true) {}

    Tensor<B> forward(B& be, const Tensor<B>& x) const { return fc2.forward(be, be.gelu_tanh(fc1.forward(be, x))); }

    /// x& += forward(h): in one piece on a backend that has one, which no contract asks for.
    void forward_add(B& be, Tensor<B>& x, const Tensor<B>& h) const {
        if constexpr (requires { be.add_gelu_mlp(x, h, fc1.weight, fc1.bias, fc2.weight, fc2.bias); })
            be.add_gelu_mlp(x, h, fc1.weight, fc1.bias, fc2.weight, fc2.bias);
        else
            be.add_to(x, forward(be, h));
    }

    static void visit(auto& self, auto&& f) {
        f("fc1", self.fc1);
        f("fc2", self.fc2);
    }
};

template <Backend B>
struct EncoderLayer {
    LayerNorm<B> layer_norm1, layer_norm2;
    VisionAttention<B> self_attn;
    VisionMlp<B> mlp;

    EncoderLayer() = default;
    explicit EncoderLayer(const VisionConfig& config)
        : layer_norm1(config.hidden_size, config.layer_norm_eps),
          layer_norm2(config.hidden_size, config.layer_norm_eps),
          self_attn(config),
          mlp(config) {}

    void forward(B& be, Tensor<B>& x, const PatchGrid& grid) const {  // x& [I*P, D]
        Tensor<B> h = self_attn.forward(be, layer_norm1.forward(be, x), grid);
        h = layer_norm2.forward_sum(be, x, std::move(h));  // x += h on the way
        mlp.forward_add(be, x, h);
    }

    static void visit(auto& self, auto&& f) {
        f("layer_norm1", self.layer_norm1);
        f("self_attn", self.self_attn);
        f("layer_norm2", self.layer_norm2);
        f("mlp", self.mlp);
    }
};

}  // namespace smolvlm
