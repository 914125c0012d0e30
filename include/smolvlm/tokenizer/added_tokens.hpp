#pragma once
/// Added tokens: strings such as `<|im_start|>` or `<image>` that are found in the text before anything else and become
/// one id each. Where several begin, the longest counts; what it covers is not looked at again.
///
/// Source: HF tokenizers, tokenizer/added_vocabulary.rs (an Aho-Corasick automaton with leftmost-longest matches).

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <smolvlm/core/error.hpp>
#include <smolvlm/tokenizer/unicode.hpp>

namespace smolvlm {

struct AddedToken {
    std::int32_t id = 0;
    std::string content;
    bool special = false;      // left out by decode(..., skip_special = true)
    bool single_word = false;  // only where no word character touches it
    bool lstrip = false;       // takes the white space before it along
    bool rstrip = false;       // takes the white space after it along
    bool normalized = false;   // looked for only in what the others leave
};

/// A trie of the contents of some added tokens.
class AddedTokens {
public:
    static constexpr std::size_t max_length = 4096;  // of one content: a place of the text costs at most as many steps

    AddedTokens() = default;

    void insert(const AddedToken& token) {
        SMOLVLM_CHECK(token.content.size() <= max_length, FormatError, "tokenizer: the added token with id ", token.id,
                      " has ", token.content.size(), " bytes, expected at most ", max_length);
        if (token.content.empty()) return;
        std::int32_t node = 0;
        for (const char byte : token.content) node = child_or_new(node, byte);
        nodes_[static_cast<std::size_t>(node)].token = static_cast<std::int32_t>(tokens_.size());
        tokens_.push_back(token);
    }

    /// Calls between(begin, end) for each stretch of text without added tokens (none is empty) and found(token) for
    /// each added token, in the order of the text.
    template <class Between, class Found>
    void split(std::string_view text, Between&& between, Found&& found) const {
        std::size_t taken = 0;  // everything before it has been reported
        for (std::size_t at = 0; at < text.size();) {
            const AddedToken* const token = longest_at(text, at);
            if (!token) {
                ++at;
                continue;
            }
            std::size_t begin = at, end = at + token->content.size();
            at = end;
            if (token->single_word && (ends_in_word(text.substr(0, begin)) || starts_with_word(text.substr(end))))
                continue;
            if (token->lstrip) begin = std::max(taken, begin - space_at_end(text.substr(0, begin)));
            if (token->rstrip) end += space_at_start(text.substr(end));
            if (taken < begin) between(taken, begin);
            if (begin < end) found(*token);  // else the one before has taken it along as white space
            taken = end;
        }
        if (taken < text.size()) between(taken, text.size());
    }

private:
    struct Node {
        char byte = 0;
        std::int32_t token = -1;  // the added token that ends here
        std::int32_t first_child = -1, next_sibling = -1;
    };

    std::int32_t child(std::int32_t node, char byte) const {
        std::int32_t c = nodes_[static_cast<std::size_t>(node)].first_child;
        while (c >= 0 && nodes_[static_cast<std::size_t>(c)].byte != byte)
            c = nodes_[static_cast<std::size_t>(c)].next_sibling;
        return c;
    }
    std::int32_t child_or_new(std::int32_t node, char byte) {
        if (const std::int32_t existing = child(node, byte); existing >= 0) return existing;
        const auto fresh = static_cast<std::int32_t>(nodes_.size());
        nodes_.push_back({byte, -1, -1, nodes_[static_cast<std::size_t>(node)].first_child});
        nodes_[static_cast<std::size_t>(node)].first_child = fresh;
        return fresh;
    }
    const AddedToken* longest_at(std::string_view text, std::size_t at) const {
        const AddedToken* longest = nullptr;
        for (std::int32_t node = 0; at < text.size(); ++at) {
            node = child(node, text[at]);
            if (node < 0) break;
            const std::int32_t token = nodes_[static_cast<std::size_t>(node)].token;
            if (token >= 0) longest = &tokens_[static_cast<std::size_t>(token)];
        }
        return longest;
    }

    /// The character that ends where `text` ends; invalid when its last byte belongs to none.
    static Utf8Char last_char(std::string_view text) {
        for (std::size_t length = 1; length <= 4 && length <= text.size(); ++length) {
            const Utf8Char c = decode_utf8(text, text.size() - length);
            if (c.kind == Utf8Char::character && c.length == length) return c;
        }
        return {};
    }
    static bool ends_in_word(std::string_view text) { return char_classes(last_char(text).value) & word_class; }
    static bool starts_with_word(std::string_view text) {
        return !text.empty() && (char_classes(decode_utf8(text, 0).value) & word_class);
    }
    static std::size_t space_at_end(std::string_view text) {
        std::size_t size = text.size();
        for (Utf8Char c; size > 0; size -= c.length) {
            c = last_char(text.substr(0, size));
            if (!(char_classes(c.value) & space_class)) break;
        }
        return text.size() - size;
    }
    static std::size_t space_at_start(std::string_view text) {
        std::size_t size = 0;
        for (Utf8Char c; size < text.size(); size += c.length) {
            c = decode_utf8(text, size);
            if (!(char_classes(c.value) & space_class)) break;
        }
        return size;
    }

    std::vector<Node> nodes_ = std::vector<Node>(1);  // the root
    std::vector<AddedToken> tokens_;
};

}  // namespace smolvlm
