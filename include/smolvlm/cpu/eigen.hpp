#pragma once
/// The only file that includes Eigen: dense products on machines for which this folder has no instruction set.

#include <smolvlm/cpu/gemm.hpp>

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

/// y [rows, width] = plus + a [rows, K] b [K, width]
template <class T>
void eigen_block(Index rows, const T* a, Index lda, const T* b, Index width, Index K, TileOut<T> out) {
    using Eigen::Dynamic;
    // Eigen splits a product over threads of its own unless the type says that the result has few rows.
    constexpr int strip = 32;
    using Strip = Eigen::Matrix<T, Dynamic, Dynamic, Eigen::RowMajor, strip, Dynamic>;
    using Matrix = Eigen::Matrix<T, Dynamic, Dynamic, Eigen::RowMajor>;
    using Stride = Eigen::OuterStride<>;
    for (Index r = 0; r < rows; r += strip) {
        const Index n = std::min<Index>(strip, rows - r);
        for (Index i = r; i < r + n; ++i) {
            T* const row = out.y + i * out.ldy;
            const T* const plus = out.plus ? out.plus + i * out.plus_stride : nullptr;
            if (!plus)
                std::fill_n(row, width, T(0));
            else if (plus != row)
                std::copy_n(plus, width, row);
        }
        for (Index k = 0; k < K; k += chain) {
            const Index count = std::min(chain, K - k);
            Eigen::Map<Strip, Eigen::Unaligned, Stride>(out.y + r * out.ldy, n, width, Stride(out.ldy)).noalias() +=
                Eigen::Map<const Strip, Eigen::Unaligned, Stride>(a + r * lda + k, n, count, Stride(lda)) *
                Eigen::Map<const Matrix>(b + k * width, count, width);
        }
    }
}

}  // namespace smolvlm::cpu
