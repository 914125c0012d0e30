#pragma once
/// Gradients of attention, a block of query rows at a time.                        definition: ref/attention.hpp
///
/// Nothing of the forward pass is kept: a block computes its softmax once more, then, with a the weights,
///     da = dy v^T     ds = a (da - sum_j a_j da_j)     dq += ds k     dk += ds^T q     dv += a^T dy
/// The query heads that share a key/value head form one block (position-major), as in cpu/attention.hpp. A task is a
/// run of query positions of one segment and one key/value head, and brings dk and dv of its keys along; where several
/// runs share keys, each sums for itself and the sums are added in the order of the runs. How work is cut depends on
/// the shapes alone, so threads do not change a result.

#include <limits>
#include <smolvlm/cpu/attention.hpp>
#include <smolvlm/cpu/sink.hpp>
#include <smolvlm/cpu/turn.hpp>

namespace smolvlm::cpu {

namespace attention_detail {

/// Keys and values of one head, as the tiles want them: turned into panels [key_panel][K][key_panel], keys also as
/// rows.
template <class T>
struct HeadPanels {
    T *k_turned, *v_turned, *k_rows;  // [keys * K] twice, [keys, width]
};

/// One block of query rows; its gradients go to dq, and are added to dk and dv.
template <class T>
struct BlockVjp {
    T *q, *dy, *dq;  // [rows, width]; q scaled by 1/sqrt(K)
    T *a, *ds;       // [rows, keys_stride]
    T* turned;       // [keys, turned_stride]: a^T or ds^T
    T *dk, *dv;      // [keys, width]
    Index rows, K, width, keys_stride, turned_stride;
    Index first_visible, rows_per_key;  // as in Block

    Index visible(Index r) const { return rows_per_key > 0 ? first_visible + r / rows_per_key : first_visible; }
};

template <class T>
struct StepVjp {
    template <int Bytes>
    SMOLVLM_INLINE static void run(BlockVjp<T> b, HeadPanels<T> head) {
        using V = Vec<T, lanes<T, Bytes>>;
        const Index keys = b.visible(b.rows - 1), padded = round_up(keys, key_panel<T>);
        for (Index j = 0; j < padded; j += key_panel<T>) {
            scores<Bytes>(b, b.q, head.k_turned + j * b.K, b.a + j);
            scores<Bytes>(b, b.dy, head.v_turned + j * b.K, b.ds + j);
        }
        for (Index r = 0; r < b.rows; ++r) softmax_row<V>(b, r, padded);
        product<Bytes>(b.rows, b.ds, b.keys_stride, head.k_rows, b.width, keys, b.width, {nullptr, 0, b.dq, b.width});
        if (b.dk) {
            Turn::run<Bytes>(b.ds, b.keys_stride, b.rows, keys, b.turned, b.turned_stride);
            product<Bytes>(keys, b.turned, b.turned_stride, b.q, b.width, b.rows, b.width,
                           {b.dk, b.width, b.dk, b.width});
        }
        if (b.dv) {
            Turn::run<Bytes>(b.a, b.keys_stride, b.rows, keys, b.turned, b.turned_stride);
            product<Bytes>(keys, b.turned, b.turned_stride, b.dy, b.width, b.rows, b.width,
                           {b.dv, b.width, b.dv, b.width});
        }
    }

    /// y [rows, key_panel] = x . panel
    template <int Bytes>
    SMOLVLM_INLINE static void scores(BlockVjp<T> b, const T* x, const T* panel, T* y) {
        constexpr int L = lanes<T, Bytes>, R = 6, C = tile_columns(R, static_cast<int>(key_panel<T>) / L, Bytes);
        tiles<L, R, C>(b.rows, x, b.width, panel, key_panel<T>, b.K, key_panel<T>,
                       TileOut<T>{nullptr, 0, y, b.keys_stride});
    }
    /// y [rows, width] = plus + x [rows, K] z [K, width], width whole cache lines
    template <int Bytes>
    SMOLVLM_INLINE static void product(Index rows, const T* x, Index ldx, const T* z, Index ldz, Index K, Index width,
                                       TileOut<T> y) {
        constexpr int L = lanes<T, Bytes>, R = 6, C = has_32_registers(Bytes) ? 4 : 2;
        Index column = 0;
        for (; column + C * L <= width; column += C * L)
            tiles<L, R, C>(rows, x, ldx, z + column, ldz, K, C * L, y.at(0, column));
        for (; column < width; column += L) tiles<L, R, 1>(rows, x, ldx, z + column, ldz, K, L, y.at(0, column));
    }
    /// Scores of row r to weights, and the gradients of the weights to those of the scores. Zero where the row sees
    /// nothing.
    template <class V>
    SMOLVLM_INLINE static void softmax_row(BlockVjp<T> b, Index r, Index end) {
        constexpr Index L = V::lanes;
        T *const a = b.a + r * b.keys_stride, *const ds = b.ds + r * b.keys_stride;
        const Index seen = b.visible(r), last = round_up(seen, L);
        std::fill(a + last, a + end, T(0));
        std::fill(ds + last, ds + end, T(0));
        if (seen == 0) return;
        std::fill(a + seen, a + last, -std::numeric_limits<T>::infinity());
        V highest = V::load(a);
        for (Index j = L; j < last; j += L) highest = max(V::load(a + j), highest);
        const T m = largest(highest);
        V total = V::zero(), weighted = V::zero();
        for (Index j = 0; j < last; j += L) {
            const V e = exp<true>(V::load(a + j) - m);
            e.store(a + j);
            total = total + e;
            weighted.add_product(e, V::load(ds + j));
        }
        const T inverse = T(1) / sum(total), mean = sum(weighted) * inverse;
        for (Index j = 0; j < last; j += L) {
            const V weight = V::load(a + j) * inverse;
            weight.store(a + j);
            (weight * (V::load(ds + j) - mean)).store(ds + j);
        }
    }
};

/// A run of query positions [t0, t1) of one segment, for key/value head g.
struct VjpTask {
    Segment segment;
    Index t0, t1, g;
    Index offset;  // of its own sums among those of all tasks; -1: it has its keys to itself
};

/// The runs of all segments. Segments alone make enough of them when there are many; a few long ones are cut.
inline std::vector<VjpTask> vjp_tasks(const Segments& segments, Index G, Index width, Index& sums) {
    constexpr Index enough = 24, least = 128;
    bool disjoint = true;
    Index end = 0, live = 0;
    for (const Segment& s : segments) {
        disjoint = disjoint && s.k0 >= end;
        end = std::max(end, s.k0 + s.keys);
        live += s.n > 0;
    }
    std::vector<VjpTask> tasks;
    sums = 0;
    for (const Segment& s : segments) {
        if (s.n == 0) continue;
        const Index runs = std::clamp<Index>(enough / (live * G), 1, std::max<Index>(1, s.n / least));
        for (Index g = 0; g < G; ++g)
            for (Index i = runs - 1; i >= 0; --i) {  // causal: the longest first
                const bool alone = runs == 1 && disjoint;
                tasks.push_back({s, s.n * i / runs, s.n * (i + 1) / runs, g, alone ? -1 : sums});
                if (!alone) sums += 2 * s.keys * width;
            }
    }
    return tasks;
}

}  // namespace attention_detail

/// q, dy [N, H*K]   k, v [R, G*K]   ->   dq [N, H*K], dk, dv [R, G*K]. dk and dv are added to (or null).
template <class T>
void attention_vjp(In<T> q, In<T> k, In<T> v, Heads heads, const Segments& segments, In<T> dy, Sink<T> dq, T* dk, T* dv,
                   CpuPath path, const Team& team) {
    using namespace attention_detail;
    const Index H = heads.query, G = heads.kv, K = q.dim(1) / H, shared = H / G;
    constexpr Index P = key_panel<T>, line = 64 / static_cast<Index>(sizeof(T));
    const Index width = round_up(K, line);
    const Index positions = std::max<Index>(1, query_rows / shared), rows_most = positions * shared;
    const Index turned_stride = round_up(rows_most, line) + line;
    Index sums = 0, keys_most = 0;
    const std::vector<VjpTask> tasks = vjp_tasks(segments, G, width, sums);
    for (const VjpTask& task : tasks) keys_most = std::max(keys_most, round_up(task.segment.keys, P));
    const Index keys_stride = keys_most + line;
    Storage memory = team.pool->take(static_cast<std::size_t>(std::max<Index>(sums, 1)) * sizeof(T));
    T* const own_sums = reinterpret_cast<T*>(memory.data());
    const T scale = T(1) / std::sqrt(static_cast<T>(K));

    const Index scratch_size =
        keys_most * (2 * K + 3 * width) + rows_most * (3 * width + 2 * keys_stride) + keys_most * turned_stride;
    for_each_task<T>(team, static_cast<Index>(tasks.size()), scratch_size, [&](T* scratch, Index number) {
        const VjpTask& task = tasks[static_cast<std::size_t>(number)];
        const Segment& segment = task.segment;
        const Index g = task.g, last_visible = segments.visible(segment, task.t1 - 1);
        HeadPanels<T> head{scratch, scratch + keys_most * K, scratch + keys_most * 2 * K};
        for (Index j = 0; j < last_visible; j += P) {
            const Index count = std::min(P, segment.keys - j), source = ((segment.k0 + j) * G + g) * K;
            turn_keys(k.data() + source, G * K, count, K, head.k_turned + j * K, path);
            turn_keys(v.data() + source, G * K, count, K, head.v_turned + j * K, path);
            copy_padded(k.data() + source, G * K, count, K, head.k_rows + j * width, width);
        }
        T *at = scratch + keys_most * (2 * K + width), *const dk_sum = at, *const dv_sum = at + keys_most * width;
        at += 2 * keys_most * width;
        T* const own = task.offset < 0 ? nullptr : own_sums + task.offset;
        BlockVjp<T> b{.q = at,
                      .dy = at + rows_most * width,
                      .dq = at + 2 * rows_most * width,
                      .a = at + 3 * rows_most * width,
                      .ds = at + rows_most * (3 * width + keys_stride),
                      .turned = at + rows_most * (3 * width + 2 * keys_stride),
                      .dk = dk ? (own ? own : dk_sum) : nullptr,
                      .dv = dv ? (own ? own + segment.keys * width : dv_sum) : nullptr,
                      .rows = 0,
                      .K = K,
                      .width = width,
                      .keys_stride = keys_stride,
                      .turned_stride = turned_stride,
                      .first_visible = 0,
                      .rows_per_key = segments.causal() ? shared : 0};
        if (b.dk) std::fill_n(b.dk, segment.keys * width, T(0));
        if (b.dv) std::fill_n(b.dv, segment.keys * width, T(0));

        for (Index t0 = task.t0; t0 < task.t1; t0 += positions) {
            b.rows = std::min(positions, task.t1 - t0) * shared;
            b.first_visible = segments.visible(segment, t0);
            const auto place = [&](Index r) {
                return ((segment.q0 + t0 + r / shared) * H + g * shared + r % shared) * K;
            };
            for (Index r = 0; r < b.rows; ++r) {
                const T *const from_q = q.data() + place(r), *const from_dy = dy.data() + place(r);
                for (Index d = 0; d < K; ++d) b.q[r * width + d] = from_q[d] * scale;
                std::copy_n(from_dy, K, b.dy + r * width);
                std::fill(b.q + r * width + K, b.q + (r + 1) * width, T(0));
                std::fill(b.dy + r * width + K, b.dy + (r + 1) * width, T(0));
            }
            dispatch<StepVjp<T>>(path, b, head);
            for (Index r = 0; dq && r < b.rows; ++r) {
                T* const target = dq.data + place(r);
                for (Index d = 0; d < K; ++d) {
                    const T slope = b.dq[r * width + d] * scale;
                    target[d] = dq.add ? target[d] + slope : slope;
                }
            }
        }
        const auto add_rows = [&](const T* from, T* to) {
            for (Index j = 0; j < segment.keys; ++j)
                for (Index d = 0; d < K; ++d) to[((segment.k0 + j) * G + g) * K + d] += from[j * width + d];
        };
        if (!own && dk) add_rows(b.dk, dk);
        if (!own && dv) add_rows(b.dv, dv);
    });

    // The sums of runs that share keys, run after run; threads share the heads and keys.
    if (sums > 0)
        parallel_for(team.threads, G, 1, [&](Index begin, Index end) {
            for (const VjpTask& task : tasks) {
                if (task.offset < 0 || task.g < begin || task.g >= end) continue;
                const Segment& s = task.segment;
                const T* const own = own_sums + task.offset;
                for (Index j = 0; j < s.keys; ++j)
                    for (Index d = 0; d < K; ++d) {
                        const Index to = ((s.k0 + j) * G + task.g) * K + d;
                        if (dk) dk[to] += own[j * width + d];
                        if (dv) dv[to] += own[(s.keys + j) * width + d];
                    }
            }
        });
}

}  // namespace smolvlm::cpu
