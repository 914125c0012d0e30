#pragma once
/// Where a TokenizerSpec comes from: the tokenizer.json of an HF folder, or the vocabulary inside a GGUF file.
///
/// tokenizer.json alone says how text is cut. (tokenizer_config.json may name a class that transformers gives rules of
/// its own; those are not followed.) Every tokenizer but byte-level BPE with GPT-2's words is refused with a sentence.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <smolvlm/checkpoint/tokenizer_events.hpp>

namespace smolvlm {

namespace detail {

/// The "type" of a stage, or "null" where the file has none.
inline std::string stage_type(const Json& json, const char* key, std::string_view where) {
    const Json* const stage = find(json, key, where);
    return stage ? get<std::string>(*stage, "type", join(where, ": \"", key, '"')) : "null";
}

/// The boolean `key` of a stage must be absent or have the one value that is supported.
inline void require_flag(const Json& stage, const char* key, bool expected, std::string_view where) {
    const bool value = get_or<bool>(stage, key, where, expected);
    SMOLVLM_CHECK(value == expected, FormatError, where, ": \"", key, "\" is ", value, ", only ", expected,
                  " is supported");
}

/// Digits (singly) then ByteLevel, or ByteLevel alone. Returns whether digits are split.
inline bool read_pre_tokenizer(const Json& json, std::string_view file) {
    const std::string where = join(file, ": pre_tokenizer");
    const Json* const pre_tokenizer = find(json, "pre_tokenizer", file);
    std::vector<const Json*> stages;
    if (pre_tokenizer && stage_type(json, "pre_tokenizer", file) == "Sequence") {
        for (const Json& stage : get_array(*pre_tokenizer, "pretokenizers", where)) stages.push_back(&stage);
    } else if (pre_tokenizer) {
        stages.push_back(pre_tokenizer);
    }
    std::string found;
    for (const Json* stage : stages) {
        const auto type = get<std::string>(*stage, "type", where);
        found += (found.empty() ? "" : ", ") + type;
        if (type == "Digits") require_flag(*stage, "individual_digits", true, join(where, ": Digits"));
        if (type == "ByteLevel") {
            require_flag(*stage, "add_prefix_space", false, join(where, ": ByteLevel"));
            require_flag(*stage, "use_regex", true, join(where, ": ByteLevel"));
        }
    }
    SMOLVLM_CHECK(found == "Digits, ByteLevel" || found == "ByteLevel", FormatError, where, ": is '",
                  found.empty() ? "null" : found, "', expected 'Digits, ByteLevel' or 'ByteLevel'");
    return stages.size() == 2;
}

/// "left right", or ["left", "right"] as newer files have it.
inline std::pair<std::string, std::string> read_merge(const Json& merge, std::size_t rank, std::string_view where) {
    if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string())
        return {merge[0].get<std::string>(), merge[1].get<std::string>()};
    SMOLVLM_CHECK(merge.is_string(), FormatError, where, ": merge ", rank, " is ", describe(merge),
                  ", expected a string or an array of two strings");
    const auto& text = merge.get_ref<const std::string&>();
    const std::size_t space = text.find(' ');
    SMOLVLM_CHECK(space != text.npos && text.find(' ', space + 1) == text.npos, FormatError, where, ": merge ", rank,
                  " is ", describe(merge), ", expected two tokens with one space between them");
    return {text.substr(0, space), text.substr(space + 1)};
}

inline AddedToken read_added_token(const Json& json, std::string_view where) {
    const Index id = get<Index>(json, "id", where);
    AddedToken token;
    token.content = get<std::string>(json, "content", where);
    SMOLVLM_CHECK(id >= 0 && id < Tokenizer::max_ids, FormatError, where, ": \"", token.content, "\" has the id ", id,
                  ", expected one from 0 to ", Tokenizer::max_ids - 1);
    token.id = static_cast<std::int32_t>(id);
    token.special = get_or<bool>(json, "special", where, false);
    token.single_word = get_or<bool>(json, "single_word", where, false);
    token.lstrip = get_or<bool>(json, "lstrip", where, false);
    token.rstrip = get_or<bool>(json, "rstrip", where, false);
    token.normalized = get_or<bool>(json, "normalized", where, !token.special);
    return token;
}

}  // namespace detail

/// Reads a parsed tokenizer.json. Throws FormatError.
inline TokenizerSpec parse_tokenizer_json(const Json& json, std::string_view file) {
    const Json& model = get_object(json, "model", file);
    const std::string where = join(file, ": model");
    // Files of the first years name no type when the model is BPE.
    const auto type = get_or<std::string>(model, "type", where, "BPE");
    SMOLVLM_CHECK(type == "BPE", FormatError, file, ": the tokenizer is of the kind '", type,
                  "', expected 'BPE' (byte-level)");
    const auto require_stage = [&](const char* key, std::string_view allowed) {
        const std::string found = detail::stage_type(json, key, file);
        SMOLVLM_CHECK(found == "null" || found == allowed, FormatError, file, ": \"", key, "\" is '", found,
                      "', expected ", allowed.empty() ? "" : join("'", allowed, "' or "), "null");
    };
    require_stage("normalizer", "");
    require_stage("post_processor", "ByteLevel");  // of no effect on ids
    SMOLVLM_CHECK(detail::stage_type(json, "decoder", file) == "ByteLevel", FormatError, file, ": \"decoder\" is '",
                  detail::stage_type(json, "decoder", file), "', expected 'ByteLevel'");
    for (const char* key : {"dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix"}) {
        const Json* const value = find(model, key, where);
        SMOLVLM_CHECK(!value || (value->is_string() && value->get_ref<const std::string&>().empty()), FormatError,
                      where, ": \"", key, "\" is ", value ? detail::describe(*value) : "", ", only null is supported");
    }
    for (const char* key : {"byte_fallback", "ignore_merges"}) detail::require_flag(model, key, false, where);

    TokenizerSpec spec;
    spec.split_digits = detail::read_pre_tokenizer(json, file);
    for (const auto& [token, value] : get_object(model, "vocab", where).items()) {
        const Index id = value_as<Index>(value, join("the id of '", token, "'"), where);
        SMOLVLM_CHECK(id >= 0 && id < Tokenizer::max_ids, FormatError, where, ": the token '", token, "' has the id ",
                      id, ", expected one from 0 to ", Tokenizer::max_ids - 1);
        const auto i = static_cast<std::size_t>(id);
        if (i >= spec.vocab.size()) spec.vocab.resize(i + 1);
        SMOLVLM_CHECK(spec.vocab[i].empty(), FormatError, where, ": the tokens '", spec.vocab[i], "' and '", token,
                      "' both have the id ", id);
        spec.vocab[i] = token;
    }
    for (const Json& merge : get_array(model, "merges", where))
        spec.merges.push_back(detail::read_merge(merge, spec.merges.size(), where));
    if (find(json, "added_tokens", file))
        for (const Json& token : get_array(json, "added_tokens", file))
            spec.added_tokens.push_back(detail::read_added_token(token, join(file, ": added_tokens")));
    return spec;
}

namespace detail {

/// The same from the text, without making values of the whole file; nothing where they are needed to say what is wrong.
inline std::optional<TokenizerSpec> quickly_parsed(const std::string& text, std::string_view file) {
    TokenizerEvents events;
    if (!Json::sax_parse(text, &events)) return std::nullopt;
    try {
        TokenizerSpec spec = parse_tokenizer_json(events.rest, file);
        spec.vocab = std::move(events.spec.vocab);
        spec.merges = std::move(events.spec.merges);
        return spec;
    } catch (const FormatError&) {
        return std::nullopt;
    }
}

}  // namespace detail

/// Reads the tokenizer.json at `path`. Throws ValueError when it cannot be read, FormatError when it is none of ours.
inline Tokenizer load_tokenizer_json(const std::string& path) {
    constexpr Index max_bytes = 256 << 20;
    const std::string text = read_text_file(path, max_bytes);
    if (const auto spec = detail::quickly_parsed(text, path)) {
        try {
            return Tokenizer(*spec, path);
        } catch (const FormatError&) {  // a token that is there twice counts once below
        }
    }
    return Tokenizer(parse_tokenizer_json(parse_json(text, path), path), path);
}

/// The same from a GGUF's tokenizer.ggml.{tokens,merges,token_type} and its tokenizer.ggml.{model,pre}. Control tokens
/// (type 3) are special; they and the user-defined ones (4) are matched whole. Throws FormatError.
inline TokenizerSpec spec_from_gguf_arrays(std::span<const std::string> tokens, std::span<const std::string> merges,
                                           std::span<const std::int32_t> token_types, std::string_view model = "gpt2",
                                           std::string_view pre = "smollm", std::string_view file = "tokenizer") {
    SMOLVLM_CHECK(model == "gpt2", FormatError, file, ": tokenizer.ggml.model is '", model,
                  "', expected 'gpt2' (byte-level BPE)");
    SMOLVLM_CHECK(pre == "smollm" || pre == "gpt-2", FormatError, file, ": tokenizer.ggml.pre is '", pre,
                  "', expected 'smollm' or 'gpt-2'");
    SMOLVLM_CHECK(token_types.size() == tokens.size(), FormatError, file, ": tokenizer.ggml.token_type has ",
                  token_types.size(), " entries and tokenizer.ggml.tokens ", tokens.size(),
                  "; the numbers must be equal");
    TokenizerSpec spec;
    spec.split_digits = pre == "smollm";
    spec.vocab.assign(tokens.begin(), tokens.end());
    for (std::size_t id = 0; id < tokens.size(); ++id) {
        if (token_types[id] != 3 && token_types[id] != 4) continue;
        AddedToken token;
        token.id = static_cast<std::int32_t>(id);
        token.content = tokens[id];
        token.special = token_types[id] == 3;
        spec.added_tokens.push_back(std::move(token));
    }
    for (std::size_t rank = 0; rank < merges.size(); ++rank)
        spec.merges.push_back(detail::read_merge(merges[rank], rank, join(file, ": tokenizer.ggml.merges")));
    return spec;
}

}  // namespace smolvlm
