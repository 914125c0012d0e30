#pragma once
/// CUDA's built-in device functions as plain functions, in the global namespace where CUDA has them.

#include <atomic>
#include <bit>
#include <array>
#include <cmath>
#include <cstdint>
#include <type_traits>

#include <smolvlm/cuda/emulation/run_launch.cuh>

inline void __syncthreads(smolvlm::cuda::Place place = {}) { smolvlm::cuda::emulation::block().barrier(place); }

/// Orders memory among the lanes of the mask: the one warp operation that does.
inline void __syncwarp(unsigned mask = 0xffffffffu, smolvlm::cuda::Place place = {}) {
    namespace emulation = smolvlm::cuda::emulation;
    struct Slot {
        char* mine;
        std::array<char*, 32> all;
    } slot{};
    emulation::Block& block = emulation::block();
    {
        const emulation::IgnoreRaces bookkeeping;
        emulation::Thread& me = block.running();
        slot.mine = &me.sync_tags[me.syncs++ % 2];
    }
    emulation::release(slot.mine);
    block.meet("__syncwarp", mask, place, &slot, [mask](const auto* lanes) {
        if (!emulation::under_tsan()) return;
        for (unsigned a = 0; a < 32; ++a)
            for (unsigned b = 0; b < 32; ++b)
                if ((mask >> a & 1) && (mask >> b & 1))
                    static_cast<Slot*>(lanes[a]->slot)->all[b] = static_cast<Slot*>(lanes[b]->slot)->mine;
    });
    if (emulation::under_tsan())
        for (char* tag : slot.all)
            if (tag) emulation::acquire(tag);
}

namespace smolvlm::cuda::emulation {

template <class T>
struct ShuffleSlot {
    T value, result;
    unsigned source;
};

/// Every lane of the mask receives the value of lane `source`, which must be of the mask too.
template <class T>
T shuffle(const char* operation, unsigned mask, T value, unsigned source, const Place& place) {
    ShuffleSlot<T> slot{value, value, source};
    block().meet(operation, mask, place, &slot, [&](const auto* lanes) {
        for (unsigned rest = mask; rest; rest &= rest - 1) {
            const auto l = static_cast<unsigned>(std::countr_zero(rest));
            auto& to = *static_cast<ShuffleSlot<T>*>(lanes[l]->slot);
            if (!(mask >> to.source & 1))
                Block::refuse(operation, " at ", place, ": lane ", l, " reads lane ", to.source, ", which is not in the mask");
            to.result = static_cast<ShuffleSlot<T>*>(lanes[to.source]->slot)->value;
        }
    });
    return slot.result;
}

inline unsigned ballot(const char* operation, unsigned mask, bool yes, const Place& place) {
    struct Slot {
        bool yes;
        unsigned result;
    } slot{yes, 0};
    block().meet(operation, mask, place, &slot, [&](const auto* lanes) {
        unsigned result = 0;
        for (unsigned rest = mask; rest; rest &= rest - 1) {
            const auto l = static_cast<unsigned>(std::countr_zero(rest));
            if (static_cast<Slot*>(lanes[l]->slot)->yes) result |= 1u << l;
        }
        for (unsigned rest = mask; rest; rest &= rest - 1)
            static_cast<Slot*>(lanes[static_cast<unsigned>(std::countr_zero(rest))]->slot)->result = result;
    });
    return slot.result;
}

}  // namespace smolvlm::cuda::emulation

// Shuffles: within groups of `width` lanes; a source outside the group means the lane itself. They order no memory.
template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, smolvlm::cuda::Place place = {}) {
    const unsigned lane = smolvlm::cuda::emulation::block().lane(), w = static_cast<unsigned>(width);
    return smolvlm::cuda::emulation::shuffle("__shfl_sync", mask, value, lane / w * w + static_cast<unsigned>(source) % w, place);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int flip, int width = 32, smolvlm::cuda::Place place = {}) {
    const unsigned lane = smolvlm::cuda::emulation::block().lane(), w = static_cast<unsigned>(width);
    const unsigned other = lane ^ static_cast<unsigned>(flip);
    const unsigned source = other / w > lane / w ? lane : other;  // groups below may be read, groups above may not
    return smolvlm::cuda::emulation::shuffle("__shfl_xor_sync", mask, value, source, place);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned down, int width = 32, smolvlm::cuda::Place place = {}) {
    const unsigned lane = smolvlm::cuda::emulation::block().lane(), w = static_cast<unsigned>(width);
    return smolvlm::cuda::emulation::shuffle("__shfl_down_sync", mask, value, lane % w + down < w ? lane + down : lane, place);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned up, int width = 32, smolvlm::cuda::Place place = {}) {
    const unsigned lane = smolvlm::cuda::emulation::block().lane(), w = static_cast<unsigned>(width);
    return smolvlm::cuda::emulation::shuffle("__shfl_up_sync", mask, value, lane % w >= up ? lane - up : lane, place);
}
inline unsigned __ballot_sync(unsigned mask, int yes, smolvlm::cuda::Place place = {}) {
    return smolvlm::cuda::emulation::ballot("__ballot_sync", mask, yes != 0, place);
}
inline int __any_sync(unsigned mask, int yes, smolvlm::cuda::Place place = {}) {
    return smolvlm::cuda::emulation::ballot("__any_sync", mask, yes != 0, place) != 0;
}
inline int __all_sync(unsigned mask, int yes, smolvlm::cuda::Place place = {}) {
    return smolvlm::cuda::emulation::ballot("__all_sync", mask, yes != 0, place) == mask;
}

// Atomics return what was there. They order nothing else.
template <class T>
T atomicAdd(T* to, std::type_identity_t<T> value) {
    return std::atomic_ref<T>(*to).fetch_add(value, std::memory_order_relaxed);
}
template <class T>
T atomicExch(T* to, std::type_identity_t<T> value) {
    return std::atomic_ref<T>(*to).exchange(value, std::memory_order_relaxed);
}
template <class T>
T atomicCAS(T* to, std::type_identity_t<T> expected, std::type_identity_t<T> value) {
    std::atomic_ref<T>(*to).compare_exchange_strong(expected, value, std::memory_order_relaxed);
    return expected;
}
template <class T>
T atomicMax(T* to, std::type_identity_t<T> value) {
    T old = std::atomic_ref<T>(*to).load(std::memory_order_relaxed);
    if (old < value) std::atomic_ref<T>(*to).store(value, std::memory_order_relaxed);
    return old;
}
template <class T>
T atomicMin(T* to, std::type_identity_t<T> value) {
    T old = std::atomic_ref<T>(*to).load(std::memory_order_relaxed);
    if (value < old) std::atomic_ref<T>(*to).store(value, std::memory_order_relaxed);
    return old;
}
inline void __threadfence() {}
inline void __threadfence_block() {}

// Bits and numbers.
inline float __uint_as_float(unsigned bits) { return std::bit_cast<float>(bits); }
inline float __int_as_float(int bits) { return std::bit_cast<float>(bits); }
inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline int __float_as_int(float x) { return std::bit_cast<int>(x); }
inline int __float2int_rn(float x) { return static_cast<int>(std::nearbyint(x)); }
inline float __int2float_rn(int x) { return static_cast<float>(x); }
inline int __popc(unsigned bits) { return std::popcount(bits); }
inline int __clz(int bits) { return std::countl_zero(static_cast<unsigned>(bits)); }
inline int __ffs(int bits) { return bits ? std::countr_zero(static_cast<unsigned>(bits)) + 1 : 0; }
inline unsigned __brev(unsigned bits) {
    unsigned turned = 0;
    for (int i = 0; i < 32; ++i) turned |= (bits >> i & 1u) << (31 - i);
    return turned;
}
template <class T>
T __ldg(const T* x) {
    return *x;
}
template <class T>
T __ldcs(const T* x) {
    return *x;
}
template <class T>
void __stcs(T* to, std::type_identity_t<T> x) {
    *to = x;
}

// The fast functions of the device are the exact ones here: tests bound the difference, they do not imitate it.
inline float __expf(float x) { return std::exp(x); }
inline float __logf(float x) { return std::log(x); }
inline float __sinf(float x) { return std::sin(x); }
inline float __cosf(float x) { return std::cos(x); }
inline float __powf(float x, float y) { return std::pow(x, y); }
inline float __fdividef(float x, float y) { return x / y; }
inline float __frcp_rn(float x) { return 1 / x; }
inline float __fsqrt_rn(float x) { return std::sqrt(x); }
inline float __fmaf_rn(float x, float y, float z) { return std::fma(x, y, z); }
inline float __saturatef(float x) { return x > 0 ? (x < 1 ? x : 1.0f) : 0.0f; }
inline float rsqrtf(float x) { return 1 / std::sqrt(x); }
inline double rsqrt(double x) { return 1 / std::sqrt(x); }
