#pragma once
/// Gradients of y = x W^T + b on packed weights.                                          definition: ref/linear.hpp
///
///     dx += dy W        a product over the M outputs: blocks of W are turned on the way into the cache
///     dW += dy^T x      a product over the N rows: blocks of dy are turned, columns of x are copied together
///     db += sum of the rows of dy
///
/// Both products are the tiles of cpu/gemm.hpp. The order in which an element's terms are added depends on the shapes
/// alone, never on the threads.

#include <smolvlm/cpu/linear.hpp>
#include <smolvlm/cpu/sink.hpp>
#include <smolvlm/cpu/turn.hpp>

namespace smolvlm::cpu {

namespace linear_detail {

/// y [N, M] (+)= a [N, K] b [K, M], for operands that come in blocks:
///     rows_of_a(n0, rows, k0, count, to, stride)      to [rows, stride]          = a[n0 + r, k0 + k]
///     panel_of_b(m0, columns, k0, count, to)          to [count, panel_width]    = b[k0 + k, m0 + m], zeros after
///     `columns`
template <class T, class RowsOfA, class PanelOfB>
void blocked_product(Index N, Index K, Index M, Sink<T> y, RowsOfA rows_of_a, PanelOfB panel_of_b, CpuPath path,
                     const Team& team) {
    if (N == 0 || M == 0) return;
    constexpr Index width = panel_width<T>, line = 64 / static_cast<Index>(sizeof(T));
    const Index row_blocks = (N + block_rows - 1) / block_rows, panels = (M + width - 1) / width;
    const Index block = ((N + row_blocks - 1) / row_blocks + 7) / 8 * 8;
    const Index stride = std::min(k_stride<T>, (K + line - 1) / line * line + line);
    // A few groups of panels per thread; fewer where the product is too small to share.
    const Index affordable = N * K / row_blocks * M / (Index(1) << 18);
    const Index wanted = team.threads > 1 ? std::min<Index>(3 * team.threads / row_blocks, affordable) : 1;
    const Index groups = std::clamp<Index>(wanted, 1, panels);
    const Index near_size = block * stride, panel_size = std::min(K, k_chunk<T>) * width;

    for_each_task<T>(team, row_blocks * groups, near_size + panel_size + block * width, [&](T* scratch, Index task) {
        const Index n0 = task / groups * block, rows = std::min(block, N - n0), group = task % groups;
        T *const near = scratch, *const panel = near + near_size, *const edge = panel + panel_size;
        for (Index k0 = 0; k0 == 0 || k0 < K; k0 += k_chunk<T>) {
            const Index count = std::min(k_chunk<T>, K - k0);
            rows_of_a(n0, rows, k0, count, near, stride);
            for (Index p = panels * group / groups; p < panels * (group + 1) / groups; ++p) {
                const Index m0 = p * width, columns = std::min(width, M - m0);
                panel_of_b(m0, columns, k0, count, panel);
                const TileOut<T> out = at_chain(y.at(n0 * M + m0).tiles(M), k0);
                into_columns(rows, columns, width, out, edge, [&](TileOut<T> target) {
                    if (path == CpuPath::portable)
                        eigen_block(rows, near, stride, panel, width, count, target);
                    else
                        dispatch<ManyRows<T>>(path, rows, near, stride, panel, count, target, Ahead{});
                });
            }
        }
    });
}

/// to [count, panel_width] = W[m0 + m, column + k] for k < columns, zeros after. m0 is a multiple of the panel width.
template <class T>
void widen_columns(const PackedWeight<T>& w, Index column, Index columns, Index m0, Index count, T* to, CpuPath path) {
    constexpr Index width = panel_width<T>;
    if (columns < width)
        for (Index m = 0; m < count; ++m) std::fill(to + m * width + columns, to + (m + 1) * width, T(0));
    if (w.in_panels()) {
        w.with_panels([&](const auto* panels) {
            using W = std::remove_cvref_t<decltype(*panels)>;
            T wide[static_cast<std::size_t>(width * width)];
            for (Index m = 0; m < count; m += width) {
                const W* const block = panels + ((m0 + m) / width * w.cols() + column) * width;
                const T* turned = wide;
                if constexpr (std::is_same_v<W, T>)
                    turned = block;
                else
                    dispatch<Widen<T>>(path, block, wide, columns * width);
                dispatch<Turn>(path, turned, width, columns, std::min(width, count - m), to + m * width, width);
            }
        });
        return;
    }
    if (w.in_integers()) {
        for (Index m = 0; m < count; ++m)
            for (Index k = 0; k < columns; ++k) to[m * width + k] = w.value(m0 + m, column + k);
        return;
    }
    // Whole quantisation blocks around the columns.
    const DTypeInfo d = info(w.dtype());
    const Index first = column / d.block_elements * d.block_elements;
    const Index last =
        std::min(w.cols(), (column + columns + d.block_elements - 1) / d.block_elements * d.block_elements);
    T wide[1024];
    for (Index m = 0; m < count; ++m) {
        const std::byte* const row = w.quantized_row(m0 + m) + first / d.block_elements * d.block_bytes;
        dequantize_row(w.dtype(), row, last - first, wide);
        std::copy_n(wide + (column - first), columns, to + m * width);
    }
}

/// to [rows, panel_width] = from [rows, columns], zeros after `columns`
struct CopyColumns {
    template <int Bytes, class T>
    SMOLVLM_INLINE static void run(const T* from, Index ld, Index rows, Index columns, T* to) {
        using V = Vec<T, lanes<T, Bytes>>;
        constexpr Index width = panel_width<T>;
        if (columns < width) {
            for (Index r = 0; r < rows; ++r, to += width)
                std::fill(std::copy_n(from + r * ld, columns, to), to + width, T(0));
            return;
        }
        for (Index r = 0; r < rows; ++r, to += width)
#pragma GCC unroll 12
            for (Index c = 0; c < width; c += V::lanes) V::load(from + r * ld + c).store(to + c);
    }
};

/// out [cols] (+)= sum of the rows of x [rows, stride ld]
struct ColumnSums {
    template <int Bytes, class T>
    SMOLVLM_INLINE static void run(const T* x, Index ld, Index rows, Index cols, Sink<T> out) {
        using V = Vec<T, lanes<T, Bytes>>;
        constexpr Index L = V::lanes;
        for (Index n0 = 0; n0 == 0 || n0 < rows; n0 += chain) {
            const Index end = std::min(rows, n0 + chain);
            Index j = 0;
            for (; j + 4 * L <= cols; j += 4 * L) {
                V a = V::zero(), b = a, c = a, d = a;
                for (Index n = n0; n < end; ++n) {
                    const T* const row = x + n * ld + j;
                    a = a + V::load(row);
                    b = b + V::load(row + L);
                    c = c + V::load(row + 2 * L);
                    d = d + V::load(row + 3 * L);
                }
                out.put(j, a);
                out.put(j + L, b);
                out.put(j + 2 * L, c);
                out.put(j + 3 * L, d);
            }
            for (; j < cols; ++j) {
                T sum = 0;
                for (Index n = n0; n < end; ++n) sum += x[n * ld + j];
                out.data[j] = out.add ? out.data[j] + sum : sum;
            }
            out.add = true;
        }
    }
};

}  // namespace linear_detail

/// x [N, K] (read only for dw)   w [M, K]   dy [N, M]   ->   dx [N, K], dw [M, K], dbias [M]
template <class T>
void linear_vjp(In<T> x, const PackedWeight<T>& w, In<T> dy, Sink<T> dx, Sink<T> dw, Sink<T> dbias, CpuPath path,
                const Team& team) {
    using namespace linear_detail;
    const Index N = dy.dim(0), M = w.rows(), K = w.cols();
    if (dx)
        blocked_product<T>(
            N, M, K, dx,
            [&](Index n0, Index rows, Index m0, Index count, T* to, Index stride) {
                for (Index r = 0; r < rows; ++r) std::copy_n(dy.data() + (n0 + r) * M + m0, count, to + r * stride);
            },
            [&](Index k0, Index columns, Index m0, Index count, T* to) {
                widen_columns(w, k0, columns, m0, count, to, path);
            },
            path, team);
    if (dw)
        blocked_product<T>(
            M, N, K, dw,
            [&](Index m0, Index rows, Index n0, Index count, T* to, Index stride) {
                dispatch<Turn>(path, dy.data() + n0 * M + m0, M, count, rows, to, stride);
            },
            [&](Index k0, Index columns, Index n0, Index count, T* to) {
                dispatch<CopyColumns>(path, x.data() + n0 * K + k0, K, count, columns, to);
            },
            path, team);
    if (dbias)
        parallel_for(team.threads, M, std::max<Index>(64, 65536 / std::max<Index>(N, 1)), [&](Index begin, Index end) {
            dispatch<ColumnSums>(path, dy.data() + begin, M, N, end - begin, dbias.at(begin));
        });
}

}  // namespace smolvlm::cpu
