#pragma once
/// Rows of bf16 times a panel of bf16 pairs (core/integer_layout.hpp), sums in float: the piece that products of bf16 are made
/// of. For processors with an instruction for it: vdpbf16ps, two products a lane, the one of the higher half added first,
/// each sum rounded to the nearest float, subnormal numbers taken as zero (Intel SDM volume 2). Panels and tiles are
/// those of integer_tiles.hpp. The plain form takes the same steps, zeros apart, on any path: with it all but the
/// instruction itself is tested on processors that lack it.

#include <smolvlm/cpu/integer_tiles.hpp>

namespace smolvlm::cpu {

/// sums[i] = (sums[i] + w[2 i + 1] x[1]) + w[2 i] x[0] in every lane. (Products of two bf16 are exact in float.)
template <int Bytes>
struct PlainPairDots {
    static constexpr int bytes = Bytes, L = lanes<float, Bytes>;
    struct Operand {
        Vec<float, L> low, high;
    };

    SMOLVLM_INLINE static void pairs(const detail::Raw<std::uint32_t, L>& w, Operand& out) {
        detail::reinterpret(w << 16, out.low.v);
        detail::reinterpret(w & 0xffff0000u, out.high.v);
    }
    SMOLVLM_INLINE static void broadcast(const bfloat16* x, Operand& out) {
        detail::Raw<std::uint32_t, L> all;
        detail::broadcast(x, all);
        pairs(all, out);
    }
    SMOLVLM_INLINE static void add(Vec<float, L>& sums, const Operand& w, const Operand& x) {
        sums.add_product(w.high, x.high);
        sums.add_product(w.low, x.low);
    }
};

#if defined(__x86_64__) && !defined(__clang__)
struct Bf16Dots {
    static constexpr int bytes = 64, L = 16;
    using Operand = detail::Raw<std::uint32_t, L>;

    SMOLVLM_INLINE static void pairs(const Operand& w, Operand& out) { out = w; }
    SMOLVLM_INLINE static void broadcast(const bfloat16* x, Operand& out) { detail::broadcast(x, out); }
    SMOLVLM_INLINE static void add(Vec<float, L>& sums, const Operand& w, const Operand& x) {
        Vec<float, L> y = sums;  // as in VnniDots
        asm("vdpbf16ps %2, %1, %0" : "+v"(y.v) : "v"(w), "v"(x));
        sums = y;
    }
};
#endif

template <class Kernel, class... Args>
void dispatch_pairs([[maybe_unused]] CpuPath path, Args... args) {
#if defined(__x86_64__)
#if !defined(__clang__)
    if (path >= CpuPath::avx512bf16) return detail::run_avx512<detail::WithDots<Kernel, Bf16Dots>>(args...);
#endif
    if (path >= CpuPath::avx512) return detail::run_avx512<detail::WithDots<Kernel, PlainPairDots<64>>>(args...);
    if (path == CpuPath::avx2) return detail::run_avx2<detail::WithDots<Kernel, PlainPairDots<32>>>(args...);
#endif
    detail::run_portable<detail::WithDots<Kernel, PlainPairDots<16>>>(args...);
}

namespace bf16_detail {

/// x [rows, K], ldx numbers apart, to bf16 rows `stride` apart, ties to even, as bfloat16(float) does; zeros after
/// the last, up to a multiple of 32 as far as the row goes.
struct RoundRows {
    template <int Bytes>
    SMOLVLM_INLINE static void run(const float* x, Index ldx, Index rows, Index K, bfloat16* to, Index stride) {
        constexpr int L = lanes<float, Bytes>;
        for (Index r = 0; r < rows; ++r, x += ldx, to += stride) {
            Index k = 0;
            for (; k + L <= K; k += L)
                round<L>(Vec<float, L>::load(x + k), to + k, std::make_index_sequence<std::size_t{L}>());
            for (; k < K; ++k) to[k] = bfloat16(x[k]);
            std::fill(to + K, to + std::min(stride, (K + 31) / 32 * 32), bfloat16(0.0f));
        }
    }

private:
    template <int L, std::size_t... Lane>
    SMOLVLM_INLINE static void round(const Vec<float, L>& x, bfloat16* to, std::index_sequence<Lane...>) {
        detail::Raw<std::uint32_t, L> bits;
        detail::reinterpret(x.v, bits);
        bits = x.v == x.v ? bits + 0x7fffu + ((bits >> 16) & 1u) : bits | 0x400000u;  // NaN stays one
        detail::Raw<std::uint16_t, 2 * L> halves;
        detail::reinterpret(bits, halves);
        const auto high = __builtin_shufflevector(halves, halves, (2 * Lane + 1)...);
        std::memcpy(static_cast<void*>(to), &high, sizeof high);
    }
};

/// x [rows, K] times one panel: y [rows, 48] = plus + x w^T. Sums go through all of K in one chain.
template <bool far>
struct Panel {
    template <class Dots>
    SMOLVLM_INLINE static void run(Index rows, const bfloat16* x, Index stride, const std::byte* panel, Index lines,
                                   TileOut<float> out, Ahead ahead) {
        constexpr int R = Dots::bytes != 64 ? 2 : far ? 4 : std::is_same_v<Dots, PlainPairDots<64>> ? 4 : 8;
        constexpr int C = Dots::bytes == 64 ? 3 : 2;
        ahead.spread(pairs(lines) * (rows / R) * (IntegerLayout::width / (C * Dots::L)));
        in_tiles<R>(rows, [&](Index i, auto height) __attribute__((always_inline)) {
            for (Index j = 0; j < IntegerLayout::width; j += C * Dots::L)
                tile<Dots, height, C>(x + i * stride, stride, panel + 4 * j, lines, out.at(i, j), ahead);
        });
    }
    template <class Dots, int R, int C>
    SMOLVLM_INLINE static void tile(const bfloat16* x, Index stride, const std::byte* w, Index lines,
                                    const TileOut<float>& out, Ahead& ahead) {
        using V = Vec<float, Dots::L>;
        V sums[std::size_t{R}][std::size_t{C}];
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r)
#pragma GCC unroll 3
            for (int c = 0; c < C; ++c) sums[r][c] = V::zero();
        const auto ask = [&]() __attribute__((always_inline)) {
            if constexpr (!far && R > 1) ahead.step();
        };
        in_pairs(lines, ask, [&](Index i) __attribute__((always_inline)) {
            const std::byte* const line = w + i * IntegerLayout::line;
            integer_detail::ask_ahead<far>(line);
            typename Dots::Operand groups[std::size_t{C}];
#pragma GCC unroll 3
            for (int c = 0; c < C; ++c)
                Dots::pairs(integer_detail::groups_at<Dots>(line + c * 4 * Dots::L).v, groups[c]);
#pragma GCC unroll 8
            for (int r = 0; r < R; ++r) {
                typename Dots::Operand pair;
                Dots::broadcast(x + r * stride + 2 * i, pair);
#pragma GCC unroll 3
                for (int c = 0; c < C; ++c) Dots::add(sums[r][c], groups[c], pair);
            }
        });
        integer_detail::put_tile<R, C>(sums, out);
    }
};

}  // namespace bf16_detail

}  // namespace smolvlm::cpu
