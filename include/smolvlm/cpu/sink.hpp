#pragma once
/// Where a vector-Jacobian product puts its result (backend/differentiable.hpp): it is added to what is there, or
/// written where nothing is there yet, which saves filling with zeros and reading them again.

#include <smolvlm/cpu/gemm.hpp>

namespace smolvlm::cpu {

template <class T>
struct Sink {
    T* data = nullptr;  // null: not wanted
    bool add = false;   // false: the elements mean nothing yet and every one is to be written

    explicit operator bool() const { return data != nullptr; }
    Sink at(Index offset) const { return {data ? data + offset : nullptr, add}; }
    /// Its rows of ldy numbers as the target of tiles.
    TileOut<T> tiles(Index ldy) const { return {add ? data : nullptr, ldy, data, ldy}; }

    /// data[i] (+)= x for one register, or the first n < L numbers of one.
    template <int L>
    SMOLVLM_INLINE void put(Index i, const Vec<T, L>& x) const {
        (add ? Vec<T, L>::load(data + i) + x : x).store(data + i);
    }
    template <int L>
    SMOLVLM_INLINE void put_first(Index i, const Vec<T, L>& x, Index n) const {
        (add ? Vec<T, L>::load_first(data + i, n) + x : x).store_first(data + i, n);
    }
};

}  // namespace smolvlm::cpu
