#pragma once
/// Scenes: pictures of printed text with questions and answers, without end. Sample i is a pure function of
/// (kind, fonts, seed, i).
///
///     kind       pixels    tiles        what it shows
///     frame      64x64     one frame    1 to 3 lines of up to 7 characters; also asks what each image token shows
///     easy       64x64     one frame    the same in one font, white on black, straight and clean
///     label      192x192   3x3+global   1 or 2 large lines, for the global frame
///     sign       192x192   3x3+global   the same on a photo
///     display    both      3x3 or 1x3   a number in seven segments
///     serial     192x64    1x3+global   a serial number, five characters a tile
///     ticket     up to 3x3 tiles        a short string in every tile
///     receipt    128x192   3x2+global   items, prices, the total
///     blank      up to 3x3 tiles        no text, or questions that have nothing to do with it
///     all                               the seven above in turn, by weight
///     plain_KIND                        the same with larger letters (at least 11 pixels in a frame, in receipts 9),
///                                       serial numbers with four characters a tile, and questions that look for a text
///                                       refused: what the tiny reader learns last, and claims
///
/// The model's frames are 64 pixels; lengths below are those pixels. Capitals and digits only.

#include <array>
#include <smolvlm/data/sample_source.hpp>
#include <string>
#include <utility>

#include "looks.hpp"
#include "texts.hpp"

namespace printed_text {

inline const std::vector<std::string> trained_fonts{
    "DejaVuSans",       "DejaVuSans-Bold", "DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSerif",
    "DejaVuSerif-Bold", "FreeSans",        "FreeSansBold",   "OpenSans-Semibold",   "OpenSans-CondBold"};
inline const std::vector<std::string> held_out_fonts{"Roboto-Medium"};

inline const std::vector<std::string> scene_kinds{"frame",  "easy",   "label",   "sign",  "display",
                                                  "serial", "ticket", "receipt", "blank", "all"};

/// Text of a picture with what is asked about it.
struct Scene {
    Page page;
    Look look;
    std::vector<std::pair<std::string, std::string>> questions;  // and their answers
};

class Scenes : public smolvlm::SampleSource {
public:
    /// photos: behind signs. scale: picture pixels to one of the model's. most_questions: in one conversation.
    Scenes(std::string kind, Fonts fonts, std::vector<Image> photos, std::uint64_t seed, double scale = 1,
           Index most_questions = 8)
        : kind_(std::move(kind)),
          plain_(kind_.starts_with("plain_")),
          fonts_(std::move(fonts)),
          photos_(std::move(photos)),
          seed_(seed),
          scale_(scale),
          most_questions_(most_questions) {
        SMOLVLM_CHECK(std::ranges::count(scene_kinds, bare_kind()) == 1, ValueError, "scenes: \"", kind_,
                      "\" is not one of ", list_of_kinds());
    }
    static std::string list_of_kinds() {
        std::string list;
        for (const std::string& kind : scene_kinds) list += (list.empty() ? "" : ", ") + kind;
        return list + ", each also with plain_ before it";
    }

    Index size() const override { return 0; }
    std::string where(Index i) const override { return smolvlm::join(kind_, " ", i, " of seed ", seed_); }
    smolvlm::Sample sample(Index i) const override {
        std::uint64_t seed = seed_;
        for (const char c : kind_) seed = seed * 0x9E3779B97F4A7C15ull + static_cast<unsigned char>(c);
        Random random(seed, static_cast<std::uint64_t>(i) << 24);
        Scene scene = draw(random);
        smolvlm::Sample sample;
        sample.pictures.push_back(scene.page.print(scene.look, random));
        for (const auto& [question, answer] : scene.questions) {
            smolvlm::Message user("user", question);
            if (sample.chat.empty()) user.content.insert(user.content.begin(), {smolvlm::ContentPart::image, where(i)});
            sample.chat.push_back(std::move(user));
            sample.chat.emplace_back("assistant", answer);
        }
        return sample;
    }

private:
    static constexpr double tile = 64;

    std::string bare_kind() const { return plain_ ? kind_.substr(6) : kind_; }

    Scene draw(Random& random) const {
        std::string kind = bare_kind();
        if (kind == "all") {
            static const std::vector<std::string> turns{"ticket", "ticket", "ticket", "receipt", "receipt",
                                                        "serial", "label",  "sign",   "display", "blank"},
                plain_turns{"ticket", "ticket", "ticket", "ticket", "serial",  "serial",
                            "label",  "label",  "sign",   "receipt", "display", "blank"};
            kind = pick(random, plain_ ? plain_turns : turns);
        }
        Scene scene = kind == "frame" || kind == "easy" ? lines(random, tile, 3)
                      : kind == "label"                 ? lines(random, 3 * tile, 2)
                      : kind == "sign"                  ? lines(random, 3 * tile, 1)
                      : kind == "display"               ? display(random)
                      : kind == "serial"                ? serial(random)
                      : kind == "ticket"                ? ticket(random)
                      : kind == "blank"                 ? blank(random)
                                                        : receipt(random);
        if ((kind == "frame" || kind == "easy") && chance(random, 1.0 / 3)) ask_for_map(scene);
        scene.look = kind == "easy" ? Look{{0, 0, 0}, {0, 0, 0}, {1, 1, 1}} : look(random, kind);
        if (static_cast<Index>(scene.questions.size()) > most_questions_)
            scene.questions.resize(static_cast<std::size_t>(most_questions_));
        return scene;
    }

    const Font& font(Random& random) const { return kind_ == "easy" ? *fonts_.front() : *pick(random, fonts_); }

    // ---- scenes

    /// 1 to `most` lines, each as large as its share of the square allows, or somewhat smaller.
    Scene lines(Random& random, double edge, Index most) const {
        Scene scene{Page(edge, edge, scale_), {}, {}};
        const Index count = one_of(random, 1, most);
        const double share = edge / static_cast<double>(count), least = (plain_ ? 11 : 7.2) * edge / tile,
                     room = 0.92 * edge;
        std::vector<std::string> texts;
        for (Index line = 0; line < count;) {
            const Font& letters = font(random);
            const std::string text = any_text(random, 7);
            const double largest = std::min({0.62 * share, 0.42 * edge, room / letters.width(text)});
            if (largest < least) continue;
            const double cap = between(random, std::max(least, 0.65 * largest), largest);
            const double slack_x = (0.96 * edge - letters.width(text) * cap) / 2, slack_y = (0.9 * share - cap) / 2;
            scene.page.write(letters, text, cap, edge / 2 + between(random, -slack_x, slack_x),
                             (static_cast<double>(line) + 0.5) * share + between(random, -slack_y, slack_y) * 0.7);
            texts.push_back(text);
            ++line;
        }
        ask_for_lines(scene, texts, random);
        return scene;
    }

    Scene display(Random& random) const {
        const bool wide = chance(random, 0.5);
        Scene scene{wide ? Page(3 * tile, tile, scale_) : Page(3 * tile, 3 * tile, scale_), {}, {}};
        const std::string digits = wide ? number(random, 6, 6) : number(random, 1, 5);
        const double pitch =
            wide ? tile / 2
                 : 3 * tile * between(random, 0.8, 0.94) / std::max<double>(3, static_cast<double>(digits.size()));
        const double height = wide ? between(random, 26, 44) : std::min(1.7 * pitch, between(random, 60, 110));
        scene.page.write_segments(digits, height, 1.5 * tile, (wide ? 0.5 : 1.5) * tile + between(random, -4, 4),
                                  pitch);
        scene.questions = {{chance(random, 0.5) ? "What number is shown?" : "Read all the text.", digits}};
        return scene;
    }

    Scene serial(Random& random) const {
        Scene scene{Page(3 * tile, tile, scale_), {}, {}};
        const Font& letters = font(random);
        std::string all;
        const Index size = plain_ ? 4 : 5;  // of a group
        const double pitch = plain_ ? 14.7 : 11.8, widest = pitch - 0.3;
        const double cap = between(random, plain_ ? 11.5 : 9, plain_ ? 16 : 13), y = tile / 2 + between(random, -8, 8);
        for (Index group = 0; group < 3; ++group) {
            const std::string text = code(random, size, size);
            scene.page.write(letters, text, std::min(cap, widest / letters.width("W")),
                             (static_cast<double>(group) + 0.5) * tile, y, pitch);
            all += (group ? " " : "") + text;
        }
        scene.questions = {{chance(random, 0.5) ? "What is the serial number?" : "Read all the text.", all}};
        return scene;
    }

    Scene ticket(Random& random) const {
        Index rows = 3, cols = one_of(random, 1, 3);
        if (chance(random, 0.5)) std::swap(rows, cols);
        const double width = tile * static_cast<double>(cols), height = tile * static_cast<double>(rows);
        Scene scene{Page(width, height, scale_), {}, {}};
        const Font& letters = font(random);
        std::vector<std::string> texts;
        for (Index row = 0; row < rows; ++row)
            for (Index col = 0; col < cols; ++col) {
                const std::string text = any_text(random, 4);
                const double largest = std::min(24.0, 50 / letters.width(text));
                const double least =
                    plain_ ? std::min(largest, std::max(12.0, 0.75 * largest)) : std::max(8.0, 0.6 * largest);
                const double cap = between(random, least, largest);
                const double slack_x = (56 - letters.width(text) * cap) / 2, slack_y = (50 - cap) / 2;
                scene.page.write(letters, text, cap,
                                 (static_cast<double>(col) + 0.5) * tile + between(random, -slack_x, slack_x),
                                 (static_cast<double>(row) + 0.5) * tile + between(random, -slack_y, slack_y));
                texts.push_back(text);
            }
        if (chance(random, 0.5)) {
            for (Index row = 1; row < rows; ++row)
                scene.page.fill(0, tile * static_cast<double>(row) - 0.5, width, tile * static_cast<double>(row) + 0.5);
            for (Index col = 1; col < cols; ++col)
                scene.page.fill(tile * static_cast<double>(col) - 0.5, 0, tile * static_cast<double>(col) + 0.5,
                                height);
        }

        std::string all;
        for (std::size_t i = 0; i < texts.size(); ++i) {
            const auto row = static_cast<Index>(i) / cols, col = static_cast<Index>(i) % cols;
            all += (i == 0 ? "" : col == 0 ? "\n" : " ") + texts[i];
            const std::string place = smolvlm::join("row ", row + 1, ", column ", col + 1);
            if (chance(random, plain_ ? 0.03 : 0.2) && std::ranges::count(texts, texts[i]) == 1)
                look_for(scene, smolvlm::join("Where is ", texts[i], " written?"), place);
            else
                scene.questions.emplace_back(smolvlm::join("What is written in ", place, "?"), texts[i]);
        }
        shuffle(scene, random);
        if (chance(random, 0.25)) ask_for(scene, all);
        return scene;
    }

    Scene receipt(Random& random) const {
        Scene scene{Page(2 * tile, 3 * tile, scale_), {}, {}};
        const Font& letters = font(random);
        const double pitch = tile / 2, cap = plain_ ? between(random, 9, 11) : between(random, 7.5, 9.5);
        double line = 0;
        std::string all;
        const auto put = [&](const std::string& name, const std::string& amount) {
            const double y = (line++ + 0.5) * pitch + between(random, -2, 2);
            const double size = std::min(cap, 55 / std::max(letters.width(name), letters.width(amount)));
            scene.page.write(letters, name, size, 5 + letters.width(name) * size / 2, y);
            if (!amount.empty())
                scene.page.write(letters, amount, size, 2 * tile - 5 - letters.width(amount) * size / 2, y);
            all += (all.empty() ? "" : "\n") + name + (amount.empty() ? "" : " " + amount);
        };
        const std::string shop = pick(random, shops);
        put(shop, "");
        std::vector<std::string> names = goods;
        Index total = 0;
        for (Index items = one_of(random, 2, 4); items > 0; --items) {
            const std::size_t which = random.below(static_cast<std::uint32_t>(names.size()));
            const Index cents = chance(random, 0.5) ? 10 * one_of(random, 5, 199) : one_of(random, 50, 1999);
            put(names[which], price(cents));
            if (!plain_ || chance(random, 0.1)) look_for(scene, "How much is the " + names[which] + "?", price(cents));
            names.erase(names.begin() + static_cast<std::ptrdiff_t>(which));
            total += cents;
        }
        if (chance(random, 0.4)) line = 5;  // the total at the very bottom
        if (chance(random, 0.5)) scene.page.fill(4, line * pitch - 0.5, 2 * tile - 4, line * pitch + 0.5);
        put("TOTAL", price(total));
        scene.questions.emplace_back("How much is the total?", price(total));
        if (chance(random, 0.3)) scene.questions.emplace_back("What is the name of the shop?", shop);
        shuffle(scene, random);
        if (chance(random, 0.2)) ask_for(scene, all);
        return scene;
    }

    /// A page without text, or a ticket whose text nobody asks for.
    Scene blank(Random& random) const {
        Scene scene = ticket(random);
        if (chance(random, 0.5)) {
            const std::string read = pick(random, scene.questions).first;
            scene = Scene{Page(3 * tile, chance(random, 0.5) ? 3 * tile : tile, scale_), {}, {}};
            scene.questions.emplace_back(chance(random, 0.5) ? "Read all the text." : read, no_text);
        } else {
            scene.questions.resize(1);
        }
        scene.questions.emplace_back(pick(random, other_questions), only_reads);
        shuffle(scene, random);
        return scene;
    }

    // ---- what is asked

    static void shuffle(Scene& scene, Random& random) {
        for (std::size_t i = scene.questions.size(); i > 1; --i)
            std::swap(scene.questions[i - 1], scene.questions[random.below(static_cast<std::uint32_t>(i))]);
    }
    static void ask_for_lines(Scene& scene, const std::vector<std::string>& texts, Random& random) {
        std::string all;
        for (const std::string& text : texts) all += (all.empty() ? "" : "\n") + text;
        if (texts.size() < 2 || chance(random, 0.5)) return ask_for(scene, all);
        for (std::size_t line = 0; line < texts.size(); ++line)
            scene.questions.emplace_back(smolvlm::join("What is written in line ", line + 1, "?"), texts[line]);
        shuffle(scene, random);
    }
    /// All of it, and nothing else: an answer must not be found in the answers before it.
    static void ask_for(Scene& scene, const std::string& all) { scene.questions = {{"Read all the text.", all}}; }
    /// A question that names a text of the picture. The model did not learn to find it; plain scenes make it say so.
    void look_for(Scene& scene, const std::string& question, const std::string& answer) const {
        scene.questions.emplace_back(question, plain_ ? only_reads : answer);
    }
    /// The sixteen image tokens of a frame, and the character in the middle of each: what teaches the tower its
    /// letters.
    static void ask_for_map(Scene& scene) {
        std::string map;
        for (int row = 0; row < 4; ++row)
            for (int col = 0; col < 4; ++col) {
                const double x = 16 * col + 8, y = 16 * row + 8;
                char nearest = '_';
                double least = 6;
                for (const Page::Glyph& g : scene.page.glyphs()) {
                    const double dx = std::max({g.left - x, x - g.right, 0.0}),
                                 dy = std::max({g.top - y, y - g.bottom, 0.0});
                    if (const double far = std::max(dx, dy); far < least) least = far, nearest = g.character;
                }
                map += nearest;
            }
        scene.questions = {{"Map the characters.", map}};
    }

    Look look(Random& random, const std::string& kind) const {
        const bool one_frame = kind == "frame";
        if (kind == "sign" || (one_frame && chance(random, 0.15)))
            return photographed(on_photo(random, pick(random, photos_), scale_), random, 0.05);
        if (kind == "display" || (one_frame && chance(random, 0.1))) return photographed(lit(random), random, 0.025);
        if (kind == "receipt") return photographed(on_white_paper(random), random, 0.025);
        return photographed(in_colours(random), random, one_frame || kind == "label" ? 0.05 : 0.025);
    }

    std::string kind_;
    bool plain_;
    Fonts fonts_;
    std::vector<Image> photos_;
    std::uint64_t seed_;
    double scale_;
    Index most_questions_;
};

}  // namespace printed_text
