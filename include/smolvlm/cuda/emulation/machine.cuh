#pragma once
/// The emulated device: its memory, and what tests may make it do wrong.
///
/// Every allocation lies between margins of 512 NaN bytes and starts as poison, as reused memory does. Under AddressSanitizer
/// device memory may be touched by kernels and by the calls of calls.cuh only, within the bytes in use: host code that follows
/// a device pointer faults. Without it, writes into a margin are found at the end of the launch.

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string>

#include <smolvlm/cuda/emulation/order.cuh>
#include <smolvlm/cuda/emulation/sanitizers.cuh>
#include <smolvlm/cuda/emulation/schedule.cuh>
#include <smolvlm/cuda/place.cuh>

namespace smolvlm::cuda::emulation {

class Machine {
public:
    // For tests: what there is, and which call is to fail next and with what.
    int devices = 1, major = 9, minor = 0;
    std::size_t memory = std::size_t(1) << 40;
    std::string failing_call, failing_code;

    /// Throws as calls.cuh's check does when a test wants this call to fail, once.
    void may_fail(const char* call) {
        if (failing_call != call) return;
        failing_call.clear();
        fail<DeviceError>(call, " failed: ", failing_code, " (injected by a test)");
    }

    std::size_t used() const { return used_; }

    void* allocate(std::size_t bytes) {
        const std::lock_guard guard(lock);
        if (bytes > memory - used_) return nullptr;
        const std::size_t capacity = (bytes + 255) / 256 * 256;
        auto* base = static_cast<std::byte*>(std::aligned_alloc(256, capacity + 2 * margin));
        if (!base) return nullptr;
        used_ += bytes;
        blocks_[base + margin] = {capacity, 0, bytes, false, {}};
        forbid(base, capacity + 2 * margin);
        return base + margin;
    }
    void deallocate(void* data) {
        const std::lock_guard guard(lock);
        const auto found = blocks_.find(static_cast<std::byte*>(data));
        if (found == blocks_.end()) return;
        used_ -= found->second.counted;
        allow(found->first - margin, found->second.capacity + 2 * margin);
        std::free(found->first - margin);
        blocks_.erase(found);
    }
    /// From now on `bytes` of the block are in use, in the order of this stream, with nothing known in them.
    void begin_use(void* data, std::size_t bytes, StreamHandle& stream) {
        const std::lock_guard guard(lock);
        std::byte* first = static_cast<std::byte*>(data);
        Extent& block = blocks_.at(first);
        next_work(stream);
        note_use("memory of the pool", stream, data, Use::write);
        block.in_use = bytes;
        block.taken = true;
        allow(first - margin, block.capacity + 2 * margin);
        std::memset(first - margin, 0xFF, margin);
        std::memset(first, schedule.poison, bytes);
        std::memset(first + bytes, 0xFF, block.capacity - bytes + margin);
        forbid(first - margin, block.capacity + 2 * margin);
    }
    void end_use(void* data) {
        const std::lock_guard guard(lock);
        const auto found = blocks_.find(static_cast<std::byte*>(data));
        if (found == blocks_.end()) return;
        allow(found->first, found->second.capacity);
        std::memset(found->first, 0xFF, found->second.capacity);
        forbid(found->first, found->second.capacity);
        found->second.in_use = 0;
        found->second.taken = false;
    }

    /// A stream begins with something that the host asks for: all that the host has waited for is done.
    void next_work(StreamHandle& stream) {
        const std::lock_guard guard(lock);
        stream.clock.learn(host_);
        ++stream.clock.done[stream.id];
    }
    void host_waits(const StreamHandle& stream) {
        const std::lock_guard guard(lock);
        host_.learn(stream.clock);
    }
    /// Throws DeviceError when another stream's use of this memory may not be over, or not have begun.
    void note_use(const char* name, const StreamHandle& stream, const void* data, Use use) {
        const std::lock_guard guard(lock);
        auto after = blocks_.upper_bound(static_cast<std::byte*>(const_cast<void*>(data)));
        if (!data || after == blocks_.begin()) return;
        if (const unsigned other = (--after)->second.uses.note(stream, use))
            fail<DeviceError>(name, ": stream ", stream.id, use == Use::read ? " reads" : " writes", " what stream ", other,
                              " uses, in no certain order: one has to wait for the other (Runtime::wait_for)");
    }
    unsigned new_stream() { return ++streams_; }

    /// Whether size bytes from there on are device memory in use. (A null pointer to nothing is.)
    bool owns(const void* data, std::size_t size) {
        const std::lock_guard guard(lock);
        if (!data) return size == 0;
        auto* first = static_cast<std::byte*>(const_cast<void*>(data));
        auto after = blocks_.upper_bound(first);
        if (after == blocks_.begin()) return false;
        const auto& [start, block] = *--after;
        return block.taken && first + size <= start + block.in_use;
    }
    /// Opens the bytes in use to kernels, or closes them again.
    void open() {
        if (!under_asan()) return;
        for (const auto& [start, block] : blocks_) allow(start, block.in_use);
    }
    void close() {
        if (!under_asan()) return;
        for (const auto& [start, block] : blocks_) forbid(start, block.in_use);
    }
    /// Throws DeviceError when somebody wrote outside the bytes in use.
    void check_margins(const char* name) const {
        if (under_asan()) return;
        for (const auto& [start, block] : blocks_) {
            bool touched = false;
            for (const std::byte* b = start - margin; b < start; ++b) touched |= *b != std::byte(0xFF);
            const std::byte* end = start + block.capacity + margin;
            for (const std::byte* b = start + block.in_use; b < end; ++b) touched |= *b != std::byte(0xFF);
            if (touched)
                fail<DeviceError>(name, ": a thread wrote outside the ", block.in_use, " bytes of an allocation");
        }
    }

    std::recursive_mutex lock;  // held by a launch: one at a time

private:
    struct Extent {
        std::size_t capacity, in_use, counted;
        bool taken;  // perhaps for no bytes at all
        Uses uses;
    };
    static constexpr std::size_t margin = 512;
    std::map<std::byte*, Extent> blocks_;
    std::size_t used_ = 0;
    Clock host_;  // what the host knows to be done
    unsigned streams_ = 0;
};

inline Machine& machine() {
    static Machine* the_machine = new Machine;  // never ended: tensors of static duration may outlive any order
    return *the_machine;
}

}  // namespace smolvlm::cuda::emulation
