#pragma once
// What this machine can do right now: measured beside every figure and over a second, because other work on the machine
// (on its host, where it is a virtual one) changes it by the minute and takes a share of every long run.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <vector>

#include <smolvlm/core/parallel.hpp>
#include <smolvlm/cpu/word_dot.hpp>

namespace bench {

using namespace smolvlm;

/// Count processor time instead of time: for one thread on a machine that is busy with other work.
inline bool processor_time = false;

inline double now() {
    if (processor_time) return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// The median of `runs` calls of f after one that warms up, in seconds.
template <class F>
double median_of(int runs, F f) {
    std::vector<double> times;
    f();
    for (int i = 0; i < runs; ++i) {
        const double start = now();
        f();
        times.push_back(now() - start);
    }
    std::ranges::nth_element(times, times.begin() + runs / 2);
    return times[static_cast<std::size_t>(runs / 2)];
}

/// Multiply-adds that touch no memory: twenty independent sums hide the latency.
struct MultiplyAdd {
    template <int Bytes>
    SMOLVLM_INLINE static void run(Index repeats, float* out) {
        using V = cpu::Vec<float, Bytes / 4>;
        constexpr int sums = Bytes == 64 ? 20 : 12;
        V x[std::size_t{sums}];
        const float factor = out[0], term = out[1];
#pragma GCC unroll 20
        for (int i = 0; i < sums; ++i) x[i] = V::all(static_cast<float>(i) * out[2]);
#pragma GCC unroll 1
        for (Index r = 0; r < repeats; ++r)
#pragma GCC unroll 20
            for (int i = 0; i < sums; ++i) x[i] = x[i] * factor + term;
        V total = x[0];
#pragma GCC unroll 20
        for (int i = 1; i < sums; ++i) total = total + x[i];
        out[3] = sum(total);
    }
};

/// Integer products that touch no memory: add(sums) again and again, for as many independent sums as hide the latency.
template <class Dots, class Add>
SMOLVLM_INLINE void add_integers(Index repeats, std::int32_t* out, const Add& add) {
    constexpr int sums = Dots::bytes == 64 ? 20 : 8;
    typename Dots::Ints x[std::size_t{sums}];
#pragma GCC unroll 20
    for (int i = 0; i < sums; ++i) cpu::detail::broadcast(out + i % 4, x[i]);
#pragma GCC unroll 1
    for (Index r = 0; r < repeats; ++r)
#pragma GCC unroll 20
        for (int i = 0; i < sums; ++i) add(x[i]);
    typename Dots::Ints total = x[0];
#pragma GCC unroll 20
    for (int i = 1; i < sums; ++i) total += x[i];
    std::memcpy(out, &total, 16);
}
struct MultiplyAddBytes {
    template <class Dots>
    SMOLVLM_INLINE static void run(Index repeats, std::int32_t* out) {
        typename Dots::Operand w;
        typename Dots::Activations four;
        cpu::detail::Raw<std::uint32_t, Dots::L> bytes;
        cpu::detail::broadcast(out, bytes);
        Dots::weights(bytes, w);
        Dots::activations(reinterpret_cast<const std::int8_t*>(out + 1), four);
        add_integers<Dots>(repeats, out, [&](auto& sums) __attribute__((always_inline)) { Dots::add(sums, w, four); });
    }
};
struct MultiplyAddWords {
    template <class Words>
    SMOLVLM_INLINE static void run(Index repeats, std::int32_t* out) {
        typename Words::Ints w, pair;
        cpu::detail::broadcast(out, w);
        cpu::detail::broadcast(out + 1, pair);
        add_integers<Words>(repeats, out, [&](auto& sums) __attribute__((always_inline)) { Words::add(sums, w, pair); });
    }
};

enum class Numbers { floats, words, bytes };

/// One thread's multiply-adds of such numbers in a few dozen microseconds: to be taken between the runs of a kernel, the best
/// of many against the best of many.
inline double burst_gflops(CpuPath path, Numbers of) {
    constexpr Index repeats = 20'000;
    const bool wide = path >= CpuPath::avx512;
    const double start = now();
    float numbers[] = {0.999f, 0.001f, 1.0f, 0.0f};
    std::int32_t integers[] = {0x01010101, 0x01010101, 1, 1};
    if (of == Numbers::bytes)
        cpu::dispatch_integers<MultiplyAddBytes>(path, repeats, static_cast<std::int32_t*>(integers));
    else if (of == Numbers::words)
        cpu::dispatch_words<MultiplyAddWords>(path, repeats, static_cast<std::int32_t*>(integers));
    else
        cpu::dispatch<MultiplyAdd>(path, repeats, static_cast<float*>(numbers));
    volatile float sink = numbers[3];
    volatile std::int32_t integer_sink = integers[0];
    (void)sink, (void)integer_sink;
    const double registers = wide ? 20 : of == Numbers::floats ? 12 : 8;
    const double lanes = wide ? 16 : path == CpuPath::avx2 ? 8 : 4, each = of == Numbers::bytes ? 4 : of == Numbers::words ? 2 : 1;
    return 2 * static_cast<double>(repeats) * registers * lanes * each / (now() - start) / 1e9;
}

/// Float multiply-adds of all threads together, in GFLOP/s.
inline double peak_gflops(int threads, CpuPath path) {
    const Index repeats = 4'000'000;
    const bool wide = path >= CpuPath::avx512;
    const double lanes = wide ? 16 : path == CpuPath::avx2 ? 8 : 4, sums = wide ? 20 : 12;
    const double seconds = median_of(15, [&] {
        parallel_for(threads, threads, 1, [&](Index, Index) {
            float numbers[] = {0.999f, 0.001f, 1.0f, 0.0f};
            cpu::dispatch<MultiplyAdd>(path, repeats, static_cast<float*>(numbers));
            volatile float sink = numbers[3];
            (void)sink;
        });
    });
    return 2 * static_cast<double>(repeats) * lanes * sums * threads / seconds / 1e9;
}

struct ReadAll {
    static constexpr Index ahead = 6144 / sizeof(float);

    template <int Bytes>
    SMOLVLM_INLINE static void run(const float* x, Index n, float* out) {
        using V = cpu::Vec<float, Bytes / 4>;
        V a = V::zero(), b = a, c = a, d = a;
        for (Index i = 0; i < n; i += Bytes) {  // Bytes numbers, a few lines; asked for ahead as the kernels do
            for (Index line = 0; line < Bytes; line += 16) __builtin_prefetch(x + i + line + ahead);
            a = a + V::load(x + i);
            b = b + V::load(x + i + Bytes / 4);
            c = c + V::load(x + i + Bytes / 2);
            d = d + V::load(x + i + Bytes / 4 * 3);
        }
        *out = sum(a + b + c + d);
    }
};

/// Reading memory far larger than the caches, in GB/s.
inline double read_gbps(int threads, CpuPath path) {
    static std::vector<float> memory((Index(128) << 20) + ReadAll::ahead, 1.0f);
    const Index n = static_cast<Index>(memory.size()) - ReadAll::ahead;
    const double seconds = median_of(7, [&] {
        parallel_for(threads, n / 1024, 1, [&](Index begin, Index end) {
            float out = 0;
            cpu::dispatch<ReadAll>(path, memory.data() + begin * 1024, (end - begin) * 1024, &out);
            volatile float sink = out;
            (void)sink;
        });
    });
    return static_cast<double>(n) * sizeof(float) / seconds / 1e9;
}

/// The most memory that this process held at once (VmHWM), in MB; 0 where the system does not say.
inline double peak_memory_mb() {
    double kilobytes = 0;
    if (std::FILE* const file = std::fopen("/proc/self/status", "r")) {
        char line[256];
        while (std::fgets(line, sizeof line, file))
            if (std::sscanf(line, "VmHWM: %lf kB", &kilobytes) == 1) break;
        std::fclose(file);
    }
    return kilobytes / 1e3;
}

}  // namespace bench
