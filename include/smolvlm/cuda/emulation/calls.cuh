#pragma once
/// The emulated twin of calls.cuh: a device without a device. Streams do everything at once, which their order allows.

#include <smolvlm/cuda/emulation/machine.cuh>

namespace smolvlm::cuda {

struct Stream {
    emulation::StreamHandle* handle = nullptr;
};
struct Event {
    emulation::EventHandle* handle = nullptr;
};
struct DeviceFacts {
    std::string name;
    int major = 0, minor = 0;
    int multiprocessors = 0;
};
struct MemoryFacts {
    std::size_t free = 0, total = 0;
};

namespace calls {

inline constexpr const char* world = "the emulation";

inline int device_count() {
    emulation::machine().may_fail("cudaGetDeviceCount");
    return emulation::machine().devices;
}
inline DeviceFacts device_facts(int) {
    emulation::machine().may_fail("cudaGetDeviceProperties");
    return {"emulated device", emulation::machine().major, emulation::machine().minor, 1};
}
inline void use_device(int) { emulation::machine().may_fail("cudaSetDevice"); }
inline MemoryFacts memory_facts() {
    const emulation::Machine& machine = emulation::machine();
    return {machine.memory - machine.used(), machine.memory};
}

inline Stream make_stream() {
    emulation::machine().may_fail("cudaStreamCreateWithFlags");
    return {new emulation::StreamHandle{emulation::machine().new_stream(), {}}};
}
inline void end_stream(Stream& stream) noexcept { delete stream.handle; }
inline void wait(Stream& stream) {
    emulation::machine().may_fail("cudaStreamSynchronize");
    emulation::machine().host_waits(*stream.handle);
}
inline Event make_event() {
    emulation::machine().may_fail("cudaEventCreateWithFlags");
    return {new emulation::EventHandle};
}
inline void end_event(Event& event) noexcept { delete event.handle; }
inline void record(Event& event, Stream& stream) {
    emulation::machine().may_fail("cudaEventRecord");
    event.handle->clock = stream.handle->clock;
}
inline void wait_for_event(Stream& stream, Event& event) {
    emulation::machine().may_fail("cudaStreamWaitEvent");
    stream.handle->clock.learn(event.handle->clock);
}

inline void* allocate(std::size_t bytes, Stream&) {
    emulation::machine().may_fail("cudaMallocAsync");
    return emulation::machine().allocate(bytes);
}
inline void deallocate(void* memory, Stream&) noexcept { emulation::machine().deallocate(memory); }
inline void begin_use(void* memory, std::size_t bytes, Stream& stream) {
    emulation::machine().begin_use(memory, bytes, *stream.handle);
}
inline void end_use(void* memory) noexcept { emulation::machine().end_use(memory); }

inline void* allocate_pinned(std::size_t bytes) {
    emulation::machine().may_fail("cudaMallocHost");
    return std::aligned_alloc(256, (bytes + 255) / 256 * 256);
}
inline void deallocate_pinned(void* memory) noexcept { std::free(memory); }

/// Copies with both ends checked: a host pointer where device memory is meant works here by accident only.
inline void copy_bytes(const char* call, void* to, bool to_device, const void* from, bool from_device, std::size_t bytes,
                       Stream& stream) {
    emulation::Machine& machine = emulation::machine();
    machine.may_fail(call);
    if (bytes == 0) return;
    const std::lock_guard guard(machine.lock);
    if (machine.owns(to, to_device ? bytes : 1) != to_device || machine.owns(from, from_device ? bytes : 1) != from_device)
        fail<DeviceError>(call, " failed: cudaErrorInvalidValue (", bytes, " bytes are not where the call says)");
    machine.next_work(*stream.handle);
    if (from_device) machine.note_use(call, *stream.handle, from, emulation::Use::read);
    if (to_device) machine.note_use(call, *stream.handle, to, emulation::Use::write);
    if (to_device) emulation::allow(to, bytes);
    if (from_device) emulation::allow(from, bytes);
    std::memmove(to, from, bytes);
    if (to_device) emulation::forbid(to, bytes);
    if (from_device) emulation::forbid(from, bytes);
}
inline void copy_to_device(void* to, const void* from, std::size_t bytes, Stream& stream) {
    copy_bytes("cudaMemcpyAsync (host to device)", to, true, from, false, bytes, stream);
}
inline void copy_to_host(void* to, const void* from, std::size_t bytes, Stream& stream) {
    copy_bytes("cudaMemcpyAsync (device to host)", to, false, from, true, bytes, stream);
}
inline void copy_on_device(void* to, const void* from, std::size_t bytes, Stream& stream) {
    copy_bytes("cudaMemcpyAsync (device to device)", to, true, from, true, bytes, stream);
}
inline void fill_zero(void* to, std::size_t bytes, Stream& stream) {
    emulation::Machine& machine = emulation::machine();
    machine.may_fail("cudaMemsetAsync");
    const std::lock_guard guard(machine.lock);
    if (!machine.owns(to, bytes)) fail<DeviceError>("cudaMemsetAsync failed: cudaErrorInvalidValue (not device memory)");
    machine.next_work(*stream.handle);
    machine.note_use("cudaMemsetAsync", *stream.handle, to, emulation::Use::write);
    emulation::allow(to, bytes);
    std::memset(to, 0, bytes);
    emulation::forbid(to, bytes);
}

}  // namespace calls

}  // namespace smolvlm::cuda
