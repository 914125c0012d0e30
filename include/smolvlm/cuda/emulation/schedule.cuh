#pragma once
/// A schedule: what CUDA leaves open and the emulation has to choose. A correct kernel gives the same bytes under all of
/// them; many a wrong one does not.
///
///     order    in which threads of a block, and blocks of a grid, go on. A missing barrier shows in another order.
///     copies   when the bytes of cp.async arrive: at the wait (finds a missing wait) or at once (finds a pipeline stage
///              that is overwritten while somebody still reads it). Each finds nothing of what the other finds.
///     poison   what fresh memory, shared and global, is filled with. 0xFF bytes are NaNs, which fmax swallows; 0x7E bytes
///              are 8.4e37, which sums and maxima both show.

#include <array>
#include <cstddef>

namespace smolvlm::cuda::emulation {

enum class Order { forward, reverse, random };
enum class CopyMoment { at_wait, at_once };

struct Schedule {
    Order order = Order::forward;
    CopyMoment copies = CopyMoment::at_wait;
    unsigned char poison = 0xFF;
};

/// The schedule of launches by this thread from now on.
inline constinit thread_local Schedule schedule{};

inline std::array<Schedule, 12> all_schedules() {
    std::array<Schedule, 12> all;
    std::size_t n = 0;
    for (const Order order : {Order::forward, Order::reverse, Order::random})
        for (const CopyMoment copies : {CopyMoment::at_wait, CopyMoment::at_once})
            for (const unsigned poison : {0xFFu, 0x7Eu})
                all[n++] = {order, copies, static_cast<unsigned char>(poison)};
    return all;
}

}  // namespace smolvlm::cuda::emulation
