#pragma once
/// Whole models small enough to run on the definitions, their random weights put in through for_each_parameter.

#include <cmath>
#include <smolvlm/model/smolvlm.hpp>

#include "support/random_tensor.hpp"

namespace testing {

/// What the laws of the model are tried on: pixel shuffle by 2, 3 and 4, grouped and ungrouped heads, own and tied
/// head.
struct TinyCase {
    const char* name;
    smolvlm::Index scale;
    smolvlm::Heads heads;
    bool tied;
};
inline constexpr TinyCase tiny_cases[] = {
    {"shuffle by 2, 4 heads on 2, own head", 2, {4, 2}, false},
    {"shuffle by 3, 2 heads on 2, tied head", 3, {2, 2}, true},
    {"shuffle by 4, 6 heads on 1, own head", 4, {6, 1}, false},
};

/// Pictures of 2s x 2s patches, hence 4 tokens each; head width 6, which is not hidden_size / heads; a context of 64
/// tokens.
inline smolvlm::ModelConfig tiny_config(const TinyCase& which = tiny_cases[0]) {
    smolvlm::ModelConfig config;
    config.scale_factor = which.scale;
    config.tie_word_embeddings = which.tied;
    config.image_token_id = 29;
    config.vision = {.hidden_size = 8,
                     .intermediate_size = 12,
                     .num_hidden_layers = 2,
                     .num_attention_heads = 2,
                     .num_channels = 3,
                     .image_size = 2 * which.scale * 3,
                     .patch_size = 3,
                     .layer_norm_eps = 1e-6};
    config.text = {.vocab_size = 31,
                   .hidden_size = 16,
                   .intermediate_size = 20,
                   .num_hidden_layers = 2,
                   .num_attention_heads = which.heads.query,
                   .num_key_value_heads = which.heads.kv,
                   .head_dim = 6,
                   .rms_norm_eps = 1e-5,
                   .rope_theta = 1e4,
                   .max_position_embeddings = 64};
    return config;
}

/// Fills every parameter: matrices with N(0, 1/inputs) so that activations keep their size, norm weights around 1.
template <class B, class Module>
void fill_randomly(B& be, Module& module, std::uint64_t seed) {
    smolvlm::for_each_parameter(module, [&](const std::string& name, auto& slot, const smolvlm::Shape& shape) {
        ++seed;
        if constexpr (std::is_same_v<std::remove_cvref_t<decltype(slot)>, smolvlm::Weight<B>>) {
            const smolvlm::Shape matrix = smolvlm::as_matrix_shape(shape);
            const double scale = 1 / std::sqrt(static_cast<double>(matrix[1]));
            const auto values = random_tensor<float>(matrix, seed, name.find("embed") == name.npos ? scale : 1);
            slot = be.make_weight(smolvlm::HostWeight::from_tensor(values));
        } else {
            auto values = random_tensor<float>(shape, seed, 0.1);
            const bool is_norm_weight = name.find("norm") != name.npos && name.ends_with("weight");
            for (float& value : values.flat()) value += is_norm_weight ? 1.f : 0.f;
            slot = be.from_host(converted<typename B::Scalar>(values));
        }
    });
}

template <class B>
smolvlm::SmolVLM<B> tiny_model(B& be, const smolvlm::ModelConfig& config, std::uint64_t seed = 100) {
    smolvlm::SmolVLM<B> model(config);
    fill_randomly(be, model, seed);
    return model;
}

/// n ids, none of them the image token.
inline std::vector<std::int32_t> words(smolvlm::Index n, std::uint64_t seed) {
    smolvlm::Random random(seed);
    std::vector<std::int32_t> ids;
    for (smolvlm::Index i = 0; i < n; ++i) ids.push_back(static_cast<std::int32_t>(random.below(29)));
    return ids;
}

/// The pieces one after the other: words, and "an image here" as its image tokens.
inline std::vector<std::int32_t> sequence(std::initializer_list<std::vector<std::int32_t>> pieces) {
    std::vector<std::int32_t> ids;
    for (const auto& piece : pieces) ids.insert(ids.end(), piece.begin(), piece.end());
    return ids;
}
inline std::vector<std::int32_t> image_tokens(const smolvlm::ModelConfig& config) {
    return std::vector<std::int32_t>(static_cast<std::size_t>(config.tokens_per_image()),
                                     static_cast<std::int32_t>(config.image_token_id));
}

/// I pictures of the model's size.
template <class B>
smolvlm::Tensor<B> pictures(B& be, const smolvlm::ModelConfig& config, smolvlm::Index images, std::uint64_t seed) {
    const smolvlm::Index side = config.vision.image_size;
    const smolvlm::Shape shape{images, config.vision.num_channels, side, side};
    return be.from_host(converted<typename B::Scalar>(random_tensor<float>(shape, seed)));
}

/// Rows [begin, end) of a matrix.
template <class T>
smolvlm::HostTensor<T> rows_of(const smolvlm::HostTensor<T>& x, smolvlm::Index begin, smolvlm::Index end) {
    return {{end - begin, x.dim(1)}, std::vector<T>(x.data() + begin * x.dim(1), x.data() + end * x.dim(1))};
}

}  // namespace testing
