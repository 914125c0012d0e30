#pragma once
/// Pictures whose only question is where: a grid of tiles, two characters in each, and questions of the form "what
/// stands in row 2, column 1?", in as few words as possible:
///
///     +------+------+
///     |  A7  |   K0 |      r1c2  K0
///     +------+------+
///     | 3C   |  TT  |      r2c1  3C
///     +------+------+
///
/// No two tiles of a picture begin with the same character, so that the first character of an answer says from which
/// tile it was read. Sample i follows from (seed, i) alone.

#include <functional>
#include <optional>
#include <smolvlm/core/random.hpp>
#include <smolvlm/data/sample_source.hpp>
#include <smolvlm/image/font.hpp>
#include <smolvlm/tokenizer/image_prompt.hpp>

namespace finding {

using smolvlm::Image;
using smolvlm::Index;
using smolvlm::Random;

inline constexpr std::string_view alphabet = "0123456789ACEHKT";
inline constexpr Index tile_edge = 32;        // pixels
inline constexpr Index tokens_per_frame = 4;  // patches of 8, joined two by two

/// Every character once, eight pixels a dot: what tiles are drawn from.
class Glyphs {
public:
    static constexpr Index columns = 5, rows = 7, fine = 8;

    Glyphs() {
        for (const char c : alphabet) {
            Image& glyph = images_[static_cast<std::size_t>(c)] = Image(columns * fine, rows * fine);
            std::fill_n(glyph.plane(0), glyph.pixels().numel(), std::uint8_t(0));
            smolvlm::draw_text(glyph, 0, 0, std::string_view(&c, 1), {255, 255, 255}, fine);
        }
    }
    /// Is there ink at (x, y), in dots from the upper left corner?
    bool ink(char c, double x, double y) const {
        if (x < 0 || y < 0 || x >= columns || y >= rows) return false;
        const Image& glyph = images_[static_cast<std::size_t>(c)];
        return glyph.row(0, static_cast<Index>(y * fine))[static_cast<Index>(x * fine)] != 0;
    }

private:
    std::array<Image, 128> images_;
};

/// What a picture shows and what is asked about it.
struct Grid {
    Index rows = 1, cols = 1;
    std::vector<std::string> codes;  // of the tiles, row by row
    std::vector<Index> asked;        // tiles

    Index tiles() const { return rows * cols; }
};

class TiledPictures : public smolvlm::SampleSource {
public:
    /// What stands before the image tokens of a tile; rows and columns count from 1.
    using Position = std::function<std::string(Index row, Index col)>;

    struct Options {
        std::uint64_t seed = 0;
        Index pictures = 0;         // 0: without end
        Index least = 2, most = 3;  // rows and columns
        Index questions = 8;        // a picture
        Position position = {};     // none: <row_1_col_2>, as in every SmolVLM
    };

    explicit TiledPictures(Options options) : options_(std::move(options)) {
        SMOLVLM_CHECK(options_.least >= 1 && options_.most >= options_.least &&
                          options_.most * options_.most <= std::ssize(alphabet),
                      ValueError, "grids: sides from ", options_.least, " to ", options_.most, ", expected 1 to 4");
    }

    Index size() const override { return options_.pictures; }
    std::string where(Index i) const override { return smolvlm::join("picture ", i); }

    Grid grid(Index i) const {
        Random random = random_of(i, 0);
        const auto side = [&] {
            return options_.least + random.below(static_cast<std::uint32_t>(options_.most - options_.least + 1));
        };
        Grid grid;
        grid.rows = side();
        grid.cols = side();
        std::string first(alphabet);
        shuffle(first, random);
        for (Index tile = 0; tile < grid.tiles(); ++tile)
            grid.codes.push_back({first[static_cast<std::size_t>(tile)], alphabet[random.below(alphabet.size())]});
        // All tiles in random order, again and again.
        while (std::ssize(grid.asked) < options_.questions) {
            std::vector<Index> order;
            for (Index tile = 0; tile < grid.tiles(); ++tile) order.push_back(tile);
            shuffle(order, random);
            grid.asked.insert(grid.asked.end(), order.begin(), order.end());
        }
        grid.asked.resize(static_cast<std::size_t>(options_.questions));
        return grid;
    }

    smolvlm::Sample sample(Index i) const override {
        using smolvlm::ContentPart, smolvlm::Message;
        const Grid grid = this->grid(i);
        smolvlm::Sample sample;
        sample.pictures.push_back(draw(grid, i));
        if (options_.position) sample.picture_texts.push_back(picture_text(grid));
        for (const Index tile : grid.asked) {
            std::vector<ContentPart> user{
                {ContentPart::text, smolvlm::join('r', tile / grid.cols + 1, 'c', tile % grid.cols + 1)}};
            if (sample.chat.empty()) user.insert(user.begin(), {ContentPart::image, where(i)});
            sample.chat.emplace_back("user", std::move(user));
            sample.chat.emplace_back("assistant", grid.codes[static_cast<std::size_t>(tile)]);
        }
        return sample;
    }

private:
    Random random_of(Index i, std::uint64_t purpose) const {
        return Random(options_.seed * 0x9E3779B97F4A7C15ull + purpose, static_cast<std::uint64_t>(i) << 32);
    }
    static void shuffle(auto& items, Random& random) {
        for (std::size_t i = items.size(); i > 1; --i)
            std::swap(items[i - 1], items[random.below(static_cast<std::uint32_t>(i))]);
    }
    /// image_text with other words for the places of tiles.
    std::string picture_text(const Grid& grid) const {
        if (grid.tiles() == 1) return smolvlm::image_text({}, tokens_per_frame);  // not split: one frame
        std::string text = smolvlm::image_text({grid.rows, grid.cols}, tokens_per_frame);
        for (Index row = 1; row <= grid.rows; ++row)
            for (Index col = 1; col <= grid.cols; ++col) {
                const std::string name = smolvlm::join("<row_", row, "_col_", col, '>');
                text.replace(text.find(name), name.size(), options_.position(row, col));
            }
        return text;
    }
    /// Bright characters of changing size and place on dark ground, with noise.
    Image draw(const Grid& grid, Index i) const {
        static const Glyphs glyphs;
        Random random = random_of(i, 1);
        const auto between = [&](double least, double most) { return least + (most - least) * random.uniform(); };
        Image picture(grid.cols * tile_edge, grid.rows * tile_edge);
        constexpr double middle = static_cast<double>(tile_edge) / 2, width = 11;  // two glyphs and a gap, in dots
        for (Index tile = 0; tile < grid.tiles(); ++tile) {
            const std::string& code = grid.codes[static_cast<std::size_t>(tile)];
            const double dot = between(1.7, 2.1), paper = between(0.05, 0.25), ink = between(0.7, 1.0);
            const double left = middle - width * dot / 2 + between(-3, 3);
            const double top = middle - static_cast<double>(Glyphs::rows) * dot / 2 + between(-4, 4);
            for (Index y = 0; y < tile_edge; ++y)
                for (Index x = 0; x < tile_edge; ++x) {
                    double covered = 0;
                    for (int part = 0; part < 4; ++part) {
                        const double u = (static_cast<double>(x) + (part % 2 ? 0.75 : 0.25) - left) / dot;
                        const double v = (static_cast<double>(y) + (part / 2 ? 0.75 : 0.25) - top) / dot;
                        covered += glyphs.ink(code[0], u, v) || glyphs.ink(code[1], u - 6, v) ? 0.25 : 0;
                    }
                    const double value = paper + covered * (ink - paper) + 0.1 * quick_normal(random);
                    const auto byte = static_cast<std::uint8_t>(std::clamp(value, 0.0, 1.0) * 255 + 0.5);
                    for (int channel = 0; channel < 3; ++channel)
                        picture.row(channel, tile / grid.cols * tile_edge + y)[tile % grid.cols * tile_edge + x] = byte;
                }
        }
        return picture;
    }
    /// About N(0, 1) from one draw: the sum of four bytes.
    static double quick_normal(Random& random) {
        const std::uint32_t bits = random.bits();
        return (static_cast<double>((bits & 255) + (bits >> 8 & 255) + (bits >> 16 & 255) + (bits >> 24)) - 510) /
               147.8;
    }

    Options options_;
};

}  // namespace finding
