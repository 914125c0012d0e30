#include <smolvlm/core/byte_pixels.hpp>

#include <doctest/doctest.h>

#include "support/error_text.hpp"

using namespace smolvlm;
using namespace testing;

TEST_CASE("byte pixels: every byte stands for the number of its channel, with any number of threads") {
    std::vector<float> table(2 * 256);
    for (std::size_t i = 0; i < table.size(); ++i) table[i] = 0.1f * static_cast<float>(i);
    HostTensor<std::uint8_t> bytes(Shape{3, 2, 16, 16});
    for (Index i = 0; i < bytes.numel(); ++i) bytes.data()[i] = static_cast<std::uint8_t>(i * 37);
    const BytePixels pixels(bytes.cview(), table);
    for (const int threads : {1, 4}) {
        const auto narrow = in_numbers<float>(pixels, threads);
        const auto wide = in_numbers<double>(pixels, threads);
        REQUIRE(narrow.shape() == bytes.shape());
        bool same = true;
        for (Index i = 0; i < bytes.numel(); ++i) {
            const float expected = table[static_cast<std::size_t>(256 * (i / 256 % 2) + bytes.data()[i])];
            same = same && narrow.data()[i] == expected && wide.data()[i] == double(expected);
        }
        CHECK(same);
    }
}

TEST_CASE("byte pixels: another rank or another number of channels is refused") {
    const HostTensor<std::uint8_t> bytes(Shape{2, 3, 4, 5}), flat(Shape{3, 4, 5});
    CHECK(error_of([&] { BytePixels(bytes.cview(), std::vector<float>(256)); }) ==
          "pixels: bytes are [2, 3, 4, 5] and stand for 256 numbers; "
          "[I, C, height, width] and 256 numbers for each channel are needed");
    CHECK(contains(error_of([&] { BytePixels(flat.cview(), std::vector<float>(768)); }), "bytes are [3, 4, 5]"));
    CHECK(in_numbers<float>({HostTensor<std::uint8_t>(Shape{0, 3, 4, 5}).cview(), std::vector<float>(768)}).numel() == 0);
}
