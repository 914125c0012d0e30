#pragma once
#include <smolvlm/nn/checkpoint.hpp>
#include <smolvlm/nn/embedding.hpp>
#include <smolvlm/text/decoder_layer.hpp>

namespace smolvlm {

/// What a decoder gets when tokens are cached (see LayerCacheOf).
template <Backend B>
struct KvCacheOf {
    struct type {};
};
template <CachingBackend B>
struct KvCacheOf<B> {
    using type = KvCache<B>;
};

/// The language model of SmolVLM: SmolLM2, a Llama decoder. Takes rows of embeddings (of tokens or of image features, it does
/// not know the difference) and returns the normalised hidden states; the head belongs to the whole model.
template <Backend B>
struct Llama {
    Embedding<B> embed_tokens;
    std::vector<DecoderLayer<B>> layers;
    RmsNorm<B> norm;

    Llama() = default;
    explicit Llama(const TextConfig& config)
        : embed_tokens(config.vocab_size, config.hidden_size),
          layers(static_cast<std::size_t>(config.num_hidden_layers), DecoderLayer<B>(config)),
          norm(config.hidden_size, config.rms_norm_eps) {}

    /// x [N, D]: the new tokens of all segments -> [N, D]. cache: null, or where keys and values of earlier tokens are.
    /// wanted: the rows that anybody reads [n] -> [n, D]. Attention needs all rows, but no MLP above the last one does.
    /// (They must live until the backward pass, where activation checkpointing reads them again.)
    Tensor<B> forward(B& be, Tensor<B> x, const Segments& seg, typename KvCacheOf<B>::type* cache = nullptr,
                      Probe<B>* probe = nullptr, Ids wanted = {}) const {
        for (std::size_t i = 0; i < layers.size(); ++i) {
            typename LayerCacheOf<B>::type* layer_cache = nullptr;
            if constexpr (CachingBackend<B>)
                if (cache) layer_cache = &cache->layer(static_cast<Index>(i));
            forward_layer(be, layers[i], x, seg, layer_cache, i + 1 < layers.size() ? Ids{} : wanted);
            if (probe) (*probe)(join("text.layer.", i), x);
        }
        x = norm.forward(be, x);
        if (probe) (*probe)("text.norm", x);
        return x;
    }

    static void visit(auto& self, auto&& f) {
        f("embed_tokens", self.embed_tokens);
        f("layers", self.layers);
        f("norm", self.norm);
    }
};

}  // namespace smolvlm
