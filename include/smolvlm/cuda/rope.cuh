#pragma once
/// Rotary position embedding (ref/rope.hpp). Cosines and sines come from a table [positions, K/2] that the host makes in
/// double, because an angle far out in the context has few digits left in float.
///
/// One thread a pair of columns, blocks of 256. Its vector-Jacobian product is the turn back.

#include <smolvlm/cuda/launch.cuh>
#include <smolvlm/cuda/numbers.cuh>
#include <smolvlm/cuda/row_maps.cuh>

#include <smolvlm/cuda/platform.cuh>

namespace smolvlm::cuda {

struct Turn {
    float cos, sin;
};

/// x [N, heads*K]   ->   y [N, heads*K], which may be x
template <bool Back, class T>
__global__ void __launch_bounds__(256, 4)
    rope_kernel(const T* x, const Turn* table, const RowPlace* rows, Sink<T> y, Index pairs, int heads, int K) {
    const Index pair = global_thread();
    if (pair >= pairs) return;
    const int half_width = K / 2, i = static_cast<int>(pair % half_width);
    const Index head = pair / half_width, n = head / heads;
    const Turn turn = table[rows[n].position * static_cast<Index>(half_width) + i];
    const float sin = Back ? -turn.sin : turn.sin;
    const Index a = head * K + i, b = a + half_width;
    const float xa = wide(x[a]), xb = wide(x[b]);
    y.put(a, xa * turn.cos - xb * sin);
    y.put(b, xb * turn.cos + xa * sin);
}

template <bool Back, class T>
void rope(Stream& on, const T* x, const Turn* table, const RowPlace* rows, Sink<T> y, Index N, Index heads, Index K) {
    const Index pairs = N * heads * (K / 2);
    if (pairs > 0)
        launch(on, rope_kernel<Back, T>, blocks_for(pairs, 256), 256, 0, x, table, rows, y, pairs,
               static_cast<int>(heads), static_cast<int>(K));
}

}  // namespace smolvlm::cuda

#include <smolvlm/cuda/platform_end.cuh>
