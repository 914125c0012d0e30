#pragma once
/// Errors are sentences: what was done, where, what was found, what was needed.
///     rms_norm: weight is [576] but x is [64, 960]; the last dimension must match
/// They are thrown at the door (layer, op, loader), never from inside a kernel or a parallel region.

#include <concepts>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <string_view>

namespace smolvlm {

struct Error : std::runtime_error {
    using std::runtime_error::runtime_error;
};
struct ShapeError : Error {  // two tensors, or a tensor and a layer, do not fit
    using Error::Error;
};
struct ValueError : Error {  // a bad argument or configuration value
    using Error::Error;
};
struct FormatError : Error {  // a file is not what it claims to be: path, key or byte offset
    using Error::Error;
};
struct DeviceError : Error {  // an accelerator call failed: call text and code name
    using Error::Error;
};

// One overload per kind of piece that a message may hold; types of this namespace add their own (found by ADL).
inline void append_piece(std::string& text, std::string_view piece) { text += piece; }
inline void append_piece(std::string& text, const char* piece) { text += piece; }
inline void append_piece(std::string& text, char piece) { text += piece; }
inline void append_piece(std::string& text, bool piece) { text += piece ? "true" : "false"; }
template <std::integral I>
void append_piece(std::string& text, I piece) {
    text += std::to_string(piece);
}
template <std::floating_point F>
void append_piece(std::string& text, F piece) {
    char buffer[40];
    std::snprintf(buffer, sizeof buffer, "%.9g", static_cast<double>(piece));
    text += buffer;
}

/// The pieces joined to one string.
template <class... Pieces>
std::string join(const Pieces&... pieces) {
    std::string text;
    (append_piece(text, pieces), ...);
    return text;
}

/// Throws E with the joined message. Cold and out of line, so that a passing check costs one branch.
template <class E, class... Pieces>
[[noreturn, gnu::cold, gnu::noinline]] void fail(const Pieces&... pieces) {
    throw E(join(pieces...));
}

}  // namespace smolvlm

/// SMOLVLM_CHECK(condition, ErrorType, pieces...): the pieces are joined only when the condition is false.
#define SMOLVLM_CHECK(condition, ErrorType, ...)                        \
    do {                                                                \
        if (!(condition)) [[unlikely]]                                  \
            ::smolvlm::fail<::smolvlm::ErrorType>(__VA_ARGS__);         \
    } while (false)
