#pragma once
/// Decoding one id at a time, for text that is shown while it is generated.
///
/// A token may end within a character; what a push() returns is whole characters only, and all pieces joined, flush()
/// included, are exactly Tokenizer::decode of all ids.

#include <cstdint>
#include <string>

#include <smolvlm/tokenizer/tokenizer.hpp>

namespace smolvlm {

class StreamDecoder {
public:
    /// The tokenizer must outlive the decoder.
    explicit StreamDecoder(const Tokenizer& tokenizer, bool skip_special = false)
        : tokenizer_(&tokenizer), skip_special_(skip_special) {}

    /// The text that is complete with this id.
    std::string push(std::int32_t id) {
        pending_ += tokenizer_->bytes_of(id, skip_special_);
        return take(false);
    }
    /// What is left at the end: nothing, or U+FFFD for a character that never became whole. Ready for new ids then.
    std::string flush() { return take(true); }

private:
    std::string take(bool last) {
        std::string text;
        pending_.erase(0, append_valid_utf8(text, pending_, last));
        return text;
    }

    const Tokenizer* tokenizer_;
    bool skip_special_;
    std::string pending_;  // the beginning of a character, at most 3 bytes between calls
};

}  // namespace smolvlm
