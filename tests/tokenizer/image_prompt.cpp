#include <doctest/doctest.h>

#include <smolvlm/tokenizer/image_prompt.hpp>

#include "tokenizer/support.hpp"

using namespace smolvlm;
using testing::contains;
using testing::error_of;

namespace {

const ContentPart photo{ContentPart::image, "cat.png"};
const ContentPart question{ContentPart::text, "What?"};

std::string expand(std::string_view prompt, std::vector<ImageLayout> images, Index tokens = 2) {
    return expand_image_tokens(prompt, images, tokens);
}

std::size_t count(std::string_view text, std::string_view part) {
    std::size_t n = 0;
    for (std::size_t at = text.find(part); at != text.npos; at = text.find(part, at + part.size())) ++n;
    return n;
}

}  // namespace

TEST_CASE("image prompt: one frame is a global image between two marks") {
    CHECK(expand("User:<image>What?", {{0, 0}}) ==
          "User:<fake_token_around_image><global-img><image><image><fake_token_around_image>What?");
}

TEST_CASE("image prompt: tiles come row by row, each row ends its line, the global frame comes last") {
    CHECK(expand("<image>", {{2, 1}}, 1) ==
          "<fake_token_around_image><row_1_col_1><image>\n<fake_token_around_image><row_2_col_1><image>\n\n"
          "<fake_token_around_image><global-img><image><fake_token_around_image>");
    CHECK(contains(expand("<image>", {{1, 2}}, 1),
                   "<row_1_col_1><image><fake_token_around_image><row_1_col_2><image>\n\n<fake"));
}

TEST_CASE("image prompt: images are replaced in order, everything else stays") {
    const std::string text = expand("a<image>b<image>c", {{0, 0}, {1, 1}}, 1);
    CHECK(text == "a" + image_text({0, 0}, 1) + "b" + image_text({1, 1}, 1) + "c");
    CHECK(expand("no image", {}) == "no image");
}

TEST_CASE("image prompt: there are as many image tokens as frames times features") {
    for (Index rows = 1; rows <= 6; ++rows)
        for (Index cols = 1; cols <= 6; ++cols) {
            const ImageLayout layout{rows, cols};
            CHECK(count(expand("x<image>y", {layout}, 64), "<image>") ==
                  static_cast<std::size_t>(layout.frames() * 64));
            CHECK(count(image_text(layout, 64), "<row_") == static_cast<std::size_t>(rows * cols));
        }
    CHECK(ImageLayout{0, 0}.frames() == 1);
}

TEST_CASE("image prompt: places and images must be equally many, and the message says both numbers") {
    CHECK(contains(error_of([] { expand("<image> and <image>", {{0, 0}}); }),
                   "has 2 times '<image>', but there are 1 images"));
    CHECK(contains(error_of([] { expand("nothing", {{0, 0}}); }), "has 0 times '<image>', but there are 1 images"));
}

TEST_CASE("image prompt: impossible layouts are refused before anything is allocated") {
    CHECK(contains(error_of([] { expand("<image>", {{-1, 2}}); }), "-1 x 2 tiles"));
    CHECK(contains(error_of([] { expand("<image>", {{0, 3}}); }), "0 x 3 tiles"));
    CHECK(contains(error_of([] { expand("<image>", {{1 << 30, 1 << 30}}); }), "tiles, expected"));
    CHECK(contains(error_of([] { expand("<image>", {{0, 0}}, 0); }), "0 tokens per frame"));
}

TEST_CASE("media text: the intro goes before a first image, the outro after the last, and nothing without images") {
    const auto with = [](Conversation c) { return with_media_text(std::move(c), training_media_text); };
    const Conversation one = with({{"system", "S"}, {"user", {photo, photo, question}}});
    REQUIRE(one[1].content.size() == 5);
    CHECK(one[1].content[0].value == "Here are some images: ");
    CHECK(one[1].content[3].value == "Now answer the following question: ");
    CHECK(one[1].content[4].value == "What?");
    CHECK(one[0].content.size() == 1);

    const Conversation text_first = with({{"user", {question, photo}}});
    REQUIRE(text_first[0].content.size() == 3);
    CHECK(text_first[0].content[2].value == "Now answer the following question: ");

    const Conversation later = with({{"user", {question}}, {"assistant", {question}}, {"user", {photo}}});
    CHECK(later[0].content.size() == 1);
    CHECK(later[2].content.size() == 2);

    CHECK(with({{"user", "Hi"}})[0].content.size() == 1);
    CHECK(with_media_text({{"user", {photo}}}, {})[0].content.size() == 1);
}
