#pragma once
/// What an error says.

#include <string>
#include <string_view>

#include <smolvlm/core/error.hpp>

namespace testing {

/// The message of the Error that f throws; empty when it throws none.
template <class F>
std::string error_of(F&& f) {
    try {
        f();
    } catch (const smolvlm::Error& error) {
        return error.what();
    }
    return {};
}

inline bool contains(std::string_view text, std::string_view part) { return text.find(part) != text.npos; }

}  // namespace testing
