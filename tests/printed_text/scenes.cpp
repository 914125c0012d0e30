// Pictures of printed text: the same for the same number, and their answers are what is printed.

#include "../../examples/printed_text/scenes.hpp"

#include <doctest/doctest.h>

#include <set>

#include "support/error_text.hpp"

using namespace printed_text;
using smolvlm::Sample;

namespace {

const Image& photo() {
    static const Image image = [] {
        Image grey(40, 30);
        for (Index i = 0; i < 3 * 40 * 30; ++i) grey.plane(0)[i] = static_cast<std::uint8_t>(90 + i % 50);
        return grey;
    }();
    return image;
}
Scenes scenes(const std::string& kind, std::uint64_t seed = 2, double scale = 1) {
    static const Fonts fonts = find_fonts(trained_fonts);
    return Scenes(kind, fonts, {photo()}, seed, scale);
}
std::string question(const Sample& sample, std::size_t i) { return sample.chat[2 * i].content.back().value; }
std::string answer(const Sample& sample, std::size_t i) { return sample.chat[2 * i + 1].content.front().value; }
Index cents(const std::string& price) {
    const std::size_t point = price.find('.');
    return 100 * std::stol(price.substr(0, point)) + std::stol(price.substr(point + 1));
}

}  // namespace

TEST_CASE("Scenes: sample i is the same whenever it is drawn, and another with another i, seed or kind") {
    for (const std::string& kind : scene_kinds) {
        const Scenes once = scenes(kind), again = scenes(kind), other = scenes(kind, 3);
        for (Index i = 0; i < 20; ++i) {
            const Sample a = once.sample(i), b = again.sample(i);
            CHECK(a.pictures[0] == b.pictures[0]);
            REQUIRE(a.chat.size() == b.chat.size());
            REQUIRE(a.chat.size() % 2 == 0);
            CHECK(a.chat.size() >= 2);
            for (std::size_t m = 0; m < a.chat.size(); ++m)
                CHECK(a.chat[m].content.back().value == b.chat[m].content.back().value);
        }
        CHECK_FALSE(once.sample(0).pictures[0] == once.sample(1).pictures[0]);
        CHECK_FALSE(once.sample(0).pictures[0] == other.sample(0).pictures[0]);
    }
}

TEST_CASE("Scenes: there is ink where a character is said to be, and every picture fits its grid of tiles") {
    Page page(64, 64);
    page.write(*find_fonts({"DejaVuSans"}).front(), "A7", 20, 32, 32);
    REQUIRE(page.glyphs().size() == 2);
    Random random(1);
    const Image picture = page.print(Look{}, random);
    const auto darkest = [&](double left, double top, double right, double bottom) {
        int least = 255;
        for (auto y = static_cast<Index>(top); y < static_cast<Index>(bottom); ++y)
            for (auto x = static_cast<Index>(left); x < static_cast<Index>(right); ++x)
                least = std::min<int>(least, picture.row(0, y)[x]);
        return least;
    };
    for (const Page::Glyph& glyph : page.glyphs()) {
        CHECK(glyph.bottom - glyph.top == doctest::Approx(20));
        CHECK(darkest(glyph.left, glyph.top, glyph.right, glyph.bottom) < 20);
    }
    CHECK(darkest(0, 0, 64, 20) == 255);   // above the text
    CHECK(darkest(0, 44, 64, 64) == 255);  // and below
    for (const std::string& kind : scene_kinds)
        for (Index i = 0; i < 10; ++i) {
            CHECK(scenes("plain_" + kind).sample(i).pictures[0].width() % 64 == 0);
            const Image small = scenes(kind).sample(i).pictures[0], large = scenes(kind, 2, 2).sample(i).pictures[0];
            CHECK(small.width() % 64 == 0);
            CHECK(small.height() % 64 == 0);
            CHECK(std::max(small.width(), small.height()) == (kind == "frame" || kind == "easy" ? 64 : 192));
            CHECK(large.width() == 2 * small.width());
        }
}

TEST_CASE("Scenes: a receipt's total is the sum of its prices; a ticket's places hold what all of it says") {
    int receipts = 0, tickets = 0;
    for (Index i = 0; i < 300; ++i) {
        const Sample receipt = scenes("receipt").sample(i);
        Index sum = 0, total = -1;
        for (std::size_t q = 0; q < receipt.chat.size() / 2; ++q) {
            if (question(receipt, q) == "How much is the total?")
                total = cents(answer(receipt, q));
            else if (question(receipt, q).starts_with("How much is the "))
                sum += cents(answer(receipt, q));
        }
        if (total >= 0) {
            CHECK(sum == total);
            ++receipts;
        }
        const Sample ticket = scenes("ticket").sample(i);
        std::set<std::string> asked;
        for (std::size_t q = 0; q < ticket.chat.size() / 2; ++q) {
            asked.insert(question(ticket, q));
            if (question(ticket, q).starts_with("Where is ")) {
                CHECK(answer(ticket, q).starts_with("row "));
                ++tickets;
            }
            if (question(ticket, q) == "Read all the text.") {
                CHECK(ticket.chat.size() == 2);  // alone: other questions would give answers away
                const std::string all = answer(ticket, q);
                CHECK(std::ranges::count(all, '\n') == ticket.pictures[0].height() / 64 - 1);
                CHECK(std::ranges::count(all, ' ') ==
                      (ticket.pictures[0].width() / 64 - 1) * (ticket.pictures[0].height() / 64));
            }
        }
        CHECK(asked.size() == ticket.chat.size() / 2);
    }
    CHECK(receipts > 100);
    CHECK(tickets > 50);
}

TEST_CASE("Scenes: answers are spelt in capitals, digits and a point, but where there is nothing to read") {
    for (const char* kind : {"frame", "label", "sign", "display", "serial", "ticket", "receipt"})
        for (Index i = 0; i < 50; ++i) {
            const Sample sample = scenes(kind).sample(i);
            for (std::size_t q = 0; q < sample.chat.size() / 2; ++q)
                if (!question(sample, q).starts_with("Where is "))
                    CHECK(answer(sample, q).find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._ \n") ==
                          std::string::npos);
        }
    bool silent = false, refused = false;
    for (Index i = 0; i < 50; ++i) {
        const Sample sample = scenes("blank").sample(i);
        for (std::size_t q = 0; q < sample.chat.size() / 2; ++q) {
            silent = silent || answer(sample, q) == no_text;
            refused = refused || answer(sample, q) == only_reads;
        }
    }
    CHECK(silent);
    CHECK(refused);
}

TEST_CASE("Scenes: plain ones refuse questions that look for a text, and answer all others") {
    const auto looks_for_a_text = [](const std::string& question) {
        return question.starts_with("Where is ") ||
               (question.starts_with("How much is the ") && question != "How much is the total?");
    };
    int refused = 0, answered = 0;
    for (const char* kind : {"plain_ticket", "plain_receipt"})
        for (Index i = 0; i < 100; ++i) {
            const Sample sample = scenes(kind).sample(i);
            for (std::size_t q = 0; q < sample.chat.size() / 2; ++q) {
                const bool refuses = answer(sample, q) == only_reads;
                CHECK(refuses == looks_for_a_text(question(sample, q)));
                ++(refuses ? refused : answered);
            }
        }
    CHECK(refused > 10);
    CHECK(answered > 300);
    CHECK_FALSE(scenes("plain_ticket").sample(0).pictures[0] == scenes("ticket").sample(0).pictures[0]);
}

TEST_CASE("Scenes: an unknown kind and a missing font are sentences that say what there is") {
    CHECK(testing::error_of([] { scenes("poem"); }).find("\"poem\" is not one of frame, easy, label") !=
          std::string::npos);
    CHECK(testing::error_of([] { scenes("plain_"); }).find("\"plain_\" is not one of") != std::string::npos);
    CHECK(testing::error_of([] { find_fonts({"NoSuchFont"}); }).find("apt-get install fonts-dejavu-core") !=
          std::string::npos);
    CHECK(testing::error_of([] { Font font(SMOLVLM_TEST_DIR "/run.sh"); }).find("is no TrueType font") !=
          std::string::npos);
}
