#pragma once
/// The front door for models: a Hugging Face folder, or a GGUF file with its mmproj.

#include <smolvlm/checkpoint/gguf_pair.hpp>
#include <smolvlm/checkpoint/hf_folder.hpp>
#include <smolvlm/pipeline.hpp>

namespace smolvlm {

struct ModelLoadOptions {
    std::string mmproj;                 // with a GGUF: the file of the vision tower and connector; empty: text only
    std::optional<DType> weight_dtype;  // what matrices are held in; empty: as in the file (see load_model)
};

/// path: a folder with config.json, model*.safetensors and tokenizer.json, or a .gguf file. Throws FormatError or ValueError.
inline Checkpoint open_checkpoint(const std::string& path, const std::string& mmproj = {}) {
    if (path.ends_with(".gguf")) return open_gguf_pair(path, mmproj);
    SMOLVLM_CHECK(mmproj.empty(), ValueError, path, ": an mmproj file goes with a .gguf model, this is a folder");
    return open_hf_folder(path);
}

/// The model with its processor, ready to answer.
template <CachingBackend B>
Pipeline<B> load(B& be, const std::string& path, const ModelLoadOptions& options = {}) {
    Checkpoint checkpoint = open_checkpoint(path, options.mmproj);
    SmolVLM<B> model = load_model(be, checkpoint.config, *checkpoint.weights, options.weight_dtype);
    return {std::move(model), std::move(checkpoint.processor), std::move(checkpoint.generation)};
}

}  // namespace smolvlm
