#include <smolvlm/io/json.hpp>

#include <doctest/doctest.h>

#include "support/error_text.hpp"

using namespace smolvlm;

using testing::contains;
using testing::error_of;

TEST_CASE("json: a typed getter returns the value and a fallback stands in for absent and null keys") {
    const Json json = parse_json(R"({"i": -7, "d": 1.5, "b": true, "s": "x\ny", "n": null, "i": 8})", "f.json");
    CHECK(get<Index>(json, "i", "f.json") == 8);  // the last of two equal keys
    CHECK(get<double>(json, "d", "f.json") == 1.5);
    CHECK(get<double>(json, "i", "f.json") == 8.0);  // an integer is a number
    CHECK(get<bool>(json, "b", "f.json"));
    CHECK(get<std::string>(json, "s", "f.json") == "x\ny");
    CHECK(get_or<Index>(json, "n", "f.json", 3) == 3);
    CHECK(get_or<Index>(json, "absent", "f.json", 4) == 4);
    CHECK(get_or<std::string>(json, "s", "f.json", "z") == "x\ny");
}

TEST_CASE("json: a wrong type is an error that names file, key, found and expected") {
    const Json json = parse_json(R"({"i": "wide", "d": 0.5, "big": 18446744073709551615, "a": []})", "f.json");
    CHECK(error_of([&] { get<Index>(json, "i", "f.json"); }) ==
          "f.json: \"i\" is the string \"wide\", expected an integer");
    CHECK(error_of([&] { get<Index>(json, "d", "f.json"); }) ==
          "f.json: \"d\" is the number 0.5, expected an integer");
    CHECK(contains(error_of([&] { get<Index>(json, "big", "f.json"); }), "expected an integer"));
    CHECK(contains(error_of([&] { get_or<bool>(json, "a", "f.json", true); }), "is an array, expected true or false"));
    CHECK(contains(error_of([&] { get<std::string>(json, "gone", "f.json"); }), "\"gone\" is missing"));
    CHECK(contains(error_of([&] { get_object(json, "a", "f.json"); }), "expected an object"));
    CHECK(contains(error_of([&] { get_array(json, "d", "f.json"); }), "expected an array"));
    CHECK(contains(error_of([&] { get<Index>(json["a"], "i", "f.json"); }), "expected a JSON object"));
}

TEST_CASE("json: text that is no JSON is an error with file and byte offset, on one line") {
    for (const char* text :
         {"", "{", "{\"a\":", "[1,]", "nul", "{\"a\" 1}", "\"\x01\"", "\"\xff\"", "1e999", "{} x", "\n\n["}) {
        const std::string message = error_of([&] { parse_json(text, "f.json"); });
        CAPTURE(message);
        CHECK(contains(message, "f.json: byte "));
        CHECK(message.find('\n') == message.npos);
        CHECK(message.size() < 300);
    }
}

TEST_CASE("json: nesting beyond the limit is an error, brackets inside strings do not count") {
    const auto nested = [](int depth) {
        return std::string(static_cast<std::size_t>(depth), '[') + std::string(static_cast<std::size_t>(depth), ']');
    };
    CHECK(parse_json(nested(200), "f.json").is_array());
    CHECK(contains(error_of([&] { parse_json(nested(201), "f.json"); }), "byte 200: JSON nested more than 200"));
    CHECK(contains(error_of([&] { parse_json(std::string(200000, '['), "f.json"); }), "nested"));
    CHECK(parse_json("\"" + std::string(500, '[') + "\\\"[\"", "f.json").is_string());
}

TEST_CASE("json: a text file is read whole, and a missing, oversized or unreadable one is an error that names it") {
    const std::string path = "json_test_text.tmp";
    std::FILE* file = std::fopen(path.c_str(), "wb");
    const std::string text(200000, 'x');
    std::fwrite(text.data(), 1, text.size(), file);
    std::fclose(file);
    CHECK(read_text_file(path, 200000) == text);
    CHECK(contains(error_of([&] { read_text_file(path, 199999); }), "larger than the 199999 bytes"));
    std::remove(path.c_str());
    CHECK_THROWS_WITH_AS(read_text_file("no/such/file", 10),
                         "no/such/file: cannot be opened: No such file or directory", ValueError);
    CHECK_THROWS_AS(read_text_file(".", 10), ValueError);
}
