#pragma once
/// Cutting text into words, inside which byte pairs are merged: the GPT-2 rule (Radford et al. 2019), by hand instead
/// of through a regular expression engine.
///
///     's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
///
/// With digits split singly (SmolLM2), every digit is first cut out as a word of its own and the rule is applied to
/// what lies between: it sees the end of the text there. So "a  1" is `a`, two spaces, `1`: no space joins the digit.
/// Bytes that are no UTF-8 count as punctuation. Source: HF tokenizers, pre_tokenizers/{digits,byte_level}.rs.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include <smolvlm/tokenizer/unicode.hpp>

namespace smolvlm {

/// for (WordCutter words(text, true); !words.done();) use(words.next());     The words joined are the text.
class WordCutter {
public:
    WordCutter(std::string_view text, bool split_digits) : text_(text), split_digits_(split_digits) {}

    bool done() const { return at_ == text_.size(); }

    std::string_view next() {
        const std::size_t begin = at_;
        at_ = end_of_word(begin);
        return text_.substr(begin, at_ - begin);
    }

private:
    enum Class : std::uint8_t { letter, number, space, other, piece_end };
    struct Char {
        Class char_class;
        std::uint8_t length;
    };

    /// The class at a place; a digit that is to be split off reads as the end of the piece before it.
    Char look(std::size_t at) const {
        if (at >= text_.size()) return {piece_end, 0};
        const Utf8Char c = decode_utf8(text_, at);
        const unsigned classes = c.kind == Utf8Char::character ? char_classes(c.value) : 0u;
        if (split_digits_ && (classes & digit_class)) return {piece_end, c.length};
        const Class char_class = classes & letter_class   ? letter
                                 : classes & number_class ? number
                                 : classes & space_class  ? space
                                                          : other;
        return {char_class, c.length};
    }

    /// Length of the contraction at a place, or 0.
    std::size_t contraction(std::size_t at) const {
        const std::string_view rest = text_.substr(at, 3);
        if (rest.size() < 2 || rest[0] != '\'') return 0;
        const char c = rest[1];
        if (c == 's' || c == 't' || c == 'm' || c == 'd') return 2;
        const std::string_view two = rest.substr(1);
        return two == "re" || two == "ve" || two == "ll" ? 3 : 0;
    }

    std::size_t end_of_word(std::size_t at) const {
        Char c = look(at);
        if (c.char_class == piece_end) return at + c.length;  // a digit
        if (const std::size_t length = contraction(at)) return at + length;

        const std::size_t begin = at;
        if (text_[at] == ' ') {  // one space joins what follows, unless that is space
            const Char following = look(at + 1);
            if (following.char_class < space || following.char_class == other) {
                c = following;
                ++at;
            }
        }
        const Class run = c.char_class;
        std::size_t last = at;  // where the last character of the run begins
        while (c.char_class == run) {
            last = at;
            at += c.length;
            c = look(at);
        }
        // White space leaves its last character to the word after it, unless there is none or that is all there is.
        if (run == space && c.char_class != piece_end && last > begin) return last;
        return at;
    }

    std::string_view text_;
    bool split_digits_;
    std::size_t at_ = 0;
};

}  // namespace smolvlm
