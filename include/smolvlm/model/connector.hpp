#pragma once
#include <smolvlm/model/config.hpp>
#include <smolvlm/nn/linear.hpp>
#include <smolvlm/vision/patch_grid.hpp>

namespace smolvlm {

/// Vision features into the space of the language model: pixel shuffle, then one linear map without bias. No norm, no
/// activation.                                                                                    ref/pixel_shuffle.hpp
template <Backend B>
struct Connector {
    Index scale = 2;  // s
    Linear<B> proj;   // s*s*D of the vision tower -> D of the decoder

    Connector() = default;
    explicit Connector(const ModelConfig& config)
        : scale(config.scale_factor),
          proj(config.vision.hidden_size * config.scale_factor * config.scale_factor, config.text.hidden_size) {}

    Tensor<B> forward(B& be, const Tensor<B>& features, const PatchGrid& grid) const {  // [I*P, Dv] -> [I*P/(s*s), Dt]
        if constexpr (requires { be.pixel_shuffle_linear(features, grid.rows, grid.cols, scale, proj.weight); })
            return be.pixel_shuffle_linear(features, grid.rows, grid.cols, scale, proj.weight);  // in one piece
        else
            return proj.forward(be, be.pixel_shuffle(features, grid.rows, grid.cols, scale));
    }

    static void visit(auto& self, auto&& f) { f("modality_projection.proj", self.proj); }
};

}  // namespace smolvlm
