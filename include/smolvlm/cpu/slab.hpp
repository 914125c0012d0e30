#pragma once
/// Keys or values of earlier tokens, one matrix [R, G*K] for each layer, and the numbers that it may be held in.

#include <variant>
#include <vector>

#include <smolvlm/core/float16.hpp>
#include <smolvlm/core/storage.hpp>
#include <smolvlm/cpu/byte_rows.hpp>
#include <smolvlm/cpu/kept_rows.hpp>
#include <smolvlm/ref/rows.hpp>

namespace smolvlm {

/// exact: as wide as what is computed with. int8: bytes with scales (cpu/byte_rows.hpp).
enum class CacheFormat : std::uint8_t { exact, bf16, int8 };

}  // namespace smolvlm

namespace smolvlm::cpu {

template <class T>
using Slab = std::variant<HostTensor<T>, HostTensor<bfloat16>, ByteRows>;

namespace slab_detail {

template <class S>
std::size_t lines_of(const Shape& shape) {
    return (static_cast<std::size_t>(shape.numel()) * sizeof(S) + 63) / 64 * 64;
}
/// Zeros in `whole` from a byte on.
template <class S>
HostTensor<S> zeros_in(const Storage& whole, std::size_t first, const Shape& shape) {
    HostTensor<S> x(shape, Storage::part(whole, first, lines_of<S>(shape)));
    std::ranges::fill(x.flat(), static_cast<S>(0.0f));
    return x;
}
/// make(storage, first) for `count` slabs of `size` bytes. All share one block, which fills huge pages (core/storage.hpp).
template <class T, class F>
std::vector<Slab<T>> slabs_in_one_block(Index count, std::size_t size, F make) {
    const Storage whole = Storage::allocate(static_cast<std::size_t>(count) * size);
    std::vector<Slab<T>> slabs;
    for (Index i = 0; i < count; ++i) slabs.emplace_back(make(whole, static_cast<std::size_t>(i) * size));
    return slabs;
}
template <class T, class S>
std::vector<Slab<T>> slabs_of(Index count, const Shape& shape) {
    return slabs_in_one_block<T>(count, lines_of<S>(shape), [&](const Storage& whole, std::size_t first) {
        return zeros_in<S>(whole, first, shape);
    });
}

}  // namespace slab_detail

/// Zeros. Rows are made of so many heads; bytes have a scale for each.
template <class T>
std::vector<Slab<T>> make_slabs(CacheFormat format, Index count, const Shape& shape, Index heads) {
    using namespace slab_detail;
    SMOLVLM_CHECK(shape.rank() == 2 && heads > 0 && shape[1] % heads == 0, ShapeError, "make_slabs: the shape is ", shape,
                  ", expected rows of ", heads, " heads of equal width");
    if (format == CacheFormat::exact) return slabs_of<T, T>(count, shape);
    if (format == CacheFormat::bf16) return slabs_of<T, bfloat16>(count, shape);
    const Shape scales{heads, shape[0]};
    const std::size_t bytes = lines_of<std::int8_t>(shape);
    return slabs_in_one_block<T>(count, bytes + lines_of<float>(scales), [&](const Storage& whole, std::size_t first) {
        return ByteRows{zeros_in<std::int8_t>(whole, first, shape), zeros_in<float>(whole, first + bytes, scales)};
    });
}

template <class T, class S>
void write_rows(HostTensor<S>& slab, const Segments& segments, In<T> rows, CpuPath, Pool&) {
    ref::write_rows(slab.view(), segments, rows);
}
template <class S, class T>
void gather_rows(const HostTensor<S>& slab, Ids ids, View<T> y) {
    ref::gather_rows(slab.view(), ids, y);
}

/// What attention of so many heads reads.
template <class S>
KeptRows<S> kept(const HostTensor<S>& slab, Heads) {
    return slab.view();
}
inline KeptRows<std::int8_t> kept(const ByteRows& slab, Heads heads) {
    const Index scales = slab.scales.dim(0);
    SMOLVLM_CHECK(heads.kv % scales == 0, ShapeError, "attention: k and v are bytes with ", scales,
                  " scales a row, expected one scale for each of ", heads.kv, " key/value heads, or for several");
    return {slab.bytes.view(), slab.scales.view()};
}

}  // namespace smolvlm::cpu
