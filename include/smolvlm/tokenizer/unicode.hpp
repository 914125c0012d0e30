#pragma once
/// UTF-8 one character at a time, and the character classes that cutting text into words needs.
///
/// Bytes that are no UTF-8 are never an error here: they are told apart as the Unicode standard advises (section 3.9:
/// the longest beginning of a possible character, else one byte) and as Rust and Python do.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <smolvlm/tokenizer/unicode_tables.hpp>

namespace smolvlm {

/// What stands for bytes that are no character.
inline constexpr char32_t replacement_character = 0xFFFD;

/// The character, or the bytes that are none, at some place of a text.
struct Utf8Char {
    enum Kind : std::uint8_t {
        character,  // a Unicode scalar value
        invalid,    // `length` bytes that no following byte can turn into a character
        cut_off,    // the text ends within what may yet become one
    };
    char32_t value = replacement_character;  // of an invalid or cut off one too
    std::uint8_t length = 1;                 // bytes of the text it covers
    Kind kind = invalid;
};

/// What begins at text[at]; `at` must be inside the text.
inline Utf8Char decode_utf8(std::string_view text, std::size_t at) {
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    const unsigned lead = byte(at);
    if (lead < 0x80) return {lead, 1, Utf8Char::character};
    // The range of the second byte rules out overlong forms, surrogates and values past U+10FFFF.
    unsigned needed = 0, low = 0x80, high = 0xBF;
    char32_t value = 0;
    if (lead >= 0xC2 && lead <= 0xDF) {
        needed = 2, value = lead & 0x1F;
    } else if (lead >= 0xE0 && lead <= 0xEF) {
        needed = 3, value = lead & 0x0F;
        if (lead == 0xE0) low = 0xA0;
        if (lead == 0xED) high = 0x9F;
    } else if (lead >= 0xF0 && lead <= 0xF4) {
        needed = 4, value = lead & 0x07;
        if (lead == 0xF0) low = 0x90;
        if (lead == 0xF4) high = 0x8F;
    } else {
        return {replacement_character, 1, Utf8Char::invalid};
    }
    for (std::uint8_t length = 1; length < needed; ++length) {
        if (at + length == text.size()) return {replacement_character, length, Utf8Char::cut_off};
        const unsigned next = byte(at + length);
        if (next < low || next > high) return {replacement_character, length, Utf8Char::invalid};
        value = (value << 6) | (next & 0x3F);
        low = 0x80, high = 0xBF;
    }
    return {value, static_cast<std::uint8_t>(needed), Utf8Char::character};
}

/// The bytes of one scalar value at the end of `text`.
inline void append_utf8(std::string& text, char32_t c) {
    const auto put = [&](char32_t byte) { text += static_cast<char>(byte); };
    const auto continuation = [&](int shift) { put(0x80 | ((c >> shift) & 0x3F)); };
    if (c < 0x80) {
        put(c);
    } else if (c < 0x800) {
        put(0xC0 | (c >> 6));
        continuation(0);
    } else if (c < 0x10000) {
        put(0xE0 | (c >> 12));
        continuation(6), continuation(0);
    } else {
        put(0xF0 | (c >> 18));
        continuation(12), continuation(6), continuation(0);
    }
}

/// Appends `bytes` to `text` as valid UTF-8, U+FFFD in place of every invalid sequence. Unless this is the `last` of
/// the bytes, stops before a character that is cut off at the end. Returns how many bytes were taken.
inline std::size_t append_valid_utf8(std::string& text, std::string_view bytes, bool last) {
    std::size_t at = 0, copied = 0;  // the bytes from `copied` to `at` are valid and not yet appended
    while (at < bytes.size()) {
        const Utf8Char c = decode_utf8(bytes, at);
        if (c.kind == Utf8Char::cut_off && !last) break;
        if (c.kind != Utf8Char::character) {
            text.append(bytes, copied, at - copied);
            append_utf8(text, replacement_character);
            copied = at + c.length;
        }
        at += c.length;
    }
    text.append(bytes, copied, at - copied);
    return at;
}

/// The classes of a character, or-ed together; 0 for everything else, such as punctuation.
enum CharClass : std::uint8_t {
    letter_class = 1,  // \p{L}
    number_class = 2,  // \p{N}
    space_class = 4,   // \s
    digit_class = 8,   // what splitting digits singly splits off: \p{N} of a newer Unicode
    word_class = 16,   // \w
};

/// The or-ed CharClass of a scalar value.
inline unsigned char_classes(char32_t c) {
    static const std::vector<std::uint8_t> classes_of = [] {
        std::vector<std::uint8_t> table(0x110000);
        const auto mark = [&](const auto& ranges, CharClass char_class) {
            for (const auto& range : ranges)
                for (char32_t member = range.first; member <= range.last; ++member) table[member] |= char_class;
        };
        mark(unicode_tables::letter, letter_class);
        mark(unicode_tables::number, number_class);
        mark(unicode_tables::space, space_class);
        mark(unicode_tables::digit, digit_class);
        mark(unicode_tables::word, word_class);
        return table;
    }();
    return c < classes_of.size() ? classes_of[c] : 0u;
}

}  // namespace smolvlm
