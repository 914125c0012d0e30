#pragma once
/// Text from a file inside a message: on one line, of bounded length, and nothing a terminal could mistake for a
/// command.

#include <smolvlm/core/error.hpp>

namespace smolvlm {

/// At most `max` bytes of the text, with control characters and bytes beyond ASCII written \xNN.
inline std::string printable(std::string_view text, std::size_t max = 100) {
    constexpr const char* digits = "0123456789abcdef";
    std::string out;
    for (const char c : text.substr(0, max)) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte >= 0x20 && byte < 0x7f) out += c;
        else out += {'\\', 'x', digits[byte >> 4], digits[byte & 15]};
    }
    return text.size() > max ? out + ".." : out;
}

/// The same in quotes.
inline std::string in_quotes(std::string_view text) { return '"' + printable(text) + '"'; }

}  // namespace smolvlm
