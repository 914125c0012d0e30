#pragma once
/// Transposition of a matrix, square by square in registers.

#include <smolvlm/cpu/dispatch.hpp>
#include <smolvlm/cpu/loads.hpp>

namespace smolvlm::cpu {

namespace turn_detail {

/// Swaps the off-diagonal halves of a pair of rows that stand `Step` apart:
///     a = [ a0 a1 ]  b = [ b0 b1 ]   ->   a = [ a0 b0 ]  b = [ a1 b1 ]        for every group of 2 * Step lanes
template <int Step, class T, int L, std::size_t... Lane>
SMOLVLM_INLINE void exchange(Vec<T, L>& a, Vec<T, L>& b, std::index_sequence<Lane...>) {
    constexpr std::size_t step = std::size_t{Step}, other = std::size_t{L};
    const auto low = __builtin_shufflevector(a.v, b.v, (Lane & step ? other + Lane - step : Lane)...);
    b.v = __builtin_shufflevector(a.v, b.v, (Lane & step ? other + Lane : Lane + step)...);
    a.v = low;
}

/// An L x L square: halves, then quarters, down to single elements change places (Eklundh 1972).
template <int Step, class T, int L>
SMOLVLM_INLINE void turn_square(Vec<T, L>* rows) {
#pragma GCC unroll 16
    for (int i = 0; i < L; ++i)
        if (!(i & Step)) exchange<Step>(rows[i], rows[i + Step], std::make_index_sequence<std::size_t{L}>());
    if constexpr (Step > 1) turn_square<Step / 2>(rows);
}

/// The first half of n vectors becomes what the halves sum to, in halves of lanes: after log2(n) times with half the Step
/// each, x[0] holds in lane block b the partial sums of what was x[b].
template <int Step, int n, class T, int L>
SMOLVLM_INLINE void fold(Vec<T, L>* x) {
    if constexpr (n > 1) {
#pragma GCC unroll 8
        for (int i = 0; i < n / 2; ++i) {
            exchange<Step>(x[i], x[i + n / 2], std::make_index_sequence<std::size_t{L}>());
            x[i] = x[i] + x[i + n / 2];
        }
        fold<Step / 2, n / 2>(x);
    }
}

}  // namespace turn_detail

/// to[c, r] = from[r, c], widened if T is wider than S        from [rows, cols]
struct Turn {
    template <int Bytes, class S, class T>
    SMOLVLM_INLINE static void run(const S* from, Index ld_from, Index rows, Index cols, T* to, Index ld_to) {
        constexpr int L = lanes<T, Bytes>;
        using V = Vec<T, L>;
        Index r = 0;
        for (; r + L <= rows; r += L) {
            Index c = 0;
            for (; c + L <= cols; c += L) {
                V square[std::size_t{L}];
#pragma GCC unroll 16
                for (int i = 0; i < L; ++i) square[i] = load_as<T, L>(from + (r + i) * ld_from + c);
                turn_detail::turn_square<L / 2>(square);
#pragma GCC unroll 16
                for (int i = 0; i < L; ++i) square[i].store(to + (c + i) * ld_to + r);
            }
            for (; c < cols; ++c)
                for (Index i = r; i < r + L; ++i) to[c * ld_to + i] = from[i * ld_from + c];
        }
        for (; r < rows; ++r)
            for (Index c = 0; c < cols; ++c) to[c * ld_to + r] = from[r * ld_from + c];
    }
};

}  // namespace smolvlm::cpu
