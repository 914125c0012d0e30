#include <doctest/doctest.h>

#include <smolvlm/tokenizer/byte_level.hpp>
#include <smolvlm/tokenizer/unicode.hpp>

#include "tokenizer/support.hpp"

using namespace smolvlm;

namespace {

std::string made_valid(std::string_view bytes) {
    std::string text;
    append_valid_utf8(text, bytes, true);
    return text;
}

}  // namespace

TEST_CASE("utf8: every scalar value comes back from its bytes, and no other value does") {
    bool all = true;
    for (char32_t c = 0; c < 0x110000; ++c) {
        const std::string bytes = testing::utf8(c);
        const Utf8Char back = decode_utf8(bytes, 0);
        const bool surrogate = c >= 0xD800 && c < 0xE000;
        if (surrogate)
            all = all && back.kind == Utf8Char::invalid;
        else
            all = all && back.kind == Utf8Char::character && back.value == c && back.length == bytes.size();
    }
    CHECK(all);
}

TEST_CASE("utf8: what is no character becomes U+FFFD once per maximal subpart, as in Rust and Python") {
    const std::string r = "\xEF\xBF\xBD";
    CHECK(made_valid("a\x80z") == "a" + r + "z");
    CHECK(made_valid("\xC0\xAF") == r + r);                  // overlong
    CHECK(made_valid("\xE0\x80\xAF") == r + r + r);          // overlong
    CHECK(made_valid("\xED\xA0\x80") == r + r + r);          // a surrogate
    CHECK(made_valid("\xF4\x90\x80\x80") == r + r + r + r);  // past U+10FFFF
    CHECK(made_valid("\xF1\x80\x80\x41") == r + "A");        // three bytes of four
    CHECK(made_valid("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41") == r + r + r + r + "A");
    CHECK(made_valid("\xE4\xBD") == r);  // cut off at the end
    CHECK(made_valid("\xFF\xFE\xC3\xA9") == r + r + "\xC3\xA9");
}

TEST_CASE("utf8: valid text stays as it is, and what was made valid is valid") {
    Random random(1);
    for (int i = 0; i < 2000; ++i) {
        const std::string text = testing::random_text(random, 20);
        CHECK(made_valid(text) == text);
        const std::string once = made_valid(testing::random_bytes(random, 30));
        CHECK(made_valid(once) == once);
    }
}

TEST_CASE("utf8: text made valid piece by piece equals text made valid at once, wherever it is cut") {
    Random random(2);
    for (int i = 0; i < 2000; ++i) {
        const std::string bytes = i % 2 ? testing::random_bytes(random, 12) : testing::random_text(random, 6);
        std::string text, pending;
        for (const char byte : bytes) {
            pending += byte;
            pending.erase(0, append_valid_utf8(text, pending, false));
            REQUIRE(pending.size() <= 3);
        }
        append_valid_utf8(text, pending, true);
        CHECK(text == made_valid(bytes));
    }
}

TEST_CASE("char_classes: every scalar value has the classes that the reference engine gives it") {
    const Json golden = testing::golden_json("unicode_classes.json");
    const std::pair<const char*, CharClass> classes[] = {
        {"letter", letter_class}, {"number", number_class}, {"space", space_class}, {"digit_split", digit_class}};
    for (const auto& named : classes) {
        const char* const name = named.first;
        const CharClass char_class = named.second;
        std::vector<bool> expected(0x110000);
        for (const Json& range : golden.at(name))
            for (auto c = range.at(0).get<std::size_t>(); c <= range.at(1).get<std::size_t>(); ++c) expected[c] = true;
        std::size_t differ = 0;
        for (char32_t c = 0; c < 0x110000; ++c) differ += expected[c] != bool(char_classes(c) & char_class);
        INFO(name);
        CHECK(differ == 0);
    }
}

TEST_CASE("char_classes: no character is two of letter, number and space, and all letters are of words") {
    for (char32_t c = 0; c < 0x110000; ++c) {
        const unsigned classes = char_classes(c), kind = classes & (letter_class | number_class | space_class);
        REQUIRE((kind & (kind - 1)) == 0);
        if (classes & letter_class) REQUIRE((classes & word_class) != 0);
    }
    CHECK(char_classes(0x110000) == 0);
}

TEST_CASE("byte level: all 256 bytes have characters of their own, and a space is U+0120") {
    std::string bytes;
    for (int byte = 0; byte < 256; ++byte) bytes += static_cast<char>(byte);
    CHECK(bytes_of_token(token_of_bytes(bytes)) == bytes);
    CHECK(token_of_bytes(" the") == "\xC4\xA0the");
    CHECK(token_of_bytes("\n") == "\xC4\x8A");
}

TEST_CASE("byte level: a token with a character outside the alphabet stands for its own bytes") {
    CHECK(bytes_of_token("two words") == "two words");
    CHECK(bytes_of_token("\xE4\xBD\xA0") == "\xE4\xBD\xA0");
    CHECK(bytes_of_token("\xC3\xA9") == "\xE9");  // e acute is the alphabet's character of byte E9
}
