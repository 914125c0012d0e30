#include <smolvlm/image/load_stb.hpp>

#include <doctest/doctest.h>

#include <array>

#include <smolvlm/core/random.hpp>
#include <smolvlm/image/save_png.hpp>

#include "golden.hpp"
#include "support/error_text.hpp"
#include "support/temp_dir.hpp"

using namespace smolvlm;
using namespace testing;

namespace {

using Bytes = std::vector<std::uint8_t>;

Bytes bytes_of_file(const std::string& name) {
    const std::string text = read_file(golden_dir + "images/" + name);
    return {text.begin(), text.end()};
}

/// Loads the picture or says why not; anything but a picture or an Error fails the test that calls this.
std::string outcome(const Bytes& bytes, const LoadOptions& options = {}) {
    return error_of([&] { load_image_bytes(bytes, options, "x"); });
}

void put32(Bytes& bytes, std::size_t at, std::uint32_t value) {
    for (std::size_t i = 0; i < 4; ++i) bytes[at + i] = static_cast<std::uint8_t>(value >> (24 - 8 * i));
}

/// A PNG whose header says another size, with a right checksum.
Bytes with_png_size(Bytes png, std::uint32_t width, std::uint32_t height) {
    put32(png, 16, width);
    put32(png, 20, height);
    put32(png, 29, detail::png_checksum(std::span(png).subspan(12, 17)));
    return png;
}

constexpr const char* one_of_each[] = {
    "rgb.png",    "palette_alpha.png", "interlaced_grey16.png", "baseline_420.jpg", "progressive.jpg",
    "turn_6.jpg", "clear.gif",         "interlaced.gif",        "palette.bmp",      "565.bmp"};

}  // namespace

TEST_CASE("picture files: every golden file, JPEGs too, decodes to Pillow's pixels bit for bit") {
    // The bound for JPEG is zero: the samples are computed with libjpeg's roundings (jpeg_samples.hpp).
    const Json golden = golden_json("images.json");
    Index jpegs = 0, others = 0;
    for (const auto& [name, file] : golden["files"].items()) {
        const std::string which = name;
        CAPTURE(which);
        const Image image = load_image(golden_dir + "images/" + name);
        CHECK(image.width() == file["size"][0]);
        CHECK(image.height() == file["size"][1]);
        // The hash is of the pixels before a colour key is turned white; the frames of those files are checked
        // elsewhere.
        if (contains(name, "clear")) continue;
        CHECK(hash_of(image) == file["rgb_sha256"]);
        if (file.contains("decoded")) CHECK(image == load_image(golden_dir + file["decoded"].get<std::string>()));
        (file.contains("decoded") ? jpegs : others) += 1;
    }
    CHECK(jpegs >= 20);
    CHECK(others >= 50);
}

TEST_CASE("picture files: the eight orientations turn a picture as EXIF defines them") {
    // Where pixel (0, 0) and its right neighbour (1, 0) of a 3 x 2 picture come to lie.
    struct Turn {
        int orientation;
        Index width, x0, y0, x1, y1;
    };
    const Turn turns[] = {{1, 3, 0, 0, 1, 0}, {2, 3, 2, 0, 1, 0}, {3, 3, 2, 1, 1, 1}, {4, 3, 0, 1, 1, 1},
                          {5, 2, 0, 0, 0, 1}, {6, 2, 1, 0, 1, 1}, {7, 2, 1, 2, 1, 1}, {8, 2, 0, 2, 0, 1}};
    const Image image = noise(3, 2);
    for (const Turn& turn : turns) {
        CAPTURE(turn.orientation);
        const Image out = apply_orientation(image, turn.orientation);
        CHECK(out.width() == turn.width);
        CHECK(out.height() == 6 / turn.width);
        for (int c = 0; c < 3; ++c) {
            CHECK(out.row(c, turn.y0)[turn.x0] == image.row(c, 0)[0]);
            CHECK(out.row(c, turn.y1)[turn.x1] == image.row(c, 0)[1]);
        }
    }
    const int inverse[] = {0, 1, 2, 3, 4, 5, 8, 7, 6};
    for (int o = 1; o <= 8; ++o) CHECK(apply_orientation(apply_orientation(image, o), inverse[o]) == image);
    for (const int none : {-1, 0, 9, 1000}) CHECK(apply_orientation(image, none) == image);
}

TEST_CASE("picture files: orientation is read from either byte order, and damage says nothing") {
    const Bytes little = {'I', 'I', 42, 0, 8, 0, 0, 0, 1, 0, 0x12, 1, 3, 0, 1, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0};
    const Bytes big = {'M', 'M', 0, 42, 0, 0, 0, 8, 0, 1, 1, 0x12, 0, 3, 0, 0, 0, 1, 0, 6, 0, 0, 0, 0, 0, 0};
    CHECK(exif_orientation(little) == 6);
    CHECK(exif_orientation(big) == 6);
    for (std::size_t cut = 0; cut < 22; ++cut) CHECK(!exif_orientation(std::span(little).first(cut)));
    Bytes far = little;
    far[4] = far[5] = far[6] = far[7] = 0xff;  // a directory beyond the end
    CHECK(!exif_orientation(far));
    Bytes many = little;
    many[14] = many[15] = many[16] = many[17] = 0xff;  // 2^32 values
    CHECK(!exif_orientation(many));
    CHECK(xmp_orientation("<x tiff:Orientation=\"8\"/>") == 8);
    CHECK(xmp_orientation("tiff:Orientation <tiff:Orientation>3</tiff:Orientation>") == 3);
    CHECK(!xmp_orientation("tiff:Orientation"));
    CHECK(!xmp_orientation("tiff:Orientation=\"x\""));
}

TEST_CASE("picture files: alpha channels are dropped or blended with white, colour keys show white either way") {
    const auto load = [](const char* name, Alpha alpha) {
        return load_image(golden_dir + "images/" + name, {.alpha = alpha});
    };
    for (const char* name : {"rgba.png", "palette_alpha.png", "grey_alpha.png"}) {
        const std::string which = name;
        CAPTURE(which);
        const Image dropped = load(name, Alpha::drop), white = load(name, Alpha::white);
        REQUIRE(white.width() == dropped.width());
        Index changed = 0;
        for (Index i = 0; i < 3 * white.width() * white.height(); ++i) {
            CHECK(white.plane(0)[i] >= dropped.plane(0)[i]);  // white makes nothing darker
            changed += white.plane(0)[i] != dropped.plane(0)[i];
        }
        CHECK(changed > 0);
    }
    for (const char* name : {"clear.gif", "rgb_clear.png", "grey_clear.png", "palette_one_clear.png"}) {
        const std::string which = name;
        CAPTURE(which);
        CHECK(load(name, Alpha::drop) == load(name, Alpha::white));
    }
    for (const char* name : {"rgb.png", "photo_420.jpg", "palette.gif", "unused_alpha.bmp"})
        CHECK(load_image(golden_dir + "images/" + name, {.alpha = Alpha::white}) ==
              load_image(golden_dir + "images/" + name));
    // The blend itself, for every colour and alpha: round(c a / 255 + 255 - a) to within one, exact at both ends.
    for (int a = 0; a < 256; ++a)
        for (int c = 0; c < 256; ++c) {
            detail::Bitmap pixel(1, 1, 4);
            pixel.pixels = {static_cast<std::uint8_t>(c), 0, 0, static_cast<std::uint8_t>(a)};
            const int blended = detail::to_image(pixel, Alpha::white).plane(0)[0];
            if (std::abs(blended - (c * a / 255.0 + 255 - a)) > 0.51)
                FAIL("alpha ", a, " colour ", c, " gives ", blended);
        }
}

TEST_CASE("picture files: a picture written as PNG reads back the same") {
    const TempDir folder;
    for (const auto& [w, h] : {std::pair<Index, Index>{1, 1}, {7, 3}, {300, 201}}) {
        const std::string path = folder / "out.png";
        save_png(path, noise(w, h));
        CHECK(load_image(path) == noise(w, h));
    }
    CHECK(contains(error_of([&] { save_png(folder / "no/such/out.png", noise(2, 2)); }), "cannot be written"));
    CHECK(contains(error_of([&] { save_png(folder.path().string(), noise(2, 2)); }), "no regular file"));
    CHECK_THROWS_AS(save_png(folder / "empty.png", Image()), ValueError);
    CHECK(!std::filesystem::exists(folder / "empty.png"));
}

TEST_CASE("picture files: what is no picture is refused in a sentence that names the file and what it is") {
    const TempDir folder;
    const auto refusal = [&](std::string_view bytes) {
        const std::string path = folder.write("f.png", bytes);
        const std::string message = error_of([&] { load_image(path); });
        CHECK(message.starts_with(path));
        return message;
    };
    CHECK(contains(refusal(""), "empty"));
    CHECK(contains(refusal("hello, world"), "no picture; expected a PNG, JPEG, GIF or BMP"));
    CHECK(contains(testing::error_of([] { load_image("/dev/zero"); }), "/dev/zero: no picture; expected"));  // no end
    CHECK(contains(refusal(std::string_view("RIFF\1\0\0\0WEBPVP8 ", 16)), "a WebP picture"));
    CHECK(contains(refusal(std::string_view("II*\0\10\0\0\0", 8)), "a TIFF picture"));
    CHECK(contains(refusal(std::string_view("\0\0\0\34ftypavif", 12)), "an AVIF picture"));
    CHECK(contains(refusal("\x89PNG\r\n\x1a\n"), "truncated"));
    CHECK(contains(refusal("\xff\xd8\xff"), "truncated"));
    CHECK(contains(refusal("GIF89a"), "truncated"));
    CHECK(contains(refusal("BM"), "truncated"));
    CHECK(contains(error_of([&] { load_image(folder / "absent.png"); }), "No such file"));
    CHECK(contains(error_of([&] { load_image(folder.path().string()); }), "Is a directory"));
}

TEST_CASE("picture files: a file cut short is refused, wherever the cut") {
    for (const char* name : one_of_each) {
        const std::string which = name;
        CAPTURE(which);
        const Bytes whole = bytes_of_file(name);
        CHECK(outcome(whole) == "");
        // The last bytes of some formats carry no pixels, and the reference forgives their loss; that of a JPEG's it
        // does not.
        const std::size_t needed = contains(name, ".jpg") ? whole.size() : whole.size() - 24;
        for (std::size_t size = 0; size < needed; size += size < 1000 ? 1 : 37) {
            CAPTURE(size);
            CHECK(outcome(Bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size))) != "");
        }
    }
}

TEST_CASE("picture files: flipped bytes give a picture or a sentence, never a crash") {
    for (const char* name : one_of_each) {
        const Bytes whole = bytes_of_file(name);
        Random random(20250407);
        for (int round = 0; round < 300; ++round) {
            Bytes bytes = whole;
            const std::size_t reach = round % 2 ? bytes.size() : std::min<std::size_t>(bytes.size(), 700);
            for (int flips = 1 + round % 5; flips > 0; --flips)
                bytes[random.below(static_cast<std::uint32_t>(reach))] ^=
                    static_cast<std::uint8_t>(1u << random.below(8));
            outcome(bytes, {.alpha = round % 3 ? Alpha::drop : Alpha::white, .max_pixels = 1 << 20});
        }
    }
}

TEST_CASE("picture files: a changed byte of a PNG's packed data is noticed") {
    const Bytes whole = bytes_of_file("rgb.png");
    constexpr std::string_view mark = "IDAT";
    const auto data = std::search(whole.begin(), whole.end(), mark.begin(), mark.end()) - whole.begin();
    Index noticed = 0, tried = 0;
    for (std::size_t at = static_cast<std::size_t>(data) + 6; at + 16 < whole.size(); at += 13, ++tried) {
        Bytes bytes = whole;
        bytes[at] ^= 16;
        noticed += outcome(bytes) != "";
    }
    CHECK(tried > 100);
    CHECK(noticed == tried);
}

TEST_CASE("picture files: the size in the header is checked before pixels are allocated") {
    const Bytes png = bytes_of_file("rgb.png");
    CHECK(contains(outcome(with_png_size(png, 1u << 31, 1u << 31)), "too large"));
    CHECK(contains(outcome(with_png_size(png, 70000, 70000)), "too large"));
    CHECK(contains(outcome(with_png_size(png, 0, 5)), "nothing to show"));
    // Sizes within bounds that the data cannot hold.
    CHECK(contains(outcome(with_png_size(png, 16384, 16384)), "cannot hold 16384x16384"));
    CHECK(outcome(with_png_size(png, 61, 45)) != "");
    CHECK(contains(outcome(png, {.max_pixels = 60 * 45 - 1}), "60x45 pixels is too large"));
    CHECK(outcome(png, {.max_pixels = 60 * 45}) == "");

    Bytes jpeg = bytes_of_file("baseline_420.jpg");
    std::size_t frame = 2;
    while (!(jpeg[frame] == 0xff && jpeg[frame + 1] == 0xc0)) ++frame;
    for (std::size_t i = 0; i < 4; ++i) jpeg[frame + 5 + i] = 0xff;
    CHECK(contains(outcome(jpeg), "65535x65535 pixels is too large"));
    for (std::size_t i = 0; i < 4; ++i) jpeg[frame + 5 + i] = i % 2 ? 0 : 0x3f;
    CHECK(contains(outcome(jpeg), "cannot hold"));

    Bytes gif = bytes_of_file("palette.gif"), bmp = bytes_of_file("rgb.bmp");
    for (std::size_t i = 6; i < 10; ++i) gif[i] = 0xff;
    CHECK(contains(outcome(gif), "too large"));
    for (std::size_t i = 18; i < 22; ++i) bmp[i] = 0x7f;
    CHECK(contains(outcome(bmp), "too large"));
}

TEST_CASE("picture files: a small PNG that unpacks to far more than its header says is not unpacked") {
    // A right header of 1 x 1 pixels, and data that holds 16 million zeros.
    Bytes zeros(16 << 20);
    int length = 0;
    unsigned char* packed =
        detail::stb_write::stbi_zlib_compress(zeros.data(), static_cast<int>(zeros.size()), &length, 8);
    Bytes bomb = with_png_size(encode_png(noise(1, 1)), 1, 1);
    bomb.resize(33);
    const auto append = [&](std::string_view type, std::span<const std::uint8_t> data) {
        const std::size_t at = bomb.size();
        bomb.resize(at + 8);
        put32(bomb, at, static_cast<std::uint32_t>(data.size()));
        std::copy(type.begin(), type.end(), bomb.begin() + static_cast<std::ptrdiff_t>(at) + 4);
        bomb.insert(bomb.end(), data.begin(), data.end());
        bomb.resize(bomb.size() + 4);
        put32(bomb, bomb.size() - 4, detail::png_checksum(std::span(bomb).subspan(at + 4, 4 + data.size())));
    };
    append("IDAT", {packed, static_cast<std::size_t>(length)});
    append("IEND", {});
    std::free(packed);
    CHECK(bomb.size() < (1 << 20));
    CHECK(contains(outcome(bomb), "broken PNG"));
}
