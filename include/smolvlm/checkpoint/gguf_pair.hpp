#pragma once
/// A model as llama.cpp's users have it: the decoder in one GGUF file, the vision tower and connector in another
/// (mmproj). Without the second it is a model that reads text only: any Llama, among them SmolLM2.

#include <smolvlm/checkpoint/checkpoint.hpp>
#include <smolvlm/checkpoint/config_json.hpp>
#include <smolvlm/checkpoint/file_weights.hpp>
#include <smolvlm/checkpoint/gguf_names.hpp>
#include <smolvlm/checkpoint/tokenizer_json.hpp>
#include <smolvlm/io/gguf.hpp>

namespace smolvlm {

namespace detail {

inline void require_architecture(const Gguf& file, std::string_view expected, std::string_view role) {
    const auto found = get<std::string>(file.metadata(), "general.architecture", file.path());
    SMOLVLM_CHECK(found == expected, FormatError, file.path(), ": \"general.architecture\" is ", in_quotes(found),
                  ", expected \"", expected, "\" for ", role);
}

inline TextConfig read_gguf_text_config(const Gguf& file) {
    const ConfigReader meta{file.metadata(), file.path()};
    TextConfig config;
    const TensorInfo& embedding = file.at("token_embd.weight");
    SMOLVLM_CHECK(embedding.shape.rank() == 2, FormatError, file.path(), ": tensor \"token_embd.weight\" is ",
                  embedding.shape, ", expected two dimensions");
    config.vocab_size = embedding.shape[0];
    config.hidden_size = meta.integer("llama.embedding_length", embedding.shape[1], 1, max_row_width);
    config.intermediate_size = meta.integer("llama.feed_forward_length", 0, 1, max_row_width);
    config.num_hidden_layers = meta.integer("llama.block_count", 0, 1, max_layers);
    const Index heads = meta.integer("llama.attention.head_count", 0, 1, max_row_width);
    const Index kv_heads = meta.integer("llama.attention.head_count_kv", heads, 1, max_row_width);
    SMOLVLM_CHECK(heads % kv_heads == 0, FormatError, file.path(), ": ", heads, " attention heads cannot share ",
                  kv_heads, " key/value heads equally");
    config.num_attention_heads = heads;
    config.num_key_value_heads = kv_heads;
    config.head_dim = meta.integer("llama.attention.key_length", config.hidden_size / heads, 2, max_row_width / heads);
    const Index values = meta.integer("llama.attention.value_length", config.head_dim, 1, max_row_width);
    const Index rotated = meta.integer("llama.rope.dimension_count", config.head_dim, 1, max_row_width);
    SMOLVLM_CHECK(config.head_dim % 2 == 0 && rotated == config.head_dim && values == config.head_dim, FormatError,
                  file.path(), ": heads of ", config.head_dim, " elements with values of ", values, ", ", rotated,
                  " of them rotated; expected one even number for all three");
    SMOLVLM_CHECK(meta.integer("llama.expert_count", 0, 0, max_row_width) == 0, FormatError, file.path(),
                  ": a mixture of experts is not supported");
    meta.require_choice("llama.rope.scaling.type", "none");
    config.rms_norm_eps = meta.positive("llama.attention.layer_norm_rms_epsilon", 1e-5);
    config.rope_theta = meta.positive("llama.rope.freq_base", 10000.0);
    config.max_position_embeddings = meta.integer("llama.context_length", 2048, 1, 1 << 24);
    return config;
}

inline VisionConfig read_gguf_vision_config(const Gguf& file) {
    const ConfigReader meta{file.metadata(), file.path()};
    const char* const projector =
        find(meta.json, "clip.projector_type", meta.where) ? "clip.projector_type" : "clip.vision.projector_type";
    const auto kind = get<std::string>(meta.json, projector, meta.where);
    SMOLVLM_CHECK(kind == "idefics3", FormatError, meta.where, ": \"", projector, "\" is ", in_quotes(kind),
                  ", expected \"idefics3\" (SmolVLM)");
    VisionConfig config;
    config.hidden_size = meta.integer("clip.vision.embedding_length", 0, 1, max_row_width);
    config.intermediate_size = meta.integer("clip.vision.feed_forward_length", 0, 1, max_row_width);
    config.num_hidden_layers = meta.integer("clip.vision.block_count", 0, 1, max_layers);
    config.num_attention_heads = meta.integer("clip.vision.attention.head_count", 0, 1, max_row_width);
    SMOLVLM_CHECK(config.hidden_size % config.num_attention_heads == 0, FormatError, meta.where, ": rows of ",
                  config.hidden_size, " elements are not divisible by ", config.num_attention_heads, " heads");
    config.image_size = meta.integer("clip.vision.image_size", 0, 1, 1 << 14);
    config.patch_size = meta.integer("clip.vision.patch_size", 0, 1, config.image_size);
    config.layer_norm_eps = meta.positive("clip.vision.attention.layer_norm_epsilon", config.layer_norm_eps);
    return config;
}

/// Frames of image_size pixels. Files made before the key preproc_image_size existed get four frames to the longest
/// edge, as all released models have.
inline ImageProcessorConfig read_gguf_image_config(const Gguf& file, const VisionConfig& vision) {
    const ConfigReader meta{file.metadata(), file.path()};
    ImageProcessorConfig config;
    config.tile = vision.image_size;
    config.longest_edge = meta.integer("clip.vision.preproc_image_size", 4 * config.tile, 1, 1 << 14);
    config.mean = read_channels(meta, "clip.vision.image_mean", 0.5);
    config.std = read_channels(meta, "clip.vision.image_std", 0.5);
    return config;
}

template <class T>
std::vector<T> read_gguf_array(const Gguf& file, const char* key) {
    std::vector<T> values;
    for (const Json& value : get_array(file.metadata(), key, file.path())) {
        if constexpr (std::is_same_v<T, std::string>)
            values.push_back(value_as<std::string>(value, join("an element of \"", key, '"'), file.path()));
        else
            values.push_back(static_cast<T>(value_as<Index>(value, join("an element of \"", key, '"'), file.path())));
    }
    return values;
}

/// The tokens that end an answer: the file's own, and SmolVLM's end of turn where the vocabulary has it.
inline GenerationConfig read_gguf_generation(const Gguf& file, std::span<const std::string> tokens) {
    const Json& meta = file.metadata();
    GenerationConfig config;
    const auto add = [&](std::int32_t id) {
        if (std::find(config.eos.begin(), config.eos.end(), id) == config.eos.end()) config.eos.push_back(id);
    };
    for (const char* key : {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"})
        if (const auto id = read_token_id(meta, key, file.path())) add(*id);
    const auto end_of_turn = std::find(tokens.begin(), tokens.end(), "<end_of_utterance>");
    if (end_of_turn != tokens.end()) add(static_cast<std::int32_t>(end_of_turn - tokens.begin()));
    config.bos = read_token_id(meta, "tokenizer.ggml.bos_token_id", file.path());
    config.pad = read_token_id(meta, "tokenizer.ggml.padding_token_id", file.path());
    return config;
}

inline void add_gguf_text_weights(FileWeights& weights, const std::shared_ptr<const Gguf>& file,
                                  const TextConfig& config) {
    for (const auto& [stored, tensor] : file->tensors()) {
        const GgufNameParts parts = split_gguf_name(gguf_text, stored);
        Index rope_heads = 0;
        if (!parts.number.empty() && parts.parameter == ".weight") {
            if (parts.module == "attn_q") rope_heads = config.num_attention_heads;
            if (parts.module == "attn_k") rope_heads = config.num_key_value_heads;
        }
        weights.add(our_name(gguf_text, stored), file, stored, rope_heads);
    }
}

/// Older files call the two maps of an MLP by each other's names; which is which shows in their shapes.
inline void add_gguf_vision_weights(FileWeights& weights, const std::shared_ptr<const Gguf>& file,
                                    const VisionConfig& config) {
    const TensorInfo* const down = file->find("v.blk.0.ffn_down.weight");
    const bool swapped = down && down->shape == Shape{config.intermediate_size, config.hidden_size} &&
                         config.intermediate_size != config.hidden_size;
    for (const auto& [stored, tensor] : file->tensors()) {
        std::string name = our_name(gguf_vision, stored);
        const std::size_t at = swapped ? std::min(name.find(".mlp.fc1."), name.find(".mlp.fc2.")) : name.npos;
        if (at != name.npos) name[at + 7] = name[at + 7] == '1' ? '2' : '1';
        weights.add(name, file, stored);
    }
}

}  // namespace detail

/// Throws FormatError or ValueError. mmproj: the file of the vision tower; empty: text only.
inline Checkpoint open_gguf_pair(const std::string& text, const std::string& mmproj = {},
                                 const WeightsOpened& weights_opened = {}) {
    const auto file = std::make_shared<const Gguf>(Gguf::open(text));
    detail::require_architecture(*file, "llama", "the text model");
    ModelConfig config;
    config.model_type = "llama";
    config.has_vision = false;
    config.text = detail::read_gguf_text_config(*file);
    config.tie_word_embeddings = !file->find("output.weight");

    const auto tokens = detail::read_gguf_array<std::string>(*file, "tokenizer.ggml.tokens");
    const auto merges = detail::read_gguf_array<std::string>(*file, "tokenizer.ggml.merges");
    const auto types = detail::read_gguf_array<std::int32_t>(*file, "tokenizer.ggml.token_type");
    SMOLVLM_CHECK(static_cast<Index>(tokens.size()) <= config.text.vocab_size, FormatError, text, ": ", tokens.size(),
                  " tokens, but the embedding has only ", config.text.vocab_size, " rows");
    const auto kind = get<std::string>(file->metadata(), "tokenizer.ggml.model", text);
    const auto pre = get_or<std::string>(file->metadata(), "tokenizer.ggml.pre", text, "gpt-2");
    const auto weights = std::make_shared<FileWeights>(text);
    detail::add_gguf_text_weights(*weights, file, config.text);

    ImageProcessorConfig image;
    if (!mmproj.empty()) {
        const auto vision = std::make_shared<const Gguf>(Gguf::open(mmproj));
        detail::require_architecture(*vision, "clip", "the vision tower (--mmproj)");
        config.model_type = "smolvlm";
        config.has_vision = true;
        config.vision = detail::read_gguf_vision_config(*vision);
        const detail::ConfigReader meta{vision->metadata(), mmproj};
        config.scale_factor = meta.integer("clip.vision.projector.scale_factor", config.scale_factor, 1, 64);
        SMOLVLM_CHECK(config.vision.grid() % config.scale_factor == 0, FormatError, mmproj, ": ", config.vision.grid(),
                      " patches on an edge are no multiple of the scale factor ", config.scale_factor);
        const auto image_token = std::find(tokens.begin(), tokens.end(), "<image>");
        SMOLVLM_CHECK(image_token != tokens.end(), FormatError, text,
                      ": the vocabulary has no token \"<image>\", so this text model does not go with an mmproj file");
        config.image_token_id = image_token - tokens.begin();
        image = detail::read_gguf_image_config(*vision, config.vision);
        detail::add_gguf_vision_weights(*weights, vision, config.vision);
    }

    if (weights_opened) weights_opened(config, weights);

    const bool has_template = find(file->metadata(), "tokenizer.chat_template", text);
    const auto chat_template =
        has_template ? ChatTemplate::from_jinja(get<std::string>(file->metadata(), "tokenizer.chat_template", text),
                                                text + ": tokenizer.chat_template")
        : config.has_vision ? ChatTemplate::smolvlm()
                            : ChatTemplate::chatml();
    return {.config = config,
            .generation = detail::read_gguf_generation(*file, tokens),
            .processor = {.tokenizer = Tokenizer(spec_from_gguf_arrays(tokens, merges, types, kind, pre, text), text),
                          .chat_template = chat_template,
                          .image = image,
                          .image_seq_len = config.has_vision ? config.tokens_per_image() : 0,
                          .token_names = {}},
            .weights = weights};
}

}  // namespace smolvlm
