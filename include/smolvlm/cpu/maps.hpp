#pragma once
/// Linear maps of the same rows, such as those to queries, keys and values: their panels are counted through, so that threads
/// share the work of all of them at once.

#include <array>
#include <span>

#include <smolvlm/core/view.hpp>
#include <smolvlm/cpu/gemm.hpp>
#include <smolvlm/cpu/packed_weight.hpp>

namespace smolvlm::cpu {

/// y [N, M] = x w^T + bias        bias [M] or null
template <class T>
struct Map {
    const PackedWeight<T>* w;
    const T* bias;
    T* y;

    TileOut<T> out() const { return {bias, 0, y, w->rows()}; }
};
template <class T>
using Maps = std::span<const Map<T>>;

template <class T>
Index panels_of(Maps<T> maps) {
    Index n = 0;
    for (const Map<T>& map : maps) n += map.w->panels();
    return n;
}

/// f(map, p0, p1): the panels begin .. end - 1 of all maps are the panels p0 .. p1 - 1 of these.
template <class T, class F>
void for_panels(Maps<T> maps, Index begin, Index end, F f) {
    for (const Map<T>& map : maps) {
        const Index n = map.w->panels(), p0 = std::clamp<Index>(begin, 0, n), p1 = std::clamp<Index>(end, 0, n);
        if (p0 < p1) f(map, p0, p1);
        begin -= n;
        end -= n;
    }
}

}  // namespace smolvlm::cpu
