#pragma once
/// Work for a team of threads with scratch memory of their own, on top of core/parallel.hpp.

#include <atomic>

#include <smolvlm/core/parallel.hpp>
#include <smolvlm/core/storage.hpp>

namespace smolvlm::cpu {

/// What a backend object lends to its kernels.
struct Team {
    int threads;
    Pool* pool;
};

/// f(scratch, i) for i in [0, tasks), each handed to the next free worker; `scratch` are `elements` numbers that
/// belong to the worker. Memory is taken before the threads start, so nothing throws inside. Which worker takes which
/// task never changes a result: f must write disjoint places and find nothing in the scratch.
template <class T, class F>
void for_each_task(const Team& team, Index tasks, Index elements, F&& f) {
    const Index workers = std::clamp<Index>(tasks, 1, team.threads);
    const Index stride = (elements + 63) / 64 * 64;  // keeps every worker's part aligned to cache lines
    Storage memory;
    if (elements > 0) memory = team.pool->take(static_cast<std::size_t>(workers * stride) * sizeof(T));
    T* const base = reinterpret_cast<T*>(memory.data());
    std::atomic<Index> next{0};
    parallel_for(static_cast<int>(workers), workers, 1, [&](Index first, Index) {
        T* const scratch = base + first * stride;
        for (Index i = next.fetch_add(1); i < tasks; i = next.fetch_add(1)) f(scratch, i);
    });
}

}  // namespace smolvlm::cpu
