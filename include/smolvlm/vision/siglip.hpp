#pragma once
/// SigLIP vision tower (Zhai et al. 2023, arXiv:2303.15343) as SmolVLM uses it: patch embedding + learned positions, pre-LN
/// encoder, final LayerNorm; the whole last hidden state is used, there is no pooling head.

#include <smolvlm/core/byte_pixels.hpp>
#include <smolvlm/nn/checkpoint.hpp>
#include <smolvlm/nn/embedding.hpp>
#include <smolvlm/nn/layer_norm.hpp>
#include <smolvlm/nn/linear.hpp>
#include <smolvlm/vision/encoder_layer.hpp>
#include <smolvlm/vision/patch_grid.hpp>

namespace smolvlm {

/// A convolution with kernel = stride = patch, written as patchify + linear.
template <Backend B>
struct PatchEmbedding {
    Index channels = 3, patch = 16, width = 0;
    Weight<B> weight;  // [D, C*p*p]; [D, C, p, p] in files
    Tensor<B> bias;    // [D]

    Tensor<B> forward(B& be, const Tensor<B>& pixels) const {  // [I, C, height, width] -> [I*P, D]
        return be.linear(be.patchify(pixels, patch), weight, bias);
    }
    /// The same of bytes: they become numbers on the way into patches on a backend that can, which no contract asks for.
    Tensor<B> forward(B& be, const BytePixels& pixels) const {
        if constexpr (requires { be.patchify_bytes(pixels, patch); })
            return be.linear(be.patchify_bytes(pixels, patch), weight, bias);
        else
            return forward(be, be.from_host(in_numbers<typename B::Scalar>(pixels)));
    }
    static void visit(auto& self, auto&& f) {
        f("weight", self.weight, Shape{self.width, self.channels, self.patch, self.patch});
        f("bias", self.bias, Shape{self.width});
    }
};

template <Backend B>
struct SiglipVision {
    PatchEmbedding<B> patch_embedding;
    Embedding<B> position_embedding;
    std::vector<EncoderLayer<B>> layers;
    LayerNorm<B> post_layernorm;

    SiglipVision() = default;
    explicit SiglipVision(const VisionConfig& config)
        : patch_embedding{.channels = config.num_channels, .patch = config.patch_size, .width = config.hidden_size,
                          .weight = {}, .bias = {}},
          position_embedding(config.patches(), config.hidden_size),
          layers(static_cast<std::size_t>(config.num_hidden_layers), EncoderLayer<B>(config)),
          post_layernorm(config.hidden_size, config.layer_norm_eps) {}

    /// pixels [I, C, height, width]: a Tensor of them, normalised, or BytePixels; grid = make_patch_grid(...) of them
    /// -> [I*P, D]
    template <class Pixels>
    Tensor<B> forward(B& be, const Pixels& pixels, const PatchGrid& grid, Probe<B>* probe = nullptr) const {
        Tensor<B> x = patch_embedding.forward(be, pixels);
        be.add_to(x, position_embedding.forward(be, grid.position_ids));
        if (probe) (*probe)("vision.embeddings", x);
        for (std::size_t i = 0; i < layers.size(); ++i) {
            forward_layer(be, layers[i], x, grid);
            if (probe) (*probe)(join("vision.layer.", i), x);
        }
        x = post_layernorm.forward(be, x);
        if (probe) (*probe)("vision.post_layernorm", x);
        return x;
    }

    static void visit(auto& self, auto&& f) {
        f("embeddings.patch_embedding", self.patch_embedding);
        f("embeddings.position_embedding", self.position_embedding);
        f("encoder.layers", self.layers);
        f("post_layernorm", self.post_layernorm);
    }
};

}  // namespace smolvlm
