#pragma once
/// Attention without the matrix of scores.                                          definition: ref/attention.hpp
///
/// Many rows: a block of query rows meets its keys 512 at a time; a row's maximum m and sum l are corrected whenever
/// a new block of keys raises the maximum (online softmax, Milakov & Gimelshein 2018, arXiv:1805.02867; Dao et al.
/// 2022, arXiv:2205.14135):
///     m' = max(m, max_j s_j)    l' = l e^(m - m') + sum_j e^(s_j - m')    o' = o e^(m - m') + sum_j e^(s_j - m') v_j
/// and y = o / l in the end. The query heads that share a key/value head form one block of rows (position-major), so
/// they share every load of K and V, which are packed once per call, 128 keys at a time. A form says in which numbers:
/// cpu/attention_float.hpp, cpu/attention_integers.hpp. Few rows (decoding): cpu/attention_decode.hpp.

#include <smolvlm/backend/segments.hpp>
#include <smolvlm/cpu/attention_decode.hpp>
#include <smolvlm/cpu/attention_float.hpp>
#include <smolvlm/cpu/attention_integers.hpp>
#include <smolvlm/cpu/packed_weight.hpp>
#include <smolvlm/cpu/team.hpp>

namespace smolvlm::cpu {

namespace attention_detail {

/// Brings the n numbers at `to` into the second cache, to be written to.
template <class T>
void expect_written(T* to, Index n) {
    for (Index i = 0; i < n; i += 64 / static_cast<Index>(sizeof(T))) __builtin_prefetch(to + i, 1, 2);
}

/// The rows of one segment, many of them.
template <class Form, class T, class S>
void attention_many(const Form& form, In<T> q, const KeptRows<S>& k, const KeptRows<S>& v, Heads heads,
                    const Segments& segments, const Segment& segment, View<T> y, CpuPath path, const Team& team) {
    const Index H = heads.query, G = heads.kv, K = form.K, shared = H / G;
    const Index units = (segment.keys + unit_keys - 1) / unit_keys, head_size = units * form.unit_numbers();
    Storage packed = team.pool->take(static_cast<std::size_t>(G * head_size) * sizeof(T));
    T* const base = reinterpret_cast<T*>(packed.data());
    for_each_task<T>(team, G * units, form.pack_numbers(), [&](T* scratch, Index i) {
        const Index g = i % G, unit = i / G, first = unit * unit_keys;  // the heads of a row lie side by side
        form.pack(k.head(segment.k0, g * K), v.head(segment.k0, g * K), segment.keys, first,
                  std::min(unit_keys, segment.keys - first), base + g * head_size + unit * form.unit_numbers(), scratch);
    });

    const Index positions = std::max<Index>(1, query_rows / shared), rows_most = positions * shared;
    const Index blocks = (segment.n + positions - 1) / positions, state = Block<T>::numbers(rows_most, form.width);
    for_each_task<T>(team, G * blocks, state + form.query_numbers(rows_most), [&](T* scratch, Index task) {
        const Index g = task / blocks, block = blocks - 1 - task % blocks;  // causal: the longest first
        const Index t0 = block * positions;
        auto b = Block<T>::in(scratch, rows_most, form.width);
        b.rows = std::min(positions, segment.n - t0) * shared;
        b.K = K;
        b.shared = shared;
        b.first_visible = segments.visible(segment, t0);
        b.causal = segments.causal();
        T* const rows = scratch + state;
        const Index first = ((segment.q0 + t0) * H + g * shared) * K;
        for (Index r = 0; r < b.rows; ++r)  // y is written last, and is here by then
            expect_written(y.data() + first + r / shared * H * K + r % shared * K, K);
        form.begin(q.data() + first, H * K, b, rows);
        dispatch<ClearBlock<T>>(path, b);
        const Index most = b.visible(b.rows - 1);
        const T* const head = base + g * head_size;
        for (Index j = 0; j < most; j += key_block)
            form.step(b, rows, head + j / unit_keys * form.unit_numbers(), j, std::min(key_block, most - j));
        dispatch<EndBlock<T>>(path, b, y.data() + first, H * K);
    });
}

}  // namespace attention_detail

/// In which numbers many rows meet their keys.
enum class AttentionNumbers : std::uint8_t { floats, words, bytes };

/// Integers beside narrow weights, where the processor is fast in them; bytes beside weights that are bytes with a scale a row.
inline AttentionNumbers attention_numbers(Precision precision, CpuPath path) {
    if (precision == Precision::exact || !has_fast_words(path)) return AttentionNumbers::floats;
    return precision == Precision::int8 ? AttentionNumbers::bytes : AttentionNumbers::words;
}

/// q [N, H*K]   k, v [R, G*K], held as S   ->   y [N, H*K]
template <class T, class S>
void attention(In<T> q, KeptRows<S> k, KeptRows<S> v, Heads heads, const Segments& segments, View<T> y,
               AttentionNumbers numbers, CpuPath path, const Team& team) {
    using namespace attention_detail;
    const Index K = q.dim(1) / heads.query, width = round_up(K, 64 / static_cast<Index>(sizeof(T)));
    for (const Segment& segment : segments) {
        if (segment.n <= decode_rows) {
            attention_few<T, S>(q, k, v, heads, segments, segment, y, path, team);
            continue;
        }
        if constexpr (sizeof(T) == sizeof(float))
            if (numbers != AttentionNumbers::floats) {
                const IntegerAttention form{K, width, numbers == AttentionNumbers::bytes, path};
                attention_many<IntegerAttention, T, S>(form, q, k, v, heads, segments, segment, y, path, team);
                continue;
            }
        attention_many<FloatAttention<T>, T, S>({K, width, path}, q, k, v, heads, segments, segment, y, path, team);
    }
}

}  // namespace smolvlm::cpu
