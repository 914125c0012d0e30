#pragma once
/// Bytes behind a tensor: reference-counted, 64-byte aligned, taken from a pool or borrowed from a mapped file.
///
/// A pool keeps freed blocks in size classes (four to an octave), so that after the first token a decode step allocates
/// nothing. Pools and blocks may be shared by threads: counts are atomic and the free lists sit behind a lock.
///
/// What fills a huge page stands in huge pages, where the system has them for the asking. To look up where each page of 4 KiB
/// lies took a fifth of a token's time (256M, Q4_0, two cores of an AMD EPYC), and to get 456 MB in such pages most of the
/// time of loading.

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#include <smolvlm/core/shape.hpp>

namespace smolvlm {

inline constexpr std::size_t huge_page_bytes = std::size_t(2) << 20;

namespace detail {

struct PoolCore;

struct Block {
    std::atomic<long> refs{1};
    std::byte* data = nullptr;
    std::size_t capacity = 0;           // bytes; of a pooled block exactly its class size
    PoolCore* pool = nullptr;           // where the block goes back to; null = plain heap or borrowed
    std::shared_ptr<const void> owner;  // keeps bytes alive that are not ours to free
    bool writable = true;
};

/// Smallest class not below `bytes`: 2^k * {4, 5, 6, 7} / 4, so at most a quarter is wasted.
inline std::size_t size_class_bytes(std::size_t bytes) {
    if (bytes <= 256) return 256;
    const std::size_t step = std::bit_floor(bytes - 1) / 4;
    return (bytes + step - 1) / step * step;
}
inline std::size_t size_class_index(std::size_t class_bytes) {
    const std::size_t octave = std::bit_floor(class_bytes);
    return static_cast<std::size_t>(std::countr_zero(octave)) * 4 + (class_bytes - octave) / (octave / 4);
}

inline Block* allocate_block(std::size_t bytes) {
    const auto up_to = [bytes](std::size_t step) { return (bytes + step - 1) / step * step; };
    const std::size_t alignment = bytes < huge_page_bytes ? 64 : huge_page_bytes;
    auto block = std::make_unique<Block>();
    block->data = static_cast<std::byte*>(std::aligned_alloc(alignment, up_to(alignment)));
    if (!block->data) throw std::bad_alloc();
    block->capacity = up_to(64);
#if defined(__linux__)
    if (alignment > 64) ::madvise(block->data, up_to(alignment), MADV_HUGEPAGE);  // a refusal costs speed, nothing else
#endif
    return block.release();
}
inline void free_block(Block* block) {
    if (!block->owner) std::free(block->data);
    delete block;
}

/// Counted by its Pool handle and by every live block, so a tensor may outlive the backend that made it.
struct PoolCore {
    std::atomic<long> refs{1};
    std::atomic<Index> fresh{0};
    std::atomic_flag lock = ATOMIC_FLAG_INIT;
    std::vector<std::vector<Block*>> free_lists = std::vector<std::vector<Block*>>(256);

    void acquire() {
        while (lock.test_and_set(std::memory_order_acquire)) {}
    }
    void release() { lock.clear(std::memory_order_release); }

    Block* take(std::size_t bytes) {
        const std::size_t class_bytes = size_class_bytes(bytes);
        auto& list = free_lists[size_class_index(class_bytes)];
        Block* block = nullptr;
        acquire();
        if (!list.empty()) {
            block = list.back();
            list.pop_back();
        }
        release();
        if (block) {
            block->refs.store(1, std::memory_order_relaxed);
        } else {
            block = allocate_block(class_bytes);
            fresh.fetch_add(1, std::memory_order_relaxed);
        }
        block->pool = this;
        refs.fetch_add(1, std::memory_order_relaxed);
        return block;
    }
    void give(Block* block) {
        acquire();
        free_lists[size_class_index(block->capacity)].push_back(block);
        release();
        drop();
    }
    void trim() {
        acquire();
        auto lists = std::exchange(free_lists, std::vector<std::vector<Block*>>(256));
        release();
        for (auto& list : lists)
            for (Block* block : list) free_block(block);
    }
    void drop() {
        if (refs.fetch_sub(1, std::memory_order_acq_rel) == 1) {
            trim();
            delete this;
        }
    }
};

}  // namespace detail

class Storage {
public:
    Storage() = default;
    /// Fresh uninitialised bytes outside any pool.
    static Storage allocate(std::size_t bytes) { return Storage(detail::allocate_block(bytes)); }
    /// Bytes that somebody else owns and `owner` keeps alive, such as a mapped file. Never written to.
    static Storage borrow(const std::byte* bytes, std::size_t size, std::shared_ptr<const void> owner) {
        auto block = std::make_unique<detail::Block>();
        block->data = const_cast<std::byte*>(bytes);
        block->capacity = size;
        block->owner = owner ? std::move(owner) : std::make_shared<char>();
        block->writable = false;
        return Storage(block.release());
    }
    /// The bytes from `offset` on, a multiple of 64, of a larger storage that lives as long as its parts.
    static Storage part(const Storage& whole, std::size_t offset, std::size_t bytes) {
        auto block = std::make_unique<detail::Block>();
        block->data = whole.data() + offset;
        block->capacity = bytes;
        block->owner = std::make_shared<Storage>(whole);
        return Storage(block.release());
    }

    Storage(const Storage& other) : block_(other.block_) {
        if (block_) block_->refs.fetch_add(1, std::memory_order_relaxed);
    }
    Storage(Storage&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
    Storage& operator=(Storage other) noexcept {
        std::swap(block_, other.block_);
        return *this;
    }
    ~Storage() {
        if (block_ && block_->refs.fetch_sub(1, std::memory_order_acq_rel) == 1) {
            if (block_->pool)
                std::exchange(block_->pool, nullptr)->give(block_);
            else
                detail::free_block(block_);
        }
    }

    std::byte* data() const { return block_ ? block_->data : nullptr; }
    std::size_t capacity() const { return block_ ? block_->capacity : 0; }
    explicit operator bool() const { return block_ != nullptr; }
    bool borrowed() const { return block_ && !block_->writable; }
    /// True when somebody else holds these bytes too.
    bool shared() const { return block_ && block_->refs.load(std::memory_order_acquire) > 1; }
    /// True when nobody else can see these bytes: the only case in which an op may reuse its operand.
    bool writable_alone() const {
        return block_ && block_->writable && block_->refs.load(std::memory_order_acquire) == 1;
    }

private:
    friend class Pool;
    explicit Storage(detail::Block* block) : block_(block) {}
    detail::Block* block_ = nullptr;
};

/// Hands out storage and takes it back. Copies share one pool.
class Pool {
public:
    Pool() : core_(new detail::PoolCore) {}
    Pool(const Pool& other) : core_(other.core_) { core_->refs.fetch_add(1, std::memory_order_relaxed); }
    Pool& operator=(Pool other) noexcept {
        std::swap(core_, other.core_);
        return *this;
    }
    ~Pool() { core_->drop(); }

    Storage take(std::size_t bytes) { return Storage(core_->take(bytes)); }
    /// Blocks that had to be allocated so far; constant once a loop has warmed up.
    Index fresh_allocations() const { return core_->fresh.load(std::memory_order_relaxed); }
    /// Returns the unused blocks to the system.
    void trim() { core_->trim(); }

private:
    detail::PoolCore* core_;
};

}  // namespace smolvlm
