#pragma once
/// Counter-based random numbers: Philox-4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").
/// Number i of a seed is a pure function of (seed, i): the same on every platform, resumable, and free of hidden state.

#include <array>
#include <cstdint>

namespace smolvlm {

class Random {
public:
    explicit Random(std::uint64_t seed = 0, std::uint64_t counter = 0) : seed_(seed), counter_(counter) {}

    /// 32 uniform bits.
    std::uint32_t bits() {
        const auto block = philox(counter_ / 4);
        return block[counter_++ % 4];
    }
    /// Uniform in [0, 1) with 53 random bits.
    double uniform() {
        const std::uint64_t high = bits() >> 5, low = bits() >> 6;
        return static_cast<double>(high << 26 | low) * 0x1p-53;
    }
    /// Uniform in [0, n), without modulo bias worth naming (n is far below 2^32).
    std::uint32_t below(std::uint32_t n) {
        return static_cast<std::uint32_t>((static_cast<std::uint64_t>(bits()) * n) >> 32);
    }
    /// About N(0, 1): the sum of twelve uniforms less six (Irwin-Hall). No libm, hence the same bits everywhere.
    double normal() {
        double sum = -6;
        for (int i = 0; i < 12; ++i) sum += static_cast<double>(bits()) * 0x1p-32;
        return sum;
    }
    std::uint64_t seed() const { return seed_; }
    std::uint64_t counter() const { return counter_; }

private:
    std::array<std::uint32_t, 4> philox(std::uint64_t index) const {
        std::array<std::uint32_t, 4> x{static_cast<std::uint32_t>(index), static_cast<std::uint32_t>(index >> 32), 0, 0};
        auto k0 = static_cast<std::uint32_t>(seed_), k1 = static_cast<std::uint32_t>(seed_ >> 32);
        for (int round = 0; round < 10; ++round) {
            const std::uint64_t a = std::uint64_t{0xD2511F53u} * x[0], b = std::uint64_t{0xCD9E8D57u} * x[2];
            x = {static_cast<std::uint32_t>(b >> 32) ^ x[1] ^ k0, static_cast<std::uint32_t>(b),
                 static_cast<std::uint32_t>(a >> 32) ^ x[3] ^ k1, static_cast<std::uint32_t>(a)};
            k0 += 0x9E3779B9u;
            k1 += 0xBB67AE85u;
        }
        return x;
    }

    std::uint64_t seed_, counter_;
};

}  // namespace smolvlm
