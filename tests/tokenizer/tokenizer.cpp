#include <doctest/doctest.h>

#include <memory>
#include <thread>

#include <smolvlm/tokenizer/stream_decoder.hpp>

#include "tokenizer/support.hpp"

using namespace smolvlm;
using testing::contains;
using testing::error_of;
using testing::Ids;
using testing::learned_tokenizer;
using testing::string_tokenizer;

namespace {

const std::string space = "\xC4\xA0";  // as the byte-level alphabet writes it

/// a, b, c, a space, "ab", " ab" and the added "<x>".
TokenizerSpec small_spec() {
    TokenizerSpec spec;
    spec.vocab = {"a", "b", "c", space, "ab", space + "ab"};
    spec.merges = {{"a", "b"}, {space, "ab"}};
    AddedToken x;
    x.id = 6;
    x.content = "<x>";
    x.special = true;
    spec.added_tokens = {x};
    return spec;
}

Ids random_ids(Random& random, const Tokenizer& tokenizer, std::uint32_t max_ids) {
    Ids ids;
    for (std::uint32_t n = random.below(max_ids + 1); n > 0; --n)
        ids.push_back(static_cast<std::int32_t>(random.below(static_cast<std::uint32_t>(tokenizer.vocab_size()) + 5)));
    return ids;
}

}  // namespace

TEST_CASE("tokenizer: words merge, added tokens are found whole") {
    const Tokenizer tokenizer(small_spec());
    CHECK(tokenizer.encode("ab ab<x>c") == Ids{4, 5, 6, 2});
    CHECK(tokenizer.encode("").empty());
    CHECK(tokenizer.decode(Ids{4, 5, 6, 2}) == "ab ab<x>c");
    CHECK(tokenizer.decode(Ids{4, 5, 6, 2}, true) == "ab abc");
    CHECK(tokenizer.vocab_size() == 7);
    CHECK(tokenizer.id_of("<x>") == 6);
    CHECK(tokenizer.id_of(space + "ab") == 5);
    CHECK_FALSE(tokenizer.id_of(" ab"));
    CHECK_FALSE(tokenizer.id_of(""));
    CHECK(tokenizer.token_of(5) == space + "ab");
    CHECK(tokenizer.token_of(7).empty());
    CHECK(tokenizer.token_of(-1).empty());
    CHECK(tokenizer.is_special(6));
    CHECK_FALSE(tokenizer.is_special(5));
}

TEST_CASE("tokenizer: the caller can ask which bytes were dropped") {
    EncodeReport report;
    CHECK(learned_tokenizer().encode("=\x04=", &report) == learned_tokenizer().encode("=="));
    CHECK(report.dropped == std::vector<std::size_t>{1});
    CHECK(learned_tokenizer().decode(learned_tokenizer().encode("th\004e")) == "the");
    report = {};
    learned_tokenizer().encode("<image>\006 \377<image>plain", &report);
    CHECK(report.dropped == std::vector<std::size_t>{7, 9});
    report = {};
    learned_tokenizer().encode("plain", &report);
    CHECK(report.dropped.empty());
}

TEST_CASE("tokenizer: SmolLM2 has a token for all but 21 bytes") {
    std::string missing;
    for (int byte = 0; byte < 256; ++byte)
        if (learned_tokenizer().encode(std::string(1, static_cast<char>(byte))).empty())
            missing += static_cast<char>(byte);
    CHECK(missing == "\x04\x06\x13\x14\x16\x1d\xc0\xc1\xf1\xf2\xf5\xf6\xf7\xf8\xf9\xfa\xfb\xfc\xfd\xfe\xff");
}

TEST_CASE("tokenizer: text whose bytes the vocabulary has comes back byte for byte, valid UTF-8 or not") {
    Random random(7);
    for (const Tokenizer* tokenizer : {&learned_tokenizer(), &string_tokenizer()}) {
        for (int i = 0; i < 1500; ++i) {
            const std::string text = i % 2 ? testing::random_bytes(random, 60) : testing::random_text(random, 30);
            EncodeReport report;
            const Ids ids = tokenizer->encode(text, &report);
            std::string kept = text;
            for (std::size_t n = report.dropped.size(); n-- > 0;) kept.erase(report.dropped[n], 1);
            CHECK(tokenizer->decode_bytes(ids) == kept);
            if (i % 2 == 0) CHECK(tokenizer->decode(ids) == text);
        }
    }
}

TEST_CASE("tokenizer: the pieces of a StreamDecoder joined are decode() of all ids, and each is valid UTF-8") {
    Random random(8);
    const Tokenizer& tokenizer = learned_tokenizer();
    for (int i = 0; i < 2000; ++i) {
        const Ids ids = i % 2 ? random_ids(random, tokenizer, 30)
                              : tokenizer.encode(testing::random_text(random, 20) + testing::random_bytes(random, 4));
        for (const bool skip : {false, true}) {
            StreamDecoder decoder(tokenizer, skip);
            std::string joined;
            for (const std::int32_t id : ids) {
                const std::string piece = decoder.push(id);
                std::string valid;
                append_valid_utf8(valid, piece, true);
                REQUIRE(valid == piece);
                joined += piece;
            }
            joined += decoder.flush();
            CHECK(joined == tokenizer.decode(ids, skip));
            CHECK(decoder.flush().empty());
        }
    }
}

TEST_CASE("tokenizer: decoding passes over ids that no token has and refuses negative ones") {
    const Tokenizer tokenizer(small_spec());
    CHECK(tokenizer.decode(Ids{0, 7, 2147483647, 1}) == "ab");
    CHECK(contains(error_of([&] { tokenizer.decode(Ids{0, -100}); }), "-100 is no token id, expected one from 0 to 6"));
}

TEST_CASE("tokenizer: long words take no quadratic time") {
    // Each of these is one word of a megabyte; a quadratic merge would take hours.
    for (const std::string& text : {std::string(1 << 20, 'a'), std::string(1 << 20, ' '), std::string(1 << 20, '<')})
        CHECK(learned_tokenizer().decode_bytes(learned_tokenizer().encode(text)) == text);
}

TEST_CASE("tokenizer: a copy works without the original") {
    auto original = std::make_unique<Tokenizer>(small_spec());
    const Tokenizer copy = *original;
    original.reset();
    CHECK(copy.encode("ab ab<x>c") == Ids{4, 5, 6, 2});
}

TEST_CASE("tokenizer: threads that share one get the answers of one thread") {
    std::vector<std::string> texts;
    Random random(9);
    for (int i = 0; i < 300; ++i) texts.push_back(testing::random_text(random, 40));
    std::vector<Ids> alone;
    for (const auto& text : texts) alone.push_back(learned_tokenizer().encode(text));
    std::vector<int> equal(4);
    std::vector<std::thread> threads;
    for (std::size_t t = 0; t < equal.size(); ++t)
        threads.emplace_back([&, t] {
            for (std::size_t i = 0; i < texts.size(); ++i) equal[t] += learned_tokenizer().encode(texts[i]) == alone[i];
        });
    for (auto& thread : threads) thread.join();
    for (const int count : equal) CHECK(count == 300);
}

TEST_CASE("tokenizer: the position scheme follows from the tokenizer alone") {
    CHECK(position_scheme(learned_tokenizer()) == PositionScheme::learned);
    CHECK(position_scheme(string_tokenizer()) == PositionScheme::string);
    CHECK(position_scheme(Tokenizer(small_spec())) == PositionScheme::string);
}

TEST_CASE("tokenizer: parts that contradict each other are refused with a sentence") {
    const auto error = [](auto change) {
        TokenizerSpec spec = small_spec();
        change(spec);
        return error_of([&] { Tokenizer(spec, "t.json"); });
    };
    CHECK(error([](TokenizerSpec&) {}).empty());
    CHECK(contains(error([](TokenizerSpec& s) { s.vocab.clear(); }), "t.json: the vocabulary is empty"));
    CHECK(contains(error([](TokenizerSpec& s) { s.vocab[2] = "a"; }), "the token 'a' has two ids, 0 and 2"));
    CHECK(contains(error([](TokenizerSpec& s) { s.merges[0].second = "z"; }),
                   "merge 0 ('a' with 'z'): 'z' is not in the vocabulary"));
    CHECK(contains(error([](TokenizerSpec& s) { s.merges.push_back({"a", "c"}); }),
                   "merge 2 ('a' with 'c'): 'ac' is not in"));
    CHECK(contains(error([](TokenizerSpec& s) { s.merges.push_back({"", "c"}); }), "'' is not in the vocabulary"));
    CHECK(contains(error([](TokenizerSpec& s) { s.added_tokens[0].id = 4; }),
                   "'<x>' has the id 4, but that is the id of 'ab'"));
    CHECK(contains(error([](TokenizerSpec& s) { s.added_tokens[0].content = "ab"; }), "but the vocabulary gives it 4"));
    CHECK(contains(error([](TokenizerSpec& s) { s.added_tokens[0].id = -1; }), "has the id -1, expected one from 0"));
    CHECK(contains(error([](TokenizerSpec& s) { s.added_tokens[0].id = 2000000000; }), "has the id 2000000000"));
}
