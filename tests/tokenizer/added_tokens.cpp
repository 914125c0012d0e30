#include <doctest/doctest.h>

#include <smolvlm/tokenizer/added_tokens.hpp>

#include "tokenizer/support.hpp"

using namespace smolvlm;

namespace {

AddedToken token(std::int32_t id, std::string content) {
    AddedToken result;
    result.id = id;
    result.content = std::move(content);
    return result;
}

/// The text with [id] in place of each added token.
std::string split(const std::vector<AddedToken>& tokens, const std::string& text) {
    AddedTokens added;
    for (const auto& one : tokens) added.insert(one);
    std::string result;
    added.split(
        text, [&](std::size_t begin, std::size_t end) { result += text.substr(begin, end - begin); },
        [&](const AddedToken& found) { result += '[' + std::to_string(found.id) + ']'; });
    return result;
}

}  // namespace

TEST_CASE("added tokens: the leftmost wins, then the longest, and nothing is looked at twice") {
    const std::vector<AddedToken> tokens{token(1, "<a>"), token(2, "<a><b>"), token(3, "<b>"), token(4, "aa")};
    CHECK(split(tokens, "x<a>y") == "x[1]y");
    CHECK(split(tokens, "<a><b><b>") == "[2][3]");
    CHECK(split(tokens, "<a<a>") == "<a[1]");
    CHECK(split(tokens, "aaaaa") == "[4][4]a");
    CHECK(split(tokens, "<a") == "<a");
    CHECK(split(tokens, "") == "");
    CHECK(split({}, "text") == "text");
}

TEST_CASE("added tokens: lstrip and rstrip take white space of every kind along") {
    AddedToken left = token(1, "<l>"), right = token(2, "<r>");
    left.lstrip = true;
    right.rstrip = true;
    CHECK(split({left}, "a \n\xC2\xA0<l> b") == "a[1] b");
    CHECK(split({right}, "a <r>\xE3\x80\x80\t b") == "a [2]b");
    CHECK(split({left, right}, "<r>  <l>") == "[2][1]");  // the space belongs to the first
}

TEST_CASE("added tokens: single_word matches only where no word character touches") {
    AddedToken word = token(1, "no");
    word.single_word = true;
    CHECK(split({word}, "no") == "[1]");
    CHECK(split({word}, "no, not now no.") == "[1], not now [1].");
    CHECK(split({word}, "\xC3\xA9no") == "\xC3\xA9no");
    CHECK(split({word}, "no_") == "no_");
    CHECK(split({word}, "\xFFno\xFF") == "\xFF[1]\xFF");
}

TEST_CASE("added tokens: without stripping, the pieces joined are the text, whatever the bytes") {
    const std::vector<AddedToken> tokens{token(0, "<image>"), token(1, "<|im_start|>"), token(2, " "),
                                         token(3, "\xC2")};
    AddedTokens added;
    for (const auto& one : tokens) added.insert(one);
    Random random(6);
    for (int i = 0; i < 2000; ++i) {
        const std::string text = i % 2 ? testing::random_bytes(random, 40) : testing::random_text(random, 20);
        std::string joined;
        added.split(
            text, [&](std::size_t begin, std::size_t end) { joined += text.substr(begin, end - begin); },
            [&](const AddedToken& found) { joined += found.content; });
        CHECK(joined == text);
    }
}

TEST_CASE("added tokens: a content that would make every place of the text costly is refused") {
    AddedTokens added;
    const std::string error = testing::error_of([&] { added.insert(token(7, std::string(5000, 'a'))); });
    CHECK(testing::contains(error, "id 7 has 5000 bytes, expected at most 4096"));
}
