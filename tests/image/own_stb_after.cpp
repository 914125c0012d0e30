// ... or after it. This file includes ours a second time in the program, too.
#include <smolvlm/image/load_stb.hpp>
#include <smolvlm/image/save_png.hpp>

#define STB_IMAGE_STATIC
#define STB_IMAGE_IMPLEMENTATION
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#include <stb/stb_image.h>
#pragma GCC diagnostic pop

#include <doctest/doctest.h>

TEST_CASE("stb: a copy included after ours is complete, and unharmed by our limits") {
    const auto png =
        smolvlm::encode_png(smolvlm::Image::from_interleaved(reinterpret_cast<const std::uint8_t*>("abcdef"), 1, 2));
    smolvlm::load_image_bytes(png);
    int width = 0, height = 0, channels = 0;
    stbi_uc* pixels = stbi_load_from_memory(png.data(), static_cast<int>(png.size()), &width, &height, &channels, 0);
    REQUIRE(pixels);
    CHECK(width == 1);
    CHECK(height == 2);
    CHECK(pixels[5] == 'f');
    stbi_image_free(pixels);
    const unsigned char pnm[] = "P6 1 1 255 abc";
    CHECK(stbi_info_from_memory(pnm, sizeof pnm - 1, &width, &height, &channels) == 1);
}
