#pragma once
/// JSON for the rest of the project: nlohmann/json behind one parse function and typed getters whose errors are
/// sentences. No other header includes nlohmann/json.
///
///     const Json config = parse_json(read_text_file(path, 16 << 20), path);
///     const Index width = get<Index>(config, "hidden_size", path);
///     //  config.json: "hidden_size" is the string "wide", expected an integer
///
/// `where` in all getters is the beginning of the message: the file, and if useful the object in it.

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include <smolvlm/core/shape.hpp>
#include <smolvlm/io/printable.hpp>

namespace smolvlm {

using Json = nlohmann::json;

/// The whole file as text. Throws ValueError when it cannot be read and FormatError when it has more than `max_bytes`.
inline std::string read_text_file(const std::string& path, Index max_bytes) {
    std::FILE* const file = std::fopen(path.c_str(), "rb");
    SMOLVLM_CHECK(file, ValueError, path, ": cannot be opened: ", std::strerror(errno));
    std::string text;
    std::size_t length = 0;
    do {
        constexpr std::size_t step = 64 << 10;
        text.resize(length + step);
        length += std::fread(text.data() + length, 1, step, file);
    } while (length == text.size() && static_cast<Index>(length) <= max_bytes);
    const int error = std::ferror(file) ? errno : 0;
    std::fclose(file);
    SMOLVLM_CHECK(error == 0, ValueError, path, ": cannot be read: ", std::strerror(error));
    SMOLVLM_CHECK(static_cast<Index>(length) <= max_bytes, FormatError, path, ": larger than the ", max_bytes,
                  " bytes allowed here");
    text.resize(length);
    return text;
}

namespace detail {

/// The parser keeps its own stack, but copying and printing a value recurse: files made to exhaust the stack stop here.
inline void check_json_depth(std::string_view text, std::string_view file_name) {
    constexpr int max_depth = 200;
    int depth = 0;
    bool in_string = false;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (in_string) {
            if (c == '\\') ++i;
            else if (c == '"') in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '[' || c == '{') {
            SMOLVLM_CHECK(++depth <= max_depth, FormatError, file_name, ": byte ", i, ": JSON nested more than ",
                          max_depth, " levels deep");
        } else if (c == ']' || c == '}') {
            --depth;
        }
    }
}

/// A value in a message: `the string "wide"`, `the number 1.5`, `an array`.
inline std::string describe(const Json& value) {
    switch (value.type()) {
        case Json::value_t::null: return "null";
        case Json::value_t::object: return "an object";
        case Json::value_t::array: return "an array";
        case Json::value_t::boolean: return value.get<bool>() ? "true" : "false";
        case Json::value_t::string: return "the string " + in_quotes(value.get_ref<const std::string&>());
        default: return "the number " + value.dump();
    }
}

/// One value as a T, or nothing when it is of another type.
template <class T>
std::optional<T> json_value(const Json& value) {
    if constexpr (std::is_same_v<T, bool>) {
        if (value.is_boolean()) return value.get<bool>();
    } else if constexpr (std::is_same_v<T, std::string>) {
        if (value.is_string()) return value.get<std::string>();
    } else if constexpr (std::is_same_v<T, double>) {
        if (value.is_number()) return value.get<double>();
    } else {
        static_assert(std::is_same_v<T, Index>, "typed getters know bool, Index, double and std::string");
        constexpr auto max = static_cast<std::uint64_t>(std::numeric_limits<Index>::max());
        if (value.is_number_unsigned() ? value.get<std::uint64_t>() <= max : value.is_number_integer())
            return value.get<Index>();
    }
    return std::nullopt;
}

template <class T>
constexpr const char* json_type_name = std::is_same_v<T, bool>     ? "true or false"
                                       : std::is_same_v<T, Index>  ? "an integer"
                                       : std::is_same_v<T, double> ? "a number"
                                                                   : "a string";

}  // namespace detail

/// Parses `text`, at most 200 levels deep; a repeated key takes its last value. Throws FormatError, which has
/// the byte offset.
inline Json parse_json(std::string_view text, std::string_view file_name) {
    detail::check_json_depth(text, file_name);
    try {
        return Json::parse(text.begin(), text.end());
    } catch (const Json::exception& error) {
        const auto* parse_error = dynamic_cast<const Json::parse_error*>(&error);
        const std::size_t byte = parse_error ? parse_error->byte : 0;
        const std::string_view what = error.what();
        const std::size_t at = what.find("syntax error");
        fail<FormatError>(file_name, ": byte ", byte, " of ", text.size(), ": not valid JSON: ",
                          printable(what.substr(at == what.npos ? 0 : at), 160));
    }
}

/// The member of that name, or a null pointer when it is absent or JSON's null. Throws FormatError unless `json` is an
/// object.
inline const Json* find(const Json& json, const char* key, std::string_view where) {
    SMOLVLM_CHECK(json.is_object(), FormatError, where, ": expected a JSON object with the key \"", key, "\", found ",
                  detail::describe(json));
    const auto member = json.find(key);
    return member == json.end() || member->is_null() ? nullptr : &*member;
}

/// A value as a T in {bool, Index, double, std::string}; `what` names it in the message. Throws FormatError.
template <class T>
T value_as(const Json& value, std::string_view what, std::string_view where) {
    auto typed = detail::json_value<T>(value);
    SMOLVLM_CHECK(typed, FormatError, where, ": ", what, " is ", detail::describe(value), ", expected ",
                  detail::json_type_name<T>);
    return std::move(*typed);
}

/// json[key] as a T, which must be there. Throws FormatError.
template <class T>
T get(const Json& json, const char* key, std::string_view where) {
    const Json* const value = find(json, key, where);
    SMOLVLM_CHECK(value, FormatError, where, ": the key \"", key, "\" is missing, expected ",
                  detail::json_type_name<T>);
    return value_as<T>(*value, join('"', key, '"'), where);
}

/// json[key] as a T, or `fallback` when it is absent or null. Throws FormatError when it is of another type.
template <class T>
T get_or(const Json& json, const char* key, std::string_view where, std::type_identity_t<T> fallback) {
    const Json* const value = find(json, key, where);
    return value ? value_as<T>(*value, join('"', key, '"'), where) : fallback;
}

/// json[key], which must be an object. Throws FormatError.
inline const Json& get_object(const Json& json, const char* key, std::string_view where) {
    const Json* const value = find(json, key, where);
    SMOLVLM_CHECK(value && value->is_object(), FormatError, where, ": \"", key, "\" is ",
                  value ? detail::describe(*value) : "missing", ", expected an object");
    return *value;
}

/// json[key], which must be an array. Throws FormatError.
inline const Json& get_array(const Json& json, const char* key, std::string_view where) {
    const Json* const value = find(json, key, where);
    SMOLVLM_CHECK(value && value->is_array(), FormatError, where, ": \"", key, "\" is ",
                  value ? detail::describe(*value) : "missing", ", expected an array");
    return *value;
}

}  // namespace smolvlm
