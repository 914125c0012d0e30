#pragma once
/// Standard output and standard error, as scripts want them: what cannot be written is an error, never lost; messages
/// are one line; when the reader of a pipe has gone, the program ends like any other.

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <smolvlm/core/error.hpp>
#include <string>
#include <string_view>

namespace cli {

/// What messages begin with.
inline std::string program_name = "smolvlm";

/// Nobody reads our output any more (`smolvlm ... | head -1`): not an error, but a reason to stop.
struct OutputClosed {};

/// All of the text; a signal (Ctrl-C in a chat) may come in between. False, and errno, when it cannot be written.
inline bool write_all(int stream, std::string_view text) {
    while (!text.empty()) {
        const ssize_t n = ::write(stream, text.data(), text.size());
        if (n >= 0)
            text.remove_prefix(static_cast<std::size_t>(n));
        else if (errno != EINTR)
            return false;
    }
    return true;
}

/// To standard output, at once: a reader at the other end of a pipe sees every piece as it comes.
inline void print(std::string_view text) {
    if (write_all(STDOUT_FILENO, text)) return;
    if (errno == EPIPE) throw OutputClosed{};
    smolvlm::fail<smolvlm::Error>("standard output cannot be written: ", std::strerror(errno));
}

/// One line to standard error; what goes wrong there is nobody's concern.
inline void report(std::string_view text) { write_all(STDERR_FILENO, std::string(text) + '\n'); }

/// The error line: "smolvlm: <sentence>", with the program's own name. A message can hold pieces of a damaged file, so control characters become
/// spaces and its length is bounded.
inline void report_error(std::string_view sentence) {
    constexpr std::size_t longest = 1500;
    std::string line = program_name + ": ";
    for (const char c : sentence.substr(0, longest))
        line += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? ' ' : c;
    if (sentence.size() > longest) line += " ...";
    report(line);
}

/// A text as JSON writes it. It must be valid UTF-8. Besides what JSON asks for, the characters are escaped at which
/// some readers of lines (Python's splitlines) break a line: U+0085, U+2028, U+2029.
inline std::string json_string(std::string_view text) {
    std::string out = "\"";
    const auto escape = [&out](unsigned character) {
        char buffer[8];
        std::snprintf(buffer, sizeof buffer, "\\u%04x", character & 0xffff);
        out += buffer;
    };
    while (!text.empty()) {
        const char c = text[0];
        std::size_t length = 1;
        if (c == '"' || c == '\\')
            out += '\\', out += c;
        else if (c == '\n')
            out += "\\n";
        else if (static_cast<unsigned char>(c) < 0x20)
            escape(static_cast<unsigned char>(c));
        else if (text.starts_with("\xc2\x85"))
            escape(0x85), length = 2;
        else if (text.starts_with("\xe2\x80\xa8"))
            escape(0x2028), length = 3;
        else if (text.starts_with("\xe2\x80\xa9"))
            escape(0x2029), length = 3;
        else
            out += c;
        text.remove_prefix(length);
    }
    return out + '"';
}

/// Numbers as a JSON array.
template <class Numbers>
std::string json_array(const Numbers& numbers) {
    std::string out = "[";
    for (const auto number : numbers) out += (out.size() > 1 ? ", " : "") + std::to_string(number);
    return out + ']';
}

/// A line on standard error that is written over itself while work goes on; nothing at all unless that is a terminal.
class Progress {
public:
    Progress() = default;
    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;
    ~Progress() { clear(); }

    void show(std::string_view text) {
        if (!terminal_) return;
        write_all(STDERR_FILENO, "\r\x1b[K" + std::string(text));
        shown_ = true;
    }
    void clear() {
        if (shown_) write_all(STDERR_FILENO, "\r\x1b[K");
        shown_ = false;
    }

private:
    bool terminal_ = ::isatty(STDERR_FILENO) == 1;
    bool shown_ = false;
};

}  // namespace cli
