#pragma once
/// Narrow rows times a panel (core/integer_layout.hpp) in tiles of AMX (amx_tiles.hpp):
///
///     int8     y [n, 48] = s_x s_w (start + sum_k w_k x_k) + plus          start: what the offset of w adds
///     bf16     y [n, 48] = sum_k w_k x_k + plus
///
///                         16 lines of the panel: three tiles B, one after the other in tile 7
///                         [ 7 ] [ 7 ] [ 7 ]
///     32 rows of x  [ 6 ] [ 0 ] [ 1 ] [ 2 ]
///                   [ 6 ] [ 3 ] [ 4 ] [ 5 ]     six tiles of sums for all of k: seven loads for six products
///
/// A tile takes one cycle a row of B to multiply, half a cycle a row to load. Whatever the rows beside it, an element
/// is the same sum in the same order.

#include <smolvlm/cpu/amx_emulation.hpp>
#include <smolvlm/cpu/integer_tiles.hpp>

namespace smolvlm::cpu {

/// Rows of bf16 or of signed bytes, zeros behind the last k up to whole 64 bytes.
struct TileRows {
    const std::byte* first;
    Index stride;               // bytes
    const float* scale;         // of bytes alone: as in IntegerRows
    const std::int32_t* start;
};

namespace amx_detail {

/// How many rows the tiles have where there are `rows` of them: each row is in a tile that is full, if need be in two.
inline Index tile_height(Index rows) { return std::clamp<Index>(rows, 1, 16); }

/// x [rows] times one panel. `tiles` are configured of_height(tile_height(rows)).
template <class Tiles, IntegerFormat format>
struct Panel {
    static constexpr Index line = IntegerLayout::line, width = IntegerLayout::width, depth = 16;  // lines of a tile
    static constexpr bool is_bf16 = format == IntegerFormat::bf16;
    static_assert(is_bf16 || format == IntegerFormat::int8);

    template <int Bytes>
    SMOLVLM_INLINE static void run(Tiles* tiles, Index rows, TileRows x, const std::byte* panel, IntegerLayout at,
                                   TileOut<float> out, bool far, Ahead ahead) {
        const Index lines = at.block_lines(), last = rows - tile_height(rows);
        alignas(64) std::byte rest[depth * line];  // lines of the last tile, then zeros: what follows in memory is not k
        if (const Index over = lines % depth) {
            std::memcpy(rest, panel + (lines - over) * line, static_cast<std::size_t>(over * line));
            std::memset(rest + over * line, 0, static_cast<std::size_t>((depth - over) * line));
        }
        alignas(64) std::int32_t sums[2 * depth * width];
        ahead.spread((lines + depth - 1) / depth * ((rows + 2 * depth - 1) / (2 * depth)));
        for (Index i = 0; i < rows; i += 2 * depth) {
            const Index upper = std::min(i, last), lower = std::min(i + depth, last);
            const std::byte *const a = x.first + upper * x.stride, *const b = x.first + lower * x.stride;
            if (rows - i > depth)
                sum<2>(*tiles, a, b, x.stride, panel, rest, lines, far, ahead, sums);
            else
                sum<1>(*tiles, a, b, x.stride, panel, rest, lines, far, ahead, sums);
            for (Index r = i; r < std::min(i + 2 * depth, rows); ++r)
                put<Bytes>(sums + (r < i + depth ? r - upper : depth + r - lower) * width, x, r,
                           reinterpret_cast<const float*>(panel + at.scales_at(0)), out.at(r, 0));
        }
    }

private:
    /// sums [16 or 32, 48] = the rows from a (and those from b) on, times the panel
    template <int heights>
    SMOLVLM_INLINE static void sum(Tiles& tiles, const std::byte* a, const std::byte* b, Index stride,
                                   const std::byte* panel, const std::byte* rest, Index lines, bool far, Ahead& ahead,
                                   std::int32_t* sums) {
        tiles.template zero<0>(), tiles.template zero<1>(), tiles.template zero<2>();
        if constexpr (heights == 2) tiles.template zero<3>(), tiles.template zero<4>(), tiles.template zero<5>();
        for (Index i = 0; i < lines; i += depth, a += 64, b += 64) {
            const std::byte* const w = lines - i >= depth ? panel + i * line : rest;
            if (far)
                for (Index ask = 0; ask < depth; ++ask) integer_detail::ask_ahead<true>(panel + (i + ask) * line);
            else
                ahead.long_step();
            tiles.template load<6>(a, stride);
            tiles.template load<7>(w, line), add<0>(tiles);
            tiles.template load<7>(w + 64, line), add<1>(tiles);
            tiles.template load<7>(w + 128, line), add<2>(tiles);
            if constexpr (heights == 2) {  // the third tile of the lines is there already
                tiles.template load<6>(b, stride), add<5>(tiles);
                tiles.template load<7>(w + 64, line), add<4>(tiles);
                tiles.template load<7>(w, line), add<3>(tiles);
            }
        }
        tiles.template store<0>(sums, line), tiles.template store<1>(sums + 16, line);
        tiles.template store<2>(sums + 32, line);
        if constexpr (heights == 2) {
            sums += depth * width;
            tiles.template store<3>(sums, line), tiles.template store<4>(sums + 16, line);
            tiles.template store<5>(sums + 32, line);
        }
    }
    template <int c>
    SMOLVLM_INLINE static void add(Tiles& tiles) {
        if constexpr (is_bf16)
            tiles.template add_pairs<c, 6, 7>();
        else
            tiles.template add_bytes<c, 6, 7>();
    }

    template <int Bytes>
    SMOLVLM_INLINE static void put(const std::int32_t* sums, const TileRows& x, Index r, const float* scales,
                                   const TileOut<float>& out) {
        constexpr int L = lanes<float, Bytes>, C = static_cast<int>(width) / L;
        using V = Vec<float, L>;
        V y[1][std::size_t{C}];
#pragma GCC unroll 12
        for (int c = 0; c < C; ++c) {
            auto ints = Vec<std::int32_t, L>::load(sums + c * L);
            if constexpr (is_bf16) {
                detail::reinterpret(ints.v, y[0][c].v);
            } else {
                ints = ints + x.start[r];
                y[0][c] = V::of(__builtin_convertvector(ints.v, detail::Raw<float, L>)) *
                          (V::load(scales + c * L) * x.scale[r]);
            }
        }
        integer_detail::put_tile<1, C>(y, out);
    }
};

}  // namespace amx_detail

/// f(tiles) with tiles for blocks of `rows` rows: the processor's, or where it has none, for tests, emulated ones.
template <class F>
void with_tiles(Index rows, F&& f) {
    const TileConfig config = TileConfig::of_height(amx_detail::tile_height(rows));
    const auto use = [&](auto&& tiles) {
        const TilesInUse in_use(tiles, config);
        f(tiles);
    };
#if defined(__x86_64__)
    if (cpu_features().amx_bf16 && cpu_features().amx_int8) return use(AmxTiles());
#endif
    use(PlainTiles());
}

/// out [rows, 48] = plus + x times the panel, which is one of int8 or of bf16; on CpuPath::amx. far: as in gemm.hpp.
template <class Tiles>
void times_panel(Tiles& tiles, Index rows, const TileRows& x, const std::byte* panel, const IntegerLayout& at,
                 const TileOut<float>& out, bool far, const Ahead& ahead) {
    const auto run = [&]<IntegerFormat format>(std::integral_constant<IntegerFormat, format>) {
#if defined(__x86_64__)
        detail::run_avx512<amx_detail::Panel<Tiles, format>>(&tiles, rows, x, panel, at, out, far, ahead);
#else
        detail::run_portable<amx_detail::Panel<Tiles, format>>(&tiles, rows, x, panel, at, out, far, ahead);
#endif
    };
    if (at.is_bf16())
        run(std::integral_constant<IntegerFormat, IntegerFormat::bf16>());
    else
        run(std::integral_constant<IntegerFormat, IntegerFormat::int8>());
}

}  // namespace smolvlm::cpu
