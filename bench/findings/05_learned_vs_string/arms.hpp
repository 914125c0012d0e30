#pragma once
/// What is compared: arms, model sizes, and the folder that a model starts from (files as on the hub, written here).
///
/// All arms of a size have the same parameters and the same ids: the string arms' tokenizer merely does not know that
/// `<row_1_col_2>` is a token of its own, and spells it in thirteen bytes.

#include <array>
#include <smolvlm/io/atomic_folder.hpp>
#include <smolvlm/io/json.hpp>

#include "pictures.hpp"

namespace finding {

struct Arm {
    std::string_view name, title, colour;
    enum Tags { learned, string, none, filled } tags;
    int tokens;     // of them, before every tile
    bool all_text;  // the loss counts everything but image tokens, as without masking; else the answers alone

    TiledPictures::Position position() const {
        if (tags == none) return [](Index, Index) { return std::string(); };
        if (tags == filled)  // as many tokens as the string has
            return [](Index row, Index col) { return smolvlm::join("<row_", row, "_col_", col, '>', "____________"); };
        return {};
    }
};

inline constexpr std::array<Arm, 6> arms{{
    {"learned", "learned token", "#2563eb", Arm::learned, 1, false},
    {"string", "string", "#d9620f", Arm::string, 13, false},
    {"none", "none", "#6b7280", Arm::none, 0, false},
    {"filler", "learned token + 12 filler tokens", "#0f9f8f", Arm::filled, 13, false},
    {"learned-all", "learned token, loss on all text", "#7fb0ff", Arm::learned, 1, true},
    {"string-all", "string, loss on all text", "#b91c4b", Arm::string, 13, true},
}};

struct Size {
    std::string_view name, title;
    Index vision_width, vision_ffn, text_width, text_ffn, heads;
    Index steps;  // on grids: the narrow model learns more slowly
    double lr;
};

inline constexpr std::array<Size, 2> sizes{{
    {"large", "0.3 M parameters", 64, 192, 96, 192, 4, 1000, 1e-3},
    {"small", "0.1 M parameters", 40, 80, 56, 112, 4, 2000, 2e-3},
}};
/// For --quick: it learns nothing.
inline constexpr Size quick_size{"quick", "quick: machinery only", 16, 16, 16, 16, 2, 12, 1e-3};

/// By name, or an error that lists the names.
template <class Things>
const auto& by_name(const Things& things, std::string_view name, std::string_view flag) {
    std::string names;
    for (const auto& thing : things) {
        if (thing.name == name) return thing;
        names += (names.empty() ? "" : ", ") + std::string(thing.name);
    }
    smolvlm::fail<smolvlm::ValueError>(flag, " is \"", name, "\", expected one of ", names);
}

inline const Size& size_named(std::string_view name) {
    return name == quick_size.name ? quick_size : by_name(sizes, name, "size");
}

inline constexpr std::int32_t image_id = 4;

/// Tokens that are found whole; what stands between two turns is one each, so that a question is close to its answer:
///
///     User:PICTURE r 2 c 3 <end_of_utterance>\nAssistant: | A| 7 <end_of_utterance> \nUser: | r 1 c 1 ...
inline const std::vector<std::string> special_tokens{
    "<|endoftext|>", "<|im_start|>", "<|im_end|>",         "<fake_token_around_image>",
    "<image>",       "<global-img>", "<end_of_utterance>", "<end_of_utterance>\nAssistant:",
    "\nUser: "};

/// The tokens after them: bytes, and the first character of an answer with the space before it. Positions come last.
inline std::vector<std::string> ordinary_tokens() {
    std::vector<std::string> tokens{"\u0120", "\u010a"};  // space and line break, as byte-level vocabularies write them
    for (const char c : std::string_view("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz<>_:?"))
        tokens.emplace_back(1, c);
    for (const char c : alphabet) tokens.push_back(std::string("\u0120") + c);
    return tokens;
}

/// The token that an answer begins with: " A".
inline std::int32_t first_token(char c) {
    static const std::vector<std::string> tokens = ordinary_tokens();
    return static_cast<std::int32_t>(std::ssize(special_tokens) +
                                     (std::ranges::find(tokens, std::string("\u0120") + c) - tokens.begin()));
}

/// config.json, tokenizer and processor files. learned: positions are tokens.
inline void write_model_files(smolvlm::AtomicFolder& folder, const Size& size, bool learned) {
    using smolvlm::Json;
    Json vocab = Json::object(), merges = Json::array(), added = Json::array();
    const auto add = [&](std::size_t id, const std::string& content) {
        added.push_back({{"id", id},
                         {"content", content},
                         {"single_word", false},
                         {"lstrip", false},
                         {"rstrip", false},
                         {"normalized", false},
                         {"special", true}});
    };
    std::size_t ids = 0;
    for (const std::string& token : special_tokens) add(ids++, token);
    for (const std::string& token : ordinary_tokens()) vocab[token] = ids++;
    for (const char c : alphabet) merges.push_back(std::string("\u0120 ") + c);
    for (int row = 1; row <= 4; ++row)
        for (int col = 1; col <= 4; ++col, ++ids)
            if (learned) add(ids, smolvlm::join("<row_", row, "_col_", col, '>'));

    const Json byte_level{
        {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}};
    const auto write = [&](const char* name, const Json& json) { folder.write(name, json.dump() + '\n'); };
    write("tokenizer.json", {{"version", "1.0"},
                             {"truncation", nullptr},
                             {"padding", nullptr},
                             {"added_tokens", added},
                             {"normalizer", nullptr},
                             {"pre_tokenizer", byte_level},
                             {"post_processor", nullptr},
                             {"decoder", byte_level},
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
                               {"merges", merges}}}});
    Json names{{"bos_token", "<|im_start|>"},
               {"eos_token", "<end_of_utterance>"},
               {"pad_token", "<|im_end|>"},
               {"unk_token", "<|endoftext|>"}};
    write("special_tokens_map.json", names);
    names.update({{"tokenizer_class", "PreTrainedTokenizerFast"},
                  {"model_max_length", 2048},
                  {"clean_up_tokenization_spaces", false}});
    write("tokenizer_config.json", names);
    write("processor_config.json", {{"image_seq_len", tokens_per_frame}, {"processor_class", "SmolVLMProcessor"}});
    write("preprocessor_config.json",  // pictures are whole tiles already, and are not resized
          {{"do_convert_rgb", true},
           {"do_image_splitting", true},
           {"do_normalize", true},
           {"do_pad", true},
           {"do_rescale", true},
           {"do_resize", false},
           {"image_mean", {0.5, 0.5, 0.5}},
           {"image_std", {0.5, 0.5, 0.5}},
           {"image_processor_type", "SmolVLMImageProcessor"},
           {"max_image_size", {{"longest_edge", tile_edge}}},
           {"processor_class", "SmolVLMProcessor"},
           {"resample", 1},
           {"rescale_factor", 1.0 / 255},
           {"size", {{"longest_edge", 4 * tile_edge}}}});
    write("generation_config.json", {{"bos_token_id", 1}, {"eos_token_id", 6}, {"pad_token_id", 2}});
    write("config.json", {{"architectures", {"SmolVLMForConditionalGeneration"}},
                          {"model_type", "smolvlm"},
                          {"dtype", "float32"},
                          {"image_token_id", image_id},
                          {"scale_factor", 2},
                          {"tie_word_embeddings", false},
                          {"pad_token_id", 2},
                          {"vision_config",
                           {{"model_type", "smolvlm_vision"},
                            {"hidden_size", size.vision_width},
                            {"intermediate_size", size.vision_ffn},
                            {"num_hidden_layers", 2},
                            {"num_attention_heads", size.heads},
                            {"image_size", tile_edge},
                            {"patch_size", 8}}},
                          {"text_config",
                           {{"model_type", "llama"},
                            {"vocab_size", (ids + 7) / 8 * 8},
                            {"hidden_size", size.text_width},
                            {"intermediate_size", size.text_ffn},
                            {"num_hidden_layers", 2},
                            {"num_attention_heads", size.heads},
                            {"num_key_value_heads", size.heads / 2},
                            {"max_position_embeddings", 2048},
                            {"rope_theta", 10000.0},
                            {"rms_norm_eps", 1e-5},
                            {"bos_token_id", 1},
                            {"eos_token_id", 6},
                            {"pad_token_id", 2},
                            {"tie_word_embeddings", false}}}});
}

}  // namespace finding
