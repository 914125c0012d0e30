#pragma once
/// Gradients of the ops that move rows about.    definitions: ref/embedding.hpp, ref/rows.hpp, ref/pixel_shuffle.hpp,
///                                                             ref/rope.hpp

#include <smolvlm/cpu/activations.hpp>
#include <smolvlm/cpu/rope.hpp>
#include <smolvlm/cpu/sink.hpp>

namespace smolvlm::cpu {

/// target (+)= source, n numbers
template <class T>
void put_row(const T* source, Index n, Sink<T> target, CpuPath path) {
    if (target.add)
        dispatch<Elementwise<Add>>(path, static_cast<const T*>(target.data), source, target.data, n);
    else
        std::copy_n(source, n, target.data);
}

/// dx[ids[i], :] += dy[i, :]        dy [N, D]   dx [R, D]
/// An id may come several times, so threads share the columns, not the rows.
template <class T>
void gather_rows_vjp(Ids ids, In<T> dy, View<T> dx, CpuPath path, int threads) {
    const Index D = dy.dim(1);
    const Index grain = std::max<Index>(16, 16384 / std::max<Index>(1, static_cast<Index>(ids.size())));
    parallel_for(threads, D, grain, [&](Index begin, Index end) {
        for (std::size_t i = 0; i < ids.size(); ++i)
            put_row<T>(dy.data() + static_cast<Index>(i) * D + begin, end - begin,
                       {dx.data() + ids[i] * D + begin, true}, path);
    });
}

/// dy [R, D]   ->   dx [R, D], drows [ids, D]
template <class T>
void scatter_rows_vjp(Ids ids, In<T> dy, Sink<T> dx, Sink<T> drows, CpuPath path, int threads) {
    const Index R = dy.dim(0), D = dy.dim(1);
    std::vector<Index> writer(static_cast<std::size_t>(R), -1);
    for (std::size_t i = 0; i < ids.size(); ++i) writer[static_cast<std::size_t>(ids[i])] = static_cast<Index>(i);
    if (drows && !drows.add)  // of two rows for one place the earlier one was lost
        for (std::size_t i = 0; i < ids.size(); ++i)
            if (writer[static_cast<std::size_t>(ids[i])] != static_cast<Index>(i))
                std::fill_n(drows.data + static_cast<Index>(i) * D, D, T(0));
    parallel_for(threads, R, std::max<Index>(1, 16384 / D), [&](Index begin, Index end) {
        for (Index r = begin; r < end; ++r) {
            const Index i = writer[static_cast<std::size_t>(r)];
            if (i >= 0 && drows) put_row<T>(dy.data() + r * D, D, drows.at(i * D), path);
            if (i < 0 && dx) put_row<T>(dy.data() + r * D, D, dx.at(r * D), path);
            if (i >= 0 && dx && !dx.add) std::fill_n(dx.data + r * D, D, T(0));
        }
    });
}

/// dy [I * (rows/s)*(cols/s), s*s*D]   ->   dx [I * rows*cols, D]
template <class T>
void pixel_shuffle_vjp(Index rows, Index cols, Index s, In<T> dy, Sink<T> dx, CpuPath path, int threads) {
    const Index D = dy.dim(1) / (s * s), run = s * D;
    parallel_for(threads, dy.dim(0), Index(16), [&](Index begin, Index end) {
        for (Index n = begin; n < end; ++n) {
            const Index i = n / ((rows / s) * (cols / s)), Y = n / (cols / s) % (rows / s), X = n % (cols / s);
            for (Index y = 0; y < s; ++y)
                put_row<T>(dy.data() + (n * s + y) * run, run, dx.at(((i * rows + Y * s + y) * cols + X * s) * D),
                           path);
        }
    });
}

/// One row of heads, turned back by the angles of the table.
struct RotateRowVjp {
    template <int Bytes, class T>
    SMOLVLM_INLINE static void run(const T* dy, const T* table, Index heads, Index half, Sink<T> dx) {
        using V = Vec<T, lanes<T, Bytes>>;
        constexpr Index L = V::lanes;
        for (Index h = 0; h < heads; ++h, dy += 2 * half, dx = dx.at(2 * half)) {
            Index i = 0;
            for (; i + L <= half; i += L) {
                const V a = V::load(dy + i), b = V::load(dy + half + i);
                const V c = V::load(table + i), s = V::load(table + half + i);
                dx.put(i, a * c + b * s);
                dx.put(half + i, b * c - a * s);
            }
            for (; i < half; ++i) {
                const T a = dy[i], b = dy[half + i], c = table[i], s = table[half + i];
                const T before = dx.add ? dx.data[i] : T(0), after = dx.add ? dx.data[half + i] : T(0);
                dx.data[i] = before + (a * c + b * s);
                dx.data[half + i] = after + (b * c - a * s);
            }
        }
    }
};

/// dy [N, heads*K]   ->   dx [N, heads*K]
template <class T>
void rope_vjp(Index heads, RopeTable<T>& table, const Segments& segments, In<T> dy, Sink<T> dx, CpuPath path,
              int threads) {
    const Index width = dy.dim(1);
    for (const Segment& s : segments) {
        table.reserve(s.keys);
        parallel_for(threads, s.n, Index(32), [&](Index begin, Index end) {
            for (Index t = begin; t < end; ++t) {
                const Index row = (s.q0 + t) * width;
                dispatch<RotateRowVjp>(path, dy.data() + row, table.at(s.past() + t), heads, width / heads / 2,
                                       dx.at(row));
            }
        });
    }
}

}  // namespace smolvlm::cpu
