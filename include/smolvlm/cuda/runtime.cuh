#pragma once
/// What a backend holds of its device: a stream, a pool of memory, and copies to and from the host. Written once for the
/// device and for the emulation, on calls.cuh.
///
///     Runtime on;                                    // DeviceError: no device, or one too old
///     Memory x = on.upload(numbers, bytes);          // asynchronous
///     launch(on.stream(), kernel<float>, grid, 256, 0, static_cast<float*>(x.data()));
///     on.download(x.data(), numbers, bytes);         // waits
///
/// The pool keeps freed blocks in the size classes of core/storage.hpp. All work of a Runtime is in one stream, so a block
/// may be handed out again while the kernel that last used it is still under way. After the first token a decode step
/// calls the device's allocator no more.

#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include <smolvlm/core/shape.hpp>
#include <smolvlm/core/storage.hpp>
#include <smolvlm/cuda/calls.cuh>

namespace smolvlm::cuda {

/// One program may use the device or its emulation, not both: the kernels of the two have the same names. Every file that
/// makes a Runtime says which it was compiled for; they must agree.
inline const char* world_of_program = calls::world;

namespace detail {

/// A stream and the memory that is used in its order. Shared by the Runtime and every Memory, which may outlive it.
class DevicePool {
public:
    DevicePool() : stream_(calls::make_stream()) {}
    DevicePool(const DevicePool&) = delete;
    DevicePool& operator=(const DevicePool&) = delete;
    ~DevicePool() {
        trim();
        if (event_.handle) calls::end_event(event_);
        calls::end_stream(stream_);
    }

    Stream& stream() { return stream_; }
    /// What this pool's stream is given from now on waits for what the other was given so far.
    void wait_for(DevicePool& other) {
        if (!other.event_.handle) other.event_ = calls::make_event();
        calls::record(other.event_, other.stream_);
        calls::wait_for_event(stream_, other.event_);
    }
    Index fresh() const { return fresh_; }

    std::pair<void*, std::size_t> take(std::size_t bytes) {
        const std::size_t size = smolvlm::detail::size_class_bytes(bytes);
        void* data = nullptr;
        {
            const std::lock_guard guard(lock_);
            auto& list = free_[size];
            if (!list.empty()) {
                data = list.back();
                list.pop_back();
            }
        }
        if (!data) data = fresh_block(size);
        calls::begin_use(data, bytes, stream_);
        return {data, size};
    }
    void give(void* data, std::size_t size) noexcept {
        calls::end_use(data);
        const std::lock_guard guard(lock_);
        free_[size].push_back(data);
    }
    /// Gives the unused blocks back to the device.
    void trim() {
        const std::lock_guard guard(lock_);
        for (auto& [size, list] : free_) {
            for (void* data : list) calls::deallocate(data, stream_);
            list.clear();
        }
    }

private:
    void* fresh_block(std::size_t size) {
        ++fresh_;
        if (void* data = calls::allocate(size, stream_)) return data;
        trim();
        calls::wait(stream_);
        if (void* data = calls::allocate(size, stream_)) return data;
        const MemoryFacts facts = calls::memory_facts();
        fail<DeviceError>("cudaMallocAsync failed: cudaErrorMemoryAllocation: ", size, " bytes were asked for, ", facts.free,
                          " of ", facts.total, " are free; fewer tiles (--max-tiles), a shorter context, smaller batches or a "
                          "two-byte number type need less");
    }

    Stream stream_;
    Event event_;  // made when somebody first waits
    std::mutex lock_;
    std::map<std::size_t, std::vector<void*>> free_;
    Index fresh_ = 0;
};

}  // namespace detail

/// Bytes of the device. Copies share them; the last one gives them back to the pool.
class Memory {
public:
    Memory() = default;

    void* data() const { return block_ ? block_->data : nullptr; }
    explicit operator bool() const { return block_ != nullptr; }
    /// True when nobody else can see these bytes: the only case in which an op may reuse its operand.
    bool writable_alone() const { return block_.use_count() == 1; }
    /// Bytes from `offset` on, on the host. Waits.
    void read(std::size_t offset, void* to, std::size_t bytes) const {
        if (bytes == 0) return;
        calls::copy_to_host(to, static_cast<const std::byte*>(data()) + offset, bytes, block_->pool->stream());
        calls::wait(block_->pool->stream());
    }

private:
    friend class Runtime;
    struct Block {
        void* data;
        std::size_t size;
        std::shared_ptr<detail::DevicePool> pool;
        Block(std::pair<void*, std::size_t> taken, std::shared_ptr<detail::DevicePool> from)
            : data(taken.first), size(taken.second), pool(std::move(from)) {}
        Block(const Block&) = delete;
        Block& operator=(const Block&) = delete;
        ~Block() { pool->give(data, size); }
    };
    std::shared_ptr<Block> block_;
};

class Runtime {
public:
    /// Compute capability 8.0 (Ampere): the oldest with bf16 tensor cores and asynchronous copies to shared memory.
    static constexpr int oldest_major = 8;

    /// Throws DeviceError when there is no such device or it is too old.
    explicit Runtime(int device = 0, const char* world = calls::world) {
        SMOLVLM_CHECK(std::string_view(world) == world_of_program, DeviceError,
                      "one program holds kernels for ", world, " and for ", world_of_program);
        const int count = calls::device_count();
        SMOLVLM_CHECK(device >= 0 && device < count, DeviceError, "CUDA device ", device, " was asked for, but there ",
                      count == 1 ? "is " : "are ", count, "; the CPU backend needs none");
        facts_ = calls::device_facts(device);
        SMOLVLM_CHECK(facts_.major >= oldest_major, DeviceError, "CUDA device ", device, " (", facts_.name,
                      ") has compute capability ", facts_.major, ".", facts_.minor, "; ", oldest_major, ".0 is needed");
        calls::use_device(device);
        pool_ = std::make_shared<detail::DevicePool>();
    }

    const DeviceFacts& facts() const { return facts_; }
    Stream& stream() { return pool_->stream(); }
    /// Blocks that the device's allocator had to make so far; constant once a loop has warmed up.
    Index fresh_allocations() const { return pool_->fresh(); }
    /// How often the host has waited for the device.
    Index waits() const { return waits_; }
    void trim() { pool_->trim(); }
    /// Orders two streams: what this one is given from now on starts when all that `other` was given so far is done. The host
    /// does not wait. Memory that one made and the other reads needs it twice: before reading, and in the other direction
    /// before the memory may be given back.
    void wait_for(Runtime& other) { pool_->wait_for(*other.pool_); }

    /// Memory with nothing known in it.
    Memory take(std::size_t bytes) {
        Memory memory;
        memory.block_ = std::make_shared<Memory::Block>(pool_->take(bytes), pool_);
        return memory;
    }
    /// Memory with a copy of the host's bytes, which may change as soon as this returns.
    Memory upload(const void* from, std::size_t bytes) {
        Memory memory = take(bytes);
        copy_to_device(memory.data(), from, bytes);
        return memory;
    }
    /// Small copies go by way of pinned memory and do not wait; large ones are left to the driver.
    void copy_to_device(void* to, const void* from, std::size_t bytes) {
        if (bytes == 0) return;
        if (bytes > staging_size / 4) return calls::copy_to_device(to, from, bytes, stream());
        if (!staging_) staging_.reset(static_cast<std::byte*>(calls::allocate_pinned(staging_size)));
        if (staged_ + bytes > staging_size) {
            wait();  // all that was staged has been read
            staged_ = 0;
        }
        std::memcpy(staging_.get() + staged_, from, bytes);
        calls::copy_to_device(to, staging_.get() + staged_, bytes, stream());
        staged_ += (bytes + 15) / 16 * 16;
    }
    /// Waits until the bytes have come.
    void download(const void* from, void* to, std::size_t bytes) {
        if (bytes > 0) calls::copy_to_host(to, from, bytes, stream());
        wait();
    }
    void copy(const void* from, void* to, std::size_t bytes) {
        if (bytes > 0) calls::copy_on_device(to, from, bytes, stream());
    }
    void fill_zero(void* to, std::size_t bytes) {
        if (bytes > 0) calls::fill_zero(to, bytes, stream());
    }
    void wait() {
        ++waits_;
        calls::wait(stream());
    }

private:
    struct Unpin {
        void operator()(std::byte* bytes) const { calls::deallocate_pinned(bytes); }
    };
    static constexpr std::size_t staging_size = std::size_t(4) << 20;

    DeviceFacts facts_;
    std::shared_ptr<detail::DevicePool> pool_;
    std::unique_ptr<std::byte, Unpin> staging_;
    std::size_t staged_ = 0;
    Index waits_ = 0;
};

}  // namespace smolvlm::cuda
