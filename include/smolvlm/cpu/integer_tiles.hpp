#pragma once
/// Rows of signed bytes (integer_rows.hpp) times a panel of small integers (core/integer_layout.hpp), the piece that integer
/// matrix products are made of. The sums of integers are exact; what differs from the definition of a product is the
/// rounding of x, and of W where it was made of floats.
///
///     int8            y = s_x s_w sum_k w_k x_k + b                            one sum over all k
///     Q8_0, Q4_0      y = sum over blocks of 32 k: s_x d sum_k w_k x_k + b     integer sums within, float sums between
///
/// A tile of R rows and C registers of columns is as in gemm.hpp, k four at a time. An element does not depend on the
/// threads or on the rows beside it.

#include <smolvlm/cpu/gemm.hpp>
#include <smolvlm/cpu/integer_dot.hpp>
#include <smolvlm/cpu/integer_panels.hpp>
#include <smolvlm/cpu/integer_rows.hpp>

namespace smolvlm::cpu {

namespace integer_detail {

inline constexpr Index few_rows = 4;

template <class Dots>
using Groups = Vec<std::uint32_t, Dots::L>;

template <class Dots>
SMOLVLM_INLINE Groups<Dots> groups_at(const std::byte* line) {
    return Groups<Dots>::load(reinterpret_cast<const std::uint32_t*>(line));
}

/// What `far` asks for: the lines that memory has to bring while these are worked on.
template <bool far>
SMOLVLM_INLINE void ask_ahead(const std::byte* line) {
    if constexpr (far) ask_pages_ahead<IntegerLayout::line>(line);
}

/// sums[r][c] += the groups of a line times those of R rows of x.
template <class Dots, int R, int C, bool far>
SMOLVLM_INLINE void add_line(const std::int8_t* x, Index stride, const std::byte* w,
                             typename Dots::Ints (&sums)[std::size_t{R}][std::size_t{C}]) {
    ask_ahead<far>(w);
    typename Dots::Operand groups[std::size_t{C}];
#pragma GCC unroll 6
    for (int c = 0; c < C; ++c) Dots::weights(groups_at<Dots>(w + c * 4 * Dots::L).v, groups[c]);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
        typename Dots::Activations four;
        Dots::activations(x + r * stride, four);
#pragma GCC unroll 6
        for (int c = 0; c < C; ++c) Dots::add(sums[r][c], groups[c], four);
    }
}
/// The same for the four lines of a block of nibbles: low halves belong to the first four groups, high ones to the
/// others.
template <class Dots, int R, int C, bool far>
SMOLVLM_INLINE void add_nibbles(const std::int8_t* x, Index stride, const std::byte* w,
                                typename Dots::NibbleSums (&sums)[std::size_t{R}][std::size_t{C}]) {
    constexpr Index step = 4 * Dots::L;
#pragma GCC unroll 4
    for (Index i = 0; i < 4; ++i, w += IntegerLayout::line, x += 4) {
        ask_ahead<far>(w);
#pragma GCC unroll 2
        for (int high = 0; high < 2; ++high) {
            typename Dots::Nibbles groups[std::size_t{C}];
#pragma GCC unroll 6
            for (int c = 0; c < C; ++c)
                Dots::nibbles((groups_at<Dots>(w + c * step).v >> 4 * high) & 0x0f0f0f0fu, groups[c]);
#pragma GCC unroll 8
            for (int r = 0; r < R; ++r) {
                typename Dots::Activations four;
                Dots::activations(x + r * stride + high * 16, four);
#pragma GCC unroll 6
                for (int c = 0; c < C; ++c) Dots::add(sums[r][c], groups[c], four);
            }
        }
    }
}

template <class Dots>
SMOLVLM_INLINE Vec<float, Dots::L> to_float(const typename Dots::Ints& x) {
    return Vec<float, Dots::L>::of(__builtin_convertvector(x, detail::Raw<float, Dots::L>));
}

template <int R, int C, class V>
SMOLVLM_INLINE void put_tile(const V (&y)[std::size_t{R}][std::size_t{C}], const TileOut<float>& out) {
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 6
        for (int c = 0; c < C; ++c) {
            const float* const plus = out.plus ? out.plus + r * out.plus_stride + c * V::lanes : nullptr;
            (plus ? y[r][c] + V::load(plus) : y[r][c]).store(out.y + r * out.ldy + c * V::lanes);
        }
}

/// y[r, j] = plus + x[r] . w[j] for R rows and the C registers of columns from j on.
template <class Dots, IntegerFormat format, int R, int C, bool far>
SMOLVLM_INLINE void tile(const IntegerRows& x, const std::byte* panel, const IntegerLayout& at, Index j,
                         const TileOut<float>& out, Ahead& ahead) {
    using V = Vec<float, Dots::L>;
    typename Dots::Ints sums[std::size_t{R}][std::size_t{C}];
    V y[std::size_t{R}][std::size_t{C}];
    if constexpr (format == IntegerFormat::int8) {
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r)
#pragma GCC unroll 6
            for (int c = 0; c < C; ++c) detail::broadcast(x.start + r, sums[r][c]);
        const auto ask = [&]() __attribute__((always_inline)) {
            if constexpr (!far && R > 1) ahead.step();
        };
        in_pairs(at.block_lines(), ask, [&](Index i) __attribute__((always_inline)) {
            add_line<Dots, R, C, far>(x.q + 4 * i, x.stride, panel + i * at.line + 4 * j, sums);
        });
        const float* const scales = reinterpret_cast<const float*>(panel + at.scales_at(0)) + j;
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r)
#pragma GCC unroll 6
            for (int c = 0; c < C; ++c)
                y[r][c] = to_float<Dots>(sums[r][c]) * (V::load(scales + c * V::lanes) * x.scale[r]);
    } else {
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r)
#pragma GCC unroll 6
            for (int c = 0; c < C; ++c) y[r][c] = V::zero();
        const Index blocks = x.blocks;
#pragma GCC unroll 1
        for (Index b = 0; b < blocks; ++b) {
            if constexpr (!far && R > 1) ahead.long_step();
#pragma GCC unroll 8
            for (int r = 0; r < R; ++r)
#pragma GCC unroll 6
                for (int c = 0; c < C; ++c) detail::broadcast(x.start + r * blocks + b, sums[r][c]);
            const std::byte* const lines = panel + at.lines_at(b) + 4 * j;
            if constexpr (format == IntegerFormat::q8_0) {
#pragma GCC unroll 8
                for (Index i = 0; i < 8; ++i)
                    add_line<Dots, R, C, far>(x.q + 32 * b + 4 * i, x.stride, lines + i * at.line, sums);
            } else if constexpr (std::is_same_v<typename Dots::NibbleSums, typename Dots::Ints>) {
                add_nibbles<Dots, R, C, far>(x.q + 32 * b, x.stride, lines, sums);
            } else {
                typename Dots::NibbleSums of_block[std::size_t{R}][std::size_t{C}]{};
                add_nibbles<Dots, R, C, far>(x.q + 32 * b, x.stride, lines, of_block);
#pragma GCC unroll 8
                for (int r = 0; r < R; ++r)
#pragma GCC unroll 6
                    for (int c = 0; c < C; ++c) Dots::join(sums[r][c], of_block[r][c]);
            }
            const std::byte* const scales = panel + at.scales_at(b) + 2 * j;
            if (b % 2 == 0) ask_ahead<far>(scales);
#pragma GCC unroll 6
            for (int c = 0; c < C; ++c) {
                const V d = load_as<float, V::lanes>(reinterpret_cast<const half*>(scales + 2 * c * V::lanes));
#pragma GCC unroll 8
                for (int r = 0; r < R; ++r)
                    y[r][c].add_product(to_float<Dots>(sums[r][c]), d * x.scale[r * blocks + b]);
            }
        }
    }
    put_tile<R, C>(y, out);
}

/// Registers of columns in a tile. Weights that come from memory are read once: all columns of a line.
template <class Dots, bool far>
constexpr int tile_columns() {
    constexpr int line = static_cast<int>(IntegerLayout::width) / Dots::L;
    if (far && Dots::bytes < 32 && has_32_registers(Dots::bytes)) return line / 2;
    return far && Dots::bytes >= 32 ? line : has_32_registers(Dots::bytes) ? 3 : 2;
}
/// Rows: sums, floats beside them where there are blocks, and operands share the registers.
template <class Dots, IntegerFormat format, bool far>
constexpr int tile_rows() {
    constexpr bool many = has_32_registers(Dots::bytes);
    if (far && (Dots::bytes == 32 || detail::has_neon)) return 1;
    if (format == IntegerFormat::int8) return Dots::one_instruction ? 8 : many ? 6 : 3;
    if (Dots::one_instruction) return 4;
    return Dots::centred || many ? 3 : 1;  // (of AVX2: floats are out of registers while a block is summed)
}

/// x [rows, K] times one panel: y [rows, 48] = plus + x w^T.
template <IntegerFormat format, bool far>
struct Panel {
    template <class Dots>
    SMOLVLM_INLINE static void run(Index rows, IntegerRows x, const std::byte* panel, IntegerLayout at,
                                   TileOut<float> out, Ahead ahead) {
        constexpr int R = std::min(tile_rows<Dots, format, far>(), far ? int(few_rows) : 8), C = tile_columns<Dots, far>();
        ahead.spread((at.has_blocks() ? at.blocks() : pairs(at.block_lines())) * (rows / R) * (at.width / (C * Dots::L)));
        in_tiles<R>(rows, [&](Index i, auto height) __attribute__((always_inline)) {
            for (Index j = 0; j < at.width; j += C * Dots::L)
                tile<Dots, format, height, C, far>(x.at(i), panel, at, j, out.at(i, j), ahead);
        });
    }
};

template <bool far>
void times_panel(CpuPath path, Index rows, const IntegerRows& x, const std::byte* panel, const IntegerLayout& at,
                 const TileOut<float>& out, const Ahead& ahead) {
    if (at.format == IntegerFormat::int8)
        dispatch_integers<Panel<IntegerFormat::int8, far>>(path, rows, x, panel, at, out, ahead);
    else if (at.format == IntegerFormat::q8_0)
        dispatch_integers<Panel<IntegerFormat::q8_0, far>>(path, rows, x, panel, at, out, ahead);
    else
        dispatch_integers<Panel<IntegerFormat::q4_0, far>>(path, rows, x, panel, at, out, ahead);
}

}  // namespace integer_detail

}  // namespace smolvlm::cpu
