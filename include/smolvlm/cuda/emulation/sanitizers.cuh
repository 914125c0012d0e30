#pragma once
/// What AddressSanitizer and ThreadSanitizer are told: that stacks are switched, which bytes nobody may touch, and what CUDA
/// promises about the order of memory accesses. Without a sanitizer all of it is nothing.
///
/// The functions are declared weak instead of included, so that one test decides at run time whether they are there.

#include <cstddef>

extern "C" {
[[gnu::weak]] void __asan_poison_memory_region(const volatile void*, std::size_t);
[[gnu::weak]] void __asan_unpoison_memory_region(const volatile void*, std::size_t);
[[gnu::weak]] void __sanitizer_start_switch_fiber(void**, const void*, std::size_t);
[[gnu::weak]] void __sanitizer_finish_switch_fiber(void*, const void**, std::size_t*);
[[gnu::weak]] void* __tsan_get_current_fiber();
[[gnu::weak]] void* __tsan_create_fiber(unsigned);
[[gnu::weak]] void __tsan_destroy_fiber(void*);
[[gnu::weak]] void __tsan_switch_to_fiber(void*, unsigned);
[[gnu::weak]] void __tsan_acquire(void*);
[[gnu::weak]] void __tsan_release(void*);
[[gnu::weak]] void AnnotateIgnoreReadsBegin(const char*, int);
[[gnu::weak]] void AnnotateIgnoreReadsEnd(const char*, int);
[[gnu::weak]] void AnnotateIgnoreWritesBegin(const char*, int);
[[gnu::weak]] void AnnotateIgnoreWritesEnd(const char*, int);
}

namespace smolvlm::cuda::emulation {

inline bool under_asan() { return &__sanitizer_start_switch_fiber != nullptr; }
inline bool under_tsan() { return &__tsan_create_fiber != nullptr; }

/// From here on any access to these bytes is an error, or is none again.
inline void forbid(const void* bytes, std::size_t size) {
    if (under_asan()) __asan_poison_memory_region(bytes, size);
}
inline void allow(const void* bytes, std::size_t size) {
    if (under_asan()) __asan_unpoison_memory_region(bytes, size);
}

/// All that a thread did before release(tag) is seen by one that comes out of acquire(tag).
inline void release(void* tag) {
    if (under_tsan()) __tsan_release(tag);
}
inline void acquire(void* tag) {
    if (under_tsan()) __tsan_acquire(tag);
}

/// The scheduler's own bookkeeping is no part of the kernel: not looked at for races.
struct IgnoreRaces {
    IgnoreRaces() {
        if (!under_tsan()) return;
        AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
        AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
    }
    ~IgnoreRaces() {
        if (!under_tsan()) return;
        AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
        AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
    }
    IgnoreRaces(const IgnoreRaces&) = delete;
    IgnoreRaces& operator=(const IgnoreRaces&) = delete;
};

}  // namespace smolvlm::cuda::emulation
