#pragma once
/// SmolVLM (Marafioti et al. 2025, arXiv:2504.05299): pictures become rows of features that take the places of <image> tokens
/// in the text; an ordinary causal decoder reads the mixture.
///
///     tiles [I, 3, S, S] -> SiglipVision -> Connector -> features [I * tokens, D]
///     ids   [N]          -> embed_tokens -> rows [N, D], <image> rows replaced by features in reading order
///                        -> Llama -> hidden [N, D] -> lm_head -> logits [N, V]

#include <smolvlm/model/connector.hpp>
#include <smolvlm/text/llama.hpp>
#include <smolvlm/vision/siglip.hpp>

namespace smolvlm {

template <Backend B>
struct SmolVLM {
    ModelConfig config;
    SiglipVision<B> vision_model;
    Connector<B> connector;
    Llama<B> text_model;
    Linear<B> lm_head;  // a matrix of its own, unless config.tie_word_embeddings

    /// A model of this shape, its parameters still empty: checkpoint/load.hpp fills them.
    explicit SmolVLM(const ModelConfig& model_config)
        : config(model_config), text_model(model_config.text),
          lm_head(model_config.text.hidden_size, model_config.text.vocab_size) {
        if (config.has_vision) {
            vision_model = SiglipVision<B>(config.vision);
            connector = Connector<B>(config);
        }
    }

    /// pixels [I, C, height, width], a Tensor or BytePixels -> image features [I * tokens, D]
    template <class Pixels>
    Tensor<B> encode_images(B& be, const Pixels& pixels, const PatchGrid& grid, Probe<B>* probe = nullptr) const {
        Tensor<B> features = connector.forward(be, vision_model.forward(be, pixels, grid, probe), grid);
        if (probe) (*probe)("connector", features);
        return features;
    }

    /// ids [N] -> embeddings [N, D], the rows of <image> tokens replaced by the features in reading order. Without features
    /// an <image> token is embedded like any other, as transformers does without pixel_values.
    Tensor<B> embed(B& be, Ids ids, const Tensor<B>& features) const {
        Tensor<B> x = text_model.embed_tokens.forward(be, ids);
        if (features.empty()) return x;
        check_pictures(ids, features);
        if (const auto places = image_places(ids); !places.empty()) be.scatter_rows(x, places, features);
        return x;
    }

    /// Throws ValueError unless there are exactly as many feature rows as <image> tokens.
    void check_pictures(Ids ids, const Tensor<B>& features) const {
        const Index rows = features.empty() ? 0 : features.shape()[0];
        const auto places = static_cast<Index>(image_places(ids).size());
        SMOLVLM_CHECK(places == rows, ValueError, "image tokens: the text has ", places,
                      " <image> tokens but the pictures give ", rows, " feature rows");
    }

    /// Where the <image> tokens are among ids.
    std::vector<std::int32_t> image_places(Ids ids) const {
        std::vector<std::int32_t> places;
        if (config.has_vision)
            for (std::size_t i = 0; i < ids.size(); ++i)
                if (ids[i] == config.image_token_id) places.push_back(static_cast<std::int32_t>(i));
        return places;
    }

    /// ids [N] of all segments, features of their images (or empty) -> hidden states [N, D], or of the rows wanted alone
    Tensor<B> forward(B& be, Ids ids, const Tensor<B>& features, const Segments& seg,
                      typename KvCacheOf<B>::type* cache = nullptr, Probe<B>* probe = nullptr, Ids wanted = {}) const {
        Tensor<B> x = embed(be, ids, features);
        if (probe) (*probe)("text.inputs_embeds", x);
        return text_model.forward(be, std::move(x), seg, cache, probe, wanted);
    }

    /// hidden [n, D] -> logits [n, V]
    Tensor<B> logits(B& be, const Tensor<B>& hidden) const {
        return config.tie_word_embeddings ? be.linear(hidden, text_model.embed_tokens.weight, Tensor<B>{})
                                          : lm_head.forward(be, hidden);
    }

    static void visit(auto& self, auto&& f) {
        if (self.config.has_vision) {
            f("model.vision_model", self.vision_model);
            f("model.connector", self.connector);
        }
        f("model.text_model", self.text_model);
        if (!self.config.tie_word_embeddings) f("lm_head", self.lm_head);
    }
};

}  // namespace smolvlm
