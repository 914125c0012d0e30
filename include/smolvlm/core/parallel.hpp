#pragma once
/// The only file with an OpenMP pragma. Without OpenMP everything runs on the calling thread, with the same results.

#include <algorithm>

#include <smolvlm/core/shape.hpp>

#ifdef _OPENMP
#include <omp.h>
#endif

namespace smolvlm {

/// Threads used when nobody asks for a number: what OpenMP would take, or 1 without it.
inline int default_threads() {
#ifdef _OPENMP
    return omp_get_max_threads();
#else
    return 1;
#endif
}

/// Whether work can be given to threads other than the caller's.
#ifdef _OPENMP
inline constexpr bool has_threads = true;
#else
inline constexpr bool has_threads = false;
#endif

/// f(begin, end) over disjoint ranges that cover [0, n); a range holds at least `grain` items, so small work stays on one
/// thread. Which thread takes which range never changes a result: f must write disjoint places. f must not throw.
template <class F>
void parallel_for(int threads, Index n, Index grain, F&& f) {
    const Index pieces = std::clamp<Index>(grain > 0 ? n / grain : n, 1, std::max(threads, 1));
    if (n <= 0) return;
    if (pieces == 1) {
        f(Index(0), n);
        return;
    }
#ifdef _OPENMP
#pragma omp parallel for schedule(static, 1) num_threads(static_cast<int>(pieces))
#endif
    for (Index piece = 0; piece < pieces; ++piece) f(n * piece / pieces, n * (piece + 1) / pieces);
}

/// f(i) for i in [0, n), each handed to the next free thread: for items of unequal cost.
template <class F>
void parallel_dynamic(int threads, Index n, F&& f) {
    const int team = static_cast<int>(std::clamp<Index>(n, 1, std::max(threads, 1)));
#ifdef _OPENMP
#pragma omp parallel for schedule(dynamic, 1) num_threads(team) if (team > 1)
#endif
    for (Index i = 0; i < n; ++i) f(i);
    (void)team;
}

/// f(thread, team) once on each thread of a team, which may wait for each other in f (team_barrier): for work in steps that
/// are too short to wake threads for each of them. f must not throw.
template <class F>
void parallel_team(int threads, F&& f) {
#ifdef _OPENMP
    if (threads > 1) {
#pragma omp parallel num_threads(threads)
        f(Index(omp_get_thread_num()), Index(omp_get_num_threads()));
        return;
    }
#endif
    (void)threads;
    f(Index(0), Index(1));
}

/// Waits until all threads of the team are here; every one of them must come.
inline void team_barrier() {
#ifdef _OPENMP
#pragma omp barrier
#endif
}

}  // namespace smolvlm
