#pragma once
/// draw_contact_sheet: what the model sees of a picture, as a picture for people: the tiles in their grid, with gaps,
/// each under its position token, and beside them the global frame.
///
///     photo.jpg  640x480 -> 2048x1536 -> 3 x 4 tiles of 512
///     +-------------+ +-------------+ +-------------+ +-------------+   +-------------+
///     |<row_1_col_1>| |<row_1_col_2>| |<row_1_col_3>| |<row_1_col_4>|   |<global-img> |
///     +-------------+ +-------------+ +-------------+ +-------------+   +-------------+
///     ...

#include <smolvlm/image/font.hpp>
#include <smolvlm/image/processor.hpp>

namespace smolvlm {

namespace detail {

struct SheetStyle {
    Index margin = 24, gap = 8, panel_gap = 32, title_height = 40, text_scale = 2;
    Colour paper{22, 24, 29}, title{236, 238, 242}, note{142, 148, 160}, label{236, 238, 242}, accent{255, 196, 87};
    Colour chip{16, 17, 21};  // behind a label
};

/// What is drawn, in pixels of the sheet, before it is scaled to the wanted width.
struct SheetLayout {
    Index frame = 0;  // edge of a drawn tile
    Index width = 0, height = 0;
};

inline SheetLayout lay_out(const ProcessedImage& image, const SheetStyle& style, Index max_width) {
    const Index cols = image.cols;
    const Index fixed = 2 * style.margin + (cols > 0 ? (cols - 1) * style.gap + style.panel_gap : 0);
    SheetLayout layout;
    // Tiles are shrunk to fit and enlarged to hold their labels; below 24 pixels there is nothing to see.
    const Index enough = std::max<Index>(image.plan.tile, text_width("<row_1_col_1>", style.text_scale) + 24);
    layout.frame = std::clamp<Index>((max_width - fixed) / (cols + 1), 24, enough);
    layout.width = std::max(fixed + (cols + 1) * layout.frame, std::min<Index>(max_width, 640));
    const Index rows = std::max<Index>(image.rows, 1);
    layout.height = style.title_height + rows * layout.frame + (rows - 1) * style.gap;
    return layout;
}

inline void fill(Image& image, Index left, Index top, Index width, Index height, Colour colour) {
    const std::uint8_t channels[3] = {colour.red, colour.green, colour.blue};
    for (int c = 0; c < 3; ++c)
        for (Index y = top; y < top + height; ++y) std::fill_n(image.row(c, y) + left, width, channels[c]);
}

/// A frame of the processed picture at (left, top), with its token on a dark chip in the corner.
inline void draw_frame(Image& sheet, const ProcessedImage& image, Index index, Index edge, Index left, Index top,
                       const std::string& token, Colour colour, const SheetStyle& style, int threads) {
    const Index tile = image.plan.tile;
    Image frame(tile, tile);
    std::copy_n(image.frame(index).data(), 3 * tile * tile, frame.plane(0));
    frame = resize(frame, edge, edge, Resample::bicubic, threads);
    for (int c = 0; c < 3; ++c)
        for (Index y = 0; y < edge; ++y) std::copy_n(frame.row(c, y), edge, sheet.row(c, top + y) + left);
    Index scale = style.text_scale;
    while (scale > 1 && text_width(token, scale) + 6 * scale > edge) --scale;
    const Index width = text_width(token, scale) + 6 * scale, height = (glyph_height + 4) * scale;
    if (width > edge || height > edge) return;
    for (int c = 0; c < 3; ++c) {  // the picture still shows a little through the chip
        const int dark = c == 0 ? style.chip.red : c == 1 ? style.chip.green : style.chip.blue;
        for (Index y = 0; y < height; ++y) {
            std::uint8_t* row = sheet.row(c, top + y) + left;
            for (Index x = 0; x < width; ++x) row[x] = static_cast<std::uint8_t>((row[x] + 4 * dark) / 5);
        }
    }
    draw_text(sheet, left + 3 * scale, top + 3 * scale, token, colour, scale);
}

}  // namespace detail

/// The pictures below one another, each with a line that says its title (usually the file's name) and what became of
/// it. At most max_width pixels wide, grids of dozens of columns excepted.
inline Image draw_contact_sheet(const std::vector<ProcessedImage>& images, const std::vector<std::string>& titles = {},
                                Index max_width = 1600, int threads = default_threads()) {
    SMOLVLM_CHECK(!images.empty(), ValueError, "contact sheet: no pictures");
    SMOLVLM_CHECK(max_width >= 200, ValueError, "contact sheet: ", max_width, " pixels wide, expected 200 or more");
    const detail::SheetStyle style;
    Index width = 0, height = style.margin;
    for (const ProcessedImage& image : images) {
        const detail::SheetLayout layout = detail::lay_out(image, style, max_width);
        width = std::max(width, layout.width);
        height += layout.height + style.margin;
    }
    Image sheet(width, height);
    detail::fill(sheet, 0, 0, width, height, style.paper);

    Index top = style.margin;
    for (std::size_t i = 0; i < images.size(); ++i) {
        const ProcessedImage& image = images[i];
        const TilePlan& plan = image.plan;
        const detail::SheetLayout layout = detail::lay_out(image, style, max_width);
        Index left = style.margin;
        if (i < titles.size() && !titles[i].empty()) {
            draw_text(sheet, left, top, titles[i], style.title, style.text_scale);
            left += text_width(titles[i] + "   ", style.text_scale);
        }
        const std::string what = image.cols > 0 ? join(image.rows, " x ", image.cols, " tiles of ", plan.tile)
                                                : join("one frame of ", plan.tile);
        const std::string note = join(plan.picture.width, "x", plan.picture.height, " -> ", plan.canvas.width, "x",
                                      plan.canvas.height, " -> ", what);
        draw_text(sheet, left, top, note, style.note, style.text_scale);

        const Index step = layout.frame + style.gap, grid_top = top + style.title_height;
        for (Index tile = 0; tile < image.rows * image.cols; ++tile) {
            const Index row = tile / image.cols, col = tile % image.cols;
            detail::draw_frame(sheet, image, tile, layout.frame, style.margin + col * step, grid_top + row * step,
                               join("<row_", row + 1, "_col_", col + 1, ">"), style.label, style, threads);
        }
        const Index global_left = style.margin + (image.cols > 0 ? image.cols * step - style.gap + style.panel_gap : 0);
        detail::draw_frame(sheet, image, image.frames() - 1, layout.frame, global_left, grid_top, "<global-img>",
                           style.accent, style, threads);
        top += layout.height + style.margin;
    }
    return sheet;
}

}  // namespace smolvlm
