#include <doctest/doctest.h>

#include <smolvlm/tokenizer/pretokenize.hpp>

#include "tokenizer/support.hpp"

using namespace smolvlm;

namespace {

using Words = std::vector<std::string>;

Words cut(std::string_view text, bool split_digits = true) {
    Words words;
    for (WordCutter cutter(text, split_digits); !cutter.done();) words.emplace_back(cutter.next());
    return words;
}

/// The rule once more, slowly: each alternative of the regular expression tried in turn, greedy, with backtracking.
class SlowRule {
public:
    explicit SlowRule(std::string_view text) {
        for (std::size_t at = 0; at < text.size(); at += decode_utf8(text, at).length) {
            const Utf8Char c = decode_utf8(text, at);
            bytes_.emplace_back(text.substr(at, c.length));
            classes_.push_back(c.kind == Utf8Char::character ? char_classes(c.value) : 0);
        }
    }

    Words words() const {
        Words result;
        for (std::size_t at = 0; at < bytes_.size();) {
            const std::size_t end = match(at);
            result.emplace_back();
            for (; at < end; ++at) result.back() += bytes_[at];
        }
        return result;
    }
    /// With every digit cut out first, and the rule applied between.
    Words words_around_digits() const {
        Words result;
        std::string piece;
        const auto flush = [&] {
            for (auto& word : SlowRule(piece).words()) result.push_back(word);
            piece.clear();
        };
        for (std::size_t i = 0; i < bytes_.size(); ++i) {
            if (classes_[i] & digit_class) {
                flush();
                result.push_back(bytes_[i]);
            } else {
                piece += bytes_[i];
            }
        }
        flush();
        return result;
    }

private:
    bool is(std::size_t i, unsigned wanted) const {
        const unsigned kind = classes_[i] & (letter_class | number_class | space_class);
        return wanted ? (kind & wanted) != 0 : kind == 0;
    }
    std::size_t run(std::size_t at, unsigned wanted) const {
        while (at < bytes_.size() && is(at, wanted)) ++at;
        return at;
    }
    std::size_t match(std::size_t at) const {
        for (const std::string_view contraction : {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"}) {
            std::string here;
            for (std::size_t i = at; i < bytes_.size() && here.size() < contraction.size(); ++i) here += bytes_[i];
            if (here == contraction) return at + contraction.size();
        }
        for (const unsigned wanted : {unsigned{letter_class}, unsigned{number_class}, 0u})
            for (const std::size_t from : {bytes_[at] == " " ? at + 1 : at, at})
                if (const std::size_t end = run(from, wanted); end > from) return end;
        const std::size_t end = run(at, space_class);
        for (std::size_t shorter = end; shorter > at; --shorter)  // \s+(?!\S), longest first
            if (shorter == bytes_.size() || is(shorter, space_class)) return shorter;
        return end;
    }

    std::vector<std::string> bytes_;
    std::vector<unsigned> classes_;
};

}  // namespace

TEST_CASE("words: the cases a reader checks by eye") {
    CHECK(cut("Hello world") == Words{"Hello", " world"});
    CHECK(cut("I'll say it's 'tis") == Words{"I", "'ll", " say", " it", "'s", " '", "tis"});
    CHECK(cut("a  b") == Words{"a", " ", " b"});
    CHECK(cut("a \n b") == Words{"a", " \n", " b"});
    CHECK(cut("a\tb") == Words{"a", "\t", "b"});
    CHECK(cut("end  ") == Words{"end", "  "});
    CHECK(cut("no-one, ever!") == Words{"no", "-", "one", ",", " ever", "!"});
    CHECK(cut("").empty());
}

TEST_CASE("words: split digits are words of their own, and the space before them stays behind") {
    CHECK(cut("in 2024") == Words{"in", " ", "2", "0", "2", "4"});
    CHECK(cut("a  1") == Words{"a", "  ", "1"});
    CHECK(cut("x\xC2\xBDy") == Words{"x", "\xC2\xBD", "y"});  // one half
    CHECK(cut("in 2024", false) == Words{"in", " 2024"});
    CHECK(cut("a  1", false) == Words{"a", " ", " 1"});
}

TEST_CASE("words: bytes that are no UTF-8 count as punctuation") {
    CHECK(cut("a \xFF\xC3!b") == Words{"a", " \xFF\xC3!", "b"});
    CHECK(cut("\xE4\xBD") == Words{"\xE4\xBD"});
}

TEST_CASE("words: joined they are the text, whatever the bytes") {
    Random random(3);
    for (int i = 0; i < 3000; ++i) {
        const std::string text = i % 2 ? testing::random_bytes(random, 60) : testing::random_text(random, 30);
        std::string joined;
        for (const auto& word : cut(text, i % 3 == 0)) joined += word;
        CHECK(joined == text);
    }
}

TEST_CASE("words: equal to the regular expression tried alternative by alternative") {
    Random random(4);
    for (int i = 0; i < 5000; ++i) {
        const std::string text = i % 4 ? testing::random_text(random, 25) : testing::random_bytes(random, 25);
        const SlowRule slow(text);
        CHECK(cut(text, false) == slow.words());
        CHECK(cut(text, true) == slow.words_around_digits());
    }
}
