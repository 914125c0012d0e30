#pragma once
/// A fiber: a stack and where on it the work stands. Switching from one to another is seven pushes and pops on x86-64
/// (about 10 ns); elsewhere ucontext, twenty times slower because it makes a system call.

#include <sys/mman.h>
#include <unistd.h>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

#include <cstring>
#include <new>

#include <smolvlm/cuda/emulation/sanitizers.cuh>

namespace smolvlm::cuda::emulation {

#if defined(__x86_64__)
/// Saves what a callee must keep on the running stack and its address in *from; goes on where `to` was saved.
[[gnu::naked, gnu::noinline]] inline void switch_stack([[maybe_unused]] void** from, [[maybe_unused]] void* to) {
    asm("pushq %rbp\n\tpushq %rbx\n\tpushq %r12\n\tpushq %r13\n\tpushq %r14\n\tpushq %r15\n\t"
        "movq %rsp, (%rdi)\n\tmovq %rsi, %rsp\n\t"
        "popq %r15\n\tpopq %r14\n\tpopq %r13\n\tpopq %r12\n\tpopq %rbx\n\tpopq %rbp\n\tret");
}
#endif

class Fiber {
public:
    Fiber() = default;  // what runs already: the launching thread
    Fiber(const Fiber&) = delete;
    Fiber& operator=(const Fiber&) = delete;
    ~Fiber() {
        forget_history();
        if (mapped_) munmap(mapped_, size_ + page());
    }

    /// From the next switch on the fiber runs `entry`, which must never return. The stack is kept from use to use.
    void prepare(void (*entry)()) {
        if (!mapped_) map();
        allow(bottom_, size_);
#if defined(__x86_64__)
        void** top = reinterpret_cast<void**>(bottom_ + size_);
        *--top = nullptr;  // entry's return address; it also keeps the stack aligned as after a call
        *--top = reinterpret_cast<void*>(entry);
        for (int saved = 0; saved < 6; ++saved) *--top = nullptr;
        place_ = top;
#else
        getcontext(&place_);
        place_.uc_stack.ss_sp = bottom_;
        place_.uc_stack.ss_size = size_;
        place_.uc_link = nullptr;
        makecontext(&place_, entry, 0);
#endif
        if (under_tsan() && !history_) history_ = __tsan_create_fiber(0);
    }
    /// ThreadSanitizer keeps a history for each fiber, which grows with every block that it runs.
    void forget_history() {
        const IgnoreRaces bookkeeping;
        if (history_ && mapped_) __tsan_destroy_fiber(history_);
        history_ = nullptr;
    }
    /// Of a fiber that an error has left where it stood: what it did is ordered before acquire(tag), and its history ends
    /// outside IgnoreRaces, where every fiber switches away.
    void abandon(void* tag) {
        if (!abandoned_ || !under_tsan()) return;
        abandoned_ = false;
        void* here = __tsan_get_current_fiber();
        __tsan_switch_to_fiber(history_, 1);
        release(tag);
        AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
        AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
        __tsan_switch_to_fiber(here, 1);
    }

    /// Called by the fiber that launches, before its first switch.
    void is_running() {
        if (under_tsan()) history_ = __tsan_get_current_fiber();
    }
    /// The first call of `entry`; `launcher` is what may have switched here.
    static void arrived(Fiber& launcher) {
        if (!under_asan()) return;
        const void* bottom = nullptr;
        std::size_t size = 0;
        __sanitizer_finish_switch_fiber(nullptr, &bottom, &size);
        if (launcher.bottom_) return;  // known from the first switch, which came from there
        launcher.bottom_ = static_cast<std::byte*>(const_cast<void*>(bottom));
        launcher.size_ = size;
    }
    /// Stops here and goes on in `to`; returns when somebody switches back.
    void switch_to(Fiber& to) {
        abandoned_ = true;  // until then
        if (under_asan()) __sanitizer_start_switch_fiber(&fake_stack_, to.bottom_, to.size_);
        if (under_tsan()) __tsan_switch_to_fiber(to.history_, 1);  // 1: the switch itself orders nothing
#if defined(__x86_64__)
        switch_stack(&place_, to.place_);
#else
        swapcontext(&place_, &to.place_);
#endif
        if (under_asan()) __sanitizer_finish_switch_fiber(fake_stack_, nullptr, nullptr);
        abandoned_ = false;
    }
    /// How a fiber ends: what it must know of the next is read while IgnoreRaces still holds, then it goes for good.
    class Farewell {
    public:
        explicit Farewell(Fiber& to) : to_(&to.place_), bottom_(to.bottom_), size_(to.size_), history_(to.history_) {
#if defined(__x86_64__)
            to_ = to.place_;
#endif
        }
        [[noreturn, gnu::noinline]] __attribute__((no_sanitize("thread"))) void go() {
            if (under_asan()) __sanitizer_start_switch_fiber(nullptr, bottom_, size_);
            if (under_tsan()) __tsan_switch_to_fiber(history_, 1);
#if defined(__x86_64__)
            void* nobody_comes_back = nullptr;
            switch_stack(&nobody_comes_back, to_);
#else
            setcontext(static_cast<ucontext_t*>(to_));
#endif
            __builtin_unreachable();
        }

    private:
        void* to_;
        const void* bottom_;
        std::size_t size_;
        void* history_;
    };

private:
    static std::size_t page() { return static_cast<std::size_t>(sysconf(_SC_PAGESIZE)); }
    void map() {
        size_ = under_asan() || under_tsan() ? std::size_t(256) << 10 : std::size_t(64) << 10;
        void* bytes = mmap(nullptr, size_ + page(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (bytes == MAP_FAILED) throw std::bad_alloc();
        mprotect(bytes, page(), PROT_NONE);  // running off the stack is a fault, not another thread's data
        mapped_ = static_cast<std::byte*>(bytes);
        bottom_ = mapped_ + page();
    }

#if defined(__x86_64__)
    void* place_ = nullptr;
#else
    ucontext_t place_{};
#endif
    std::byte *mapped_ = nullptr, *bottom_ = nullptr;
    std::size_t size_ = 0;
    void *fake_stack_ = nullptr, *history_ = nullptr;
    bool abandoned_ = false;
};

}  // namespace smolvlm::cuda::emulation
