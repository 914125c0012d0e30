#pragma once
/// Page: ink on something, as a camera sees it. Lengths are in units of the model's pixels; `scale` pixels of the
/// picture are one unit.
///
///     Page page(192, 64, scale);
///     page.write(font, "A7 K2", 12, 32, 32);           // capitals 12 high, centred at (32, 32)
///     Image picture = page.print(look, random);        // turned a little, coloured, with noise

#include <algorithm>
#include <array>
#include <cmath>
#include <smolvlm/core/random.hpp>
#include <smolvlm/image/image.hpp>

#include "font.hpp"

namespace printed_text {

using smolvlm::Image;
using smolvlm::Index;
using smolvlm::Random;

using Colour = std::array<float, 3>;  // red, green, blue in 0..1

inline double between(Random& random, double least, double most) { return least + (most - least) * random.uniform(); }
inline bool chance(Random& random, double probability) { return random.uniform() < probability; }
/// Each from least to most.
inline Index one_of(Random& random, Index least, Index most) {
    return least + static_cast<Index>(random.below(static_cast<std::uint32_t>(most - least + 1)));
}
template <class T>
const T& pick(Random& random, const std::vector<T>& items) {
    return items[random.below(static_cast<std::uint32_t>(items.size()))];
}

/// How a page is printed and photographed.
struct Look {
    Colour paper{1, 1, 1}, shade{1, 1, 1};  // a gradient from one to the other
    Colour ink{0, 0, 0};
    double direction = 0;          // of the gradient, in radians
    double angle = 0;              // of the page, in radians
    double noise = 0;              // standard deviation of every byte, as a fraction of white
    const Image* photo = nullptr;  // behind the ink instead of paper, from the point (photo_x, photo_y)
    Index photo_x = 0, photo_y = 0;
    double photo_step = 1;                   // pixels of the photo to one of the picture
    float photo_black = 0, photo_white = 1;  // what its darkest and brightest become
};

class Page {
public:
    /// Where a character was written, in units.
    struct Glyph {
        char character;
        double left, top, right, bottom;
    };

    Page(double width, double height, double scale = 1)
        : scale_(scale),
          columns_(static_cast<Index>(std::lround(width * scale * oversampling))),
          rows_(static_cast<Index>(std::lround(height * scale * oversampling))),
          ink_(static_cast<std::size_t>(columns_ * rows_)) {}

    const std::vector<Glyph>& glyphs() const { return glyphs_; }

    /// A line of text, centred at (x, y). pitch: 0, or the distance of one character to the next.
    void write(const Font& font, std::string_view text, double cap_height, double x, double y, double pitch = 0) {
        const double unit = scale_ * oversampling;
        const double count = static_cast<double>(text.size());
        double left = x - (pitch > 0 ? count * pitch : font.width(text) * cap_height) / 2;
        const double base = y + cap_height / 2;
        for (const Font::Placed& glyph : font.place(text)) {
            const double advance = glyph.advance * cap_height, cell = pitch > 0 ? pitch : advance;
            const double at = left + (cell - advance) / 2;
            font.draw(glyph.character, cap_height * unit, at * unit, base * unit,
                      [this](long column, long row, float coverage) { cover(column, row, coverage); });
            if (glyph.character != ' ') glyphs_.push_back({glyph.character, at, base - cap_height, at + advance, base});
            left += cell;
        }
    }
    /// Digits of seven segments, as displays have them.
    void write_segments(std::string_view digits, double height, double x, double y, double pitch) {
        // top, upper left, upper right, middle, lower left, lower right, bottom
        static constexpr std::array<unsigned, 10> lit{0b1110111, 0b0010010, 0b1011101, 0b1011011, 0b0111010,
                                                      0b1101011, 0b1101111, 0b1010010, 0b1111111, 0b1111011};
        const double width = std::min(0.55 * height, 0.72 * pitch), thick = 0.13 * height, half = height / 2;
        double left = x - static_cast<double>(digits.size()) * pitch / 2 + (pitch - width) / 2;
        for (const char digit : digits) {
            const unsigned on = lit[static_cast<std::size_t>(digit - '0')];
            const double top = y - half, right = left + width, bottom = y + half, gap = thick / 4;
            if (on & 0b1000000) fill(left + gap, top, right - gap, top + thick);
            if (on & 0b0100000) fill(left, top + gap, left + thick, y - gap);
            if (on & 0b0010000) fill(right - thick, top + gap, right, y - gap);
            if (on & 0b0001000) fill(left + gap, y - thick / 2, right - gap, y + thick / 2);
            if (on & 0b0000100) fill(left, y + gap, left + thick, bottom - gap);
            if (on & 0b0000010) fill(right - thick, y + gap, right, bottom - gap);
            if (on & 0b0000001) fill(left + gap, bottom - thick, right - gap, bottom);
            glyphs_.push_back({digit, left, top, right, bottom});
            left += pitch;
        }
    }
    /// A filled box.
    void fill(double left, double top, double right, double bottom) {
        const double unit = scale_ * oversampling;
        for (long row = std::lround(top * unit); row < std::lround(bottom * unit); ++row)
            for (long column = std::lround(left * unit); column < std::lround(right * unit); ++column)
                cover(column, row, 1);
    }

    Image print(const Look& look, Random& random) const {
        const Index width = columns_ / oversampling, height = rows_ / oversampling;
        Image picture(width, height);
        const auto across = static_cast<float>(std::cos(look.direction)),
                   down = static_cast<float>(std::sin(look.direction));
        const double c = std::cos(look.angle), s = std::sin(look.angle);
        const double middle_x = static_cast<double>(width) / 2, middle_y = static_cast<double>(height) / 2;
        for (Index y = 0; y < height; ++y) {
            for (Index x = 0; x < width; ++x) {
                float coverage = 0;
                for (int sample = 0; sample < 4; ++sample) {
                    const double dx = static_cast<double>(x) + (sample % 2 ? 0.75 : 0.25) - middle_x;
                    const double dy = static_cast<double>(y) + (sample / 2 ? 0.75 : 0.25) - middle_y;
                    coverage += ink_at((c * dx + s * dy + middle_x) * oversampling,
                                       (c * dy - s * dx + middle_y) * oversampling) /
                                4;
                }
                const float fx = static_cast<float>(x) / static_cast<float>(width) - 0.5f;
                const float fy = static_cast<float>(y) / static_cast<float>(height) - 0.5f;
                const float t = std::clamp(0.5f + across * fx + down * fy, 0.0f, 1.0f);
                for (int channel = 0; channel < 3; ++channel) {
                    const auto i = static_cast<std::size_t>(channel);
                    float value = look.paper[i] + t * (look.shade[i] - look.paper[i]);
                    if (look.photo) value = photo_at(look, channel, x, y);
                    value += coverage * (look.ink[i] - value);
                    if (look.noise > 0) value += static_cast<float>(look.noise * quick_normal(random));
                    picture.row(channel, y)[x] =
                        static_cast<std::uint8_t>(std::clamp(value * 255.0f + 0.5f, 0.0f, 255.0f));
                }
            }
        }
        return picture;
    }

private:
    static constexpr Index oversampling = 2;

    void cover(long column, long row, float coverage) {
        if (column < 0 || row < 0 || column >= columns_ || row >= rows_) return;
        float& ink = ink_[static_cast<std::size_t>(row * columns_ + column)];
        ink = std::max(ink, coverage);
    }
    /// Between the four nearest samples of the ink.
    float ink_at(double x, double y) const {
        const double column = std::floor(x - 0.5), row = std::floor(y - 0.5);
        const auto fx = static_cast<float>(x - 0.5 - column), fy = static_cast<float>(y - 0.5 - row);
        const auto i = static_cast<Index>(column), j = static_cast<Index>(row);
        if (i < 0 || j < 0 || i + 1 >= columns_ || j + 1 >= rows_) return 0;
        const float* const at = &ink_[static_cast<std::size_t>(j * columns_ + i)];
        const float above = at[0] + fx * (at[1] - at[0]);
        const float below = at[columns_] + fx * (at[columns_ + 1] - at[columns_]);
        return above + fy * (below - above);
    }
    static float photo_at(const Look& look, int channel, Index x, Index y) {
        const auto column = look.photo_x + static_cast<Index>(static_cast<double>(x) * look.photo_step);
        const auto row = look.photo_y + static_cast<Index>(static_cast<double>(y) * look.photo_step);
        const float value =
            static_cast<float>(look.photo->row(channel, row % look.photo->height())[column % look.photo->width()]);
        return look.photo_black + (look.photo_white - look.photo_black) * value / 255.0f;
    }
    /// About N(0, 1) from one draw: the sum of four bytes.
    static double quick_normal(Random& random) {
        const std::uint32_t bits = random.bits();
        const double sum = static_cast<double>((bits & 255) + (bits >> 8 & 255) + (bits >> 16 & 255) + (bits >> 24));
        return (sum - 510.0) / 147.8;
    }

    double scale_;
    Index columns_, rows_;
    std::vector<float> ink_;  // [rows, columns], oversampled
    std::vector<Glyph> glyphs_;
};

}  // namespace printed_text
