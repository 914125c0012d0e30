#pragma once
/// Where small things that are read once a token, quantised weights and keys, lie side by side: in huge pages. To look up
/// where each page of 4 KiB lies took a fifth of a token's time (256M, Q4_0, two cores of an AMD EPYC). Large things stay
/// where they are: they would gain less, and virtual machines are slow to give huge pages away.

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <smolvlm/core/storage.hpp>

namespace smolvlm {

inline constexpr std::size_t huge_page_bytes = std::size_t(2) << 20;

/// Fresh uninitialised bytes, in huge pages if they fill one and the system has them.
inline Storage allocate_huge(std::size_t bytes) {
    if (bytes < huge_page_bytes) return Storage::allocate(bytes);
    Storage storage = Storage::allocate(bytes, huge_page_bytes);
#if defined(__linux__)
    ::madvise(storage.data(), storage.capacity(), MADV_HUGEPAGE);  // a refusal costs speed, nothing else
#endif
    return storage;
}

/// Storage for what stays long. Small pieces share blocks; a block is freed with the last of its pieces.
class Arena {
public:
    Arena() = default;
    Arena(const Arena&) {}  // a copy begins blocks of its own
    Arena& operator=(const Arena&) { return *this; }

    Storage take(std::size_t bytes) {
        constexpr std::size_t least = std::size_t(1) << 14, most = huge_page_bytes / 2;
        if (bytes < least || bytes > most) return Storage::allocate(bytes);
        const std::size_t rounded = (bytes + 63) / 64 * 64;
        if (!block_ || block_.capacity() - used_ < rounded) block_ = allocate_huge(8 * huge_page_bytes), used_ = 0;
        return Storage::part(block_, std::exchange(used_, used_ + rounded), bytes);
    }

private:
    Storage block_;
    std::size_t used_ = 0;
};

}  // namespace smolvlm
