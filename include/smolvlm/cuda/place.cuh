#pragma once
/// Place: the line of code that called, as a default argument. (std::source_location needs a newer clang++ than 14.)

#include <string>
#include <string_view>

#include <smolvlm/core/error.hpp>

namespace smolvlm::cuda {

struct Place {
    constexpr Place(const char* where = __builtin_FILE(), unsigned number = __builtin_LINE(),
                    const char* what = __builtin_FUNCTION())
        : file(where), line(number), function(what) {}
    const char* file;
    unsigned line;
    const char* function;

    /// One line, one place: g++ 12 knows no columns.
    friend bool operator==(const Place& a, const Place& b) {
        return a.line == b.line && std::string_view(a.file) == b.file;
    }
};

/// attention_kernel (attention.cuh:101)
inline void append_piece(std::string& text, const Place& place) {
    const std::string_view path = place.file;
    text += join(place.function, " (", path.substr(path.find_last_of('/') + 1), ":", place.line, ")");
}

}  // namespace smolvlm::cuda
