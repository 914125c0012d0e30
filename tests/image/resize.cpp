#include <smolvlm/image/resize.hpp>

#include <doctest/doctest.h>

#include <array>

#include <smolvlm/io/safetensors.hpp>

#include "golden.hpp"

using namespace smolvlm;
using namespace testing;

namespace {

const std::pair<Resample, const char*> filters[] = {
    {Resample::lanczos, "lanczos"}, {Resample::bicubic, "bicubic"}, {Resample::bilinear, "bilinear"}};

const std::uint8_t* bytes(const HostWeight& weight) { return reinterpret_cast<const std::uint8_t*>(weight.bytes()); }

Image mirrored(const Image& image, bool sideways) {
    Image out(image.width(), image.height());
    for (int c = 0; c < 3; ++c)
        for (Index y = 0; y < image.height(); ++y)
            for (Index x = 0; x < image.width(); ++x)
                out.row(c, y)[x] =
                    sideways ? image.row(c, y)[image.width() - 1 - x] : image.row(c, image.height() - 1 - y)[x];
    return out;
}

}  // namespace

TEST_CASE("image: interleaved bytes land in their planes, whatever their number") {
    for (const Index width : {1, 2, 63, 64, 65, 200, 1001})
        for (const int channels : {3, 4}) {
            std::vector<std::uint8_t> bytes(static_cast<std::size_t>(width * 3 * channels));
            for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(i * 37 + i / 256);
            const Image image = Image::from_interleaved(bytes.data(), width, 3, channels);
            bool equal = true;
            for (int c = 0; c < 3; ++c)
                for (Index i = 0; i < width * 3; ++i)
                    equal = equal && image.plane(c)[i] == bytes[static_cast<std::size_t>(i * channels + c)];
            CHECK(equal);
        }
}

TEST_CASE("transpose_bytes: y[c][r] = x[r][c] for every number of rows and columns, and nothing beside it") {
    for (const Index rows : {1, 15, 16, 17, 40})
        for (const Index columns : {1, 15, 16, 33, 64}) {
            const Index x_step = columns + 3, y_step = rows + 2;
            std::vector<std::uint8_t> x(static_cast<std::size_t>(rows * x_step));
            for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<std::uint8_t>(i * 37 % 251);
            std::vector<std::uint8_t> y(static_cast<std::size_t>(columns * y_step), 255);
            detail::transpose_bytes(x.data(), x_step, rows, columns, y.data(), y_step);
            bool equal = true;
            for (Index c = 0; c < columns; ++c)
                for (Index r = 0; r < y_step; ++r) {
                    const int expected = r < rows ? x[static_cast<std::size_t>(r * x_step + c)] : 255;
                    equal = equal && y[static_cast<std::size_t>(c * y_step + r)] == expected;
                }
            CAPTURE(rows);
            CAPTURE(columns);
            CHECK(equal);
        }
}

TEST_CASE("resize: a constant picture stays constant at every size and with every filter") {
    for (const auto& [filter, name] : filters)
        for (const int value : {0, 1, 127, 254, 255}) {
            Image image(13, 7);
            std::fill_n(image.plane(0), 3 * 13 * 7, static_cast<std::uint8_t>(value));
            for (const auto& [w, h] : {std::pair<Index, Index>{1, 1}, {5, 40}, {40, 5}, {13, 8}, {100, 90}}) {
                const std::string which = name;
                CAPTURE(which);
                const Index wide = w;
                CAPTURE(wide);
                const Image out = resize(image, w, h, filter);
                CHECK(std::all_of(out.plane(0), out.plane(0) + 3 * w * h, [&](int v) { return v == value; }));
            }
        }
}

TEST_CASE("resize: an unchanged size is the identity, and one unchanged side leaves the other pass alone") {
    const Image image = noise(31, 17);
    CHECK(resize(image, 31, 17) == image);
    // Rows that are all alike: resampling the columns alone must not touch them.
    Image stripes(31, 17);
    for (int c = 0; c < 3; ++c)
        for (Index y = 0; y < 17; ++y) std::copy_n(image.row(c, 0), 31, stripes.row(c, y));
    const Image tall = resize(stripes, 31, 50);
    for (Index y = 0; y < 50; ++y) CHECK(std::equal(tall.row(1, y), tall.row(1, y) + 31, image.row(1, 0)));
}

TEST_CASE("resize: mirroring before is mirroring after") {
    // Weights are rounded symmetrically, and sums of integers do not depend on their order.
    const Image image = noise(37, 22);
    for (const auto& [filter, name] : filters)
        for (const auto& [w, h] : {std::pair<Index, Index>{64, 48}, {16, 8}, {74, 11}}) {
            const std::string which = name;
            CAPTURE(which);
            CHECK(resize(mirrored(image, true), w, h, filter) == mirrored(resize(image, w, h, filter), true));
            CHECK(resize(mirrored(image, false), w, h, filter) == mirrored(resize(image, w, h, filter), false));
        }
}

TEST_CASE("resize: the result is the same with any number of threads") {
    const Image image = noise(203, 117);
    for (const auto& [w, h] : {std::pair<Index, Index>{512, 384}, {40, 23}, {7, 300}}) {
        const Image alone = resize(image, w, h, Resample::lanczos, 1);
        for (const int threads : {2, 3, 16}) CHECK(resize(image, w, h, Resample::lanczos, threads) == alone);
    }
}

TEST_CASE("resize: every instruction set gives the same sums") {
    for (const auto& [in, out] : {std::pair<Index, Index>{64, 41}, {64, 7}, {63, 1}, {30, 64}, {1, 5}, {500, 499}})
        for (const auto& filter : filters) {
            const Image image = noise(16, in);  // its last sum ends where the picture does
            const detail::ResampleWeights axis(in, out, filter.first);
            const detail::Resampler plain(axis, CpuPath::portable), chosen(axis);
            for (Index i = 0; i < out; ++i) {
                std::array<std::uint8_t, 16> expected{}, got{};
                plain.lanes(image.plane(2), 16, i, expected.data());
                chosen.lanes(image.plane(2), 16, i, got.data());
                CHECK(got == expected);
            }
        }
}

TEST_CASE("resize: the way with byte dot products gives the bytes of the plain loops, at every kind of size") {
    // Shrinking by little, by much and by more than a register holds; enlarging; one side alone; rows or columns first.
    int fast = 0;
    const bool vnni = detail::has_resize_vnni();
    for (const auto& [width, height] : {std::pair<Index, Index>{403, 302}, {130, 67}, {64, 5}, {63, 300}, {1000, 9}}) {
        const Image image = noise(width, height);
        for (const auto& [w, h] : {std::pair<Index, Index>{205, 154}, {97, 33}, {64, 64}, {17, 250}, {700, 500}, {1, 1},
                                   {width, 40}, {width, 2 * height}, {50, height}, {333, height}, {width / 2, 3}})
            for (const auto& filter : filters) {
                const Resample kind = filter.first;
                const Index from_width = width, from_height = height, to_width = w, to_height = h;
                CAPTURE(from_width);
                CAPTURE(from_height);
                CAPTURE(to_width);
                CAPTURE(to_height);
                const Image expected = detail::resize(image, w, h, kind, 1, false);
                for (const int threads : {1, 3}) CHECK(detail::resize(image, w, h, kind, threads, vnni) == expected);
#if defined(__x86_64__)
                const detail::ResampleWeights columns(height, h, kind);
                fast += vnni && detail::resize_vnni(image, nullptr, &columns, 1).has_value();
#endif
            }
    }
    CHECK(fast == (vnni ? 5 * 11 * 3 : 0));
}

#if defined(__x86_64__)
TEST_CASE("resize: three digits in base 256 are the weight") {
    for (const std::int32_t w : {0, 1, -1, 127, 128, -128, -129, 32767, 32768, 1 << 22, -(1 << 22), (127 << 16) - 1,
                                 -(127 << 16) + 1}) {
        const detail::WeightDigits digits(w);
        CHECK(digits.digit[0] + 256 * digits.digit[1] + 65536 * digits.digit[2] == w);
    }
}
#endif

TEST_CASE("resize: small pictures equal Pillow's results byte for byte, with all three filters") {
    const Json cases = golden_json("resize.json")["small"];
    const Safetensors file = Safetensors::open(golden_dir + "resize.safetensors");
    REQUIRE(cases.size() > 10);
    for (const Json& each : cases) {
        const std::string n = std::to_string(each["n"].get<int>());
        const Index height = each["in"][0], width = each["in"][1], out_height = each["out"][0],
                    out_width = each["out"][1];
        const HostWeight in = file.host_weight(n + ".in");
        const Image image = Image::from_interleaved(bytes(in), width, height);
        for (const auto& [filter, name] : filters) {
            CAPTURE(n);
            const std::string which = name;
            CAPTURE(which);
            const HostWeight expected = file.host_weight(n + "." + name);
            CHECK(resize(image, out_width, out_height, filter) ==
                  Image::from_interleaved(bytes(expected), out_width, out_height));
        }
    }
}

TEST_CASE("resize: large pictures, up to 30000 pixels wide and 12 megapixels, hash to Pillow's results") {
    const Json cases = golden_json("resize.json")["large"];
    REQUIRE(cases.size() >= 5);
    for (const Json& each : cases) {
        const Image image = noise(each["in"][1], each["in"][0]);
        for (const auto& [filter, name] : filters) {
            CAPTURE(each["in"].dump());
            const std::string which = name;
            CAPTURE(which);
            CHECK(hash_of(resize(image, each["out"][1], each["out"][0], filter)) == each["sha256"][name]);
        }
    }
}

TEST_CASE("resize: sizes outside the bounds are errors, and nothing is allocated") {
    const Image image = noise(2, 2);
    CHECK_THROWS_AS(resize(image, 0, 2), ValueError);
    CHECK_THROWS_AS(resize(image, 2, -1), ValueError);
    CHECK_THROWS_AS(resize(image, Index(1) << 40, 2), ValueError);
    CHECK_THROWS_AS(Image(max_image_side, max_image_side), ValueError);
}
