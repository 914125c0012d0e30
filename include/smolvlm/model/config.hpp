#pragma once
#include <optional>
#include <string>
#include <vector>

#include <smolvlm/text/config.hpp>
#include <smolvlm/vision/config.hpp>

namespace smolvlm {

/// The whole model. Defaults are transformers' class defaults (SmolVLMConfig, Idefics3Config).
struct ModelConfig {
    std::string model_type = "smolvlm";  // smolvlm, idefics3; llama for a decoder without a vision tower
    bool has_vision = true;
    VisionConfig vision;
    TextConfig text;
    Index scale_factor = 2;         // s: s*s patches become one image token
    Index image_token_id = 128257;  // the token whose places image features take
    bool tie_word_embeddings = false;

    Index tokens_per_image() const { return vision.patches() / (scale_factor * scale_factor); }
};

/// generation_config.json: any of the eos tokens ends an answer.
struct GenerationConfig {
    std::vector<std::int32_t> eos;
    std::optional<std::int32_t> bos, pad;
};

}  // namespace smolvlm
