#pragma once
/// The MLP of a transformer block with its residual, in one piece:
///
///     x += W2 f(W1 h + b1) + b2                   f = gelu_tanh, the vision tower's
///     x += W2 (silu(W1 h) * (V1 h))               SwiGLU, the decoder's
///
/// Many rows go block by block, each on one thread: what lies between the maps, four times as wide as x and else most of
/// what moves to memory and back, stays in the second cache. Floats take as many columns of it at a time as cpu/linear.hpp
/// takes columns of x, so the numbers are bit for bit those of the ops one by one; small integers need whole rows, whose
/// scales they share. Few rows (decoding): one team of threads goes through all weights, with one wait in between.

#include <smolvlm/cpu/activations.hpp>
#include <smolvlm/cpu/linear.hpp>

namespace smolvlm::cpu {

/// The maps of an MLP: `gate` alone, or `gate` and `up` into f; none has a bias, or all but `up`.
template <class T>
struct Mlp {
    const PackedWeight<T>& gate;
    In<T> gate_bias;
    const PackedWeight<T>* up;  // null: f takes one operand
    const PackedWeight<T>& down;
    In<T> down_bias;

    Index inner() const { return gate.rows(); }
    Index width() const { return down.rows(); }
    Index parts() const { return up ? 2 : 1; }
    /// Can so many rows go through all of them in one piece? Else the ops have to be called one by one.
    bool in_one_piece(Index rows) const {
        const bool alike = gate.in_integers() == down.in_integers() && (!up || multiplied_alike(gate, *up));
        const bool few = rows <= linear_detail::few_rows, file_rows = gate.in_file_rows() || down.in_file_rows();
        // Narrow rows so wide that not 32 fit into half the second cache: all weights would come from memory for each few.
        const Index row_bytes = (parts() * inner() + width()) * static_cast<Index>(sizeof(T));
        const bool wide = !few && gate.in_integers() && 32 * row_bytes > second_cache_bytes() / 2;
        return alike && rows > 0 && !(few && file_rows) && !wide;
    }
};

namespace mlp_detail {

/// Rows of a block: what lies between the maps takes `bytes` a row and half the second cache.
inline Index block_rows(Index N, Index bytes, int threads) {
    const Index most = std::clamp<Index>(second_cache_bytes() / 2 / bytes / 8 * 8, 16, 128);
    const Index tasks = std::max<Index>((N + most - 1) / most, std::min<Index>(2 * threads, N / 16));
    return ((N + tasks - 1) / std::max<Index>(tasks, 1) + 7) / 8 * 8;
}

/// rows[r] = f(rows[r], other[r]), `count` numbers each, `stride` apart.
template <class F, class T>
void activate(T* rows, const T* other, Index n, Index count, Index stride, CpuPath path) {
    for (Index r = 0; r < n; ++r, rows += stride, other += stride)
        dispatch<Elementwise<F>>(path, static_cast<const T*>(rows), other, rows, count);
}

/// x[r] += y[r], `count` numbers each.
template <class T>
void add_rows(T* x, const T* y, Index ldy, Index n, Index count, CpuPath path) {
    for (Index r = 0; r < n; ++r, x += count, y += ldy)
        dispatch<Elementwise<Add>>(path, static_cast<const T*>(x), y, x, count);
}

/// A row of so many numbers in scratch memory: whole cache lines, and not a power of two of them.
template <class T>
constexpr Index row_stride(Index count) {
    constexpr Index line = 64 / static_cast<Index>(sizeof(T));
    return (count + line - 1) / line * line + line;
}

template <class F, class T>
void many(In<T> h, const Mlp<T>& mlp, View<T> x, CpuPath path, const Team& team) {
    using namespace linear_detail;
    constexpr Index panels = k_chunk<T> / panel_width<T>;  // that are taken at a time
    const Index N = h.dim(0), K = h.dim(1), M = mlp.width(), inner = mlp.inner();
    const Index strip = k_stride<T>, ldh = row_stride<T>(K), ldy = row_stride<T>(M);
    const bool copies = rows_collide<T>(K);
    const Index row_bytes = (mlp.parts() * strip + ldy + (copies ? ldh : 0)) * static_cast<Index>(sizeof(T));
    const Index block = block_rows(N, row_bytes, team.threads);
    const Index size = block * row_bytes / static_cast<Index>(sizeof(T));
    for_each_task<T>(team, (N + block - 1) / block, size + scratch_size<T>(block), [&](T* hidden, Index task) {
        const Index n0 = task * block, rows = std::min(block, N - n0);
        T *const other = hidden + (mlp.parts() - 1) * block * strip, *const y = other + block * strip;
        T *const near = y + block * ldy, *const scratch = hidden + size;
        const T* const from = h.data() + n0 * K;
        for (Index r = 0; copies && r < rows; ++r) std::copy_n(from + r * K, K, near + r * ldh);
        const auto first_map = [&](const PackedWeight<T>& w, const T* bias, Index p0, T* to) {
            const Index p1 = std::min(p0 + panels, w.panels());
            const TileOut<T> out{bias ? bias + p0 * panel_width<T> : nullptr, 0, to, strip};
            for (Index k0 = 0; k0 < K; k0 += k_chunk<T>)
                times_panels(rows, (copies ? near : from) + k0, copies ? ldh : K, w, p0, p1, k0, std::min(k_chunk<T>, K - k0),
                             at_chain(out, k0), scratch, path);
        };
        for (Index f0 = 0, p0 = 0; f0 < inner; f0 += k_chunk<T>, p0 += panels) {
            const Index count = std::min(k_chunk<T>, inner - f0);
            first_map(mlp.gate, mlp.gate_bias.data(), p0, hidden);
            if (mlp.up) first_map(*mlp.up, nullptr, p0, other);
            activate<F>(hidden, static_cast<const T*>(other), rows, count, strip, path);
            const TileOut<T> out{mlp.down_bias.data(), 0, y, ldy};
            times_panels(rows, static_cast<const T*>(hidden), strip, mlp.down, 0, mlp.down.panels(), f0, count,
                         at_chain(out, f0), scratch, path);
        }
        add_rows(x.data() + n0 * M, static_cast<const T*>(y), ldy, rows, M, path);
    });
}

template <class F>
void many_narrow(In<float> h, const Mlp<float>& mlp, View<float> x, CpuPath path, const Team& team) {
    using namespace narrow_detail;
    const Index N = h.dim(0), K = h.dim(1), M = mlp.width(), inner = mlp.inner();
    const Index ldz = row_stride<float>(inner), ldy = row_stride<float>(M);
    const Index row_floats = mlp.parts() * ldz + ldy;
    const Index block = block_rows(N, row_floats * static_cast<Index>(sizeof(float)), team.threads);
    const auto narrow = [&](const PackedWeight<float>& w) {  // floats that hold a block of narrow rows
        return static_cast<Index>(NarrowRows::bytes(w, block) + 255) / 256 * 64;
    };
    const Index size = block * row_floats, before = narrow(mlp.gate), between = narrow(mlp.down);
    for_each_task<float>(team, (N + block - 1) / block, size + before + between + block * width, [&](float* z, Index task) {
        const Index n0 = task * block, rows = std::min(block, N - n0);
        float *const other = z + (mlp.parts() - 1) * block * ldz, *const y = other + block * ldz;
        float *const memory = z + size, *const edge = memory + before + between;
        const NarrowRows given(mlp.gate, reinterpret_cast<std::byte*>(memory), block, path);
        const NarrowRows hidden(mlp.down, reinterpret_cast<std::byte*>(memory + before), block, path);
        given.put(h.data() + n0 * K, K, 0, rows);
        times_panels(given, false, 0, rows, mlp.gate, 0, mlp.gate.panels(), {mlp.gate_bias.data(), 0, z, ldz}, edge);
        if (mlp.up) times_panels(given, false, 0, rows, *mlp.up, 0, mlp.up->panels(), {nullptr, 0, other, ldz}, edge);
        for (Index r = 0; r < rows; ++r) {  // what the first cache holds of z is a few rows
            activate<F>(z + r * ldz, static_cast<const float*>(other + r * ldz), 1, inner, ldz, path);
            hidden.put(z + r * ldz, ldz, r, 1);
        }
        times_panels(hidden, false, 0, rows, mlp.down, 0, mlp.down.panels(), {mlp.down_bias.data(), 0, y, ldy}, edge);
        add_rows(x.data() + n0 * M, static_cast<const float*>(y), ldy, rows, M, path);
    });
}

/// Few rows: f is applied to what a thread has just computed, then all wait once and go through the second map.
/// first(map, p0, p1, out) and second(p0, p1, out) multiply by panels of weights; between() stands between them.
template <class F, class T, class First, class Between, class Second>
void few(const Mlp<T>& mlp, Index N, Index panel, T* z, View<T> x, CpuPath path, int threads, First first, Between between,
         Second second) {
    const Index M = mlp.width(), inner = mlp.inner(), size = N * inner;
    T* const other = mlp.up ? z + size : z;
    parallel_team(threads, [&](Index thread, Index team) {
        const Index p0 = mlp.gate.panels() * thread / team, p1 = mlp.gate.panels() * (thread + 1) / team;
        const Index f0 = std::min(p0 * panel, inner), count = std::min(p1 * panel, inner) - f0;
        first(thread, mlp.gate, p0, p1, TileOut<T>{mlp.gate_bias ? mlp.gate_bias.data() + f0 : nullptr, 0, z + f0, inner});
        if (mlp.up) first(thread, *mlp.up, p0, p1, TileOut<T>{nullptr, 0, other + f0, inner});
        activate<F>(z + f0, static_cast<const T*>(other + f0), N, count, inner, path);
        team_barrier();
        between(thread);
        const Index q0 = mlp.down.panels() * thread / team, q1 = mlp.down.panels() * (thread + 1) / team;
        const Index m0 = std::min(q0 * panel, M), columns = std::min(q1 * panel, M) - m0;
        T* const y = z + mlp.parts() * size + m0;
        second(thread, q0, q1, TileOut<T>{mlp.down_bias ? mlp.down_bias.data() + m0 : nullptr, 0, y, M});
        for (Index n = 0; n < N; ++n)
            add_rows(x.data() + n * M + m0, static_cast<const T*>(y + n * M), M, 1, columns, path);
    });
}

/// What few() puts its intermediate results into.
template <class T>
std::size_t few_bytes(const Mlp<T>& mlp, Index N) {
    return static_cast<std::size_t>(N * (mlp.parts() * mlp.inner() + mlp.width()) + 16) * sizeof(T);
}

template <class F, class T>
void few_floats(In<T> h, const Mlp<T>& mlp, View<T> x, CpuPath path, const Team& team) {
    const Index N = h.dim(0);
    const Storage memory = team.pool->take(few_bytes(mlp, N));
    T* const z = reinterpret_cast<T*>(memory.data());
    const In<T> hidden(z, Shape{N, mlp.inner()});
    few<F, T>(
        mlp, N, panel_width<T>, z, x, path, team.threads,
        [&](Index, const PackedWeight<T>& w, Index p0, Index p1, const TileOut<T>& out) {
            linear_detail::few_times<T>(h, w, p0, p1, out, path);
        },
        [](Index) {},
        [&](Index, Index p0, Index p1, const TileOut<T>& out) {
            linear_detail::few_times<T>(hidden, mlp.down, p0, p1, out, path);
        });
}

/// Every thread rounds all rows for itself, which is sooner done than waiting for another.
template <class F>
void few_narrow(In<float> h, const Mlp<float>& mlp, View<float> x, CpuPath path, const Team& team) {
    using namespace narrow_detail;
    const Index N = h.dim(0), K = h.dim(1), inner = mlp.inner();
    const auto aligned = [](std::size_t bytes) { return (bytes + 63) / 64 * 64; };
    const std::size_t before = aligned(NarrowRows::bytes(mlp.gate, N)), own = before + aligned(NarrowRows::bytes(mlp.down, N));
    const std::size_t shared = aligned(few_bytes(mlp, N));
    const Storage memory = team.pool->take(shared + static_cast<std::size_t>(team.threads) * own);
    float* const z = reinterpret_cast<float*>(memory.data());
    const auto rows_of = [&](Index thread, const PackedWeight<float>& w, std::size_t offset) {
        return NarrowRows(w, memory.data() + shared + static_cast<std::size_t>(thread) * own + offset, N, path);
    };
    few<F, float>(
        mlp, N, width, z, x, path, team.threads,
        [&](Index thread, const PackedWeight<float>& w, Index p0, Index p1, const TileOut<float>& out) {
            const NarrowRows rows = rows_of(thread, mlp.gate, 0);
            if (&w == &mlp.gate) rows.put(h.data(), K, 0, N);
            float edge[few_rows * width];
            times_panels(rows, true, 0, N, w, p0, p1, out, edge);
        },
        [&](Index thread) { rows_of(thread, mlp.down, before).put(z, inner, 0, N); },
        [&](Index thread, Index p0, Index p1, const TileOut<float>& out) {
            float edge[few_rows * width];
            times_panels(rows_of(thread, mlp.down, before), true, 0, N, mlp.down, p0, p1, out, edge);
        });
}

}  // namespace mlp_detail

/// h [N, D]   x& [N, D]
template <class F, class T>
void add_mlp(In<T> h, const Mlp<T>& mlp, View<T> x, CpuPath path, const Team& team) {
    const bool few = h.dim(0) <= linear_detail::few_rows;
    if constexpr (std::is_same_v<T, float>)
        if (mlp.gate.in_integers())
            return few ? mlp_detail::few_narrow<F>(h, mlp, x, path, team) : mlp_detail::many_narrow<F>(h, mlp, x, path, team);
    few ? mlp_detail::few_floats<F, T>(h, mlp, x, path, team) : mlp_detail::many<F, T>(h, mlp, x, path, team);
}

}  // namespace smolvlm::cpu
