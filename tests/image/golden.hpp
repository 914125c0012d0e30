#pragma once
/// The golden pictures of tests/golden, and the noise picture whose pixels a formula gives.

#include <smolvlm/image/processor.hpp>
#include <smolvlm/io/json.hpp>

#include "support/sha256.hpp"

namespace testing {

inline const std::string golden_dir = std::string(SMOLVLM_TEST_DIR) + "/golden/";

inline smolvlm::Json golden_json(const std::string& name) {
    return smolvlm::parse_json(smolvlm::read_text_file(golden_dir + name, 16 << 20), name);
}

/// Pixel (x, y) of channel c of the noise picture.
inline std::uint8_t noise_at(smolvlm::Index x, smolvlm::Index y, int c) {
    auto u = static_cast<std::uint32_t>(x) * 1664525u + static_cast<std::uint32_t>(y) * 1013904223u +
             static_cast<std::uint32_t>(c) * 374761393u + 12345u;
    u ^= u >> 15;
    u *= 2246822519u;
    u ^= u >> 13;
    return static_cast<std::uint8_t>(u & 255u);
}

// Not inlined: GCC 12 at -O3 sees writes of no bytes where it knows the size (a false alarm).
[[gnu::noinline]] inline smolvlm::Image noise(smolvlm::Index width, smolvlm::Index height) {
    smolvlm::Image image(width, height);
    for (int c = 0; c < 3; ++c)
        for (smolvlm::Index y = 0; y < height; ++y)
            for (smolvlm::Index x = 0; x < width; ++x) image.row(c, y)[x] = noise_at(x, y, c);
    return image;
}

/// The pixels as RGBRGB... bytes, as the hashes take them.
inline std::string interleaved(const smolvlm::Image& image) {
    std::string bytes(static_cast<std::size_t>(3 * image.width() * image.height()), '\0');
    for (std::size_t c = 0; c < 3; ++c)
        for (std::size_t i = 0; i < bytes.size() / 3; ++i)
            bytes[3 * i + c] = static_cast<char>(image.plane(static_cast<int>(c))[i]);
    return bytes;
}

inline std::string hash_of(const smolvlm::Image& image) { return sha256(interleaved(image)); }
inline std::string hash_of(const smolvlm::HostTensor<std::uint8_t>& pixels) {
    return sha256({reinterpret_cast<const char*>(pixels.data()), static_cast<std::size_t>(pixels.numel())});
}

}  // namespace testing
