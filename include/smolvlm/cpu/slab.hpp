#pragma once
/// Keys or values of earlier tokens, one matrix [R, G*K] for each layer: as wide as what is computed with, or bf16.

#include <variant>
#include <vector>

#include <smolvlm/core/arena.hpp>
#include <smolvlm/core/float16.hpp>
#include <smolvlm/core/host_tensor.hpp>

namespace smolvlm::cpu {

template <class T>
using Slab = std::variant<HostTensor<T>, HostTensor<bfloat16>>;

/// Zeros held as S. All slabs share one block (core/arena.hpp says why).
template <class T, class S>
std::vector<Slab<T>> slabs_of(Index count, const Shape& shape) {
    const auto bytes = static_cast<std::size_t>(shape.numel()) * sizeof(S), step = (bytes + 63) / 64 * 64;
    const Storage whole = allocate_huge(static_cast<std::size_t>(count) * step);
    std::vector<Slab<T>> slabs;
    for (Index i = 0; i < count; ++i) {
        HostTensor<S> slab(shape, Storage::part(whole, static_cast<std::size_t>(i) * step, bytes));
        std::ranges::fill(slab.flat(), static_cast<S>(0.0f));
        slabs.emplace_back(std::move(slab));
    }
    return slabs;
}

}  // namespace smolvlm::cpu
