#include <smolvlm/image/contact_sheet.hpp>

#include <doctest/doctest.h>

#include "golden.hpp"

using namespace smolvlm;
using namespace testing;

namespace {

/// How many pixels have exactly this colour in a region.
Index count(const Image& image, Colour colour, Index left, Index top, Index width, Index height) {
    Index n = 0;
    for (Index y = top; y < top + height; ++y)
        for (Index x = left; x < left + width; ++x)
            n += image.row(0, y)[x] == colour.red && image.row(1, y)[x] == colour.green &&
                 image.row(2, y)[x] == colour.blue;
    return n;
}

}  // namespace

TEST_CASE("font: every letter has its own shape inside its cell, and text advances by its width") {
    std::vector<std::string> shapes;
    for (char letter = '!'; letter <= '~'; ++letter) {
        Image image(detail::glyph_advance, detail::glyph_height);
        detail::fill(image, 0, 0, image.width(), image.height(), {0, 0, 0});
        draw_text(image, 0, 0, std::string_view(&letter, 1), {255, 255, 255});
        CHECK(detail::glyphs[letter - '!'].letter == letter);
        CHECK(count(image, {255, 255, 255}, 0, 0, image.width(), image.height()) > 0);
        CHECK(count(image, {255, 255, 255}, detail::glyph_width, 0, 1, image.height()) == 0);
        shapes.push_back(interleaved(image));
    }
    std::sort(shapes.begin(), shapes.end());
    CHECK(std::unique(shapes.begin(), shapes.end()) == shapes.end());
    for (const detail::Glyph& glyph : detail::glyphs)
        for (const std::string_view row : glyph.rows) CHECK(row.size() == detail::glyph_width);
    CHECK(text_width("ab", 1) == 11);
    CHECK(text_width("ab", 3) == 33);
}

TEST_CASE("font: text is cut off at the picture's edges, and unknown bytes are boxes") {
    Image image(20, 12);
    detail::fill(image, 0, 0, 20, 12, {0, 0, 0});
    draw_text(image, -3, -2, "Wide text, too wide by far", {9, 9, 9}, 3);
    CHECK(count(image, {9, 9, 9}, 0, 0, 20, 12) > 0);
    Image box(6, 9);
    detail::fill(box, 0, 0, 6, 9, {0, 0, 0});
    draw_text(box, 0, 0, "\xff", {1, 1, 1});
    CHECK(count(box, {1, 1, 1}, 0, 0, 6, 9) == 20);
}

TEST_CASE("contact sheet: as wide as asked at most, with every tile in its place") {
    const ImageProcessorConfig config{.longest_edge = 256, .tile = 64};
    // Each quarter of the picture has one colour, so that a tile's middle shows where it came from.
    Image image(200, 200);
    const Colour colours[4] = {{200, 0, 0}, {0, 200, 0}, {0, 0, 200}, {200, 200, 0}};
    for (int q = 0; q < 4; ++q) detail::fill(image, q % 2 * 100, q / 2 * 100, 100, 100, colours[q]);
    const ProcessedImage processed = process_image(image, config);
    REQUIRE(processed.rows == 4);
    for (const Index max_width : {400, 900, 1600}) {
        CAPTURE(max_width);
        const Image sheet = draw_contact_sheet({processed}, {"quarters"}, max_width);
        CHECK(sheet.width() <= max_width);
        const detail::SheetStyle style;
        const detail::SheetLayout layout = detail::lay_out(processed, style, max_width);
        for (Index row = 0; row < 4; ++row)
            for (Index col = 0; col < 4; ++col) {
                const Index left = style.margin + col * (layout.frame + style.gap) + layout.frame / 4;
                const Index top =
                    style.margin + style.title_height + row * (layout.frame + style.gap) + layout.frame * 5 / 8;
                CHECK(count(sheet, colours[row / 2 * 2 + col / 2], left, top, layout.frame / 2, layout.frame / 4) ==
                      layout.frame / 2 * (layout.frame / 4));
            }
    }
}

TEST_CASE("contact sheet: unsplit pictures, many pictures and tiny tiles fit, too") {
    const ProcessedImage one = process_image(noise(50, 40), {.longest_edge = 64, .tile = 64});
    const ProcessedImage wide = process_image(noise(900, 10), {.longest_edge = 1024, .tile = 32});
    const Image sheet = draw_contact_sheet({one, wide, one}, {"a", "", "c"});
    CHECK(sheet.width() <= 1600);
    CHECK(sheet.height() > 200);
    CHECK_THROWS_AS(draw_contact_sheet({}), ValueError);
    CHECK_THROWS_AS(draw_contact_sheet({one}, {}, 10), ValueError);
}
