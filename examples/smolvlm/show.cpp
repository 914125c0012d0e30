// smolvlm show: a picture in the terminal.

#include <unistd.h>

#include <fstream>
#include <iterator>

#include <smolvlm/image/resize.hpp>

#include "commands.hpp"
#include "console.hpp"
#include "inputs.hpp"

namespace cli {

using namespace smolvlm;

namespace {

std::string variable(const char* name) {
    const char* const value = std::getenv(name);
    return value ? value : "";
}

/// What the terminal says of itself.
std::string best_graphics() {
    if (::isatty(STDOUT_FILENO) != 1) return "path";
    const std::string program = variable("TERM_PROGRAM"), colours = variable("COLORTERM");
    if (!variable("KITTY_WINDOW_ID").empty() || variable("TERM").find("kitty") != std::string::npos) return "kitty";
    if (program == "iTerm.app" || program == "WezTerm") return "iterm";
    return colours == "truecolor" || colours == "24bit" ? "blocks" : "path";
}

std::string base64(std::string_view bytes) {
    constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string text;
    for (std::size_t i = 0; i < bytes.size(); i += 3) {
        std::uint32_t bits = 0;
        for (std::size_t k = 0; k < 3; ++k)
            bits = bits << 8 | (i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0u);
        for (std::size_t k = 0; k < 4; ++k)
            text += i + k > bytes.size() ? '=' : digits[bits >> (18 - 6 * k) & 63];
    }
    return text;
}

std::string file_bytes(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    std::string bytes(std::istreambuf_iterator<char>(file), {});
    SMOLVLM_CHECK(file, ValueError, path, ": cannot be read");
    return bytes;
}

/// The kitty graphics protocol: RGB pixels in pieces of 4096 letters.
std::string as_kitty(const Image& image) {
    std::string pixels;
    for (Index y = 0; y < image.height(); ++y)
        for (Index x = 0; x < image.width(); ++x)
            for (int c = 0; c < 3; ++c) pixels += static_cast<char>(image.row(c, y)[x]);
    const std::string text = base64(pixels);
    std::string out;
    for (std::size_t begin = 0; begin < text.size(); begin += 4096) {
        out += begin == 0 ? join("\x1b_Ga=T,f=24,s=", image.width(), ",v=", image.height(), ",") : std::string("\x1b_G");
        out += join("m=", begin + 4096 < text.size() ? 1 : 0, ";") + text.substr(begin, 4096) + "\x1b\\";
    }
    return out + "\n";
}

/// Two pixels a character: the upper half block in one colour on the other.
std::string as_blocks(const Image& image) {
    std::string out;
    for (Index y = 0; y < image.height(); y += 2) {
        for (Index x = 0; x < image.width(); ++x) {
            const Index below = std::min(y + 1, image.height() - 1);
            const auto colour = [&](Index row) {
                return join(int(image.row(0, row)[x]), ";", int(image.row(1, row)[x]), ";", int(image.row(2, row)[x]));
            };
            out += "\x1b[38;2;" + colour(y) + ";48;2;" + colour(below) + "m▀";
        }
        out += "\x1b[0m\n";
    }
    return out;
}

/// The picture no wider than that; small ones stay as they are.
Image fitted(const Image& image, Index width) {
    if (image.width() <= width) return image;
    const Index height = std::max<Index>(1, image.height() * width / image.width());
    return resize(image, width, height, Resample::lanczos, default_threads());
}

}  // namespace

int show(const Words& words) {
    std::string picture, graphics = "auto";
    Index width = 0;
    Arguments arguments("show", "Shows a picture in the terminal, as well as the terminal can.");
    arguments.positional("PICTURE", picture, "a PNG, JPEG, BMP or GIF file");
    arguments.choice("--graphics", {"auto", "kitty", "iterm", "blocks", "path"}, graphics,
                     "how: the protocols of kitty and iTerm2, coloured half blocks, or only the file's path (default auto: "
                     "what the terminal says that it can)");
    arguments.integer("--width", width, Index(1), Index(4096), "at most so many pixels wide (default 640, of blocks 80)");
    if (!arguments.parse(words)) return print(arguments.help()), 0;
    const Image image = ImageFlags{}.load(picture);  // a file that is no picture is an error in any case
    if (graphics == "auto") graphics = best_graphics();
    if (graphics == "kitty")
        print(as_kitty(fitted(image, width > 0 ? width : 640)));
    else if (graphics == "iterm")
        print("\x1b]1337;File=inline=1" + (width > 0 ? join(";width=", width, "px:") : std::string(":")) +
              base64(file_bytes(picture)) + "\a\n");
    else if (graphics == "blocks")
        print(as_blocks(fitted(image, width > 0 ? width : 80)));
    else
        print(picture + "\n");
    return 0;
}

}  // namespace cli
