#pragma once
/// The byte-level alphabet of GPT-2 (Radford et al. 2019): every byte has a printable character, so that vocabulary
/// files are text. Bytes that print stand for themselves (as Latin-1), the other 68 are U+0100, U+0101, ... in order: a
/// space is U+0120.

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include <smolvlm/tokenizer/unicode.hpp>

namespace smolvlm {

/// The character of each byte.
inline constexpr std::array<char32_t, 256> byte_level_alphabet = [] {
    std::array<char32_t, 256> alphabet{};
    char32_t next = 0x100;
    for (char32_t byte = 0; byte < 256; ++byte) {
        const bool prints = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
        alphabet[byte] = prints ? byte : next++;
    }
    return alphabet;
}();

/// The byte that a character stands for, if any.
inline std::optional<unsigned char> byte_of_char(char32_t c) {
    static constexpr auto bytes = [] {
        std::array<short, 0x144> table{};
        for (short& entry : table) entry = -1;
        for (std::size_t byte = 0; byte < 256; ++byte) table[byte_level_alphabet[byte]] = static_cast<short>(byte);
        return table;
    }();
    if (c >= bytes.size() || bytes[c] < 0) return std::nullopt;
    return static_cast<unsigned char>(bytes[c]);
}

/// The bytes that a token of the vocabulary stands for. A token with a character outside the alphabet (an added token
/// with a space, say) was never written in it and stands for its own bytes.
inline std::string bytes_of_token(std::string_view token) {
    std::string bytes;
    for (std::size_t at = 0; at < token.size();) {
        const Utf8Char c = decode_utf8(token, at);
        const auto byte = c.kind == Utf8Char::character ? byte_of_char(c.value) : std::nullopt;
        if (!byte) return std::string(token);
        bytes += static_cast<char>(*byte);
        at += c.length;
    }
    return bytes;
}

/// The token that stands for these bytes: the inverse of bytes_of_token.
inline std::string token_of_bytes(std::string_view bytes) {
    std::string token;
    for (const char byte : bytes) append_utf8(token, byte_level_alphabet[static_cast<unsigned char>(byte)]);
    return token;
}

}  // namespace smolvlm
