#pragma once
/// y = x W^T + b on packed weights.                                                        definition: ref/linear.hpp
///
/// Few rows (decoding): every panel of W is streamed once and widened in registers; memory bandwidth is the limit.
/// Many rows: blocks of rows of x stay in the second-level cache, a panel of W in half of it, tiles in registers. K is cut
/// into chunks so that the rows of a tile stay in the first-level cache. An element is always summed in the same order,
/// whatever the number of threads or rows beside it.

#include <smolvlm/cpu/eigen.hpp>
#include <smolvlm/cpu/gemm.hpp>
#include <smolvlm/cpu/packed_weight.hpp>
#include <smolvlm/cpu/team.hpp>

namespace smolvlm::cpu {

namespace linear_detail {

inline constexpr Index few_rows = 4;
template <class T>
inline constexpr Index k_chunk = 3072 / static_cast<Index>(sizeof(T));  // a multiple of every quantisation block
template <class T>
inline constexpr Index k_stride = k_chunk<T> + 64 / static_cast<Index>(sizeof(T));  // rows a power of two apart would
                                                                                    // compete for the same cache sets

/// x [rows, K] with rows <= few_rows, times one panel.
template <class T>
struct FewRows {
    template <int Bytes, class W>
    SMOLVLM_INLINE static void run(Index rows, const T* x, Index K, const W* panel, TileOut<T> out) {
        rows_of<Bytes, static_cast<int>(few_rows)>(rows, x, K, panel, out);
    }
    template <int Bytes, int R, class W>
    SMOLVLM_INLINE static void rows_of(Index rows, const T* x, Index K, const W* panel, TileOut<T> out) {
        if constexpr (R > 1)
            if (rows < R) return rows_of<Bytes, R - 1>(rows, x, K, panel, out);
        constexpr int L = lanes<T, Bytes>, C = tile_columns(R, static_cast<int>(panel_width<T>) / L, Bytes);
        for (Index j = 0; j < panel_width<T>; j += C * L)
            tile<L, R, C>(x, K, panel + j, panel_width<T>, K,
                          {out.start ? out.start + j : nullptr, 0, out.y + j, out.ldy});
    }
};

/// A block of rows times one panel that is already of type T.
template <class T>
struct ManyRows {
    template <int Bytes>
    SMOLVLM_INLINE static void run(Index rows, const T* x, Index ldx, const T* panel, Index K, TileOut<T> out) {
        constexpr int L = lanes<T, Bytes>, R = Bytes == 64 ? 8 : 6;
        constexpr int C = tile_columns(R, static_cast<int>(panel_width<T>) / L, Bytes);
        tiles<L, R, C>(rows, x, ldx, panel, panel_width<T>, K, panel_width<T>, out);
    }
};

template <class T>
struct Widen {
    template <int Bytes, class W>
    SMOLVLM_INLINE static void run(const W* from, T* to, Index n) {  // n is a multiple of the panel width
        constexpr int L = lanes<T, Bytes>;
        for (Index i = 0; i < n; i += L) load_as<T, L>(from + i).store(to + i);
    }
};

/// x . row for a few rows of x and one row of W.
template <class T>
struct Dot {
    template <int Bytes>
    SMOLVLM_INLINE static void run(const T* a, const T* b, Index K, T* out) {
        constexpr int L = lanes<T, Bytes>;
        using V = Vec<T, L>;
        V s0(T(0)), s1(T(0));
        Index k = 0;
        for (; k + 2 * L <= K; k += 2 * L) {
            s0.add_product(V::load(a + k), V::load(b + k));
            s1.add_product(V::load(a + k + L), V::load(b + k + L));
        }
        T total = sum(s0 + s1);
        for (; k < K; ++k) total += a[k] * b[k];
        *out = total;
    }
};

/// to [count, panel_width] = columns k0 .. k0 + count - 1 of panel p of W, as T.
template <class T>
void widen_panel(const PackedWeight<T>& w, Index p, Index k0, Index count, T* to, CpuPath path) {
    constexpr Index width = panel_width<T>;
    if (!w.quantized()) {
        w.with_panels([&](const auto* panels) {
            dispatch<Widen<T>>(path, panels + (p * w.cols() + k0) * width, to, count * width);
        });
        return;
    }
    const DTypeInfo d = info(w.dtype());
    T turned[256];
    for (Index c = 0; c < width; ++c) {
        const Index m = p * width + c;
        for (Index k = 0; k < count; k += 256) {
            const Index n = std::min<Index>(256, count - k);
            if (m < w.rows())
                dequantize_row(w.dtype(), w.quantized_row(m) + (k0 + k) / d.block_elements * d.block_bytes, n, turned);
            else
                std::fill_n(turned, n, T(0));
            for (Index i = 0; i < n; ++i) to[(k + i) * width + c] = turned[i];
        }
    }
}

/// One panel's columns of y: whole tiles go straight to y, those of the last panel through `edge` so that only the columns
/// that exist are written. f(out) computes the tiles of up to `rows` rows.
template <class T, class F>
void into_columns(Index rows, Index columns, const T* start, Index start_stride, T* y, Index ldy, T* edge, F&& f) {
    constexpr Index width = panel_width<T>;
    if (columns >= width) return f(TileOut<T>{start, start_stride, y, ldy});
    for (Index r = 0; start && r < rows; ++r) std::copy_n(start + r * start_stride, columns, edge + r * width);
    f(TileOut<T>{start ? edge : nullptr, width, edge, width});
    for (Index r = 0; r < rows; ++r) std::copy_n(edge + r * width, columns, y + r * ldy);
}

template <class T>
void few(In<T> x, const PackedWeight<T>& w, In<T> bias, View<T> y, CpuPath path, const Team& team) {
    constexpr Index width = panel_width<T>;
    const Index N = x.dim(0), K = x.dim(1), M = w.rows();
    if (w.quantized()) {
        for_each_task<T>(team, w.panels(), K, [&](T* row, Index p) {
            for (Index m = p * width; m < std::min(M, (p + 1) * width); ++m) {
                w.row(m, row);
                for (Index n = 0; n < N; ++n) {
                    T dot = 0;
                    dispatch<Dot<T>>(path, x.data() + n * K, static_cast<const T*>(row), K, &dot);
                    y.data()[n * M + m] = dot + (bias ? bias.data()[m] : T(0));
                }
            }
        });
        return;
    }
    // A run of panels that lie one behind the other for each worker: memory likes long streams.
    parallel_for(team.threads, w.panels(), 1, [&](Index begin, Index end) {
        T edge[static_cast<std::size_t>(few_rows * width)];
        w.with_panels([&](const auto* panels) {
            for (Index p = begin; p < end; ++p)
                into_columns<T>(N, M - p * width, bias ? bias.data() + p * width : nullptr, 0, y.data() + p * width, M, edge,
                                [&](TileOut<T> out) {
                                    dispatch<FewRows<T>>(path, N, x.data(), K, panels + p * K * width, out);
                                });
        });
    });
}

template <class T>
void many(In<T> x, const PackedWeight<T>& w, In<T> bias, View<T> y, CpuPath path, const Team& team) {
    constexpr Index width = panel_width<T>;
    const Index N = x.dim(0), K = x.dim(1), M = w.rows();
    const T* const as_stored = w.panels_of_scalars();
    // Rows per block: enough to use a panel well once it is in cache; more where a panel has to be widened first.
    const Index most = as_stored ? 128 : 512;
    const Index row_blocks = (N + most - 1) / most;
    const Index block = ((N + row_blocks - 1) / row_blocks + 7) / 8 * 8;
    // Groups of panels: a few tasks per thread, so that none waits long for the last.
    const Index wanted = std::max<Index>(1, (team.threads > 1 ? 4 * team.threads : 1) / row_blocks);
    const Index groups = std::min(w.panels(), wanted);
    const Index copy = block * k_stride<T>, wide = k_chunk<T> * width;

    for_each_task<T>(team, row_blocks * groups, copy + wide + block * width, [&](T* scratch, Index task) {
        const Index n0 = task / groups * block, rows = std::min(block, N - n0), g = task % groups;
        T *const near = scratch, *const widened = scratch + copy, *const edge = widened + wide;
        for (Index k0 = 0; k0 < std::max<Index>(K, 1); k0 += k_chunk<T>) {
            const Index count = std::min(k_chunk<T>, K - k0);
            for (Index r = 0; r < rows; ++r) std::copy_n(x.data() + (n0 + r) * K + k0, count, near + r * k_stride<T>);
            for (Index p = w.panels() * g / groups; p < w.panels() * (g + 1) / groups; ++p) {
                if (!as_stored) widen_panel(w, p, k0, count, widened, path);
                const T* const panel = as_stored ? as_stored + (p * K + k0) * width : widened;
                T* const to = y.data() + n0 * M + p * width;
                const T* const start = k0 > 0 ? to : bias ? bias.data() + p * width : nullptr;
                into_columns<T>(rows, M - p * width, start, k0 > 0 ? M : 0, to, M, edge, [&](TileOut<T> out) {
                    if (path == CpuPath::portable)
                        eigen_block(rows, near, k_stride<T>, panel, width, count, out.start, out.start_stride, out.y, out.ldy);
                    else
                        dispatch<ManyRows<T>>(path, rows, static_cast<const T*>(near), k_stride<T>, panel, count, out);
                });
            }
        }
    });
}

}  // namespace linear_detail

/// x [N, K]   w [M, K]   bias [M] or null   ->   y [N, M]
template <class T>
void linear(In<T> x, const PackedWeight<T>& w, In<T> bias, View<T> y, CpuPath path, const Team& team) {
    if (y.numel() == 0) return;
    if (x.dim(0) <= linear_detail::few_rows)
        linear_detail::few<T>(x, w, bias, y, path, team);
    else
        linear_detail::many<T>(x, w, bias, y, path, team);
}

}  // namespace smolvlm::cpu
