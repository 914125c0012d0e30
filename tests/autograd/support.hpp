#pragma once
// What the tests of autograd share: a golden batch without its padding, and the loss of a model on it.

#include <doctest/doctest.h>

#include <smolvlm/autograd/grad.hpp>
#include <smolvlm/checkpoint/load.hpp>

#include "support/backends.hpp"
#include "support/tiny_model.hpp"

namespace testing {

using namespace smolvlm;

inline const std::string golden = std::string(SMOLVLM_TEST_DIR) + "/golden/";

/// The inputs of traces/NAME.CASE.safetensors and labels [B, T], padding left out.
struct GoldenBatch {
    std::vector<std::int32_t> ids, targets;  // [N]; the target of a token is the label of the token after it
    std::vector<Index> lengths;
    HostTensor<double> pixels;  // [I, C, H, W] of all real pictures, or empty

    GoldenBatch(const std::string& trace, const HostTensor<std::int64_t>& labels) {
        const Safetensors file = Safetensors::open(golden + "traces/" + trace + ".safetensors");
        const auto input = file.tensor<std::int64_t>("in.input_ids");
        const auto mask = file.tensor<std::int64_t>("in.attention_mask");
        const Index B = input.dim(0), T = input.dim(1);
        for (Index b = 0; b < B; ++b) {
            Index length = 0;
            for (Index t = 0; t < T; ++t) {
                if (!mask.view()(b, t)) continue;
                ids.push_back(static_cast<std::int32_t>(input.view()(b, t)));
                const bool last = t + 1 == T || !mask.view()(b, t + 1);
                targets.push_back(last ? ignore_index : static_cast<std::int32_t>(labels.view()(b, t + 1)));
                ++length;
            }
            lengths.push_back(length);
        }
        if (!file.find("in.pixel_values")) return;
        const auto all = file.tensor<float>("in.pixel_values");
        const Index frames = all.dim(0) * all.dim(1), size = all.numel() / frames;
        std::vector<double> kept;
        for (Index i = 0; i < frames; ++i)
            if (std::any_of(all.data() + i * size, all.data() + (i + 1) * size, [](float x) { return x != 0; }))
                kept.insert(kept.end(), all.data() + i * size, all.data() + (i + 1) * size);
        pixels = HostTensor<double>({static_cast<Index>(kept.size()) / size, all.dim(2), all.dim(3), all.dim(4)}, kept);
    }
    Segments segments() const { return Segments::packed(Segments::Mask::causal, lengths); }
};

/// Logits of all tokens [N, V].
template <Backend B>
Tensor<B> logits_of(B& be, const SmolVLM<B>& model, const GoldenBatch& batch) {
    Tensor<B> features;
    if (!batch.pixels.empty()) {
        const Shape& shape = batch.pixels.shape();
        const auto grid = make_patch_grid(model.config.vision, shape[0], shape[2], shape[3]);
        features = model.encode_images(be, be.from_host(converted<typename B::Scalar>(batch.pixels)), grid);
    }
    return model.logits(be, model.forward(be, batch.ids, features, batch.segments()));
}
template <Backend B>
Tensor<B> loss_of(B& be, const SmolVLM<B>& model, const GoldenBatch& batch) {
    return be.cross_entropy(logits_of(be, model, batch), batch.targets);
}

/// As the golden files keep tensors: whole up to 600 elements, else [M, K] times the columns cos((j + 1) k), j = 0,
/// 1, 2.
inline HostTensor<double> projected(const HostTensor<double>& x) {
    if (x.numel() <= 600) return x;
    const Index M = x.dim(0), K = x.numel() / M;
    auto y = HostTensor<double>::zeros({M, 3});
    for (Index m = 0; m < M; ++m)
        for (Index j = 0; j < 3; ++j)
            for (Index k = 0; k < K; ++k)
                y.view()(m, j) += x.data()[m * K + k] * std::cos(static_cast<double>(k) * static_cast<double>(j + 1));
    return y;
}

inline double largest(const HostTensor<double>& x) {
    double most = 0;
    for (const double value : x.flat()) most = std::max(most, std::abs(value));
    return most;
}

}  // namespace testing
