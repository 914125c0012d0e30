#pragma once
/// Where what is read once a token, narrow weights and keys, lies side by side: in huge pages (core/storage.hpp), however
/// small its pieces are.

#include <algorithm>
#include <mutex>

#include <smolvlm/core/storage.hpp>

namespace smolvlm {

/// Storage for what stays long. Small pieces share blocks; a block is freed with the last of its pieces. Any number of threads
/// may take some.
class Arena {
public:
    Arena() = default;
    Arena(const Arena&) {}  // a copy begins blocks of its own
    Arena& operator=(const Arena&) { return *this; }

    /// Whether pieces of that size share blocks.
    static bool is_piece(std::size_t bytes) { return bytes >= std::size_t(1) << 14 && bytes <= huge_page_bytes / 2; }

    Storage take(std::size_t bytes) { return is_piece(bytes) ? take_any(bytes) : Storage::allocate(bytes); }

    /// The same for large things too, which stay for good.
    Storage take_any(std::size_t bytes) {
        const std::size_t rounded = (bytes + 63) / 64 * 64;
        const std::lock_guard only_one(lock_);
        if (!block_ || block_.capacity() - used_ < rounded) block_ = Storage::allocate(std::max(block_bytes, rounded)), used_ = 0;
        return Storage::part(block_, std::exchange(used_, used_ + rounded), bytes);
    }

private:
    // Only what is written to becomes memory; at the end of a block that is half a huge page too much.
    static constexpr std::size_t block_bytes = 32 * huge_page_bytes;

    std::mutex lock_;
    Storage block_;
    std::size_t used_ = 0;
};

}  // namespace smolvlm
