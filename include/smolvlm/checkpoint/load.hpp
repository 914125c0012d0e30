#pragma once
/// The front door for models: a Hugging Face folder, or a GGUF file with its mmproj.

#include <future>
#include <stop_token>

#include <smolvlm/checkpoint/gguf_pair.hpp>
#include <smolvlm/checkpoint/hf_folder.hpp>
#include <smolvlm/pipeline.hpp>

namespace smolvlm {

struct ModelLoadOptions {
    std::string mmproj;                 // with a GGUF: the file of the vision tower and connector; empty: text only
    std::optional<DType> weight_dtype;  // what matrices are held in; empty: as in the file (see load_model)
};

/// path: a folder with config.json, model*.safetensors and tokenizer.json, or a .gguf file. Throws FormatError or ValueError.
inline Checkpoint open_checkpoint(const std::string& path, const std::string& mmproj = {},
                                  const WeightsOpened& weights_opened = {}) {
    if (path.ends_with(".gguf")) return open_gguf_pair(path, mmproj, weights_opened);
    SMOLVLM_CHECK(mmproj.empty(), ValueError, path, ": an mmproj file goes with a .gguf model, this is a folder");
    return open_hf_folder(path, weights_opened);
}

/// load_model on a thread of its own, so that its tokenizer and pictures can be read meanwhile; if the backend works on one
/// thread, load_model when it is asked for. What is destroyed before it was asked for stops at the next weight.
template <Backend B>
class ModelBeingLoaded {
public:
    ModelBeingLoaded(B& be, const ModelConfig& config, std::shared_ptr<const WeightSource> weights,
                     std::optional<DType> weight_dtype = {}) {
        bool side_by_side = false;
        if constexpr (requires { be.weight_makers(); }) side_by_side = be.weight_makers() > 1;
        model_ = std::async(side_by_side ? std::launch::async : std::launch::deferred,
                            [&be, config, weights = std::move(weights), weight_dtype, stop = stop_.get_token()] {
                                return load_model(be, config, *weights, weight_dtype, stop);
                            });
    }
    ~ModelBeingLoaded() { stop_.request_stop(); }

    /// Waits for it, once. `be` is the caller's again. Throws what load_model throws.
    SmolVLM<B> get() { return model_.get(); }

private:
    std::stop_source stop_;
    std::future<SmolVLM<B>> model_;  // waits for its thread when it is destroyed
};

/// The model with its processor, ready to answer.
template <CachingBackend B>
Pipeline<B> load(B& be, const std::string& path, const ModelLoadOptions& options = {}) {
    std::optional<ModelBeingLoaded<B>> model;
    Checkpoint checkpoint = open_checkpoint(path, options.mmproj, [&](const ModelConfig& config, auto weights) {
        model.emplace(be, config, std::move(weights), options.weight_dtype);
    });
    return {model->get(), std::move(checkpoint.processor), std::move(checkpoint.generation)};
}

}  // namespace smolvlm
