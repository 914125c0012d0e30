#pragma once
/// What a Hugging Face folder says in files and a GGUF pair in its metadata: tokenizer, chat template, picture settings.
///
///     write_files_of_gguf(folder, "text.gguf", "mmproj.gguf");   // tokenizer.json, tokenizer_config.json, ..

#include <smolvlm/checkpoint/gguf_pair.hpp>
#include <smolvlm/io/atomic_folder.hpp>

namespace smolvlm {

namespace detail {

inline Json byte_level_json() {
    return {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}};
}

/// tokenizer.json of a GGUF's vocabulary and merges. Tokens of type 5 fill rows that nobody uses and are left out.
inline Json tokenizer_json_of_gguf(const Gguf& file) {
    const auto tokens = read_gguf_array<std::string>(file, "tokenizer.ggml.tokens");
    const auto merges = read_gguf_array<std::string>(file, "tokenizer.ggml.merges");
    const auto types = read_gguf_array<std::int32_t>(file, "tokenizer.ggml.token_type");
    const auto kind = get<std::string>(file.metadata(), "tokenizer.ggml.model", file.path());
    const auto pre = get_or<std::string>(file.metadata(), "tokenizer.ggml.pre", file.path(), "gpt-2");
    const TokenizerSpec spec = spec_from_gguf_arrays(tokens, merges, types, kind, pre, file.path());

    Json vocab = Json::object(), added = Json::array(), stages = Json::array();
    for (std::size_t id = 0; id < tokens.size(); ++id)
        if (types[id] != 5) vocab[tokens[id]] = id;
    for (const AddedToken& token : spec.added_tokens)
        added.push_back({{"id", token.id},
                         {"content", token.content},
                         {"single_word", token.single_word},
                         {"lstrip", token.lstrip},
                         {"rstrip", token.rstrip},
                         {"normalized", token.normalized},
                         {"special", token.special}});
    if (spec.split_digits) stages.push_back({{"type", "Digits"}, {"individual_digits", true}});
    stages.push_back(byte_level_json());
    return {{"version", "1.0"},
            {"truncation", nullptr},
            {"padding", nullptr},
            {"added_tokens", added},
            {"normalizer", nullptr},
            {"pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", stages}}},
            {"post_processor", nullptr},
            {"decoder", byte_level_json()},
            {"model",
             {{"type", "BPE"},
              {"dropout", nullptr},
              {"unk_token", nullptr},
              {"continuing_subword_prefix", nullptr},
              {"end_of_word_suffix", nullptr},
              {"fuse_unk", false},
              {"byte_fallback", false},
              {"ignore_merges", false},
              {"vocab", vocab},
              {"merges", merges}}}};
}

inline Json tokenizer_config_json_of_gguf(const Gguf& file) {
    const Json& meta = file.metadata();
    const auto tokens = read_gguf_array<std::string>(file, "tokenizer.ggml.tokens");
    Json json = {{"tokenizer_class", "PreTrainedTokenizerFast"}, {"clean_up_tokenization_spaces", false}};
    for (const auto& [role, key] : {std::pair{"bos_token", "tokenizer.ggml.bos_token_id"},
                                    std::pair{"eos_token", "tokenizer.ggml.eos_token_id"},
                                    std::pair{"pad_token", "tokenizer.ggml.padding_token_id"}})
        if (const auto id = read_token_id(meta, key, file.path()); id && *id < static_cast<Index>(tokens.size()))
            json[role] = tokens[static_cast<std::size_t>(*id)];
    if (const Json* const program = find(meta, "tokenizer.chat_template", file.path())) json["chat_template"] = *program;
    return json;
}

inline Json preprocessor_config_json(const ImageProcessorConfig& image) {
    return {{"image_processor_type", "SmolVLMImageProcessor"},
            {"processor_class", "SmolVLMProcessor"},
            {"do_convert_rgb", image.do_convert_rgb},
            {"do_resize", image.do_resize},
            {"size", {{"longest_edge", image.longest_edge}}},
            {"resample", static_cast<int>(image.resample)},
            {"do_image_splitting", image.do_image_splitting},
            {"max_image_size", {{"longest_edge", image.tile}}},
            {"do_rescale", image.do_rescale},
            {"rescale_factor", image.rescale_factor},
            {"do_normalize", image.do_normalize},
            {"image_mean", image.mean},
            {"image_std", image.std},
            {"do_pad", image.do_pad}};
}

}  // namespace detail

/// mmproj: the file of the vision tower; empty: text only. Throws FormatError or ValueError.
inline void write_files_of_gguf(AtomicFolder& folder, const std::string& text, const std::string& mmproj = {}) {
    const Checkpoint pair = open_gguf_pair(text, mmproj);  // checks all that is read again here
    const Gguf file = Gguf::open(text);
    folder.write("tokenizer.json", detail::tokenizer_json_of_gguf(file).dump());
    folder.write("tokenizer_config.json", detail::tokenizer_config_json_of_gguf(file).dump(2) + '\n');
    if (!pair.config.has_vision) return;
    folder.write("preprocessor_config.json", detail::preprocessor_config_json(pair.processor.image).dump(2) + '\n');
    const Json processor{{"processor_class", "SmolVLMProcessor"}, {"image_seq_len", pair.processor.image_seq_len}};
    folder.write("processor_config.json", processor.dump(2) + '\n');
}

}  // namespace smolvlm
