#pragma once
/// Sums of four products of bytes in every lane, the step of which integer matrix products are made:
///
///     sums[i] += w[4 i] x[0] + w[4 i + 1] x[1] + w[4 i + 2] x[2] + w[4 i + 3] x[3]       w: 0..255, x: -127..127
///
/// Exact in every form: one instruction where the processor has it (vpdpbusd), else products of bytes to 16-bit numbers
/// (vpmaddubsw), else products of 16-bit halves (vpmaddwd), else plain vector arithmetic. The instructions are written in
/// assembler because GCC 12 keeps no accumulator of the intrinsic in a register when all start from the same constant;
/// Clang takes no 64-byte operand in a function whose target it learns of only by inlining, and gets the plain form. ARM's
/// one instruction (sdot) wants both operands signed; without it there are products of 16-bit numbers, summed in pairs.
///
/// Dots::centred: weights of 8 bits count as w - 128, so that sums need no correction for it. Weights 0..15 are Nibbles,
/// and those of one block (eight groups) may have sums of their own, which then join the others.

#include <cstdint>

#include <smolvlm/cpu/dispatch.hpp>

namespace smolvlm::cpu {

namespace detail {
/// The four bytes at `from` in every lane. (In assembler, because this is first compiled for no instruction set at all,
/// and GCC then writes a sum with a number lane by lane, for good.)
template <class Ints>
SMOLVLM_INLINE void broadcast(const void* from, Ints& lanes) {
    if constexpr (has_assembler && sizeof(Ints) >= 32) {
#if defined(__x86_64__)
        asm("vpbroadcastd %1, %0" : "=v"(lanes) : "m"(*static_cast<const char(*)[4]>(from)));
#endif
    } else {
        std::remove_cvref_t<decltype(lanes[0])> four;
        std::memcpy(&four, from, sizeof four);
        lanes = four - Ints{};
    }
}
}  // namespace detail

/// Any processor. Bytes 0 and 2 of each four become one vector of 16-bit numbers, bytes 1 and 3 the other.
template <int Bytes>
struct WordDots {
    static constexpr int bytes = Bytes, L = lanes<std::int32_t, Bytes>;
    static constexpr bool one_instruction = false, centred = false;
    using Ints = detail::Raw<std::int32_t, L>;
    using Shorts = detail::Raw<std::int16_t, 2 * L>;
    struct Operand {
        Shorts even, odd;
    };
    using Activations = Operand;
    using Nibbles = Operand;
    using NibbleSums = Ints;

    /// From L groups of four unsigned bytes.
    SMOLVLM_INLINE static void weights(const detail::Raw<std::uint32_t, L>& w, Operand& out) {
        detail::reinterpret(w & 0x00ff00ffu, out.even);
        detail::reinterpret((w >> 8) & 0x00ff00ffu, out.odd);
    }
    SMOLVLM_INLINE static void nibbles(const detail::Raw<std::uint32_t, L>& w, Nibbles& out) { weights(w, out); }
    /// The four signed bytes at x in every lane.
    SMOLVLM_INLINE static void activations(const std::int8_t* x, Operand& out) {
        Ints all;
        detail::broadcast(x, all);
        detail::reinterpret(all, out.odd);
        out.even = (out.odd << 8) >> 8;
        out.odd = out.odd >> 8;
    }
    SMOLVLM_INLINE static void add(Ints& sums, const Operand& w, const Operand& x) {
        add_pairs(sums, w.even, x.even);
        add_pairs(sums, w.odd, x.odd);
    }

private:
    SMOLVLM_INLINE static void add_pairs(Ints& sums, const Shorts& a, const Shorts& b) {
        Ints y;
        if constexpr (detail::has_assembler && Bytes >= 32) {
#if defined(__x86_64__)
            asm("vpmaddwd %2, %1, %0" : "=v"(y) : "v"(a), "v"(b));
#endif
        } else {
            const Shorts products = a * b;  // at most 255 * 127 in magnitude: a 16-bit number
            detail::reinterpret(products, y);
            y = ((y << 16) >> 16) + (y >> 16);
        }
        sums += y;
    }
};

#if defined(__x86_64__) && !defined(__clang__)
/// AVX2. vpmaddubsw saturates: 255 * 127 * 2 is no 16-bit number, but 128 * 127 * 2 is. So |w| is multiplied by x with
/// the sign of w, for w = u - 128. Weights below 16 are small enough as they are, even for a block's eight sums.
struct ByteDots {
    static constexpr int bytes = 32, L = 8;
    static constexpr bool one_instruction = false, centred = true;
    using Ints = detail::Raw<std::int32_t, L>;
    using Shorts = detail::Raw<std::int16_t, 2 * L>;
    struct Operand {
        Ints w, magnitude;
    };
    using Activations = Ints;
    using Nibbles = detail::Raw<std::uint32_t, L>;
    using NibbleSums = Shorts;

    SMOLVLM_INLINE static void weights(const detail::Raw<std::uint32_t, L>& u, Operand& out) {
        detail::reinterpret(u ^ 0x80808080u, out.w);
        asm("vpabsb %1, %0" : "=x"(out.magnitude) : "x"(out.w));
    }
    SMOLVLM_INLINE static void nibbles(const detail::Raw<std::uint32_t, L>& u, Nibbles& out) { out = u; }
    SMOLVLM_INLINE static void activations(const std::int8_t* x, Activations& out) { detail::broadcast(x, out); }
    SMOLVLM_INLINE static void add(Ints& sums, const Operand& w, const Activations& x) {
        Ints y;
        Shorts pairs;
        asm("vpsignb %2, %1, %0" : "=x"(y) : "x"(x), "x"(w.w));
        asm("vpmaddubsw %2, %1, %0" : "=x"(pairs) : "x"(w.magnitude), "x"(y));
        join(sums, pairs);
    }
    SMOLVLM_INLINE static void add(NibbleSums& sums, const Nibbles& u, const Activations& x) {
        Shorts pairs;
        asm("vpmaddubsw %2, %1, %0" : "=x"(pairs) : "x"(u), "x"(x));
        sums += pairs;
    }
    SMOLVLM_INLINE static void join(Ints& sums, const NibbleSums& pairs) {
        const Shorts ones{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
        Ints y;
        asm("vpmaddwd %2, %1, %0" : "=x"(y) : "x"(pairs), "x"(ones));
        sums += y;
    }
};

/// AVX-512 with VNNI.
struct VnniDots {
    static constexpr int bytes = 64, L = 16;
    static constexpr bool one_instruction = true, centred = false;
    using Ints = detail::Raw<std::int32_t, L>;
    using Operand = Ints;
    using Activations = Ints;
    using Nibbles = Ints;
    using NibbleSums = Ints;

    SMOLVLM_INLINE static void weights(const detail::Raw<std::uint32_t, L>& w, Operand& out) {
        detail::reinterpret(w, out);
    }
    SMOLVLM_INLINE static void nibbles(const detail::Raw<std::uint32_t, L>& w, Nibbles& out) { weights(w, out); }
    SMOLVLM_INLINE static void activations(const std::int8_t* x, Operand& out) { detail::broadcast(x, out); }
    SMOLVLM_INLINE static void add(Ints& sums, const Operand& w, const Operand& x) {
        Ints y = sums;  // of its own: GCC 12 may leave in memory what an element of an array is to an instruction
        asm("vpdpbusd %2, %1, %0" : "+v"(y) : "v"(w), "v"(x));
        sums = y;
    }
};
#endif

#if defined(__aarch64__)
/// NEON. Products with w = u - 128 of two bytes fit into 16 bits, 128 * 127 * 2; with weights below 16 a block's eight do.
struct NeonDots {
    static constexpr int bytes = 16, L = 4;
    static constexpr bool one_instruction = false, centred = true;
    using Ints = detail::Raw<std::int32_t, L>;
    using Shorts = detail::Raw<std::int16_t, 2 * L>;
    struct Operand {
        Shorts even, odd;
    };
    using Activations = Operand;
    using Nibbles = Operand;
    using NibbleSums = Shorts;

    SMOLVLM_INLINE static void weights(const detail::Raw<std::uint32_t, L>& u, Operand& out) {
        detail::reinterpret(u ^ 0x80808080u, out.odd);
        split(out);
    }
    SMOLVLM_INLINE static void nibbles(const detail::Raw<std::uint32_t, L>& u, Nibbles& out) {
        detail::reinterpret(u, out.odd);
        split(out);
    }
    SMOLVLM_INLINE static void activations(const std::int8_t* x, Operand& out) {
        Ints all;
        detail::broadcast(x, all);
        detail::reinterpret(all, out.odd);
        split(out);
    }
    SMOLVLM_INLINE static void add(Ints& sums, const Operand& w, const Operand& x) {
        join(sums, w.even * x.even + w.odd * x.odd);
    }
    SMOLVLM_INLINE static void add(NibbleSums& sums, const Nibbles& w, const Activations& x) {
        sums += w.even * x.even;
        sums += w.odd * x.odd;
    }
    SMOLVLM_INLINE static void join(Ints& sums, const Shorts& pairs) {
        Ints y = sums;  // as in VnniDots
        asm("sadalp %0.4s, %1.8h" : "+w"(y) : "w"(pairs));
        sums = y;
    }

private:
    SMOLVLM_INLINE static void split(Operand& bytes_in_odd) {
        bytes_in_odd.even = (bytes_in_odd.odd << 8) >> 8;
        bytes_in_odd.odd = bytes_in_odd.odd >> 8;
    }
};

/// NEON with dot products. Activations are one element of a register, from which the instruction takes them. It is written
/// as its number, made of the numbers of its registers (symbols, as compilers put names), since an assembler knows only what
/// the flags of the compilation name, and a target attribute would be refused beside flags that name more than it does.
struct NeonOneDots {
    static constexpr int bytes = 16, L = 4;
    static constexpr bool one_instruction = true, centred = true;
    using Ints = detail::Raw<std::int32_t, L>;
    using Operand = Ints;
    using Activations = std::int32_t;
    using Nibbles = Ints;
    using NibbleSums = Ints;

    SMOLVLM_INLINE static void weights(const detail::Raw<std::uint32_t, L>& u, Operand& out) {
        detail::reinterpret(u ^ 0x80808080u, out);
    }
    SMOLVLM_INLINE static void nibbles(const detail::Raw<std::uint32_t, L>& u, Nibbles& out) {
        detail::reinterpret(u, out);
    }
    SMOLVLM_INLINE static void activations(const std::int8_t* x, Activations& out) { std::memcpy(&out, x, sizeof out); }
    SMOLVLM_INLINE static void add(Ints& sums, const Operand& w, const Activations& x) {
        Ints y = sums;
        asm(".ifndef .Lsmolvlm_v0\n\t"
            ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n\t"
            ".equ .Lsmolvlm_v\\n, \\n\n\t"
            ".endr\n\t"
            ".endif\n\t"  // sdot y.4s, w.16b, x.4b[0]
            ".inst 0x4f80e000 | .Lsmolvlm_%0 | .Lsmolvlm_%1 << 5 | .Lsmolvlm_%2 << 16"
            : "+w"(y)
            : "w"(w), "w"(x));
        sums = y;
    }
};
#endif

#if defined(__clang__) || !defined(__x86_64__)
using Avx2Dots = WordDots<32>;
#else
using Avx2Dots = ByteDots;
#endif

/// Does that path take weights of 8 bits as u - 128?
constexpr bool centres_weights(CpuPath path) {
    if (detail::has_neon) return path != CpuPath::portable;
    return path == CpuPath::avx2 && Avx2Dots::centred;
}

namespace detail {
template <class Kernel, class Dots>
struct WithDots {
    template <int, class... Args>
    SMOLVLM_INLINE static void run(Args... args) {
        Kernel::template run<Dots>(args...);
    }
};
}  // namespace detail

/// As dispatch(); the kernel is given what makes its dot products: Kernel::run<Dots>(args...).
template <class Kernel, class... Args>
void dispatch_integers([[maybe_unused]] CpuPath path, Args... args) {
#if defined(__x86_64__)
#if !defined(__clang__)
    if (path >= CpuPath::avx512vnni)
        return detail::run_avx512<detail::WithDots<Kernel, VnniDots>>(args...);
#endif
    if (path >= CpuPath::avx512) return detail::run_avx512<detail::WithDots<Kernel, WordDots<64>>>(args...);
    if (path == CpuPath::avx2) return detail::run_avx2<detail::WithDots<Kernel, Avx2Dots>>(args...);
#elif defined(__aarch64__)
    if (path == CpuPath::neondot) return detail::run_portable<detail::WithDots<Kernel, NeonOneDots>>(args...);
    if (path == CpuPath::neon) return detail::run_portable<detail::WithDots<Kernel, NeonDots>>(args...);
#endif
    detail::run_portable<detail::WithDots<Kernel, WordDots<16>>>(args...);
}

}  // namespace smolvlm::cpu
