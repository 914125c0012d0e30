#pragma once
/// A running block: up to 1024 fibers on one thread of the machine. It knows who is ready, who waits where and who has
/// left, switches from fiber to fiber, and refuses what CUDA leaves undefined: barriers reached by some threads only,
/// warp operations that name an absent lane, copies still in flight at the end.

#include <array>
#include <bit>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <smolvlm/cuda/emulation/fiber.cuh>
#include <smolvlm/cuda/emulation/schedule.cuh>
#include <smolvlm/cuda/emulation/types.cuh>
#include <smolvlm/cuda/place.cuh>

namespace smolvlm::cuda::emulation {

/// A cp.async under way: 16 bytes, or zeros where `from` is null. `to` is null when they have already come.
struct Copy {
    void* to;
    const void* from;
    unsigned group;
};

/// A thread of the block.
struct Thread {
    Fiber fiber;
    uint3 index{};
    Place place;                       // where it waits
    const char* waits_for = nullptr;   // null: it is ready
    unsigned mask = 0;                 // of the warp operation that it waits for
    void* slot = nullptr;              // what it brings to the operation, on its own stack
    std::vector<Copy> copies;
    unsigned groups = 0;               // groups of copies committed
    std::array<char, 2> sync_tags{};   // ThreadSanitizer's: its last two __syncwarp
    unsigned syncs = 0;
};

struct Warp {
    unsigned existing = 0;  // lanes that have not left
    unsigned waiting = 0;   // lanes that have arrived at a warp operation
};

/// The threads, warps and shared memory of whatever block runs on this thread of the machine.
class Block {
public:
    /// What a barrier or a warp operation complains with.
    template <class... Pieces>
    [[noreturn]] static void refuse(const Pieces&... pieces) {
        fail<DeviceError>(pieces...);
    }

    Thread& running() { return *threads_[current_]; }
    unsigned lane() const { return current_ % 32; }
    std::byte* shared(std::size_t wanted) const {
        if (wanted > shared_bytes_)
            refuse(name_, ": the kernel uses ", wanted, " bytes of shared memory but was launched with ", shared_bytes_);
        return shared_.get() + margin;
    }
    bool is_shared(const void* bytes, std::size_t size) const {
        const auto* first = static_cast<const std::byte*>(bytes);
        return first >= shared_.get() + margin && first + size <= shared_.get() + margin + shared_bytes_;
    }
    std::string whereabouts(const Thread& t) const {
        return join("thread (", t.index.x, ", ", t.index.y, ", ", t.index.z, ") of block (", blockIdx.x, ", ", blockIdx.y,
                    ", ", blockIdx.z, ")");
    }

    /// Everybody waits until all threads of the block have come to the same line. One pass over a mask releases them.
    void barrier(const Place& place) {
        void* tag = &barrier_tags_[barriers_ % 2];
        release(tag);
        {
            const IgnoreRaces bookkeeping;
            Thread& me = running();
            if (left_ > 0) refuse(place, ": ", whereabouts(me), " waits for all threads, but ", left_, " have left");
            if (arrived_ == 0)
                barrier_place_ = place;
            else if (!(place == barrier_place_))
                refuse("__syncthreads: ", whereabouts(me), " is at ", place, " while others wait at ", barrier_place_);
            me.place = place;
            me.waits_for = "__syncthreads";
            if (++arrived_ == size_) {
                arrived_ = 0;
                ++barriers_;
                for (unsigned t = 0; t < size_; ++t) threads_[t]->waits_for = nullptr;
                ready_ = everybody_;
            } else {
                set_ready(current_, false);
            }
            go_on();
        }
        acquire(tag);
    }

    /// The lanes of `mask` meet; the last to come does `finish(lanes)` for all of them, where lanes[l]->slot is what lane l
    /// brought. `finish` sees the slots of lanes in the mask only.
    template <class Finish>
    void meet(const char* operation, unsigned mask, const Place& place, void* slot, Finish&& finish) {
        const IgnoreRaces bookkeeping;
        Thread& me = running();
        Warp& warp = warps_[current_ / 32];
        const unsigned first_of_warp = current_ / 32 * 32, bit = 1u << lane();
        if (!(mask & bit)) refuse(operation, " at ", place, ": ", whereabouts(me), " is not in its own mask");
        if (mask & ~warp.existing)
            refuse(operation, " at ", place, ": ", whereabouts(me), " names lane ", std::countr_zero(mask & ~warp.existing),
                   ", which has left or never was");
        if (const unsigned others = warp.waiting & mask) {
            const Thread& other = *threads_[first_of_warp + static_cast<unsigned>(std::countr_zero(others))];
            if (other.waits_for != operation || other.mask != mask || !(other.place == place))
                refuse("lanes of one warp meet in different operations: ", whereabouts(me), " in ", operation, " at ", place,
                       ", ", whereabouts(other), " in ", other.waits_for, " at ", other.place);
        }
        me.place = place;
        me.waits_for = operation;
        me.mask = mask;
        me.slot = slot;
        warp.waiting |= bit;
        if ((warp.waiting & mask) == mask) {
            finish(threads_.data() + first_of_warp);
            warp.waiting &= ~mask;
            for (unsigned rest = mask; rest; rest &= rest - 1) {
                const unsigned t = first_of_warp + static_cast<unsigned>(std::countr_zero(rest));
                threads_[t]->waits_for = nullptr;
                set_ready(t, true);
            }
        } else {
            set_ready(current_, false);
        }
        go_on();
    }

    /// Runs blocks of `size` threads, each of which calls body(argument). One block after the other, in the schedule's order.
    void run_grid(const char* name, dim3 grid, unsigned size, std::size_t shared_bytes, void (*body)(const void*),
                  const void* argument);

    static constexpr unsigned most_threads = 1024;
    static constexpr std::size_t most_shared = std::size_t(227) << 10, margin = 512;  // bytes nobody may touch, both sides

private:
    struct Aligned {
        void operator()(std::byte* bytes) const { std::free(bytes); }
    };
    void run_block();
    void prepare_shared();
    void check_margins() const;
    [[noreturn]] static void entry();
    [[noreturn]] void leave();
    Fiber& after_leaving();
    std::string deadlock() const;

    void set_ready(unsigned t, bool is) {
        const auto bit = std::uint64_t(1) << t % 64;
        if (is)
            ready_[t / 64] |= bit;
        else
            ready_[t / 64] &= ~bit;
    }
    /// The first ready thread from `start` on, going around; size_ when there is none.
    unsigned next_up(unsigned start) const {
        for (unsigned words = 0, w = start / 64; words <= 16; ++words, w = (w + 1) % 16) {
            std::uint64_t word = ready_[w];
            if (words == 0) word &= ~std::uint64_t(0) << start % 64;
            if (word) return w * 64 + static_cast<unsigned>(std::countr_zero(word));
        }
        return size_;
    }
    unsigned next_down(unsigned start) const {
        for (unsigned words = 0, w = start / 64; words <= 16; ++words, w = (w + 15) % 16) {
            std::uint64_t word = ready_[w];
            if (words == 0) word &= ~std::uint64_t(0) >> (63 - start % 64);
            if (word) return w * 64 + 63 - static_cast<unsigned>(std::countl_zero(word));
        }
        return size_;
    }
    unsigned pick() {
        if (schedule.order == Order::forward) return next_up((current_ + 1) % most_threads);
        if (schedule.order == Order::reverse) return next_down((current_ + most_threads - 1) % most_threads);
        random_ = random_ * 6364136223846793005u + 1442695040888963407u;
        return next_up(static_cast<unsigned>(random_ >> 33) % size_);
    }
    /// Lets somebody go on; returns when this thread's turn has come again.
    void go_on() {
        const unsigned next = pick();
        if (next == size_) refuse(deadlock());
        if (next == current_) return;
        Thread& from = running();
        current_ = next;
        from.fiber.switch_to(running().fiber);
        threadIdx = running().index;
    }

    const char* name_ = "";
    void (*body_)(const void*) = nullptr;
    const void* argument_ = nullptr;
    Fiber launcher_;
    std::vector<std::unique_ptr<Thread>> threads_;
    std::array<Warp, most_threads / 32> warps_;
    std::unique_ptr<std::byte[], Aligned> shared_;
    std::size_t shared_bytes_ = 0;
    std::array<std::uint64_t, 16> ready_{}, everybody_{};
    unsigned size_ = 0, current_ = 0, arrived_ = 0, left_ = 0, barriers_ = 0;
    std::uint64_t random_ = 1;
    std::uint64_t history_ = 0;  // blocks that ThreadSanitizer remembers
    Place barrier_place_;
    std::array<char, 2> barrier_tags_{};
    char start_tag_ = 0, end_tag_ = 0;  // two: with one, what a thread did before its end would be ordered before another's start
    std::exception_ptr error_;
};

/// One for each thread of the machine that launches.
inline Block& block() {
    static thread_local Block the_block;
    return the_block;
}

inline void* shared_bytes(std::size_t wanted) { return block().shared(wanted); }

}  // namespace smolvlm::cuda::emulation

#include <smolvlm/cuda/emulation/run_grid.cuh>
