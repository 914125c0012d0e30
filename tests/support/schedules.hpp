#pragma once
/// Kernels under every schedule of the emulation (cuda/emulation/schedule.cuh): a correct one gives the same bytes under all.

#include <cstring>
#include <string>
#include <vector>

#include <smolvlm/cuda/emulation/schedule.cuh>

namespace testing {

inline std::string name_of(const smolvlm::cuda::emulation::Schedule& s) {
    using namespace smolvlm::cuda::emulation;
    const char* order = s.order == Order::forward ? "forward" : s.order == Order::reverse ? "reverse" : "random";
    return std::string(order) + (s.copies == CopyMoment::at_wait ? ", copies at the wait" : ", copies at once") +
           (s.poison == 0xFF ? ", poison NaN" : ", poison 8.4e37");
}

/// Three schedules that between them have every order, copy moment and poison.
inline constexpr std::array<smolvlm::cuda::emulation::Schedule, 3> few_schedules{
    {{smolvlm::cuda::emulation::Order::forward, smolvlm::cuda::emulation::CopyMoment::at_wait, 0xFF},
     {smolvlm::cuda::emulation::Order::reverse, smolvlm::cuda::emulation::CopyMoment::at_once, 0x7E},
     {smolvlm::cuda::emulation::Order::random, smolvlm::cuda::emulation::CopyMoment::at_wait, 0x7E}}};

/// "" when work(), which launches kernels and returns something with data() and size(), gives the same bytes under all
/// of the schedules; else the first schedule that departs from the first of them.
template <class Work, std::size_t N = 12>
std::string departing_schedule(Work&& work, const std::array<smolvlm::cuda::emulation::Schedule, N>& schedules =
                                                smolvlm::cuda::emulation::all_schedules()) {
    struct Restore {
        smolvlm::cuda::emulation::Schedule before = smolvlm::cuda::emulation::schedule;
        ~Restore() { smolvlm::cuda::emulation::schedule = before; }
    } restore;
    std::vector<char> expected;
    bool first = true;
    for (const auto& schedule : schedules) {
        smolvlm::cuda::emulation::schedule = schedule;
        const auto result = work();
        const auto* bytes = reinterpret_cast<const char*>(result.data());
        const std::vector<char> found(bytes, bytes + static_cast<std::size_t>(result.size()) * sizeof(*result.data()));
        if (first) expected = found;
        first = false;
        if (found != expected) return name_of(schedule);
    }
    return "";
}

}  // namespace testing
