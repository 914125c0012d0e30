#pragma once
/// A Hugging Face folder: config.json, model.safetensors (or shards), tokenizer.json, and for models with pictures
/// preprocessor_config.json and processor_config.json. Each part can be read alone; open_hf_folder reads them all.

#include <unistd.h>

#include <smolvlm/checkpoint/checkpoint.hpp>
#include <smolvlm/checkpoint/config_json.hpp>
#include <smolvlm/checkpoint/file_weights.hpp>
#include <smolvlm/checkpoint/tokenizer_json.hpp>
#include <smolvlm/io/safetensors.hpp>

namespace smolvlm {

namespace detail {

inline constexpr Index max_config_bytes = 16 << 20;

inline Json read_json_file(const std::string& path) { return parse_json(read_text_file(path, max_config_bytes), path); }

inline bool file_exists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

/// The parsed file, or nothing when there is none.
inline std::optional<Json> read_json_if_there(const std::string& path) {
    return file_exists(path) ? std::optional<Json>(read_json_file(path)) : std::nullopt;
}

/// A chat template as a checkpoint carries it.
struct ChatTemplateFile {
    std::string program, file;
};

/// A template given as a string, or as [{"name": "default", "template": ".."}, ..].
inline std::optional<ChatTemplateFile> find_chat_template(const Json& json, const std::string& file) {
    const Json* value = find(json, "chat_template", file);
    if (value && value->is_array()) {
        const Json* const named = value;
        value = nullptr;
        for (const Json& entry : *named)
            if (get<std::string>(entry, "name", file) == "default") value = find(entry, "template", file);
    }
    if (!value) return std::nullopt;
    return ChatTemplateFile{value_as<std::string>(*value, "\"chat_template\"", file), file};
}

/// Where transformers looks for it, first found wins: chat_template.jinja, chat_template.json, tokenizer_config.json.
inline std::optional<ChatTemplateFile> find_chat_template(const std::string& folder) {
    const std::string jinja = folder + "/chat_template.jinja";
    if (file_exists(jinja)) return ChatTemplateFile{read_text_file(jinja, max_config_bytes), jinja};
    for (const char* name : {"/chat_template.json", "/tokenizer_config.json"}) {
        const std::string path = folder + name;
        if (const auto json = read_json_if_there(path))
            if (auto found = find_chat_template(*json, path)) return found;
    }
    return std::nullopt;
}

}  // namespace detail

inline ModelConfig read_model_config(const std::string& folder) {
    const std::string path = folder + "/config.json";
    return parse_model_config(detail::read_json_file(path), path);
}

inline GenerationConfig read_generation_config(const std::string& folder) {
    const std::string path = folder + "/generation_config.json", config_path = folder + "/config.json";
    const auto generation = detail::read_json_if_there(path);
    return parse_generation_config(generation ? &*generation : nullptr, path, detail::read_json_file(config_path),
                                   config_path);
}

/// What the matrices of a folder are multiplied in if it holds panels (panel_file.hpp), as its config.json says; none: they
/// are ordinary. Throws FormatError.
inline IntegerFormat read_precision(const std::string& folder) {
    const std::string path = folder + "/config.json", where = path + ": quantization_config";
    const Json json = detail::read_json_file(path);
    const Json* const config = find(json, "quantization_config", path);
    if (!config || get_or<std::string>(*config, "quant_method", where, "") != PanelFile::version_key)
        return IntegerFormat::none;
    const auto name = get<std::string>(*config, "precision", where);
    const auto precision = integer_format_named(name);
    SMOLVLM_CHECK(precision, FormatError, where, ": \"precision\" is ", in_quotes(name),
                  ", expected int8, q8_0, q4_0 or bf16");
    return *precision;
}

/// The folder's chat template; without any: SmolVLM's own, for models without pictures ChatML.
inline ChatTemplate read_chat_template(const std::string& folder, bool has_images) {
    if (const auto found = detail::find_chat_template(folder))
        return ChatTemplate::from_jinja(found->program, found->file);
    return has_images ? ChatTemplate::smolvlm() : ChatTemplate::chatml();
}

/// Tokenizer, template and image processor of a folder, which needs no config.json and no weights. tokens_per_image: of
/// a frame, where processor_config.json does not say it (0: as transformers' processor class).
inline Processor read_processor(const std::string& folder, Index tokens_per_image = 0) {
    const std::string image_path = folder + "/preprocessor_config.json", path = folder + "/processor_config.json";
    const Json processor = detail::read_json_if_there(path).value_or(Json::object());
    const bool nested = find(processor, "image_processor", path);  // transformers 5.x; wins over a file of its own
    const bool has_images = nested || detail::file_exists(image_path);
    Processor result{.tokenizer = load_tokenizer_json(folder + "/tokenizer.json"),
                     .chat_template = read_chat_template(folder, has_images),
                     .image = {},
                     .image_seq_len = 0,
                     .token_names = {}};
    if (!has_images) return result;
    result.image = nested ? parse_image_processor_config(processor["image_processor"], path + ": image_processor")
                          : parse_image_processor_config(detail::read_json_file(image_path), image_path);
    const std::string video_path = folder + "/video_preprocessor_config.json";
    if (find(processor, "video_processor", path))
        result.video = parse_video_rule(processor["video_processor"], path + ": video_processor");
    else if (const auto video = detail::read_json_if_there(video_path))
        result.video = parse_video_rule(*video, video_path);
    else if (!nested)
        result.video = parse_video_rule(detail::read_json_file(image_path), image_path);
    constexpr Index class_default = 169;
    result.image_seq_len = detail::ConfigReader{processor, path}.integer(
        "image_seq_len", tokens_per_image > 0 ? tokens_per_image : class_default, 1, 1 << 16);
    return result;
}

/// The weights of a folder. A Llama without a vision tower calls "model.norm.weight" what is part of a SmolVLM's text
/// model.
inline std::unique_ptr<WeightSource> open_hf_weights(const std::string& folder, const ModelConfig& config) {
    const auto file = std::make_shared<const Safetensors>(Safetensors::open_folder(folder));
    const PanelFile panels = PanelFile::of(*file);
    auto weights = std::make_unique<FileWeights>(file->path());
    for (const auto& [stored, tensor] : file->tensors()) {
        const bool rename =
            !config.has_vision && stored.starts_with("model.") && !stored.starts_with("model.text_model.");
        const std::string name = rename ? "model.text_model." + stored.substr(6) : stored;
        if (const auto entry = panels.entries.find(stored); entry != panels.entries.end())
            weights->add_panels(name, file, stored, entry->second);
        else
            weights->add(name, file, stored);
    }
    const IntegerFormat said = read_precision(folder);
    SMOLVLM_CHECK(said == panels.precision, FormatError, folder, "/config.json: \"quantization_config\" says ", said,
                  ", but the weights in ", file->path(), " are in ", panels.precision);
    return weights;
}

/// Throws FormatError or ValueError.
inline Checkpoint open_hf_folder(const std::string& folder, const WeightsOpened& weights_opened = {}) {
    const ModelConfig config = read_model_config(folder);
    const std::shared_ptr<const WeightSource> weights = open_hf_weights(folder, config);
    if (weights_opened) weights_opened(config, weights);
    Checkpoint checkpoint{.config = config,
                          .generation = read_generation_config(folder),
                          .processor = read_processor(folder, config.has_vision ? config.tokens_per_image() : 0),
                          .weights = weights};
    if (!config.has_vision) checkpoint.processor.image_seq_len = 0;
    SMOLVLM_CHECK(!config.has_vision || checkpoint.processor.has_images(), FormatError, folder,
                  ": a model with pictures needs preprocessor_config.json, which is missing");
    return checkpoint;
}

}  // namespace smolvlm
