#pragma once
/// What this machine's processor can do, read once, and the instruction set that the kernels use: the best one supported,
/// or the one that the environment variable SMOLVLM_CPU names (portable; x86-64: avx2, avx512, avx512vnni, avx512bf16,
/// amx; 64-bit ARM: neon, neondot).
///
/// x86-64: from CPUID. A feature counts only when the operating system also saves its registers (XGETBV), and AMX only
/// when the kernel grants its tile data to this process. Source: Intel SDM volume 1, chapters 13 and 14; volume 2, CPUID.
/// ARM: NEON is part of the architecture, what was added to it Linux says in its hwcaps. (Elsewhere: the compiler's flags.)

#include <array>
#include <cstdlib>

#include <smolvlm/core/shape.hpp>

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#endif
#endif
#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif
#if defined(__unix__)
#include <unistd.h>
#endif

namespace smolvlm {

struct CpuFeatures {
    bool avx2 = false;         // with FMA
    bool f16c = false;         // half <-> float
    bool avx512 = false;       // F, BW, VL, DQ
    bool avx512_bf16 = false;  // dot products of bf16 pairs
    bool fast_bf16 = false;    // which come sooner than products of floats: not Intel's, which take twice as long (measured)
    bool avx512_vnni = false;  // dot products of i8 quadruples
    bool avx512_vbmi = false;  // bytes of a register in any order
    bool avx_vnni = false;     // the same on 256 bits without AVX-512
    bool amx_bf16 = false;     // tile products
    bool amx_int8 = false;
    bool neon = false;      // 64-bit ARM
    bool neon_dot = false;  // dot products of i8 quadruples
};

/// Ordered: a machine that supports one path supports all before it, as far as they are of its architecture.
enum class CpuPath : std::uint8_t { portable, neon, neondot, avx2, avx512, avx512vnni, avx512bf16, amx };

inline constexpr std::array<std::string_view, 8> cpu_path_names{"portable", "neon",       "neondot",    "avx2",
                                                                "avx512",   "avx512vnni", "avx512bf16", "amx"};

/// Does a machine whose last path is `last` support `path`?
constexpr bool supports(CpuPath last, CpuPath path) {
    constexpr auto is_arm = [](CpuPath p) { return p == CpuPath::neon || p == CpuPath::neondot; };
    return path == CpuPath::portable || (path <= last && is_arm(path) == is_arm(last));
}

inline void append_piece(std::string& text, CpuPath path) { text += cpu_path_names[static_cast<std::size_t>(path)]; }

namespace detail {

#if defined(__x86_64__)
/// Linux keeps AMX off until a process asks (arch_prctl ARCH_REQ_XCOMP_PERM for state 18, tile data).
inline bool request_amx() {
#if defined(__linux__) && defined(SYS_arch_prctl)
    constexpr long request_permission = 0x1023, tile_data = 18;
    return syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
#else
    return false;
#endif
}

inline CpuFeatures read_cpu_features() {
    struct Leaf {
        unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
        Leaf(unsigned leaf, unsigned subleaf) { __get_cpuid_count(leaf, subleaf, &eax, &ebx, &ecx, &edx); }
    };
    const auto bit = [](unsigned bits, int i) { return (bits >> i & 1u) != 0; };
    const Leaf leaf1(1, 0), leaf7(7, 0), leaf7_1(7, 1);
    CpuFeatures cpu;
    if (!bit(leaf1.ecx, 27)) return cpu;  // OSXSAVE: without it XGETBV is no instruction
    unsigned saved = 0, saved_high = 0;
    asm volatile("xgetbv" : "=a"(saved), "=d"(saved_high) : "c"(0));
    const auto saves = [saved](unsigned states) { return (saved & states) == states; };
    const bool ymm = saves(0x6), zmm = saves(0xe6), tiles = saves(0x60000);

    cpu.avx2 = ymm && bit(leaf7.ebx, 5) && bit(leaf1.ecx, 12);
    cpu.f16c = ymm && bit(leaf1.ecx, 29);
    cpu.avx_vnni = cpu.avx2 && bit(leaf7_1.eax, 4);
    cpu.avx512 = cpu.avx2 && cpu.f16c && zmm && bit(leaf7.ebx, 16) && bit(leaf7.ebx, 30) && bit(leaf7.ebx, 31) &&
                 bit(leaf7.ebx, 17);
    cpu.avx512_bf16 = cpu.avx512 && bit(leaf7_1.eax, 5);
    cpu.fast_bf16 = cpu.avx512_bf16 && Leaf(0, 0).ebx != 0x756e6547;  // "Genu"ineIntel
    cpu.avx512_vnni = cpu.avx512 && bit(leaf7.ecx, 11);
    cpu.avx512_vbmi = cpu.avx512 && bit(leaf7.ecx, 1);
    if (cpu.avx512 && tiles && bit(leaf7.edx, 24) && request_amx()) {
        cpu.amx_bf16 = bit(leaf7.edx, 22);
        cpu.amx_int8 = bit(leaf7.edx, 25);
    }
    return cpu;
}
#elif defined(__aarch64__)
inline CpuFeatures read_cpu_features() {
    CpuFeatures cpu;
    cpu.neon = true;
#if defined(__linux__)
    constexpr unsigned long asimddp = 1ul << 20;  // HWCAP_ASIMDDP, which old headers lack
    cpu.neon_dot = (getauxval(AT_HWCAP) & asimddp) != 0;
#elif defined(__ARM_FEATURE_DOTPROD)
    cpu.neon_dot = true;
#endif
    return cpu;
}
#else
inline CpuFeatures read_cpu_features() { return {}; }
#endif

}  // namespace detail

/// The features of the machine that runs this process.
inline const CpuFeatures& cpu_features() {
    static const CpuFeatures features = detail::read_cpu_features();
    return features;
}

/// Bytes of the second-level cache, of one core; a megabyte where the system does not say.
inline Index second_cache_bytes() {
#if defined(_SC_LEVEL2_CACHE_SIZE)
    static const long bytes = ::sysconf(_SC_LEVEL2_CACHE_SIZE);
    if (bytes > 0) return static_cast<Index>(bytes);
#endif
    return Index(1) << 20;
}

/// The last path that those features allow.
constexpr CpuPath last_cpu_path(const CpuFeatures& cpu) {
    const bool vnni = cpu.avx512 && cpu.avx512_vnni, bf16 = vnni && cpu.avx512_bf16;
    if (bf16 && cpu.amx_bf16 && cpu.amx_int8) return CpuPath::amx;
    if (bf16) return CpuPath::avx512bf16;
    if (vnni) return CpuPath::avx512vnni;
    if (cpu.avx512) return CpuPath::avx512;
    if (cpu.avx2 && cpu.f16c) return CpuPath::avx2;
    if (cpu.neon) return cpu.neon_dot ? CpuPath::neondot : CpuPath::neon;
    return CpuPath::portable;
}

/// The fastest of them; that AMX is, nobody has measured yet.
constexpr CpuPath best_cpu_path(const CpuFeatures& cpu) {
    const CpuPath last = last_cpu_path(cpu);
    return last == CpuPath::avx512bf16 && !cpu.fast_bf16 ? CpuPath::avx512vnni : last;
}

/// The path that `name` asks for. Throws ValueError when there is none of that name or the machine cannot run it.
inline CpuPath cpu_path_named(std::string_view name, CpuPath last) {
    std::string available;
    for (std::size_t i = 0; i <= static_cast<std::size_t>(last); ++i) {
        if (!supports(last, static_cast<CpuPath>(i))) continue;
        if (cpu_path_names[i] == name) return static_cast<CpuPath>(i);
        available += (i ? ", " : "") + std::string(cpu_path_names[i]);
    }
    fail<ValueError>("SMOLVLM_CPU=", name, ": this machine has ", available);
}

/// The path that kernels take: what SMOLVLM_CPU names when it is set, else the best. Read once. Throws ValueError.
inline CpuPath cpu_path() {
    static const CpuPath path = [] {
        const char* const forced = std::getenv("SMOLVLM_CPU");
        return forced && *forced ? cpu_path_named(forced, last_cpu_path(cpu_features())) : best_cpu_path(cpu_features());
    }();
    return path;
}

}  // namespace smolvlm
