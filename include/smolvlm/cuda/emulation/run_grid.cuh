#pragma once
/// How a grid runs: block by block, and in a block from fiber to fiber until all have left. The rest of block.cuh.

#include <smolvlm/cuda/emulation/block.cuh>

namespace smolvlm::cuda::emulation {

inline void Block::run_grid(const char* name, dim3 grid, unsigned size, std::size_t shared_bytes, void (*body)(const void*),
                            const void* argument) {
    const IgnoreRaces bookkeeping;
    name_ = name;
    body_ = body;
    argument_ = argument;
    size_ = size;
    shared_bytes_ = shared_bytes;
    while (threads_.size() < size_) threads_.push_back(std::make_unique<Thread>());
    everybody_ = {};
    for (unsigned t = 0; t < size_; ++t) everybody_[t / 64] |= std::uint64_t(1) << t % 64;
    history_ += std::uint64_t(grid.x) * grid.y * grid.z;
    if (history_ > 4000) {
        history_ = 0;
        for (const auto& thread : threads_) thread->fiber.forget_history();
    }
    launcher_.is_running();
    blockDim = dim3(size);
    gridDim = grid;
    random_ = 1;
    const std::uint64_t across = grid.x, down = grid.y, count = across * down * grid.z;
    // A random order of blocks: steps of a size that has no factor in common with the count.
    std::uint64_t step = 1;
    for (const std::uint64_t prime : {7919u, 104729u, 1299709u})
        if (count % prime != 0) step = prime;
    for (std::uint64_t i = 0; i < count; ++i) {
        std::uint64_t b = i;
        if (schedule.order == Order::reverse) b = count - 1 - i;
        if (schedule.order == Order::random) b = i * (step % count) % count;
        blockIdx = {static_cast<unsigned>(b % across), static_cast<unsigned>(b / across % down),
                    static_cast<unsigned>(b / across / down)};
        run_block();
    }
}

inline void Block::run_block() {
    prepare_shared();
    for (unsigned t = 0; t < size_; ++t) {
        Thread& thread = *threads_[t];
        thread.index = {t, 0, 0};
        thread.waits_for = nullptr;
        thread.copies.clear();
        thread.groups = thread.syncs = 0;
        thread.fiber.prepare(&Block::entry);
    }
    for (unsigned w = 0; w < size_ / 32; ++w) warps_[w] = {0xffffffffu, 0};
    ready_ = everybody_;
    arrived_ = left_ = barriers_ = 0;
    error_ = nullptr;
    current_ = schedule.order == Order::reverse ? 0 : most_threads - 1;  // before the first of the order
    current_ = pick();
    release(&start_tag_);
    launcher_.switch_to(running().fiber);
    if (error_)
        for (unsigned t = 0; t < size_; ++t) threads_[t]->fiber.abandon(&end_tag_);
    acquire(&end_tag_);
    if (error_) {
        const std::exception_ptr error = std::exchange(error_, nullptr);
        std::rethrow_exception(error);
    }
    check_margins();
}

/// Where a fiber starts. An exception ends the block: the other fibers are left where they stand.
inline void Block::entry() {
    Block& b = block();
    {
        const IgnoreRaces bookkeeping;
        Fiber::arrived(b.launcher_);
        threadIdx = b.running().index;
    }
    acquire(&b.start_tag_);
    try {
        b.body_(b.argument_);
    } catch (...) {
        const IgnoreRaces bookkeeping;
        b.error_ = std::current_exception();
    }
    release(&b.end_tag_);
    b.leave();
}

/// A thread has come to the end of the kernel.
inline void Block::leave() {
    const auto farewell = [this] {
        const IgnoreRaces bookkeeping;
        return Fiber::Farewell(after_leaving());
    };
    farewell().go();
}

/// Whose turn it is when the running thread is gone: the launcher's when it was the last, or when something is wrong.
inline Fiber& Block::after_leaving() {
    Thread& me = running();
    const auto complain = [&](const auto&... pieces) {
        if (!error_) error_ = std::make_exception_ptr(DeviceError(join(name_, ": ", whereabouts(me), pieces...)));
    };
    Warp& warp = warps_[current_ / 32];
    warp.existing &= ~(1u << lane());
    ++left_;
    set_ready(current_, false);
    if (error_) return launcher_;
    if (!me.copies.empty()) complain(" ends with ", me.copies.size(), " cp.async in flight");
    if (arrived_ > 0) complain(" ends while others wait for it at ", barrier_place_);
    for (unsigned rest = warp.waiting; rest; rest &= rest - 1) {
        const Thread& other = *threads_[current_ / 32 * 32 + static_cast<unsigned>(std::countr_zero(rest))];
        if (other.mask >> lane() & 1) complain(" ends while others wait for it in ", other.waits_for, " at ", other.place);
    }
    if (error_ || left_ == size_) return launcher_;
    const unsigned next = pick();
    if (next == size_) {
        complain(" has ended, and ", deadlock());
        return launcher_;
    }
    current_ = next;
    return running().fiber;
}

inline std::string Block::deadlock() const {
    std::string text = join(name_, ": nobody can go on");
    const Thread* before = nullptr;
    for (unsigned t = 0; t < size_; ++t) {
        const Thread& thread = *threads_[t];
        if (!thread.waits_for || (before && before->waits_for == thread.waits_for && before->place == thread.place)) continue;
        text += join("; ", whereabouts(thread), " waits in ", thread.waits_for, " at ", thread.place);
        before = &thread;
    }
    return text;
}

/// Shared memory starts as poison, between margins that nobody may touch.
inline void Block::prepare_shared() {
    constexpr std::size_t all = most_shared + 2 * margin;
    if (!shared_) shared_.reset(static_cast<std::byte*>(std::aligned_alloc(128, all)));
    if (!shared_) throw std::bad_alloc();
    allow(shared_.get(), all);
    std::memset(shared_.get(), 0xFF, margin);
    std::memset(shared_.get() + margin, schedule.poison, shared_bytes_);
    std::memset(shared_.get() + margin + shared_bytes_, 0xFF, margin);
    forbid(shared_.get(), margin);
    forbid(shared_.get() + margin + shared_bytes_, all - margin - shared_bytes_);
}

/// Without AddressSanitizer a write outside shared memory is seen when the block has ended.
inline void Block::check_margins() const {
    if (under_asan()) return;
    const auto touched = [](const std::byte* bytes) {
        for (std::size_t i = 0; i < margin; ++i)
            if (bytes[i] != std::byte(0xFF)) return true;
        return false;
    };
    if (touched(shared_.get()) || touched(shared_.get() + margin + shared_bytes_))
        refuse(name_, ": block (", blockIdx.x, ", ", blockIdx.y, ", ", blockIdx.z, ") wrote outside its ", shared_bytes_,
               " bytes of shared memory");
}

}  // namespace smolvlm::cuda::emulation
