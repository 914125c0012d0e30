#pragma once
/// Every call of the CUDA runtime library that this project makes. Under emulation its twin is emulation/calls.cuh, with the
/// same names. A call that fails throws DeviceError with the call and the name of its code; what the caller holds stays as
/// it was.

#include <string>

#include <smolvlm/cuda/place.cuh>

#if !defined(__CUDACC__)
#include <smolvlm/cuda/emulation/calls.cuh>
#else
#include <cuda_runtime.h>

namespace smolvlm::cuda {

/// What runs on the device in order.
struct Stream {
    cudaStream_t handle = nullptr;
};
/// A point in the work of a stream.
struct Event {
    cudaEvent_t handle = nullptr;
};
struct DeviceFacts {
    std::string name;
    int major = 0, minor = 0;  // compute capability
    int multiprocessors = 0;
};
struct MemoryFacts {
    std::size_t free = 0, total = 0;
};

namespace calls {

inline constexpr const char* world = "the device";  // see runtime.cuh

inline void check(cudaError_t code, const char* call) {
    if (code == cudaSuccess) return;
    cudaGetLastError();  // the next call must not report this error again
    fail<DeviceError>(call, " failed: ", cudaGetErrorName(code), " (", cudaGetErrorString(code), ")");
}

inline int device_count() {
    int count = 0;
    const cudaError_t code = cudaGetDeviceCount(&count);
    if (code == cudaErrorNoDevice || code == cudaErrorInsufficientDriver)  // what a machine without one says
        fail<DeviceError>("no NVIDIA GPU with a driver for CUDA ", CUDART_VERSION / 1000, " is here (cudaGetDeviceCount: ",
                          cudaGetErrorName(code), "); the CPU backend needs none");
    check(code, "cudaGetDeviceCount");
    return count;
}
inline DeviceFacts device_facts(int device) {
    cudaDeviceProp facts{};
    check(cudaGetDeviceProperties(&facts, device), "cudaGetDeviceProperties");
    return {facts.name, facts.major, facts.minor, facts.multiProcessorCount};
}
/// Of the calling thread, from now on. Freed memory is kept for the next allocation instead of going back to the system.
inline void use_device(int device) {
    check(cudaSetDevice(device), "cudaSetDevice");
    cudaMemPool_t pool{};
    check(cudaDeviceGetDefaultMemPool(&pool, device), "cudaDeviceGetDefaultMemPool");
    unsigned long long keep = ~0ull;
    check(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &keep), "cudaMemPoolSetAttribute");
}
inline MemoryFacts memory_facts() {
    MemoryFacts facts;
    check(cudaMemGetInfo(&facts.free, &facts.total), "cudaMemGetInfo");
    return facts;
}

inline Stream make_stream() {
    Stream stream;
    check(cudaStreamCreateWithFlags(&stream.handle, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
    return stream;
}
inline void end_stream(Stream& stream) noexcept { cudaStreamDestroy(stream.handle); }
inline void wait(Stream& stream) { check(cudaStreamSynchronize(stream.handle), "cudaStreamSynchronize"); }

inline Event make_event() {
    Event event;
    check(cudaEventCreateWithFlags(&event.handle, cudaEventDisableTiming), "cudaEventCreateWithFlags");
    return event;
}
inline void end_event(Event& event) noexcept { cudaEventDestroy(event.handle); }
inline void record(Event& event, Stream& stream) { check(cudaEventRecord(event.handle, stream.handle), "cudaEventRecord"); }
/// What the stream is given from now on waits for the event as it was last recorded; the host does not.
inline void wait_for_event(Stream& stream, Event& event) {
    check(cudaStreamWaitEvent(stream.handle, event.handle, 0), "cudaStreamWaitEvent");
}

/// Null when there is not enough memory.
inline void* allocate(std::size_t bytes, Stream& stream) {
    void* memory = nullptr;
    const cudaError_t code = cudaMallocAsync(&memory, bytes, stream.handle);
    if (code == cudaErrorMemoryAllocation) {
        cudaGetLastError();
        return nullptr;
    }
    check(code, "cudaMallocAsync");
    return memory;
}
inline void deallocate(void* memory, Stream& stream) noexcept { cudaFreeAsync(memory, stream.handle); }
/// The emulation guards what lies behind the bytes in use of a block, and blocks that nobody uses.
inline void begin_use(void*, std::size_t, Stream&) {}
inline void end_use(void*) noexcept {}

/// Memory of the host that the device can read by itself.
inline void* allocate_pinned(std::size_t bytes) {
    void* memory = nullptr;
    check(cudaMallocHost(&memory, bytes), "cudaMallocHost");
    return memory;
}
inline void deallocate_pinned(void* memory) noexcept { cudaFreeHost(memory); }

inline void copy_to_device(void* to, const void* from, std::size_t bytes, Stream& stream) {
    check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stream.handle), "cudaMemcpyAsync (host to device)");
}
inline void copy_to_host(void* to, const void* from, std::size_t bytes, Stream& stream) {
    check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream.handle), "cudaMemcpyAsync (device to host)");
}
inline void copy_on_device(void* to, const void* from, std::size_t bytes, Stream& stream) {
    check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream.handle), "cudaMemcpyAsync (device to device)");
}
inline void fill_zero(void* to, std::size_t bytes, Stream& stream) {
    check(cudaMemsetAsync(to, 0, bytes, stream.handle), "cudaMemsetAsync");
}

}  // namespace calls

}  // namespace smolvlm::cuda
#endif
