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
#if __has_include(<Eigen/Core>)
#include <Eigen/Core>
#else
#include <eigen3/Eigen/Core>  // where Debian puts it: with this, -I include is all that a consumer needs
#endif
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

/// y [rows, width] = start + a [rows, K] b [K, width]; start as in TileOut (cpu/gemm.hpp).
template <class T>
void eigen_block(Index rows, const T* a, Index lda, const T* b, Index width, Index K, const T* start, Index start_stride,
                 T* y, Index ldy) {
    auto out = as_matrix(y, rows, width, ldy);
    if (!start)
        out.setZero();
    else if (start != y)
        for (Index r = 0; r < rows; ++r) std::copy_n(start + r * start_stride, width, y + r * ldy);
    if (K > 0) out.noalias() += as_matrix(a, rows, K, lda) * as_matrix(b, K, width, width);
}

}  // namespace smolvlm::cpu
