#pragma once
/// View<T>: a non-owning, contiguous, row-major tensor. What kernels and definitions take.

#include <cassert>
#include <array>
#include <span>
#include <type_traits>

#include <smolvlm/core/shape.hpp>

namespace smolvlm {

template <class T>
class View {
public:
    View() = default;
    View(T* data, Shape shape) : data_(data), shape_(shape) {}
    /// A view of mutable elements is a view of constant ones.
    template <class U>
        requires(std::is_same_v<const U, T>)
    View(const View<U>& other) : data_(other.data()), shape_(other.shape()) {}  // NOLINT: implicit by intent

    T* data() const { return data_; }
    const Shape& shape() const { return shape_; }
    int rank() const { return shape_.rank(); }
    Index dim(int axis) const { return shape_[axis]; }
    Index numel() const { return shape_.numel(); }
    explicit operator bool() const { return data_ != nullptr; }

    /// x(i, j, k): as many indices as dimensions.
    template <class... Indices>
    T& operator()(Indices... indices) const {
        assert(static_cast<int>(sizeof...(Indices)) == shape_.rank());
        Index offset = 0;
        int axis = 0;
        ((offset = offset * shape_[axis++] + static_cast<Index>(indices)), ...);
        return data_[offset];
    }

    /// Row n of the tensor seen as a matrix [leading dimensions flattened, last dimension].
    std::span<T> row(Index n) const {
        const Index width = shape_.back();
        return {data_ + n * width, static_cast<std::size_t>(width)};
    }
    /// How many such rows there are.
    Index rows() const { return shape_.back() == 0 ? 0 : shape_.numel() / shape_.back(); }

private:
    T* data_ = nullptr;
    Shape shape_;
};

/// An input of element type T that takes no part in deducing T: the output alone decides (View<const T> would not deduce
/// from View<T>).
template <class T>
using In = View<const std::type_identity_t<T>>;
/// An output that may be null ("not wanted") and takes no part in deducing T.
template <class T>
using Out = View<std::type_identity_t<T>>;

/// const auto [N, D] = dims<2>(x); throws ShapeError when the rank differs.
template <std::size_t Rank, class T>
std::array<Index, Rank> dims(const View<T>& x) {
    SMOLVLM_CHECK(x.rank() == static_cast<int>(Rank), ShapeError, "expected ", Rank, " dimensions, found ", x.shape());
    std::array<Index, Rank> extents{};
    for (std::size_t axis = 0; axis < Rank; ++axis) extents[axis] = x.dim(static_cast<int>(axis));
    return extents;
}

}  // namespace smolvlm
