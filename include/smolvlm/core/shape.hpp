#pragma once
/// Shapes, and the one legend of letters used in every comment of the project:
///
///     N rows (tokens or patches of all sequences together)      D width of a row       F width inside an MLP
///     T new tokens of one sequence    S visible keys of one sequence    V vocabulary   M outputs of a linear map
///     H query heads    G key/value heads    K width of one head
///     I images (tiles)    P patches of an image    C channels    s pixel-shuffle factor    p patch edge

#include <array>
#include <cstdint>
#include <initializer_list>

#include <smolvlm/core/error.hpp>

namespace smolvlm {

using Index = std::int64_t;

/// Up to five extents, without heap. Rank 0 means "no tensor" and has no elements; a scalar is [1].
class Shape {
public:
    static constexpr int max_rank = 5;

    constexpr Shape() = default;
    constexpr Shape(std::initializer_list<Index> extents) {
        for (Index extent : extents) push_back(extent);
    }
    constexpr Shape(const Shape&) = default;
    constexpr Shape& operator=(const Shape&) = default;
    /// A moved-from shape is rank 0, so that using a moved-from tensor fails its shape check instead of crashing.
    constexpr Shape(Shape&& other) noexcept : extents_(other.extents_), rank_(other.rank_) { other.rank_ = 0; }
    constexpr Shape& operator=(Shape&& other) noexcept {
        extents_ = other.extents_;
        const int rank = other.rank_;
        other.rank_ = 0;
        rank_ = rank;
        return *this;
    }

    constexpr void push_back(Index extent) {
        SMOLVLM_CHECK(rank_ < max_rank, ShapeError, "shape: more than ", max_rank, " dimensions");
        SMOLVLM_CHECK(extent >= 0, ShapeError, "shape: negative extent ", extent);
        extents_[static_cast<std::size_t>(rank_++)] = extent;
    }

    constexpr int rank() const { return rank_; }
    constexpr Index operator[](int axis) const { return extents_[static_cast<std::size_t>(axis)]; }
    constexpr Index back() const { return rank_ ? extents_[static_cast<std::size_t>(rank_ - 1)] : 0; }

    /// Number of elements; 0 for rank 0. Throws ShapeError when the product does not fit in an Index.
    constexpr Index numel() const {
        if (rank_ == 0) return 0;
        Index n = 1;
        for (int axis = 0; axis < rank_; ++axis)
            SMOLVLM_CHECK(!__builtin_mul_overflow(n, (*this)[axis], &n), ShapeError, "shape: too many elements");
        return n;
    }

    friend constexpr bool operator==(const Shape& a, const Shape& b) {
        if (a.rank_ != b.rank_) return false;
        for (int axis = 0; axis < a.rank_; ++axis)
            if (a[axis] != b[axis]) return false;
        return true;
    }

private:
    std::array<Index, max_rank> extents_{};
    int rank_ = 0;
};

/// A shape in a message: [64, 960].
inline void append_piece(std::string& text, const Shape& shape) {
    text += '[';
    for (int axis = 0; axis < shape.rank(); ++axis) {
        if (axis) text += ", ";
        text += std::to_string(shape[axis]);
    }
    text += ']';
}

}  // namespace smolvlm
