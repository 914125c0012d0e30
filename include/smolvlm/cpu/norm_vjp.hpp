#pragma once
/// Gradients of the norms, a row at a time.                       definitions: ref/rms_norm.hpp, ref/layer_norm.hpp

#include <smolvlm/core/view.hpp>
#include <smolvlm/cpu/linear_vjp.hpp>

namespace smolvlm::cpu {

/// With z = (x - m) s, m the mean (0 for RMSNorm), and g = w dy:
///     dx_j += s (g_j - mean_k g_k - z_j mean_k g_k z_k)        the mean of g only where the mean of x is taken away
///     dw_j += sum over rows of dy_j z_j          db_j += sum over rows of dy_j
/// dw and db of these rows [D], zeros at first, or null.
template <bool subtract_mean>
struct NormVjpRows {
    template <int Bytes, class T>
    SMOLVLM_INLINE static void run(const T* x, const T* w, T eps, const T* dy, Sink<T> dx, T* dw, T* db, Index rows,
                                   Index D) {
        using V = Vec<T, lanes<T, Bytes>>;
        constexpr Index L = V::lanes;
        const T inverse = T(1) / static_cast<T>(D);
        const Index whole = D / L * L;
        for (Index n = 0; n < rows; ++n, x += D, dy += D, dx = dx.at(D)) {
            T m = 0;
            if constexpr (subtract_mean) {
                V total = V::zero();
                for (Index j = 0; j < whole; j += L) total = total + V::load(x + j);
                if (whole < D) total = total + V::load_first(x + whole, D - whole);
                m = sum(total) * inverse;
            }
            V squares = V::zero(), of_g = V::zero(), of_gx = V::zero();
            for (Index j = 0; j < whole; j += L) {
                const V centred = V::load(x + j) - m, g = V::load(w + j) * V::load(dy + j);
                squares.add_product(centred, centred);
                of_g = of_g + g;
                of_gx.add_product(g, centred);
            }
            T variance = sum(squares), mean_g = sum(of_g), mean_gz = sum(of_gx);
            for (Index j = whole; j < D; ++j) {
                const T centred = x[j] - m, g = w[j] * dy[j];
                variance += centred * centred;
                mean_g += g;
                mean_gz += g * centred;
            }
            const T s = T(1) / std::sqrt(variance * inverse + eps);
            mean_g = subtract_mean ? mean_g * inverse : T(0);
            mean_gz *= s * inverse;
            for (Index j = 0; j < whole; j += L) {
                const V z = (V::load(x + j) - m) * s, d = V::load(dy + j);
                if (dx) dx.put(j, (V::load(w + j) * d - mean_g - z * mean_gz) * s);
                if (dw) (V::load(dw + j) + d * z).store(dw + j);
                if (db) (V::load(db + j) + d).store(db + j);
            }
            for (Index j = whole; j < D; ++j) {
                const T z = (x[j] - m) * s, slope = s * (w[j] * dy[j] - mean_g - z * mean_gz);
                if (dx) dx.data[j] = dx.add ? dx.data[j] + slope : slope;
                if (dw) dw[j] += dy[j] * z;
                if (db) db[j] += dy[j];
            }
        }
    }
};

/// x, dy [N, D]   w [D]   ->   dx [N, D], dw [D], db [D]. Sums over rows are taken block by block, then over the
/// blocks.
template <bool subtract_mean, class T>
void norm_vjp(In<T> x, In<T> w, std::type_identity_t<T> eps, In<T> dy, Sink<T> dx, Sink<T> dw, Sink<T> db, CpuPath path,
              const Team& team) {
    constexpr Index block = 64;
    const Index N = x.dim(0), D = x.dim(1), blocks = (N + block - 1) / block;
    const Index sums = (dw ? D : 0) + (db ? D : 0);
    Storage memory = team.pool->take(static_cast<std::size_t>(std::max<Index>(blocks * sums, 1)) * sizeof(T));
    T* const partial = reinterpret_cast<T*>(memory.data());
    parallel_for(team.threads, blocks, std::max<Index>(1, 16384 / (block * D)), [&](Index begin, Index end) {
        for (Index i = begin; i < end; ++i) {
            T* const of_block = partial + i * sums;
            std::fill_n(of_block, sums, T(0));
            const Index first = i * block * D;
            dispatch<NormVjpRows<subtract_mean>>(
                path, x.data() + first, w.data(), static_cast<T>(eps), dy.data() + first, dx.at(first),
                dw ? of_block : nullptr, db ? of_block + (sums - D) : nullptr, std::min(block, N - i * block), D);
        }
    });
    if (dw) dispatch<linear_detail::ColumnSums>(path, partial, sums, blocks, D, dw);
    if (db) dispatch<linear_detail::ColumnSums>(path, partial + (sums - D), sums, blocks, D, db);
}

}  // namespace smolvlm::cpu
