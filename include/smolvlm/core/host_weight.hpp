#pragma once
/// A weight as files store it: any floating or quantised dtype, in bytes that are owned or borrowed from a mapped file.
/// Backends make their own packed weights from it, row by row.

#include <smolvlm/core/host_tensor.hpp>
#include <smolvlm/core/parallel.hpp>
#include <smolvlm/core/quant.hpp>

namespace smolvlm {

struct HostWeight {
    DType dtype = DType::f32;
    Shape extents;    // [M, K] of a linear map; leading dimensions of other shapes count as rows
    Storage storage;  // row-major, rows of whole blocks, aligned for the element type

    /// The tensor's own elements, shared.
    template <class T>
    static HostWeight from_tensor(const HostTensor<T>& tensor) {
        return {dtype_of<T>, tensor.shape(), tensor.storage()};
    }

    bool empty() const { return !storage; }
    const Shape& shape() const { return extents; }
    Index rows() const { return cols() == 0 ? 0 : extents.numel() / cols(); }
    Index cols() const { return extents.back(); }
    Index row_bytes() const { return cols() / info(dtype).block_elements * info(dtype).block_bytes; }
    const std::byte* bytes() const { return storage.data(); }
    const std::byte* row_bytes_at(Index i) const { return bytes() + i * row_bytes(); }

    /// out[0 .. cols) = row i as T.
    template <class T>
    void row(Index i, T* out) const {
        dequantize_row(dtype, row_bytes_at(i), cols(), out);
    }

    /// All rows as T.
    template <class T>
    HostTensor<T> to_tensor(int threads = 1) const {
        check_holds_weights();
        HostTensor<T> tensor(extents);
        parallel_for(threads, rows(), 1, [&](Index begin, Index end) {
            for (Index i = begin; i < end; ++i) row(i, tensor.data() + i * cols());
        });
        return tensor;
    }

    /// The same matrix in F64, F32, F16, BF16, Q8_0, Q4_0 or Q4_1; itself when it already is. Throws ValueError for
    /// other types and ShapeError when rows are no whole blocks.
    HostWeight converted(DType target, int threads = 1) const {
        check_holds_weights();
        if (target == dtype) return *this;
        if (target == DType::f64) return from_tensor(to_tensor<double>(threads));
        quantize_row(target, nullptr, 0, nullptr);  // refuses a target that it cannot write
        HostWeight out{target, extents, Storage::allocate(static_cast<std::size_t>(bytes_of(target, extents)))};
        parallel_for(threads, rows(), 1, [&](Index begin, Index end) {
            std::vector<float> values(static_cast<std::size_t>(cols()));
            for (Index i = begin; i < end; ++i) {
                row(i, values.data());
                quantize_row(target, values.data(), cols(), out.storage.data() + i * out.row_bytes());
            }
        });
        return out;
    }

    /// The same bytes under another shape of equal size.
    HostWeight reshaped(Shape other) const {
        SMOLVLM_CHECK(other.numel() == extents.numel() && bytes_of(dtype, other) == bytes_of(dtype, extents),
                      ShapeError, "reshape: ", extents, " has not as many elements as ", other);
        return {dtype, other, storage};
    }

private:
    void check_holds_weights() const {
        SMOLVLM_CHECK(is_floating(dtype) || is_quantized(dtype), ValueError, "a tensor of ", dtype,
                      " holds no weights: expected a floating or quantised type");
    }
};

}  // namespace smolvlm
