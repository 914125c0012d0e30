#pragma once
/// y = x W^T + b on packed weights.                                                    definition: ref/linear.hpp
///
/// Few rows (decoding): every panel of W is read once and widened in registers; memory bandwidth is the limit. Many
/// rows: each panel is widened into the second-level cache and meets a block of rows of x, tile by tile. K is cut
/// into chunks so that the rows of a tile stay in the first-level cache. An element is the sum over chunks of the
/// sums in them, whatever the threads, and, with floating weights on the vector paths, however many rows are beside
/// it: a prompt read at once or token by token gives the same numbers.

#include <smolvlm/cpu/eigen.hpp>
#include <smolvlm/cpu/gemm.hpp>
#include <smolvlm/cpu/maps.hpp>
#include <smolvlm/cpu/narrow_linear.hpp>
#include <smolvlm/cpu/quantized_dot.hpp>
#include <smolvlm/cpu/team.hpp>

namespace smolvlm::cpu {

namespace linear_detail {

inline constexpr Index few_rows = 4;
inline constexpr Index block_rows = 256;  // their part of x, k_chunk wide, stays in the second cache
template <class T>  // a multiple of every quantisation block
inline constexpr Index k_chunk = 3072 / static_cast<Index>(sizeof(T));
template <class T>  // a power of two would put the rows of a tile into the same cache sets
inline constexpr Index k_stride = k_chunk<T> + 64 / static_cast<Index>(sizeof(T));

/// x [rows, K] with rows <= few_rows, times one panel.
template <class T>
struct FewRows {
    template <int Bytes, class W>
    SMOLVLM_INLINE static void run(Index rows, const T* x, Index K, const W* panel, TileOut<T> out) {
        for (Index k0 = 0; k0 == 0 || k0 < K; k0 += chain)
            add_chain<Bytes, static_cast<int>(few_rows)>(rows, x + k0, K, panel + k0 * panel_width<T>,
                                                         std::min(chain, K - k0), at_chain(out, k0));
    }
    template <int Bytes, int R, class W>
    SMOLVLM_INLINE static void add_chain(Index rows, const T* x, Index ldx, const W* panel, Index K, TileOut<T> out) {
        if constexpr (R > 1)
            if (rows < R) return add_chain<Bytes, R - 1>(rows, x, ldx, panel, K, out);
        constexpr int L = lanes<T, Bytes>, C = tile_columns(R, static_cast<int>(panel_width<T>) / L, Bytes);
        for (Index j = 0; j < panel_width<T>; j += C * L)
            tile<L, R, C, true>(x, ldx, panel + j, panel_width<T>, K, out.at(0, j));
    }
};

/// A block of rows times one widened panel.
template <class T>
struct ManyRows {
    template <int Bytes>
    SMOLVLM_INLINE static void run(Index rows, const T* x, Index ldx, const T* panel, Index K, TileOut<T> out,
                                   Ahead ahead) {
        constexpr int L = lanes<T, Bytes>, R = has_32_registers(Bytes) ? 8 : 6;
        constexpr int C = tile_columns(R, static_cast<int>(panel_width<T>) / L, Bytes);
        tiles<L, R, C>(rows, x, ldx, panel, panel_width<T>, K, panel_width<T>, out, &ahead);
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

/// out = a . b
template <class T>
struct Dot {
    template <int Bytes>
    SMOLVLM_INLINE static void run(const T* a, const T* b, Index K, T* out) {
        constexpr Index L = lanes<T, Bytes>;
        using V = Vec<T, lanes<T, Bytes>>;
        V even = V::zero(), odd = V::zero();
        Index k = 0;
        for (; k + 2 * L <= K; k += 2 * L) {
            even.add_product(V::load(a + k), V::load(b + k));
            odd.add_product(V::load(a + k + L), V::load(b + k + L));
        }
        T total = sum(even + odd);
        for (; k < K; ++k) total += a[k] * b[k];
        *out = total;
    }
};

/// [count, panel_width]: columns k0 .. k0 + count - 1 of the rows in panel p of W. In place where W holds T, else widened
/// into `to`.
template <class T>
const T* panel_of(const PackedWeight<T>& w, Index p, Index k0, Index count, T* to, CpuPath path) {
    constexpr Index width = panel_width<T>;
    const T* panel = to;
    if (w.in_panels()) {
        w.with_panels([&](const auto* panels) {
            const auto* const stored = panels + (p * w.cols() + k0) * width;
            if constexpr (std::is_same_v<decltype(stored), const T* const>)
                panel = stored;
            else
                dispatch<Widen<T>>(path, stored, to, count * width);
        });
        return panel;
    }
    const DTypeInfo d = info(w.dtype());
    if (w.in_integers()) {
        for (Index k = 0; k < count; ++k)
            for (Index c = 0; c < width; ++c) to[k * width + c] = w.value(p * width + c, k0 + k);
        return panel;
    }
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
    return panel;
}

/// What comes after `count` columns from k0 on of panel p: the same columns of the next.
template <class T>
Ahead after(const PackedWeight<T>& w, Index p, Index k0, Index count) {
    Ahead ahead;
    if (w.in_panels())
        w.with_panels([&](const auto* panels) {
            ahead = Ahead::of(panels + ((p + 1) * w.cols() + k0) * panel_width<T>,
                              count * panel_width<T> * static_cast<Index>(sizeof *panels));
        });
    return ahead;
}

/// A few rows of x times the panels p0 .. p1 - 1 of w; `out` is where panel p0 begins.
template <class T>
void few_times(In<T> x, const PackedWeight<T>& w, Index p0, Index p1, const TileOut<T>& out, CpuPath path) {
    constexpr Index width = panel_width<T>;
    const Index N = x.dim(0), K = x.dim(1);
    T edge[static_cast<std::size_t>(few_rows * width)];
    w.with_panels([&](const auto* panels) {
        for (Index p = p0; p < p1; ++p)
            into_columns(N, w.rows() - p * width, width, out.at(0, (p - p0) * width), edge, [&](const TileOut<T>& columns) {
                dispatch<FewRows<T>>(path, N, x.data(), K, panels + p * K * width, columns);
            });
    });
}

template <class T>
void few(In<T> x, Maps<T> maps, CpuPath path, const Team& team) {
    // A run of panels that lie one behind the other for each worker: memory likes long streams.
    parallel_for(team.threads, panels_of(maps), 1, [&](Index begin, Index end) {
        for_panels(maps, begin, end, [&](const Map<T>& map, Index p0, Index p1) {
            few_times<T>(x, *map.w, p0, p1, map.out().at(0, p0 * panel_width<T>), path);
        });
    });
}

/// x . row m of a quantised weight; `row` [K] is scratch.
template <class T>
T quantized_dot(const PackedWeight<T>& w, Index m, const T* x, T* row, CpuPath path) {
    const Index K = w.cols();
    T product = 0;
    if constexpr (std::is_same_v<T, float>) {
        const std::byte* const bytes = w.quantized_row(m);
        if (w.dtype() == DType::q8_0) dispatch<QuantizedDot<DType::q8_0>>(path, bytes, x, K, &product);
        if (w.dtype() == DType::q4_0) dispatch<QuantizedDot<DType::q4_0>>(path, bytes, x, K, &product);
        if (w.dtype() == DType::q4_1) dispatch<QuantizedDot<DType::q4_1>>(path, bytes, x, K, &product);
        if (has_quantized_dot(w.dtype())) return product;
    }
    w.row(m, row);
    dispatch<Dot<T>>(path, x, row, K, &product);
    return product;
}

template <class T>
void few_quantized(In<T> x, const Map<T>& map, CpuPath path, const Team& team) {
    const PackedWeight<T>& w = *map.w;
    const Index N = x.dim(0), K = x.dim(1), M = w.rows();
    for_each_task<T>(team, w.panels(), K, [&](T* row, Index p) {
        for (Index m = p * panel_width<T>; m < std::min(M, (p + 1) * panel_width<T>); ++m) {
            for (Index n = 0; n < N; ++n)
                map.y[n * M + m] = quantized_dot(w, m, x.data() + n * K, row, path) + (map.bias ? map.bias[m] : T(0));
        }
    });
}

/// Rows so far apart that they meet in the same few sets of the first cache.
template <class T>
bool rows_collide(Index K) {
    return K * static_cast<Index>(sizeof(T)) % 2048 == 0;
}

/// What a worker needs beside its rows: a widened panel, and the columns of a panel that goes beyond the last row of W.
template <class T>
Index scratch_size(Index rows) {
    return (k_chunk<T> + rows) * panel_width<T>;
}

/// out = plus + a w^T for the panels p0 .. p1 - 1 of w and its columns k0 .. k0 + count - 1, which are those of
/// a [rows, count]; `out` is where panel p0 begins.
template <class T>
void times_panels(Index rows, const T* a, Index lda, const PackedWeight<T>& w, Index p0, Index p1, Index k0, Index count,
                  const TileOut<T>& out, T* scratch, CpuPath path) {
    constexpr Index width = panel_width<T>;
    for (Index p = p0; p < p1; ++p) {
        const T* const panel = panel_of(w, p, k0, count, scratch, path);
        into_columns(rows, w.rows() - p * width, width, out.at(0, (p - p0) * width), scratch + k_chunk<T> * width,
                     [&](const TileOut<T>& columns) {
                         if (path == CpuPath::portable)
                             eigen_block(rows, a, lda, panel, width, count, columns);
                         else
                             dispatch<ManyRows<T>>(path, rows, a, lda, panel, count, columns, after(w, p, k0, count));
                     });
    }
}

template <class T>
void many(In<T> x, Maps<T> maps, CpuPath path, const Team& team) {
    const Index N = x.dim(0), K = x.dim(1), panels = panels_of(maps);
    const Index row_blocks = (N + block_rows - 1) / block_rows;
    const Index block = ((N + row_blocks - 1) / row_blocks + 7) / 8 * 8;
    // Groups of panels: several tasks per thread, so that none waits long for the last.
    const Index wanted = team.threads > 1 ? (8 * team.threads + row_blocks - 1) / row_blocks : 1;
    const Index groups = std::clamp<Index>(wanted, 1, panels);
    const bool copies = rows_collide<T>(K);
    const Index near_size = copies ? block * k_stride<T> : 0;

    for_each_task<T>(team, row_blocks * groups, near_size + scratch_size<T>(block), [&](T* near, Index task) {
        const Index n0 = task / groups * block, rows = std::min(block, N - n0), group = task % groups;
        for (Index k0 = 0; k0 == 0 || k0 < K; k0 += k_chunk<T>) {
            const Index count = std::min(k_chunk<T>, K - k0);
            const T* const a = x.data() + n0 * K + k0;
            for (Index r = 0; copies && r < rows; ++r) std::copy_n(a + r * K, count, near + r * k_stride<T>);
            for_panels(maps, panels * group / groups, panels * (group + 1) / groups,
                       [&](const Map<T>& map, Index p0, Index p1) {
                           times_panels(rows, copies ? near : a, copies ? k_stride<T> : K, *map.w, p0, p1, k0, count,
                                        at_chain(map.out().at(n0, p0 * panel_width<T>), k0), near + near_size, path);
                       });
        }
    });
}

}  // namespace linear_detail

/// Are these multiplied in one way, so that they may be maps of one call?
template <class T>
bool multiplied_alike(const PackedWeight<T>& a, const PackedWeight<T>& b) {
    return a.integers().format == b.integers().format && a.in_file_rows() == b.in_file_rows();
}

/// x [N, K]   maps of weights that are multiplied alike
template <class T>
void linear(In<T> x, Maps<T> maps, CpuPath path, const Team& team) {
    if (x.dim(0) == 0 || panels_of(maps) == 0) return;
    const PackedWeight<T>& any = *maps[0].w;
    if constexpr (std::is_same_v<T, float>)
        if (any.in_integers()) return narrow_linear(x, maps, path, team);
    if (x.dim(0) > linear_detail::few_rows) return linear_detail::many<T>(x, maps, path, team);
    if (!any.in_file_rows()) return linear_detail::few<T>(x, maps, path, team);
    for (const Map<T>& map : maps) linear_detail::few_quantized<T>(x, map, path, team);
}

}  // namespace smolvlm::cpu
