#pragma once
/// The tiles of Intel AMX: eight registers of at most 16 rows x 64 bytes, and the instructions that multiply them.
///
///     C [m, n] += A [m, k] B [k, n]          C: 32-bit numbers, m, n <= 16
///
///                   a row of A                    a line of B                                     k <=
///     tdpbf16ps     16 pairs of k, bf16           a pair of k of 16 columns, bf16                 32     C: float
///     tdpbsud       16 fours of k, signed bytes   four k of 16 columns, unsigned bytes            64     C: int32
///
/// So narrow rows of activations are A as they lie in memory, and 16 lines of a panel (core/integer_layout.hpp) are B.
/// Rows and bytes of a row in use are given to a thread once, by ldtilecfg; what is beyond reads as zero.
/// Source: Intel SDM volume 1, chapter 18; volume 2, LDTILECFG, TILELOADD, TDPBF16PS, TDPBSUD.
///
/// The instructions are written in assembler, so no compiler flag or target is needed. No machine with AMX has run them yet:
/// all but the instructions themselves is tested in an emulation (amx_emulation.hpp).

#include <smolvlm/core/shape.hpp>
#include <smolvlm/cpu/simd.hpp>

namespace smolvlm::cpu {

/// What ldtilecfg reads.
struct alignas(64) TileConfig {
    std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
    std::uint16_t row_bytes[16] = {};  // of the eight tiles, then zeros
    std::uint8_t rows[16] = {};

    /// Tiles 0 to 5 are sums C and tile 6 is A, of `height` rows; tile 7 is B.
    static TileConfig of_height(Index height) {
        TileConfig config;
        for (int tile = 0; tile < 8; ++tile) {
            config.row_bytes[tile] = 64;
            config.rows[tile] = static_cast<std::uint8_t>(tile < 7 ? height : 16);
        }
        return config;
    }
};
static_assert(sizeof(TileConfig) == 64);

#if defined(__x86_64__)
/// The tiles of the thread that calls. Compilers know nothing of them: between configure and release call nobody who may use
/// tiles too.
struct AmxTiles {
    SMOLVLM_INLINE void configure(const TileConfig& config) { asm volatile("ldtilecfg %0" : : "m"(config)); }
    SMOLVLM_INLINE void release() { asm volatile("tilerelease"); }

    template <int tile>
    SMOLVLM_INLINE void zero() {
        asm volatile("tilezero %%tmm%c0" : : "i"(tile));
    }
    /// Rows `stride` bytes apart.
    template <int tile>
    SMOLVLM_INLINE void load(const void* from, Index stride) {
        asm volatile("tileloadd (%1,%2,1), %%tmm%c0" : : "i"(tile), "r"(from), "r"(stride) : "memory");
    }
    template <int tile>
    SMOLVLM_INLINE void store(void* to, Index stride) {
        asm volatile("tilestored %%tmm%c0, (%1,%2,1)" : : "i"(tile), "r"(to), "r"(stride) : "memory");
    }
    template <int c, int a, int b>
    SMOLVLM_INLINE void add_pairs() {
        asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(c), "i"(a), "i"(b));
    }
    template <int c, int a, int b>
    SMOLVLM_INLINE void add_bytes() {
        asm volatile("tdpbsud %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(c), "i"(a), "i"(b));
    }
};
#endif

/// Tiles from here to the end of a block: configured, and given back.
template <class Tiles>
class TilesInUse {
public:
    TilesInUse(Tiles& tiles, const TileConfig& config) : tiles_(tiles) { tiles_.configure(config); }
    ~TilesInUse() { tiles_.release(); }
    TilesInUse(const TilesInUse&) = delete;
    TilesInUse& operator=(const TilesInUse&) = delete;

private:
    Tiles& tiles_;
};

}  // namespace smolvlm::cpu
