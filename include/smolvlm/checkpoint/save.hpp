#pragma once
/// Writes a model as a Hugging Face folder that transformers loads: config.json, generation_config.json,
/// model.safetensors, and on request the tokenizer and processor files of the checkpoint that it was. The folder appears
/// whole or not at all.
///
///     save(be, model, generation, "folder", {.dtype = DType::bf16, .copy_from = "where/it/was/loaded/from"});

#include <functional>

#include <smolvlm/checkpoint/gguf_folder.hpp>
#include <smolvlm/checkpoint/hf_folder.hpp>

namespace smolvlm {

struct SaveOptions {
    // F64, F32, F16 or BF16; empty: each parameter as it is held, quantised ones in F32.
    std::optional<DType> dtype = std::nullopt;
    // The folder whose tokenizer and processor files go along, or the GGUF file (with its mmproj) from whose metadata they
    // are written; empty: none do.
    std::string copy_from = {}, mmproj = {};
    int threads = default_threads();
    // Whatever else is to appear in the folder, together with the model.
    std::function<void(AtomicFolder&)> also = {};
};

namespace detail {

/// All that another program needs to rebuild the model; rope_theta stands where 4.x looks for it and where 5.x does.
inline Json text_config_json(const TextConfig& text) {
    return {{"model_type", "llama"},
            {"vocab_size", text.vocab_size},
            {"hidden_size", text.hidden_size},
            {"intermediate_size", text.intermediate_size},
            {"num_hidden_layers", text.num_hidden_layers},
            {"num_attention_heads", text.num_attention_heads},
            {"num_key_value_heads", text.num_key_value_heads},
            {"head_dim", text.head_dim},
            {"hidden_act", "silu"},
            {"rms_norm_eps", text.rms_norm_eps},
            {"rope_theta", text.rope_theta},
            {"rope_parameters", {{"rope_type", "default"}, {"rope_theta", text.rope_theta}}},
            {"max_position_embeddings", text.max_position_embeddings},
            {"attention_bias", false},
            {"mlp_bias", false}};
}

inline Json generation_config_json(const GenerationConfig& generation) {
    Json json = {{"_from_model_config", true}};
    if (generation.eos.size() == 1) json["eos_token_id"] = generation.eos[0];
    if (generation.eos.size() > 1) json["eos_token_id"] = generation.eos;
    if (generation.bos) json["bos_token_id"] = *generation.bos;
    if (generation.pad) json["pad_token_id"] = *generation.pad;
    return json;
}

inline Json model_config_json(const ModelConfig& config, const GenerationConfig& generation, DType dtype) {
    Json json = text_config_json(config.text);
    const Json tokens = generation_config_json(generation);
    for (const auto& [key, value] : tokens.items())
        if (key.ends_with("_token_id")) json[key] = value;
    const char* architecture = "LlamaForCausalLM";
    if (config.has_vision) {
        const VisionConfig& vision = config.vision;
        const bool idefics3 = config.model_type == "idefics3";
        architecture = idefics3 ? "Idefics3ForConditionalGeneration" : "SmolVLMForConditionalGeneration";
        json = {{"text_config", json},
                {"vision_config",
                 {{"model_type", idefics3 ? "idefics3_vision" : "smolvlm_vision"},
                  {"hidden_size", vision.hidden_size},
                  {"intermediate_size", vision.intermediate_size},
                  {"num_hidden_layers", vision.num_hidden_layers},
                  {"num_attention_heads", vision.num_attention_heads},
                  {"num_channels", vision.num_channels},
                  {"image_size", vision.image_size},
                  {"patch_size", vision.patch_size},
                  {"hidden_act", "gelu_pytorch_tanh"},
                  {"layer_norm_eps", vision.layer_norm_eps}}},
                {"scale_factor", config.scale_factor},
                {"image_token_id", config.image_token_id}};
    }
    constexpr const char* names[] = {"float64", "float32", "float16", "bfloat16"};  // in the order of DType
    json["model_type"] = config.model_type;
    json["architectures"] = {architecture};
    json["tie_word_embeddings"] = config.tie_word_embeddings;
    json["dtype"] = json["torch_dtype"] = names[static_cast<std::size_t>(dtype)];
    return json;
}

/// All files of a folder but the weights.
inline void write_folder_files(AtomicFolder& folder, const Json& config, const GenerationConfig& generation,
                               const SaveOptions& options) {
    folder.write("config.json", config.dump(2) + '\n');
    folder.write("generation_config.json", generation_config_json(generation).dump(2) + '\n');
    if (options.copy_from.ends_with(".gguf"))
        write_files_of_gguf(folder, options.copy_from, options.mmproj);
    else if (!options.copy_from.empty())
        for (const char* name : {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
                                 "added_tokens.json", "vocab.json", "merges.txt", "chat_template.json",
                                 "chat_template.jinja", "preprocessor_config.json", "processor_config.json",
                                 "video_preprocessor_config.json"})
            if (const std::string from = options.copy_from + '/' + name; file_exists(from)) folder.copy(name, from);
}

/// A weight of any backend as rows, read through its row(i, out).
template <class Scalar, class W>
HostWeight weight_to_host(const W& weight, int threads) {
    if constexpr (std::is_same_v<W, HostWeight>) {
        return weight;
    } else {
        const Shape shape = weight.shape();
        HostTensor<Scalar> rows(shape);
        parallel_for(threads, shape[0], 1, [&](Index begin, Index end) {
            for (Index i = begin; i < end; ++i) weight.row(i, rows.data() + i * shape[1]);
        });
        return HostWeight::from_tensor(rows);
    }
}

inline DType dtype_held(const HostWeight& weight) { return weight.dtype; }
template <class W>
DType dtype_held(const W& weight) {
    return weight.dtype();
}

}  // namespace detail

/// Saves the parameters as they are now, whatever files or training they came from. Throws ValueError when the folder
/// is there and not empty, when a parameter was never loaded, or when the disk is full; then nothing is left behind.
template <Backend B>
void save(B& be, const SmolVLM<B>& model, const GenerationConfig& generation, const std::string& path,
          const SaveOptions& options = {}) {
    const ModelConfig& config = model.config;
    SMOLVLM_CHECK(!options.dtype || is_floating(*options.dtype), ValueError, path, ": cannot save as ", *options.dtype,
                  ", expected F64, F32, F16 or BF16");
    const auto saved_dtype = [&](DType held) { return options.dtype.value_or(is_floating(held) ? held : DType::f32); };

    // What will be written, and then, one parameter at a time, its bytes.
    std::vector<NamedTensor> announced;
    for_each_parameter(model, [&](const std::string& name, const auto& slot, const Shape& shape) {
        SMOLVLM_CHECK(!slot.empty(), ValueError, path, ": cannot be saved: ", name, " was never loaded");
        const bool rename = !config.has_vision && name.starts_with("model.text_model.");
        DType held = dtype_of<typename B::Scalar>;
        if constexpr (std::is_same_v<std::remove_cvref_t<decltype(slot)>, Weight<B>>) held = detail::dtype_held(slot);
        announced.push_back({rename ? "model." + name.substr(17) : name, saved_dtype(held), shape, {}});
    });
    AtomicFolder folder(path);
    detail::write_folder_files(folder, detail::model_config_json(config, generation, announced.front().dtype), generation,
                               options);

    SafetensorsWriter writer(folder.add("model.safetensors"), announced, {{"format", "pt"}});
    std::size_t next = 0;
    for_each_parameter(model, [&](const std::string&, const auto& slot, const Shape&) {
        HostWeight weight;
        if constexpr (std::is_same_v<std::remove_cvref_t<decltype(slot)>, Weight<B>>)
            weight = detail::weight_to_host<typename B::Scalar>(slot, options.threads);
        else
            weight = HostWeight::from_tensor(be.to_host(slot));
        weight = weight.converted(announced[next++].dtype, options.threads);
        writer.write(NamedTensor::of("", weight).bytes);
    });
    writer.commit();
    if (options.also) options.also(folder);
    folder.commit();
}

}  // namespace smolvlm
