#pragma once
/// The functions of mma.cuh, emulated. The tensor core's sum is taken in float, product by product in the order of k, then
/// added to c; the hardware aligns and truncates products instead, so results agree to about 2^-22 of the sum of |a b| and
/// never bit for bit. Bank conflicts of ldmatrix are counted: rows of one matrix that lie in the same 16 bytes of the 128
/// which shared memory delivers at a time come one after the other.

#include <algorithm>
#include <cstdint>
#include <cstring>

#include <smolvlm/core/float16.hpp>
#include <smolvlm/cuda/emulation/block.cuh>

namespace smolvlm::cuda {

namespace emulation {

/// Of all launches by this thread so far: matrices that ldmatrix read, and how many more deliveries they took than one.
struct BankCounts {
    long long matrices = 0, conflicts = 0;
};
inline constinit thread_local BankCounts bank_counts{};

inline void arrive(const Copy& copy) {
    if (!copy.to) return;
    if (copy.from)
        std::memcpy(copy.to, copy.from, 16);
    else
        std::memset(copy.to, 0, 16);
}

inline void issue_copy(void* to, const void* from, bool valid, const Place& place) {
    Block& b = block();
    if (reinterpret_cast<std::uintptr_t>(to) % 16 != 0 || (valid && reinterpret_cast<std::uintptr_t>(from) % 16 != 0))
        Block::refuse("cp_async16 at ", place, ": ", b.whereabouts(b.running()),
                      " copies between addresses that are not multiples of 16");
    if (!b.is_shared(to, 16))
        Block::refuse("cp_async16 at ", place, ": ", b.whereabouts(b.running()),
                      " copies to somewhere outside the block's shared memory");
    Thread& me = b.running();
    Copy copy{to, valid ? from : nullptr, me.groups};
    if (schedule.copies == CopyMoment::at_once) {
        arrive(copy);
        copy.to = nullptr;
    }
    const IgnoreRaces bookkeeping;
    me.copies.push_back(copy);
}
inline void await_copies(unsigned most_groups) {
    Thread& me = block().running();
    for (const Copy& copy : me.copies)
        if (copy.group + most_groups < me.groups) arrive(copy);
    const IgnoreRaces bookkeeping;
    std::erase_if(me.copies, [&](const Copy& copy) { return copy.group + most_groups < me.groups; });
}

struct MatrixSlot {
    const void* address;
    std::uint16_t row[8];
    unsigned result[4];
};

inline void count_conflicts(const std::byte* const (&rows)[8]) {
    int deliveries = 1;
    for (unsigned place = 0; place < 8; ++place) {
        int here = 0;
        for (int i = 0; i < 8; ++i) {
            const bool first = std::find(rows, rows + i, rows[i]) == rows + i;
            if (first && reinterpret_cast<std::uintptr_t>(rows[i]) / 16 % 8 == place) ++here;
        }
        deliveries = std::max(deliveries, here);
    }
    ++bank_counts.matrices;
    bank_counts.conflicts += deliveries - 1;
}

template <bool Transposed>
void load_matrices(const char* operation, unsigned (&r)[4], const void* row, const Place& place) {
    Block& b = block();
    if (reinterpret_cast<std::uintptr_t>(row) % 16 != 0 || !b.is_shared(row, 16))
        Block::refuse(operation, " at ", place, ": ", b.whereabouts(b.running()),
                      " gives a row that is not 16 aligned bytes of the block's shared memory");
    MatrixSlot slot{row, {}, {}};
    std::memcpy(slot.row, row, 16);  // by the lane that names it: for the sanitizers, it is the one that reads
    b.meet(operation, 0xffffffffu, place, &slot, [&](const auto* lanes) {
        for (unsigned m = 0; m < 4; ++m) {
            const MatrixSlot* from[8];
            const std::byte* addresses[8];
            for (unsigned i = 0; i < 8; ++i) {
                from[i] = static_cast<const MatrixSlot*>(lanes[m * 8 + i]->slot);
                addresses[i] = static_cast<const std::byte*>(from[i]->address);
            }
            count_conflicts(addresses);
            for (unsigned l = 0; l < 32; ++l) {
                const unsigned g = l / 4, t = l % 4 * 2;
                const unsigned low = Transposed ? from[t]->row[g] : from[g]->row[t];
                const unsigned high = Transposed ? from[t + 1]->row[g] : from[g]->row[t + 1];
                static_cast<MatrixSlot*>(lanes[l]->slot)->result[m] = low | high << 16;
            }
        }
    });
    std::copy(slot.result, slot.result + 4, r);
}

/// Number `which` of the two in a register.
template <class T>
float number(unsigned pair, unsigned which) {
    return T::from_bits(static_cast<std::uint16_t>(pair >> (16 * which)));
}

struct MmaSlot {
    float* c;
    const unsigned *a, *b;
};

}  // namespace emulation

inline void cp_async16(void* to, const void* from, bool valid = true, Place place = {}) {
    emulation::issue_copy(to, from, valid, place);
}
inline void cp_async_commit() { ++emulation::block().running().groups; }
template <int N>
void cp_async_wait() {
    emulation::await_copies(N);
}

inline void ldmatrix_x4(unsigned (&r)[4], const void* row, Place place = {}) {
    emulation::load_matrices<false>("ldmatrix_x4", r, row, place);
}
inline void ldmatrix_x4_trans(unsigned (&r)[4], const void* row, Place place = {}) {
    emulation::load_matrices<true>("ldmatrix_x4_trans", r, row, place);
}

template <class T>
void mma_m16n8k16(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2], Place place = {}) {
    static_assert(std::is_same_v<T, half> || std::is_same_v<T, bfloat16>);
    emulation::MmaSlot slot{c, a, b};
    emulation::block().meet("mma_m16n8k16", 0xffffffffu, place, &slot, [](const auto* lanes) {
        float left[16][16], right[16][8];
        for (unsigned l = 0; l < 32; ++l) {
            const auto& from = *static_cast<const emulation::MmaSlot*>(lanes[l]->slot);
            const unsigned g = l / 4, t = l % 4 * 2;
            for (unsigned i = 0; i < 2; ++i) {
                left[g][t + i] = emulation::number<T>(from.a[0], i);
                left[g + 8][t + i] = emulation::number<T>(from.a[1], i);
                left[g][t + 8 + i] = emulation::number<T>(from.a[2], i);
                left[g + 8][t + 8 + i] = emulation::number<T>(from.a[3], i);
                right[t + i][g] = emulation::number<T>(from.b[0], i);
                right[t + 8 + i][g] = emulation::number<T>(from.b[1], i);
            }
        }
        for (unsigned l = 0; l < 32; ++l) {
            float* to = static_cast<const emulation::MmaSlot*>(lanes[l]->slot)->c;
            for (unsigned i = 0; i < 4; ++i) {
                const unsigned row = l / 4 + i / 2 * 8, column = l % 4 * 2 + i % 2;
                float sum = 0;
                for (unsigned k = 0; k < 16; ++k) sum += left[row][k] * right[k][column];
                to[i] += sum;
            }
        }
    });
}

}  // namespace smolvlm::cuda
