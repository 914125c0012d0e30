#pragma once
/// Pictures of random bytes.

#include <smolvlm/core/byte_pixels.hpp>
#include <smolvlm/core/random.hpp>

namespace testing {

inline smolvlm::HostTensor<std::uint8_t> random_bytes(smolvlm::Shape shape, std::uint64_t seed) {
    smolvlm::HostTensor<std::uint8_t> x(shape);
    smolvlm::Random random(seed);
    for (std::uint8_t& byte : x.flat()) byte = static_cast<std::uint8_t>(random.below(256));
    return x;
}

/// `bytes` [I, C, height, width], which outlive this, standing for random numbers of each channel's own.
inline smolvlm::BytePixels byte_pixels(const smolvlm::HostTensor<std::uint8_t>& bytes, std::uint64_t seed) {
    std::vector<float> table(static_cast<std::size_t>(256 * bytes.dim(1)));
    smolvlm::Random random(seed);
    for (float& number : table) number = static_cast<float>(random.normal());
    return {bytes.cview(), std::move(table)};
}

}  // namespace testing
