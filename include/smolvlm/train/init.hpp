#pragma once
/// A model with random weights, to be trained from nothing.
///
///     matrices [M, K]                 N(0, 1 / K)          (embeddings too: K is their width)
///     what ends a residual branch     N(0, 1 / K) / sqrt(2 layers), so that depth does not add up (GPT-2)
///     lm_head                         N(0, 1 / K) / 5: the first loss is near ln V
///     norms 1, biases 0

#include <cmath>

#include <smolvlm/core/random.hpp>
#include <smolvlm/model/smolvlm.hpp>

namespace smolvlm {

template <Backend B>
SmolVLM<B> random_model(B& be, const ModelConfig& config, std::uint64_t seed) {
    using T = typename B::Scalar;
    SmolVLM<B> model(config);
    std::uint64_t number = 0;
    for_each_parameter(model, [&](const std::string& name, auto& slot, const Shape& shape) {
        Random random(seed + ++number * 0x9E3779B97F4A7C15ull);
        if constexpr (std::is_same_v<std::remove_cvref_t<decltype(slot)>, Weight<B>>) {
            HostTensor<T> values(as_matrix_shape(shape));
            double size = 1 / std::sqrt(static_cast<double>(values.shape().back()));
            const Index layers = name.starts_with("model.vision_model") ? config.vision.num_hidden_layers
                                                                        : config.text.num_hidden_layers;
            for (const char* end : {"o_proj.weight", "down_proj.weight", "out_proj.weight", "fc2.weight"})
                if (name.ends_with(end)) size /= std::sqrt(2.0 * static_cast<double>(layers));
            if (name == "lm_head.weight") size *= 0.2;
            for (T& value : values.flat()) value = static_cast<T>(size * random.normal());
            slot = be.make_weight(HostWeight::from_tensor(values));
        } else {
            HostTensor<T> values(shape);
            std::fill_n(values.data(), values.numel(), name.ends_with("weight") ? T(1) : T(0));
            slot = be.from_host(values);
        }
    });
    return model;
}

}  // namespace smolvlm
