#pragma once
/// config.json, generation_config.json and preprocessor_config.json of a Hugging Face folder, as transformers 4.x and
/// 5.x write them. A key that is absent takes transformers' class default; a value that no model of this kind can
/// have, and a feature that this library does not compute, is a FormatError that names the key.
///
/// Source: transformers 5.23, configuration_{smolvlm,idefics3,llama}.py, modeling_rope_utils.py,
/// generation/configuration_utils.py, image_processing_pil_{smolvlm,idefics3}.py.

#include <smolvlm/image/processor.hpp>
#include <smolvlm/io/json.hpp>
#include <smolvlm/model/config.hpp>
#include <smolvlm/tokenizer/video_prompt.hpp>

namespace smolvlm {

namespace detail {

// Far above all models, and small enough for products not to overflow.
inline constexpr Index max_row_width = 1 << 16;
inline constexpr Index max_layers = 1 << 10;

/// An object with a name for messages: reads integers and numbers that must lie in a range.
struct ConfigReader {
    const Json& json;
    std::string where;

    Index integer(const char* key, Index fallback, Index low, Index high) const {
        const Index value = get_or<Index>(json, key, where, fallback);
        SMOLVLM_CHECK(low <= value && value <= high, FormatError, where, ": \"", key, "\" is ", value, ", expected ",
                      low, " to ", high);
        return value;
    }
    double positive(const char* key, double fallback) const {
        const double value = get_or<double>(json, key, where, fallback);
        SMOLVLM_CHECK(value > 0 && std::isfinite(value), FormatError, where, ": \"", key, "\" is ", value,
                      ", expected a positive number");
        return value;
    }
    /// A feature that must be off (or absent).
    void require_off(const char* key) const {
        SMOLVLM_CHECK(!get_or<bool>(json, key, where, false), FormatError, where, ": \"", key,
                      "\" is true, only false is supported");
    }
    /// A choice that must be the one supported (or absent).
    void require_choice(const char* key, std::string_view supported) const {
        const auto value = get_or<std::string>(json, key, where, std::string(supported));
        SMOLVLM_CHECK(value == supported, FormatError, where, ": \"", key, "\" is ", in_quotes(value), ", only \"",
                      supported, "\" is supported");
    }
    /// The object under that key; an empty one when it is absent.
    ConfigReader object(const char* key) const {
        static const Json none = Json::object();
        return {find(json, key, where) ? get_object(json, key, where) : none, where + ": " + key};
    }
};

/// The frequency base: rope_parameters (5.x), else rope_scaling, may hold it; else it stands beside them (4.x).
inline double read_rope_theta(const ConfigReader& text) {
    const char* const key = find(text.json, "rope_scaling", text.where) ? "rope_scaling" : "rope_parameters";
    const ConfigReader rope = text.object(key);
    rope.require_choice(find(rope.json, "rope_type", rope.where) ? "rope_type" : "type", "default");
    for (const ConfigReader& config : {rope, text}) {
        const double rotated = get_or<double>(config.json, "partial_rotary_factor", config.where, 1.0);
        SMOLVLM_CHECK(rotated == 1.0, FormatError, config.where, ": \"partial_rotary_factor\" is ", rotated,
                      ", only 1 is supported");
    }
    return find(rope.json, "rope_theta", rope.where) ? rope.positive("rope_theta", 0)
                                                     : text.positive("rope_theta", 10000.0);
}

/// default_eps: the RMSNorm epsilon of a config that names none.
inline TextConfig read_text_config(const ConfigReader& text, double default_eps) {
    text.require_choice("model_type", "llama");
    text.require_choice("hidden_act", "silu");
    for (const char* key : {"attention_bias", "mlp_bias", "qk_layer_norms"}) text.require_off(key);
    TextConfig config;
    config.vocab_size = text.integer("vocab_size", config.vocab_size, 1, 1 << 24);
    config.hidden_size = text.integer("hidden_size", config.hidden_size, 1, max_row_width);
    config.intermediate_size = text.integer("intermediate_size", config.intermediate_size, 1, max_row_width);
    config.num_hidden_layers = text.integer("num_hidden_layers", config.num_hidden_layers, 1, max_layers);
    const Index heads = text.integer("num_attention_heads", config.num_attention_heads, 1, max_row_width);
    const Index kv_heads = text.integer("num_key_value_heads", heads, 1, max_row_width);
    SMOLVLM_CHECK(heads % kv_heads == 0, FormatError, text.where, ": ", heads, " attention heads cannot share ",
                  kv_heads, " key/value heads equally (\"num_attention_heads\", \"num_key_value_heads\")");
    const bool has_head_dim = find(text.json, "head_dim", text.where);
    SMOLVLM_CHECK(has_head_dim || config.hidden_size % heads == 0, FormatError, text.where, ": \"hidden_size\" ",
                  config.hidden_size, " is no multiple of \"num_attention_heads\" ", heads,
                  ", and there is no \"head_dim\"");
    config.head_dim = text.integer("head_dim", config.hidden_size / heads, 1, max_row_width);
    SMOLVLM_CHECK(config.head_dim % 2 == 0, FormatError, text.where, ": heads of ", config.head_dim,
                  " elements cannot be rotated in pairs (\"head_dim\" must be even)");
    SMOLVLM_CHECK(heads * config.head_dim <= max_row_width, FormatError, text.where, ": ", heads, " heads of ",
                  config.head_dim, " elements are wider than ", max_row_width);
    config.num_attention_heads = heads;
    config.num_key_value_heads = kv_heads;
    config.rms_norm_eps = text.positive("rms_norm_eps", default_eps);
    config.rope_theta = read_rope_theta(text);
    config.max_position_embeddings =
        text.integer("max_position_embeddings", config.max_position_embeddings, 1, 1 << 24);
    return config;
}

inline VisionConfig read_vision_config(const ConfigReader& vision) {
    vision.require_choice("hidden_act", "gelu_pytorch_tanh");
    VisionConfig config;
    config.hidden_size = vision.integer("hidden_size", config.hidden_size, 1, max_row_width);
    config.intermediate_size = vision.integer("intermediate_size", config.intermediate_size, 1, max_row_width);
    config.num_hidden_layers = vision.integer("num_hidden_layers", config.num_hidden_layers, 1, max_layers);
    config.num_attention_heads = vision.integer("num_attention_heads", config.num_attention_heads, 1, max_row_width);
    SMOLVLM_CHECK(config.hidden_size % config.num_attention_heads == 0, FormatError, vision.where, ": \"hidden_size\" ",
                  config.hidden_size, " is no multiple of \"num_attention_heads\" ", config.num_attention_heads);
    config.num_channels = vision.integer("num_channels", config.num_channels, 1, 16);
    config.image_size = vision.integer("image_size", config.image_size, 1, 1 << 14);
    config.patch_size = vision.integer("patch_size", config.patch_size, 1, config.image_size);
    config.layer_norm_eps = vision.positive("layer_norm_eps", config.layer_norm_eps);
    return config;
}

/// The edge in {"longest_edge": 512}.
inline Index read_longest_edge(const ConfigReader& config, const char* key, Index fallback) {
    return config.object(key).integer("longest_edge", fallback, 1, 1 << 14);
}

/// One number for all channels, or a list of three.
inline std::array<double, 3> read_channels(const ConfigReader& config, const char* key, double fallback) {
    const Json* const value = find(config.json, key, config.where);
    if (!value) return {fallback, fallback, fallback};
    const auto number = [&](const Json& json) { return value_as<double>(json, join('"', key, '"'), config.where); };
    if (!value->is_array()) return {number(*value), number(*value), number(*value)};
    SMOLVLM_CHECK(value->size() == 3, FormatError, config.where, ": \"", key, "\" has ", value->size(),
                  " numbers, expected 3");
    return {number((*value)[0]), number((*value)[1]), number((*value)[2])};
}

inline std::optional<std::int32_t> read_token_id(const Json& json, const char* key, const std::string& where) {
    if (!find(json, key, where)) return std::nullopt;
    return static_cast<std::int32_t>(ConfigReader{json, where}.integer(key, 0, 0, INT32_MAX));
}

}  // namespace detail

/// config.json of a SmolVLM, an Idefics3, or a Llama without a vision tower (model_type llama).
inline ModelConfig parse_model_config(const Json& json, const std::string& file) {
    const detail::ConfigReader top{json, file};
    ModelConfig config;
    config.model_type = get<std::string>(json, "model_type", file);
    const bool is_llama = config.model_type == "llama";
    SMOLVLM_CHECK(is_llama || config.model_type == "smolvlm" || config.model_type == "idefics3", FormatError, file,
                  ": \"model_type\" is ", in_quotes(config.model_type),
                  ", expected \"smolvlm\", \"idefics3\" or \"llama\"");
    config.has_vision = !is_llama;
    config.tie_word_embeddings = get_or<bool>(json, "tie_word_embeddings", file, false);
    if (is_llama) {
        config.text = detail::read_text_config(top, 1e-6);
        return config;
    }
    // Without any text_config transformers takes a Llama with 1e-5; in one without the key, Llama's own 1e-6 holds.
    config.text = detail::read_text_config(top.object("text_config"), find(json, "text_config", file) ? 1e-6 : 1e-5);
    config.vision = detail::read_vision_config(top.object("vision_config"));
    config.scale_factor = top.integer("scale_factor", config.scale_factor, 1, 64);
    config.image_token_id = top.integer("image_token_id", config.image_token_id, 0, INT32_MAX);
    SMOLVLM_CHECK(config.vision.grid() % config.scale_factor == 0, FormatError, file, ": ", config.vision.grid(),
                  " patches on an edge (\"image_size\" / \"patch_size\") are no multiple of \"scale_factor\" ",
                  config.scale_factor);
    SMOLVLM_CHECK(config.vision.hidden_size * config.scale_factor * config.scale_factor <= 1 << 24, FormatError, file,
                  ": \"scale_factor\" ", config.scale_factor, " makes rows that are too wide");
    return config;
}

/// Which tokens end an answer: generation_config.json says it where there is one (null: no such file), else
/// config.json, its own keys before text_config's, whose default is Llama's 2.
inline GenerationConfig parse_generation_config(const Json* generation, const std::string& generation_file,
                                                const Json& config, const std::string& config_file) {
    const Json* source = generation;
    std::string where = generation_file;
    if (!source) {
        source = &config;
        where = config_file;
        if (!find(config, "eos_token_id", where) && find(config, "text_config", where)) {
            source = &get_object(config, "text_config", where);
            where += ": text_config";
        }
    }
    GenerationConfig result;
    const Json* const eos = find(*source, "eos_token_id", where);
    if (eos && eos->is_array()) {
        for (const Json& id : *eos)
            result.eos.push_back(*detail::read_token_id(Json{{"eos_token_id", id}}, "eos_token_id", where));
    } else if (eos) {
        result.eos.push_back(*detail::read_token_id(*source, "eos_token_id", where));
    } else if (!generation) {
        result.eos.push_back(2);
    }
    result.bos = detail::read_token_id(*source, "bos_token_id", where);
    result.pad = detail::read_token_id(*source, "pad_token_id", where);
    return result;
}

/// preprocessor_config.json, or the "image_processor" inside a processor_config.json of transformers 5.x.
inline ImageProcessorConfig parse_image_processor_config(const Json& json, const std::string& file) {
    const detail::ConfigReader reader{json, file};
    const auto flag = [&](const char* key) { return get_or<bool>(json, key, file, true); };
    ImageProcessorConfig config;
    config.longest_edge = detail::read_longest_edge(reader, "size", 4 * 364);
    config.tile = detail::read_longest_edge(reader, "max_image_size", 364);
    config.do_resize = flag("do_resize");
    config.do_image_splitting = flag("do_image_splitting");
    config.do_rescale = flag("do_rescale");
    config.do_normalize = flag("do_normalize");
    config.do_pad = flag("do_pad");
    config.do_convert_rgb = flag("do_convert_rgb");
    config.rescale_factor = reader.positive("rescale_factor", config.rescale_factor);
    config.mean = detail::read_channels(reader, "image_mean", 0.5);
    config.std = detail::read_channels(reader, "image_std", 0.5);
    config.resample = static_cast<Resample>(reader.integer("resample", static_cast<Index>(Resample::lanczos), 0, 5));
    try {
        config.check();
    } catch (const ValueError& error) {
        fail<FormatError>(file, ": ", error.what());
    }
    return config;
}

/// How videos are read, from the same objects or those of a video processor. "size" wins over "video_size", as in
/// transformers, so that with the files of SmolVLM2 a frame passes through 2048 pixels on its way to one tile.
inline VideoRule parse_video_rule(const Json& json, const std::string& file) {
    const detail::ConfigReader reader{json, file}, sampling = reader.object("video_sampling");
    constexpr Index most = 1 << 16;
    VideoRule rule;
    rule.fps = sampling.positive("fps", reader.positive("fps", rule.fps));
    rule.max_frames = sampling.integer("max_frames", reader.integer("num_frames", rule.max_frames, 1, most), 1, most);
    constexpr Index class_default = 4 * 364;
    if (find(sampling.json, "video_size", sampling.where))
        rule.longest_edge = detail::read_longest_edge(sampling, "video_size", class_default);
    if (find(json, "size", file)) rule.longest_edge = detail::read_longest_edge(reader, "size", class_default);
    return rule;
}

}  // namespace smolvlm
