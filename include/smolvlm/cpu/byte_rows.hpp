#pragma once
/// Keys or values of earlier tokens as signed bytes, a scale for each row and head:
///
///     x_k ~ s q_k,   s = max |x| / 127,   q_k = round(x_k / s)           rounded as activations are: cpu/integer_rows.hpp
///
/// What is read and written again, as in a cache that grows, stays the same bytes and scales: 127 s, rounded, over 127 is s.
/// A head with a NaN or an infinity in it is read back as NaN.

#include <smolvlm/backend/segments.hpp>
#include <smolvlm/core/host_tensor.hpp>
#include <smolvlm/cpu/integer_rows.hpp>

namespace smolvlm::cpu {

struct ByteRows {
    HostTensor<std::int8_t> bytes;  // [R, D]
    HostTensor<float> scales;       // [groups, R], of D / groups numbers each: attention takes those of many rows at once

    const Shape& shape() const { return bytes.shape(); }
};

/// As ref::write_rows.
template <class T>
void write_rows(ByteRows& slab, const Segments& segments, In<T> rows, CpuPath path, Pool& pool) {
    const Index R = slab.shape()[0], D = slab.shape()[1], groups = slab.scales.dim(0);
    const std::size_t size = IntegerRows::bytes(1, D, groups);
    Storage memory = pool.take(size + static_cast<std::size_t>(D) * sizeof(float));
    const IntegerRows row = IntegerRows::in(memory.data(), 1, D, groups);
    float* const x = reinterpret_cast<float*>(memory.data() + size);
    for (const Segment& s : segments)
        for (Index t = 0; t < s.n; ++t) {
            const Index to = s.k0 + s.past() + t;
            std::ranges::transform(rows.row(s.q0 + t), x, [](T number) { return static_cast<float>(number); });
            dispatch<QuantizeRows>(path, static_cast<const float*>(x), D, Index(1), D, D / groups, 0, row);
            std::copy_n(row.q, D, slab.bytes.data() + to * D);
            for (Index g = 0; g < groups; ++g) slab.scales.data()[g * R + to] = row.scale[g];
        }
}

/// As ref::gather_rows.
template <class T>
void gather_rows(const ByteRows& slab, Ids ids, View<T> y) {
    const Index R = slab.shape()[0], D = slab.shape()[1], K = D / slab.scales.dim(0);
    for (std::size_t i = 0; i < ids.size(); ++i)
        for (Index d = 0; d < D; ++d)
            y(static_cast<Index>(i), d) =
                static_cast<T>(slab.bytes.data()[ids[i] * D + d]) * static_cast<T>(slab.scales.data()[d / K * R + ids[i]]);
}

}  // namespace smolvlm::cpu
