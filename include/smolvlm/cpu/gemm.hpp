#pragma once
/// The inner loop of every matrix product: a tile of R rows and C registers of columns, in registers over all of k.
///
///                         b: k x (C registers)            for each k:  load C registers of b,
///                         [ . . . . . . . . ]                          R times: broadcast one number of a,
///     a: R x k            [ . . . . . . . . ]                                   C fused multiply-adds
///     [ . . . . ]    ->   [ R x C accumulators ]
///
/// 24 accumulators with AVX-512 and NEON (8 x 3, 6 x 4) and 12 with AVX2 (6 x 2) leave room for b and the broadcast and hide
/// the latency of the multiply-add. Rows of a are read where they are; row k of b starts at b + k * ldb.

#include <algorithm>

#include <smolvlm/cpu/dispatch.hpp>
#include <smolvlm/cpu/loads.hpp>

namespace smolvlm::cpu {

/// Where a tile goes and what it is added to. plus: row r begins at plus + r * plus_stride (0: one row for all, such
/// as a bias; null: nothing is added). plus may be y.
template <class T>
struct TileOut {
    const T* plus;
    Index plus_stride;
    T* y;
    Index ldy;

    TileOut at(Index row, Index column) const {
        return {plus ? plus + row * plus_stride + column : nullptr, plus_stride, y + row * ldy + column, ldy};
    }
};

/// Terms that are added up in registers before the sum goes to y. The error of a float sum grows with the length of its
/// chain: with one chain per row the connector was further from the truth than twice transformers' float32. And so many
/// rows of b, three registers wide, stay in the first-level cache while the rows of a pass by.
inline constexpr Index chain = 128;

/// What the terms from k0 on are added to: first what the caller wants, then what is in y.
template <class T>
TileOut<T> at_chain(TileOut<T> out, Index k0) {
    return k0 == 0 ? out : TileOut<T>{out.y, out.ldy, out.y, out.ldy};
}

/// What memory is to bring while tiles are worked on: a line of it every few steps of k. Else the first tiles of every panel
/// of weights wait for it, a tenth of the time of a product; and lines asked for all at once hold up those that are needed.
struct Ahead {
    const std::byte* next = nullptr;
    Index lines = 0, at_once = 0, every = 0, wait = 0;

    static Ahead of(const void* bytes, Index count) { return {static_cast<const std::byte*>(bytes), count / 64, 0, 0, 0}; }
    /// The work that is ahead takes so many steps.
    SMOLVLM_INLINE void spread(Index steps) {
        every = lines > 1 ? std::max<Index>(1, steps / (lines / 2)) : Index(1) << 62;
        at_once = (lines + steps) / (steps + 1);
        wait = every;
    }
    /// Two lines every few steps.
    SMOLVLM_INLINE void step() {
        if (--wait > 0) return;
        __builtin_prefetch(next, 0, 2);
        __builtin_prefetch(next + 64, 0, 2);
        next += 128;
        wait = every;
    }
    /// Of steps so long that a line for each would not do.
    SMOLVLM_INLINE void long_step() {
        for (Index i = 0; i < at_once; ++i, next += 64) __builtin_prefetch(next, 0, 2);
    }
};

/// What comes from memory, not from a cache, is asked for some pages ahead: the processor's own prefetch stops at the end of a
/// page.
template <Index bytes>
SMOLVLM_INLINE void ask_pages_ahead(const void* at) {
    for (Index byte = 0; byte < bytes; byte += 64) __builtin_prefetch(static_cast<const char*>(at) + 6144 + byte);
}

/// f(k) for k = 0 .. K - 1, two by two, before() in front of each two: so many steps are pairs(K). A loop's own instructions
/// are an eighth of a tile's, and where another thread shares the core, which then takes up instructions every other cycle, it
/// is they that a product waits for.
template <class Before, class F>
SMOLVLM_INLINE void in_pairs(Index K, const Before& before, const F& f) {
    Index k = 0;
#pragma GCC unroll 1
    for (; k + 2 <= K; k += 2) {
        before();
        f(k);
        f(k + 1);
    }
    if (k < K) f(k);
}
constexpr Index pairs(Index K) { return K / 2; }

/// y[r, c] = plus[r, c] + sum_k a[r, k] b[k, c]        a [R, K]   b [K, C registers] of stored type W;  K <= chain
/// far: b comes from memory.
template <int L, int R, int C, bool far = false, class T, class W>
SMOLVLM_INLINE void tile(const T* a, Index lda, const W* b, Index ldb, Index K, TileOut<T> out, Ahead* ahead = nullptr) {
    using V = Vec<T, L>;
    V sums[std::size_t{R}][std::size_t{C}];
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 16
        for (int c = 0; c < C; ++c) sums[r][c] = V::zero();
    const auto ask = [&]() __attribute__((always_inline)) {
        if constexpr (!far && R >= 6)  // whole tiles: the last few rows ask for nothing
            if (ahead) ahead->step();
    };
    in_pairs(K, ask, [&](Index k) __attribute__((always_inline)) {
        if constexpr (far) ask_pages_ahead<sizeof(W) * L * C>(b + k * ldb);
        V row[std::size_t{C}];
#pragma GCC unroll 16
        for (int c = 0; c < C; ++c) row[c] = load_as<T, L>(b + k * ldb + c * L);
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r) {
            const T same = a[r * lda + k];
#pragma GCC unroll 16
            for (int c = 0; c < C; ++c) sums[r][c].add_product(same, row[c]);
        }
    });
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 16
        for (int c = 0; c < C; ++c) {
            const V sum = out.plus ? sums[r][c] + V::load(out.plus + r * out.plus_stride + c * L) : sums[r][c];
            sum.store(out.y + r * out.ldy + c * L);
        }
}

/// f(r, height) for tiles from row r on, `height` a constant: R rows as long as there are so many, then R / 2, R / 4 .. 1. (Not
/// every height: each is code to compile, and only the last few rows of a matrix meet them.)
template <int R, class F>
SMOLVLM_INLINE void in_tiles(Index rows, const F& f, Index r = 0) {
    for (; r + R <= rows; r += R) f(r, std::integral_constant<int, R>());
    if constexpr (R > 1)
        if (r < rows) in_tiles<R / 2>(rows, f, r);
}

/// y [rows, width] = plus + a [rows, K] b [K, width], width a multiple of the C registers of a tile.
template <int L, int R, int C, class T>
SMOLVLM_INLINE void tiles(Index rows, const T* a, Index lda, const T* b, Index ldb, Index K, Index width,
                          TileOut<T> out, Ahead* ahead = nullptr) {
    if (ahead) ahead->spread(pairs(K) * (rows / R) * (width / (C * L)));
    for (Index k0 = 0; k0 == 0 || k0 < K; k0 += chain)
        in_tiles<R>(rows, [&](Index i, auto height) __attribute__((always_inline)) {
            for (Index j = 0; j < width; j += C * L)
                tile<L, height, C>(a + i * lda + k0, lda, b + k0 * ldb + j, ldb, std::min(chain, K - k0),
                                   at_chain(out, k0).at(i, j), ahead);
        });
}

/// How many registers of columns go with R rows: a divisor of `registers` that keeps the sums in the register file. (On ARM
/// with b and a number of a beside them: no operand is in memory.)
constexpr int tile_columns(int rows, int registers, int bytes) {
    const int accumulators = has_32_registers(bytes) ? 24 : 12;
    int best = 1;
    for (int c = 1; c <= registers; ++c)
        if (registers % c == 0 && c * rows <= accumulators && (!detail::has_neon || c * (rows + 1) < 32)) best = c;
    return best;
}

/// Computes the columns of one panel of `width` with f(out). Whole panels go straight to y; of the last one only
/// `columns` exist, so it goes through `edge` [rows, width].
template <class T, class F>
void into_columns(Index rows, Index columns, Index width, TileOut<T> out, T* edge, F&& f) {
    if (columns >= width) return f(out);
    for (Index r = 0; out.plus && r < rows; ++r)
        std::copy_n(out.plus + r * out.plus_stride, columns, edge + r * width);
    f(TileOut<T>{out.plus ? edge : nullptr, width, edge, width});
    for (Index r = 0; r < rows; ++r) std::copy_n(edge + r * width, columns, out.y + r * out.ldy);
}

}  // namespace smolvlm::cpu
