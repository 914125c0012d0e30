#pragma once
/// Font: outlines of a TrueType file, drawn by stb_truetype. Files are looked for among the system's fonts.

#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <smolvlm/core/error.hpp>
#include <string>
#include <string_view>
#include <vector>

#define STB_TRUETYPE_IMPLEMENTATION
#define STBTT_STATIC
#include <stb/stb_truetype.h>

namespace printed_text {

class Font {
public:
    explicit Font(const std::string& path) : path_(path) {
        std::ifstream file(path, std::ios::binary);
        bytes_.assign(std::istreambuf_iterator<char>(file), {});
        const auto* const data = reinterpret_cast<const unsigned char*>(bytes_.data());
        const int offset = bytes_.size() > 64 ? stbtt_GetFontOffsetForIndex(data, 0) : -1;  // -1: not a font at all
        SMOLVLM_CHECK(offset >= 0 && stbtt_InitFont(&info_, data, offset), FormatError, path,
                      ": is no TrueType font that can be read");
        int box[4];
        stbtt_GetCodepointBox(&info_, 'H', &box[0], &box[1], &box[2], &box[3]);
        cap_height_ = static_cast<double>(box[3]);
    }
    Font(const Font&) = delete;
    Font& operator=(const Font&) = delete;

    const std::string& path() const { return path_; }

    /// One glyph of a line: its place from the line's left end, as multiples of the height of capitals.
    struct Placed {
        char character;
        double left, advance;
    };
    std::vector<Placed> place(std::string_view text) const {
        std::vector<Placed> out;
        double left = 0;
        for (const char c : text) {
            int advance = 0, bearing = 0;
            stbtt_GetCodepointHMetrics(&info_, c, &advance, &bearing);
            out.push_back({c, left, advance / cap_height_});
            left += advance / cap_height_;
        }
        return out;
    }
    /// Width of a line, as a multiple of the height of capitals.
    double width(std::string_view text) const {
        const auto glyphs = place(text);
        return glyphs.empty() ? 0 : glyphs.back().left + glyphs.back().advance;
    }

    /// f(x, y, coverage in 0..1) for the pixels of a glyph whose origin is at (x, y) on the base line.
    template <class F>
    void draw(char character, double cap_height, double x, double y, F&& f) const {
        const auto scale = static_cast<float>(cap_height / cap_height_);
        const double column = std::floor(x), row = std::floor(y);
        const auto shift_x = static_cast<float>(x - column), shift_y = static_cast<float>(y - row);
        int x0, y0, x1, y1;
        stbtt_GetCodepointBitmapBoxSubpixel(&info_, character, scale, scale, shift_x, shift_y, &x0, &y0, &x1, &y1);
        const int width = x1 - x0, height = y1 - y0;
        if (width <= 0 || height <= 0) return;
        std::vector<unsigned char> bitmap(static_cast<std::size_t>(width) * static_cast<std::size_t>(height));
        stbtt_MakeCodepointBitmapSubpixel(&info_, bitmap.data(), width, height, width, scale, scale, shift_x, shift_y,
                                          character);
        for (int j = 0; j < height; ++j)
            for (int i = 0; i < width; ++i)
                f(static_cast<long>(column) + x0 + i, static_cast<long>(row) + y0 + j,
                  static_cast<float>(bitmap[static_cast<std::size_t>(j * width + i)]) / 255.0f);
    }

private:
    std::string path_, bytes_;
    stbtt_fontinfo info_{};
    double cap_height_ = 1;  // in the font's own units
};

using Fonts = std::vector<std::shared_ptr<const Font>>;

/// Fonts by their file names without ".ttf". Throws ValueError naming what to install.
inline Fonts find_fonts(const std::vector<std::string>& names,
                        const std::vector<std::string>& folders = {"/usr/share/fonts", "/usr/local/share/fonts"}) {
    std::map<std::string, std::string> found;
    for (const std::string& folder : folders) {
        std::error_code none;
        for (const auto& entry : std::filesystem::recursive_directory_iterator(folder, none))
            if (entry.path().extension() == ".ttf") found.emplace(entry.path().stem(), entry.path());
    }
    Fonts fonts;
    for (const std::string& name : names) {
        SMOLVLM_CHECK(found.count(name), ValueError, "fonts: ", name, ".ttf is not below ", folders.front(),
                      "; Debian and Ubuntu have it: apt-get install fonts-dejavu-core fonts-freefont-ttf "
                      "fonts-open-sans fonts-roboto-unhinted");
        fonts.push_back(std::make_shared<const Font>(found.at(name)));
    }
    return fonts;
}

}  // namespace printed_text
