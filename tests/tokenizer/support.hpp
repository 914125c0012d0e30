#pragma once
/// What the tokenizer's tests share: random text, and the golden tokenizers.

#include <string>
#include <vector>

#include <smolvlm/checkpoint/tokenizer_json.hpp>
#include <smolvlm/core/random.hpp>
#include <smolvlm/tokenizer/tokenizer.hpp>

#include "support/error_text.hpp"

namespace testing {

using Ids = std::vector<std::int32_t>;

inline std::string golden_path(const std::string& name) { return std::string(SMOLVLM_TEST_DIR) + "/golden/" + name; }

inline smolvlm::Json golden_json(const std::string& name) {
    return smolvlm::parse_json(smolvlm::read_text_file(golden_path(name), 64 << 20), name);
}

/// SmolLM2's vocabulary with one token per tile position, and the same with positions as ordinary text.
inline const smolvlm::Tokenizer& learned_tokenizer() {
    static const auto tokenizer = smolvlm::load_tokenizer_json(golden_path("processor_learned/tokenizer.json"));
    return tokenizer;
}
inline const smolvlm::Tokenizer& string_tokenizer() {
    static const auto tokenizer = smolvlm::load_tokenizer_json(golden_path("processor_string/tokenizer.json"));
    return tokenizer;
}

inline std::string utf8(char32_t c) {
    std::string text;
    smolvlm::append_utf8(text, c);
    return text;
}

/// Pieces that make trouble together: contractions, kinds of space, digits of many scripts, marks, emoji, half tokens.
inline std::string random_text(smolvlm::Random& random, std::uint32_t max_pieces) {
    // clang-format off
    static const std::vector<std::string> pieces{
        " ", "  ", "\t", "\n", "\r\n", "\xC2\xA0", "\xE3\x80\x80",               // no-break and ideographic space
        "'s", "'ll", "'", "don't", "a", "the", " of", "\xC3\xA9", "\xCC\x81",    // e acute, a combining acute
        "\xE4\xBD\xA0\xE5\xA5\xBD", "\xD8\xB9\xD8\xB1",                          // Chinese, Arabic
        "1", "42", "\xC2\xBD", "\xC2\xB2", "\xD9\xA3", "\xE0\xA5\xA7",           // a half, squared, other digits
        ".", "...", "!?", "\xF0\x9F\x98\x80", "\xE2\x80\x8D",                    // an emoji, a joiner
        "<image>", "<|im_start|>", "<row_1_col_1>", "<row_", "<|im_"};
    // clang-format on
    std::string text;
    for (std::uint32_t n = random.below(max_pieces + 1); n > 0; --n)
        text += pieces[random.below(static_cast<std::uint32_t>(pieces.size()))];
    return text;
}

inline std::string random_bytes(smolvlm::Random& random, std::uint32_t max_bytes) {
    std::string bytes;
    for (std::uint32_t n = random.below(max_bytes + 1); n > 0; --n) bytes += static_cast<char>(random.below(256));
    return bytes;
}

}  // namespace testing
