#pragma once
/// PlainTiles: AmxTiles in plain C++, bit for bit what the architecture says, for processors without AMX. It is for tests:
/// slow, and strict: whatever an instruction would refuse (#GP, #UD) is counted as a fault and leaves results that no test
/// takes for right.
///
///     tdpbsud       c[m, n] += sum_k a[m, k] b[k, n]               exact, modulo 2^32
///     tdpbf16ps     even = odd = 0
///                   for each pair of k:   even += a[m, 2k] b[2k, n]      fused multiply-adds
///                                         odd  += a[m, 2k + 1] b[2k + 1, n]
///                   c[m, n] += even + odd
///
/// Floats are rounded to the nearest, ties to even, and subnormal numbers are zero, read or written, whatever MXCSR says.
/// Source: Intel SDM volume 1, chapter 18; volume 2, LDTILECFG, TILELOADD, TDPBF16PS, TDPBSUD.

#include <bit>

#include <smolvlm/cpu/amx_tiles.hpp>

namespace smolvlm::cpu {

class PlainTiles {
public:
    SMOLVLM_INLINE void configure(const TileConfig& config) {
        release();
        bool sound = config.palette == 1 && config.start_row == 0;
        for (int i = 0; i < 14; ++i) sound = sound && config.reserved[i] == 0;
        for (int i = 0; i < 16; ++i)
            sound = sound && config.rows[i] <= (i < 8 ? 16 : 0) && config.row_bytes[i] <= (i < 8 ? 64 : 0) &&
                    (config.rows[i] == 0) == (config.row_bytes[i] == 0);
        if (!sound) return fault();
        config_ = config;
    }
    SMOLVLM_INLINE void release() {
        config_ = {};
        config_.palette = 0;
        std::memset(tiles_, 0, sizeof tiles_);
    }

    template <int tile>
    SMOLVLM_INLINE void zero() {
        if (!in_use(tile)) return fault();
        std::memset(tiles_[tile], 0, sizeof tiles_[tile]);
    }
    template <int tile>
    SMOLVLM_INLINE void load(const void* from, Index stride) {
        zero<tile>();
        for (Index row = 0; row < config_.rows[tile]; ++row)
            std::memcpy(tiles_[tile][row], static_cast<const char*>(from) + row * stride, config_.row_bytes[tile]);
    }
    template <int tile>
    SMOLVLM_INLINE void store(void* to, Index stride) {
        if (!in_use(tile)) fault();
        for (Index row = 0; row < config_.rows[tile]; ++row)
            std::memcpy(static_cast<char*>(to) + row * stride, tiles_[tile][row], config_.row_bytes[tile]);
    }

    template <int c, int a, int b>
    SMOLVLM_INLINE void add_pairs() {
        if (!fit(c, a, b)) return fault();
        for (int m = 0; m < config_.rows[c]; ++m) {
            float even[16] = {}, odd[16] = {};
            for (int k = 0; k < config_.row_bytes[a] / 4; ++k) {
                const std::uint32_t pair = tiles_[a][m][k];
                for (int n = 0; n < 16; ++n) {
                    even[n] = add_product(as_float(pair << 16), as_float(tiles_[b][k][n] << 16), even[n]);
                    odd[n] = add_product(as_float(pair & high), as_float(tiles_[b][k][n] & high), odd[n]);
                }
            }
            for (int n = 0; n < config_.row_bytes[c] / 4; ++n) {
                const float sum = as_float(tiles_[c][m][n]) + normal(even[n] + odd[n]);
                tiles_[c][m][n] = std::bit_cast<std::uint32_t>(normal(sum));
            }
        }
    }
    template <int c, int a, int b>
    SMOLVLM_INLINE void add_bytes() {
        if (!fit(c, a, b)) return fault();
        for (int m = 0; m < config_.rows[c]; ++m)
            for (int k = 0; k < config_.row_bytes[a] / 4; ++k)
                for (int byte = 0; byte < 32; byte += 8) {
                    const auto x = static_cast<std::int8_t>(tiles_[a][m][k] >> byte & 0xff);
                    for (int n = 0; n < config_.row_bytes[c] / 4; ++n)
                        tiles_[c][m][n] += static_cast<std::uint32_t>(x) * (tiles_[b][k][n] >> byte & 0xff);
                }
    }

    /// How often an instruction would have been refused.
    int faults() const { return faults_; }
    bool released() const { return config_.palette == 0; }

private:
    static constexpr std::uint32_t high = 0xffff0000u;

    SMOLVLM_INLINE static float normal(float x) {
        const auto bits = std::bit_cast<std::uint32_t>(x);
        return bits & 0x7f800000u ? x : std::bit_cast<float>(bits & 0x80000000u);
    }
    SMOLVLM_INLINE static float as_float(std::uint32_t bits) { return normal(std::bit_cast<float>(bits)); }
    SMOLVLM_INLINE static float add_product(float a, float b, float sum) { return normal(__builtin_fmaf(a, b, sum)); }

    SMOLVLM_INLINE bool in_use(int tile) const { return config_.palette == 1 && config_.rows[tile] > 0; }
    SMOLVLM_INLINE bool fit(int c, int a, int b) const {
        return in_use(c) && in_use(a) && in_use(b) && a != b && a != c && b != c && config_.rows[c] == config_.rows[a] &&
               config_.row_bytes[c] == config_.row_bytes[b] && config_.row_bytes[a] == 4 * config_.rows[b] &&
               config_.row_bytes[c] % 4 == 0;
    }
    SMOLVLM_INLINE void fault() {
        ++faults_;
        std::memset(tiles_, 0x7f, sizeof tiles_);  // 3.4e38, or a large integer
    }

    TileConfig config_{0};
    std::uint32_t tiles_[8][16][16] = {};  // [tile][row][group of four bytes]
    int faults_ = 0;
};

}  // namespace smolvlm::cpu
