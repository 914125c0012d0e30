#pragma once
#include <smolvlm/core/shape.hpp>

namespace smolvlm {

/// SigLIP vision tower. Defaults are transformers' class defaults, which absent keys of a config.json take.
struct VisionConfig {
    Index hidden_size = 1152;
    Index intermediate_size = 3072;
    Index num_hidden_layers = 12;
    Index num_attention_heads = 16;
    Index num_channels = 3;
    Index image_size = 224;
    Index patch_size = 32;
    double layer_norm_eps = 1e-6;

    Index grid() const { return image_size / patch_size; }  // patches on an edge of a tile
    Index patches() const { return grid() * grid(); }       // P
};

}  // namespace smolvlm
