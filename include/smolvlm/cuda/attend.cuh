#pragma once
/// The way of attention: few rows over parts of their keys, tensor cores, or float arithmetic. And that of its derivative.

#include <smolvlm/cuda/attention_few.cuh>
#include <smolvlm/cuda/attention_vjp_mma.cuh>
#include <smolvlm/cuda/linear_mma.cuh>
#include <smolvlm/cuda/plan.cuh>

namespace smolvlm::cuda {

/// q [N, H*K]   k, v [R, G*K]   ->   y [N, H*K]
template <class T>
void attend(Runtime& on, SegmentPlan& plan, const T* q, const T* k, const T* v, const HeadShape& of, Index N, T* y) {
    const Index group = of.H / of.G;
    const bool whole_words = of.K % 8 == 0 && of.K <= 128;
    if (N <= few_rows && whole_words) {
        const auto& tiles = plan.tiles(on, group, few_pairs);
        const Index parts = key_parts(tiles.count * of.G, plan.last_position(), on.facts().multiprocessors);
        // Room for the most parts, so that a growing cache asks for nothing new.
        const Memory room = on.take(parts > 1 ? KeyParts::bytes(N * of.H, most_key_parts, of.K) : 0);
        return attention_few(on.stream(), q, k, v, tiles.data(), tiles.count, of, N, parts,
                             static_cast<float*>(room.data()), y);
    }
    if constexpr (tensor_cores<T>)
        if (whole_words) {
            const auto& tiles = plan.tiles(on, group, mma_pairs);
            return attention_mma(on.stream(), q, k, v, tiles.data(), tiles.count, of, y);
        }
    const auto& tiles = plan.tiles(on, group);
    attention(on.stream(), q, k, v, tiles.data(), tiles.count, of, y);
}

/// dy [N, H*K]   ->   dq [N, H*K], dk, dv [R, G*K]
template <class T>
void attend_vjp(Runtime& on, SegmentPlan& plan, const T* q, const T* k, const T* v, const T* dy, const HeadShape& of,
                Index N, Index R, Sink<T> dq, Sink<T> dk, Sink<T> dv) {
    const Memory room = on.take(static_cast<std::size_t>(N * of.H) * sizeof(PairSums));
    auto* const sums = static_cast<PairSums*>(room.data());
    if constexpr (tensor_cores<T>)
        if (of.K % 8 == 0 && of.K <= 128) {
            const auto& tiles = plan.tiles(on, of.H / of.G, mma_pairs);
            return attention_vjp_mma(on.stream(), q, k, v, dy, tiles.data(), tiles.count, of, dq, dk, dv, sums, R);
        }
    const auto& tiles = plan.tiles(on, of.H / of.G);
    attention_vjp(on.stream(), q, k, v, dy, tiles.data(), tiles.count, of, dq, dk, dv, sums, R);
}

}  // namespace smolvlm::cuda
