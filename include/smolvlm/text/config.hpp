#pragma once
#include <smolvlm/core/shape.hpp>

namespace smolvlm {

/// Llama decoder (SmolLM2). Defaults are transformers' class defaults, which absent keys of a config.json take.
struct TextConfig {
    Index vocab_size = 32000;
    Index hidden_size = 4096;
    Index intermediate_size = 11008;
    Index num_hidden_layers = 32;
    Index num_attention_heads = 32;
    Index num_key_value_heads = 32;
    Index head_dim = 128;
    double rms_norm_eps = 1e-5;
    double rope_theta = 10000.0;
    Index max_position_embeddings = 2048;
};

}  // namespace smolvlm
