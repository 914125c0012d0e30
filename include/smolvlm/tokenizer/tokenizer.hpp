#pragma once
/// Text to token ids and back: byte-level BPE as the HF `tokenizers` engine does it.
///
///     text --added tokens--> stretches --WordCutter--> words --byte pair merges--> ids
///     ids --bytes of each token--> bytes --U+FFFD for what is no UTF-8--> text
///
/// Text is bytes. Valid UTF-8 gets exactly the reference's ids; other bytes count as punctuation and pass through as
/// they are, so that decode_bytes(encode(bytes)) == bytes for every byte that has a token. Bytes that have none
/// (SmolLM2 lacks 21, among them 04 and 06) are dropped as the reference drops them, and EncodeReport tells where.
///
/// A Tokenizer never changes once built: any number of threads may use one.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <smolvlm/core/error.hpp>
#include <smolvlm/core/shape.hpp>
#include <smolvlm/tokenizer/added_tokens.hpp>
#include <smolvlm/tokenizer/bpe.hpp>
#include <smolvlm/tokenizer/byte_level.hpp>
#include <smolvlm/tokenizer/pretokenize.hpp>
#include <smolvlm/tokenizer/token_index.hpp>

namespace smolvlm {

/// Everything a tokenizer is made of, in the spelling of tokenizer.json.
struct TokenizerSpec {
    std::vector<std::string> vocab;                           // by id, in the byte-level alphabet; "" = no such id
    std::vector<std::pair<std::string, std::string>> merges;  // in order of rank
    std::vector<AddedToken> added_tokens;                     // ids inside the vocabulary or after it
    bool split_digits = true;                                 // every digit is a word of its own
};

/// What encode() could not keep.
struct EncodeReport {
    std::vector<std::size_t> dropped;  // places in the text of the bytes that have no token, ascending
};

class Tokenizer {
public:
    /// More ids than any vocabulary in use has; keeps a lying file from asking for all memory.
    static constexpr std::int32_t max_ids = 1 << 20;

    /// Throws FormatError when the parts contradict each other; `where` (a file) begins the message.
    explicit Tokenizer(const TokenizerSpec& spec, std::string_view where = "tokenizer")
        : tokens_(spec.vocab), split_digits_(spec.split_digits), bpe_(make_bpe(spec, where)) {
        add_tokens(spec.added_tokens, where);
        bytes_.reserve(tokens_.size());
        for (const std::string& token : tokens_) bytes_.push_back(bytes_of_token(token));
        index_whole_words();
    }

    /// The ids of a text; added tokens written out in it become their ids.
    std::vector<std::int32_t> encode(std::string_view text, EncodeReport* report = nullptr) const {
        std::vector<std::int32_t> ids;
        ids.reserve(text.size() / 4 + 4);
        Bpe::Work work;
        const auto found = [&](const AddedToken& token) { ids.push_back(token.id); };
        const auto stretch = [&](std::size_t begin, std::size_t end) {
            const auto words = [&](std::size_t from, std::size_t to) {
                encode_words(text, begin + from, begin + to, work, ids, report);
            };
            added_normalized_.split(text.substr(begin, end - begin), words, found);
        };
        added_.split(text, stretch, found);
        return ids;
    }

    /// The bytes that the tokens stand for. Ids that no token has are passed over, as in HF tokenizers; a negative id
    /// throws ValueError.
    std::string decode_bytes(std::span<const std::int32_t> ids, bool skip_special = false) const {
        std::string bytes;
        for (const std::int32_t id : ids) bytes += bytes_of(id, skip_special);
        return bytes;
    }

    /// The same as text: always valid UTF-8, with U+FFFD in place of what is not.
    std::string decode(std::span<const std::int32_t> ids, bool skip_special = false) const {
        std::string text;
        append_valid_utf8(text, decode_bytes(ids, skip_special), true);
        return text;
    }

    /// The bytes of one token, as decode_bytes gives them.
    std::string_view bytes_of(std::int32_t id, bool skip_special = false) const {
        SMOLVLM_CHECK(id >= 0, ValueError, "tokenizer: ", id, " is no token id, expected one from 0 to ",
                      vocab_size() - 1);
        const auto i = static_cast<std::size_t>(id);
        if (i >= bytes_.size() || (skip_special && special_[i])) return {};
        return bytes_[i];
    }

    /// The id of a token in the spelling of the vocabulary (`Ġthe`), added tokens included.
    std::optional<std::int32_t> id_of(std::string_view token) const {
        const std::int32_t id = token.empty() ? -1 : ids_.find(token, tokens_);
        return id < 0 ? std::nullopt : std::optional(id);
    }
    /// The token of an id in the spelling of the vocabulary; empty where no token has that id.
    std::string_view token_of(std::int32_t id) const {
        return id >= 0 && id < vocab_size() ? std::string_view(tokens_[static_cast<std::size_t>(id)])
                                            : std::string_view();
    }
    bool is_special(std::int32_t id) const {
        return id >= 0 && id < vocab_size() && special_[static_cast<std::size_t>(id)];
    }
    /// One more than the largest id.
    Index vocab_size() const { return static_cast<Index>(tokens_.size()); }

private:
    /// Checks the vocabulary and the merges and enters the first into ids_.
    Bpe make_bpe(const TokenizerSpec& spec, std::string_view where) {
        SMOLVLM_CHECK(!spec.vocab.empty(), FormatError, where, ": the vocabulary is empty");
        SMOLVLM_CHECK(spec.vocab.size() <= static_cast<std::size_t>(max_ids), FormatError, where,
                      ": the vocabulary has ", spec.vocab.size(), " ids, expected at most ", max_ids);
        ids_ = TokenIndex(spec.vocab.size() + spec.added_tokens.size());
        for (std::size_t id = 0; id < tokens_.size(); ++id)
            SMOLVLM_CHECK(tokens_[id].empty() || ids_.insert(static_cast<std::int32_t>(id), tokens_), FormatError,
                          where, ": the token '", tokens_[id], "' has two ids, ", *id_of(tokens_[id]), " and ", id);

        MergeTable merges(spec.merges.size());
        for (std::size_t rank = 0; rank < spec.merges.size(); ++rank) {
            const std::string &left = spec.merges[rank].first, &right = spec.merges[rank].second;
            const auto side = [&](const std::string& token) {
                const auto id = id_of(token);
                SMOLVLM_CHECK(id, FormatError, where, ": merge ", rank, " ('", left, "' with '", right, "'): '", token,
                              "' is not in the vocabulary");
                return *id;
            };
            const std::int32_t left_id = side(left), right_id = side(right);
            merges.insert(left_id, right_id, {static_cast<std::uint32_t>(rank), side(left + right)});
        }

        std::array<std::int32_t, 256> byte_tokens{};
        for (std::size_t byte = 0; byte < 256; ++byte)
            byte_tokens[byte] = ids_.find(token_of_bytes(std::string(1, static_cast<char>(byte))), tokens_);
        return Bpe(byte_tokens, std::move(merges));
    }

    void add_tokens(const std::vector<AddedToken>& added_tokens, std::string_view where) {
        special_.resize(tokens_.size());
        for (const AddedToken& token : added_tokens) {
            if (token.content.empty()) continue;
            SMOLVLM_CHECK(token.id >= 0 && token.id < max_ids, FormatError, where, ": the added token '", token.content,
                          "' has the id ", token.id, ", expected one from 0 to ", max_ids - 1);
            const auto i = static_cast<std::size_t>(token.id);
            if (i >= tokens_.size()) tokens_.resize(i + 1), special_.resize(i + 1);
            const auto known = id_of(token.content);
            SMOLVLM_CHECK(!known || *known == token.id, FormatError, where, ": the added token '", token.content,
                          "' has the id ", token.id, ", but the vocabulary gives it ", *known);
            SMOLVLM_CHECK(known || tokens_[i].empty(), FormatError, where, ": the added token '", token.content,
                          "' has the id ", token.id, ", but that is the id of '", tokens_[i], "'");
            if (!known) {
                tokens_[i] = token.content;
                ids_.insert(token.id, tokens_);
            }
            special_[i] = special_[i] || token.special;
            (token.normalized ? added_normalized_ : added_).insert(token);
        }
    }

    /// Finds the tokens that the merges build from their own bytes: a word that is one of these needs no merging.
    void index_whole_words() {
        words_ = TokenIndex(bytes_.size());
        Bpe::Work work;
        for (std::size_t id = 0; id < bytes_.size(); ++id) {
            if (bytes_[id].empty()) continue;
            bpe_.encode(bytes_[id], work, [](std::size_t) {});
            if (work.tokens.size() == 1 && work.tokens[0] == static_cast<std::int32_t>(id))
                words_.insert(work.tokens[0], bytes_);
        }
    }

    void encode_words(std::string_view text, std::size_t begin, std::size_t end, Bpe::Work& work,
                      std::vector<std::int32_t>& ids, EncodeReport* report) const {
        for (WordCutter words(text.substr(begin, end - begin), split_digits_); !words.done();) {
            const std::string_view word = words.next();
            if (const std::int32_t id = words_.find(word, bytes_); id >= 0) {
                ids.push_back(id);
                continue;
            }
            bpe_.encode(word, work, [&](std::size_t i) {
                if (report) report->dropped.push_back(static_cast<std::size_t>(word.data() - text.data()) + i);
            });
            ids.insert(ids.end(), work.tokens.begin(), work.tokens.end());
        }
    }

    std::vector<std::string> tokens_;  // by id, as written in the vocabulary
    std::vector<std::string> bytes_;   // by id, what they stand for
    std::vector<bool> special_;        // by id
    TokenIndex ids_;                   // of tokens_
    TokenIndex words_;                 // of bytes_: the tokens that are whole words
    AddedTokens added_, added_normalized_;
    bool split_digits_;
    Bpe bpe_;
};

/// How a checkpoint says where a tile stands, found from its tokenizer alone.
enum class PositionScheme {
    learned,  // <row_1_col_1> and <global-img> are one token each
    string,   // the same text is several ordinary tokens (2.2B v1)
};

inline PositionScheme position_scheme(const Tokenizer& tokenizer) {
    const bool learned = tokenizer.encode("<global-img>").size() == 1 && tokenizer.encode("<row_1_col_1>").size() == 1;
    return learned ? PositionScheme::learned : PositionScheme::string;
}

}  // namespace smolvlm
