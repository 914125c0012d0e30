#pragma once
/// HostTensor<T> = Shape + Storage in ordinary memory: what files, images and tests speak, and the Tensor of the CPU backends.

#include <algorithm>
#include <vector>

#include <smolvlm/core/storage.hpp>
#include <smolvlm/core/view.hpp>

namespace smolvlm {

template <class T>
class HostTensor {
public:
    using Element = T;

    HostTensor() = default;
    HostTensor(Shape shape, Storage storage) : shape_(shape), storage_(std::move(storage)) {
        assert(storage_.capacity() >= static_cast<std::size_t>(shape_.numel()) * sizeof(T));
    }
    /// Uninitialised elements outside any pool.
    explicit HostTensor(Shape shape)
        : shape_(shape), storage_(Storage::allocate(static_cast<std::size_t>(shape.numel()) * sizeof(T))) {}
    HostTensor(Shape shape, const std::vector<T>& values) : HostTensor(shape) {
        SMOLVLM_CHECK(static_cast<Index>(values.size()) == shape.numel(), ShapeError, "tensor: ", values.size(),
                      " values do not fill ", shape);
        std::copy(values.begin(), values.end(), data());
    }
    static HostTensor zeros(Shape shape) {
        HostTensor x(shape);
        std::fill_n(x.data(), x.numel(), T(0));
        return x;
    }

    const Shape& shape() const { return shape_; }
    int rank() const { return shape_.rank(); }
    Index dim(int axis) const { return shape_[axis]; }
    Index numel() const { return shape_.numel(); }
    /// True for "no tensor" (an absent bias, a moved-from value).
    bool empty() const { return !storage_; }

    T* data() { return reinterpret_cast<T*>(storage_.data()); }
    const T* data() const { return reinterpret_cast<const T*>(storage_.data()); }
    View<T> view() { return {data(), shape_}; }
    View<const T> view() const { return {data(), shape_}; }
    View<const T> cview() const { return {data(), shape_}; }
    std::span<const T> flat() const { return {data(), static_cast<std::size_t>(numel())}; }
    std::span<T> flat() { return {data(), static_cast<std::size_t>(numel())}; }
    const Storage& storage() const { return storage_; }

    /// The same elements under another shape of equal size; shares the storage.
    HostTensor reshaped(Shape shape) const {
        SMOLVLM_CHECK(shape.numel() == numel(), ShapeError, "reshape: ", shape_, " has not as many elements as ", shape);
        return HostTensor(shape, storage_);
    }

private:
    Shape shape_;
    Storage storage_;
};

}  // namespace smolvlm
