#pragma once
/// The only file that includes Eigen: dense products for machines without kernels of their own. Eigen never starts threads
/// here; parallel regions are ours (core/parallel.hpp).

#include <smolvlm/core/view.hpp>

#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wall"
#pragma GCC diagnostic ignored "-Wextra"
#endif
#include <Eigen/Core>
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

namespace smolvlm::cpu {

/// A row-major matrix [rows, cols] whose rows stand `stride` elements apart.
template <class T>
auto as_matrix(T* data, Index rows, Index cols, Index stride) {
    using Matrix = Eigen::Matrix<std::remove_const_t<T>, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
    using Maybe = std::conditional_t<std::is_const_v<T>, const Matrix, Matrix>;
    return Eigen::Map<Maybe, Eigen::Unaligned, Eigen::OuterStride<>>(data, rows, cols, Eigen::OuterStride<>(stride));
}

}  // namespace smolvlm::cpu
