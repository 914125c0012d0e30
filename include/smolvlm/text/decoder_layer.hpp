#pragma once
/// One pre-norm block of the Llama decoder (Touvron et al. 2023, arXiv:2302.13971).
///     x += o_proj(attention(rope(q), rope(k), v))         of RMSNorm(x); causal, grouped-query
///     x += down_proj(silu(gate_proj(x')) * up_proj(x'))   with x' = RMSNorm(x)

#include <smolvlm/nn/kv_cache.hpp>
#include <smolvlm/nn/linear.hpp>
#include <smolvlm/nn/rms_norm.hpp>
#include <smolvlm/text/config.hpp>

namespace smolvlm {

/// What a layer gets when tokens are cached: LayerCache<B> of a CachingBackend; other backends have no such thing.
template <Backend B>
struct LayerCacheOf {
    struct type {};
};
template <CachingBackend B>
struct LayerCacheOf<B> {
    using type = LayerCache<B>;
};

template <Backend B>
struct DecoderAttention {
    Heads heads;  // H query heads share G key/value heads
    double rope_theta = 10000.0;
    Linear<B> q_proj, k_proj, v_proj, o_proj;  // D -> H*K, D -> G*K, D -> G*K, H*K -> D

    DecoderAttention() = default;
    explicit DecoderAttention(const TextConfig& config)
        : heads{config.num_attention_heads, config.num_key_value_heads},
          rope_theta(config.rope_theta),
          q_proj(config.hidden_size, config.num_attention_heads * config.head_dim),
          k_proj(config.hidden_size, config.num_key_value_heads * config.head_dim),
          v_proj(config.hidden_size, config.num_key_value_heads * config.head_dim),
          o_proj(config.num_attention_heads * config.head_dim, config.hidden_size) {}

    /// x [N, D] -> [N, D]. With a cache the keys are all tokens so far, without one those of this call: one line differs.
    Tensor<B> forward(B& be, const Tensor<B>& x, const Segments& seg, typename LayerCacheOf<B>::type* cache) const {
        auto [q, k, v] = forward_three(be, x, q_proj, k_proj, v_proj);
        q = be.rope(std::move(q), heads.query, rope_theta, seg);  // [N, H*K]
        k = be.rope(std::move(k), heads.kv, rope_theta, seg);     // [N, G*K], as v
        if constexpr (CachingBackend<B>)
            if (cache) {
                be.write_rows(cache->keys, seg, k);
                be.write_rows(cache->values, seg, v);
                return o_proj.forward(be, be.attention(q, cache->keys, cache->values, heads, seg));
            }
        SMOLVLM_CHECK(!cache, ValueError, "attention: this backend keeps no cache");
        return o_proj.forward(be, be.attention(q, k, v, heads, seg));
    }

    static void visit(auto& self, auto&& f) {
        f("q_proj", self.q_proj);
        f("k_proj", self.k_proj);
        f("v_proj", self.v_proj);
        f("o_proj", self.o_proj);
    }
};

/// SwiGLU (Shazeer 2020, arXiv:2002.05202).
template <Backend B>
struct GatedMlp {
    Linear<B> gate_proj, up_proj, down_proj;  // D -> F, D -> F, F -> D

    GatedMlp() = default;
    GatedMlp(Index width, Index inner) : gate_proj(width, inner), up_proj(width, inner), down_proj(inner, width) {}

    Tensor<B> forward(B& be, const Tensor<B>& x) const {  // [N, D]
        return down_proj.forward(be, be.silu_mul(gate_proj.forward(be, x), up_proj.forward(be, x)));
    }

    /// x& += forward(h): in one piece on a backend that has one, which no contract asks for.
    void forward_add(B& be, Tensor<B>& x, const Tensor<B>& h) const {
        if constexpr (requires { be.add_gated_mlp(x, h, gate_proj.weight, up_proj.weight, down_proj.weight); })
            be.add_gated_mlp(x, h, gate_proj.weight, up_proj.weight, down_proj.weight);
        else
            be.add_to(x, forward(be, h));
    }

    static void visit(auto& self, auto&& f) {
        f("gate_proj", self.gate_proj);
        f("up_proj", self.up_proj);
        f("down_proj", self.down_proj);
    }
};

template <Backend B>
struct DecoderLayer {
    RmsNorm<B> input_layernorm, post_attention_layernorm;
    DecoderAttention<B> self_attn;
    GatedMlp<B> mlp;

    DecoderLayer() = default;
    explicit DecoderLayer(const TextConfig& config)
        : input_layernorm(config.hidden_size, config.rms_norm_eps),
          post_attention_layernorm(config.hidden_size, config.rms_norm_eps),
          self_attn(config),
          mlp(config.hidden_size, config.intermediate_size) {}

    /// x& [N, D]. With `wanted` rows [n] the rest is left after attention: x& [n, D].
    void forward(B& be, Tensor<B>& x, const Segments& seg, typename LayerCacheOf<B>::type* cache, Ids wanted = {}) const {
        Tensor<B> h = self_attn.forward(be, input_layernorm.forward(be, x), seg, cache);
        if (!wanted.empty()) x = be.gather_rows(x, wanted), h = be.gather_rows(h, wanted);
        h = post_attention_layernorm.forward_sum(be, x, std::move(h));  // x += h on the way
        mlp.forward_add(be, x, h);
    }

    static void visit(auto& self, auto&& f) {
        f("input_layernorm", self.input_layernorm);
        f("self_attn", self.self_attn);
        f("post_attention_layernorm", self.post_attention_layernorm);
        f("mlp", self.mlp);
    }
};

}  // namespace smolvlm
