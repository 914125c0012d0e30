#pragma once
/// A launch: what the device would refuse is refused, then the grid runs, at once.

#include <span>

#include <smolvlm/cuda/emulation/block.cuh>
#include <smolvlm/cuda/emulation/calls.cuh>

namespace smolvlm::cuda::emulation {

/// An argument that is an address, and what the kernel may do there. (Addresses within structs are not seen.)
struct Pointer {
    const void* address;
    Use use;
};

inline void run_launch(StreamHandle* stream, const Place& place, dim3 grid, unsigned threads, std::size_t shared,
                       std::span<const Pointer> pointers, void (*body)(const void*), const void* argument) {
    Machine& on = machine();
    const std::lock_guard guard(on.lock);
    const std::string name = join("launch by ", place);
    on.may_fail("launch");
    if (!stream) fail<DeviceError>(name, ": there is no stream");
    if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535)
        fail<DeviceError>(name, " failed: cudaErrorInvalidConfiguration: ", grid.x, " x ", grid.y, " x ", grid.z, " blocks");
    if (threads == 0 || threads > Block::most_threads || threads % 32 != 0)
        fail<DeviceError>(name, " failed: cudaErrorInvalidConfiguration: blocks of ", threads,
                          " threads; a multiple of 32, at most 1024, is needed");
    if (shared > Block::most_shared)
        fail<DeviceError>(name, " failed: cudaErrorInvalidValue: ", shared, " bytes of shared memory, more than ",
                          Block::most_shared);
    for (std::size_t i = 0; i < pointers.size(); ++i)
        if (!on.owns(pointers[i].address, 0))
            fail<DeviceError>(name, ": pointer argument ", i, " is no device memory in use");
    on.next_work(*stream);
    for (const Pointer& p : pointers) on.note_use(name.c_str(), *stream, p.address, p.use);
    struct Opened {
        Machine& on;
        explicit Opened(Machine& machine) : on(machine) { on.open(); }
        ~Opened() { on.close(); }
    };
    {
        const Opened opened(on);
        block().run_grid(name.c_str(), grid, threads, shared, body, argument);
    }
    on.check_margins(name.c_str());
}

}  // namespace smolvlm::cuda::emulation
