// A program may use a copy of stb_image of its own beside ours, included before it...
#define STB_IMAGE_STATIC
#define STB_IMAGE_IMPLEMENTATION
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#include <stb/stb_image.h>
#pragma GCC diagnostic pop

#include <smolvlm/image/load_stb.hpp>
#include <smolvlm/image/save_png.hpp>

#include <doctest/doctest.h>

TEST_CASE("stb: a copy included before ours still reads what it reads, and both agree") {
    smolvlm::Image image(2, 1);
    for (int i = 0; i < 6; ++i) image.plane(0)[i] = static_cast<std::uint8_t>(40 * i);
    const auto png = smolvlm::encode_png(image);
    int width = 0, height = 0, channels = 0;
    stbi_uc* pixels = stbi_load_from_memory(png.data(), static_cast<int>(png.size()), &width, &height, &channels, 3);
    REQUIRE(pixels);
    CHECK(smolvlm::Image::from_interleaved(pixels, width, height) == image);
    CHECK(smolvlm::load_image_bytes(png) == image);
    stbi_image_free(pixels);
    // A format that ours leaves out.
    const unsigned char pnm[] = "P6 1 1 255 abc";
    CHECK(stbi_info_from_memory(pnm, sizeof pnm - 1, &width, &height, &channels) == 1);
}
