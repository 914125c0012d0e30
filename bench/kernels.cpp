// The kernels of Cpu<float> one by one, on one thread, in the shapes of SmolVLM-256M: how fast, and how near to the peak of
// the machine. A shared machine slows down for seconds at a time; so bursts of nothing but multiply-adds (or of reading)
// are measured between the runs, and the best run is set against the best burst ("of_peak").
//
//     bench_kernels [--benchmark_filter=linear/int8] [--benchmark_min_time=0.5] ...
//
// Built where Google Benchmark is found.

#include <benchmark/benchmark.h>

#include <optional>

#include <smolvlm/core/random.hpp>
#include <smolvlm/cpu/cpu.hpp>

#include "peaks.hpp"

using namespace smolvlm;

namespace {

/// Products of such numbers, or where there are none, reading memory.
using Peak = std::optional<bench::Numbers>;
constexpr Peak reading = std::nullopt;

HostTensor<float> random_tensor(const Shape& shape, std::uint64_t seed) {
    Random random(seed);
    HostTensor<float> x(shape);
    for (float& value : x.flat()) value = static_cast<float>(random.normal());
    return x;
}

/// Reading a stretch of memory larger than the caches, in GB/s.
double burst_gbps(CpuPath path) {
    static std::vector<float> memory(std::size_t(64) << 20, 1.0f);
    static Index at = 0;
    constexpr Index n = Index(4) << 20;
    at = (at + n) % static_cast<Index>(memory.size());
    const double start = bench::now();
    float out = 0;
    cpu::dispatch<bench::ReadAll>(path, static_cast<const float*>(memory.data() + at), n, &out);
    volatile float sink = out;
    (void)sink;
    return static_cast<double>(n) * sizeof(float) / (bench::now() - start) / 1e9;
}

/// Runs f again and again; `work` are its operations, or its bytes.
template <class F>
void measure(benchmark::State& state, CpuPath path, Peak against, double work, F f) {
    double best = 1e300, peak = 0, since_peak = 1;
    for (auto _ : state) {
        const double start = bench::now();
        f();
        const double seconds = bench::now() - start;
        state.SetIterationTime(seconds);
        best = std::min(best, seconds);
        since_peak += seconds;
        if (since_peak < 2e-3) continue;
        since_peak = 0;
        peak = std::max(peak, against ? bench::burst_gflops(path, *against) : burst_gbps(path));
    }
    const double rate = work / best / 1e9;
    state.counters[against ? "GFLOP/s" : "GB/s"] = rate;
    state.counters["peak"] = peak;
    state.counters["of_peak"] = rate / peak;
}

struct Held {
    const char* name;
    DType dtype;
    Precision precision;
};
constexpr Held held_as[] = {{"f32", DType::f32, Precision::exact},
                            {"bf16_widened", DType::bf16, Precision::exact},
                            {"bf16", DType::bf16, Precision::native},  // as words, as bf16, or widened: whatever is fastest
                            {"int8", DType::f32, Precision::int8},
                            {"q8_0", DType::q8_0, Precision::native},
                            {"q4_0", DType::q4_0, Precision::native},
                            {"q8_0_exact", DType::q8_0, Precision::exact}};

void many_rows(benchmark::State& state, const Held& held, Index N, Index M, Index K) {
    Cpu<float> be(1, cpu_path(), held.precision);
    const auto w = be.make_weight(HostWeight::from_tensor(random_tensor({M, K}, 1)).converted(held.dtype));
    const auto x = random_tensor({N, K}, 2);
    const IntegerFormat format = w.integers().format;
    const bool floats = format == IntegerFormat::none || format == IntegerFormat::bf16;
    const auto peak = floats                            ? bench::Numbers::floats
                      : format == IntegerFormat::int16 ? bench::Numbers::words
                                                       : bench::Numbers::bytes;
    measure(state, be.path(), peak, 2 * static_cast<double>(N * M * K),
            [&] { benchmark::DoNotOptimize(be.linear(x, w, {}).data()); });
}

/// One row, and so many weights in turn that they come from memory.
void one_row(benchmark::State& state, const Held& held, Index M, Index K) {
    Cpu<float> be(1, cpu_path(), held.precision);
    const auto file = HostWeight::from_tensor(random_tensor({M, K}, 1)).converted(held.dtype);
    std::vector<cpu::PackedWeight<float>> weights;
    for (std::size_t bytes = 0; bytes < std::size_t(200) << 20; bytes += weights.back().bytes())
        weights.push_back(be.make_weight(HostWeight{file.dtype, file.extents, file.storage}));
    const auto x = random_tensor({1, K}, 2);
    std::size_t next = 0;
    const std::size_t together = std::max<std::size_t>(1, (std::size_t(16) << 20) / weights[0].bytes());
    measure(state, be.path(), reading, static_cast<double>(together * weights[0].bytes()), [&] {
        for (std::size_t i = 0; i < together; ++i, next = (next + 1) % weights.size())
            benchmark::DoNotOptimize(be.linear(x, weights[next], {}).data());
    });
}

void attention(benchmark::State& state, Precision precision, Heads heads, Index T, bool causal) {
    constexpr Index K = 64;
    Cpu<float> be(1, precision);
    const auto q = random_tensor({T, heads.query * K}, 1), k = random_tensor({T, heads.kv * K}, 2);
    const auto v = random_tensor({T, heads.kv * K}, 3);
    const Segments segments(causal ? Segments::Mask::causal : Segments::Mask::full, {{0, T, 0, T}});
    const double pairs = static_cast<double>(causal ? T * (T + 1) / 2 : T * T);
    const bool words = cpu::attention_numbers(precision, be.path()) != cpu::AttentionNumbers::floats;  // but for scores of bytes
    const double work = 4 * pairs * static_cast<double>(heads.query * K);
    measure(state, be.path(), words ? bench::Numbers::words : bench::Numbers::floats, work,
            [&] { benchmark::DoNotOptimize(be.attention(q, k, v, heads, segments).data()); });
}

/// Elementwise work on what one layer has: bytes read and written per second.
template <class F>
void elementwise(benchmark::State& state, const Shape& shape, double passes, F f) {
    Cpu<float> be(1);
    const auto x = random_tensor(shape, 1);
    measure(state, be.path(), reading, passes * sizeof(float) * static_cast<double>(x.numel()),
            [&] { benchmark::DoNotOptimize(f(be, x).data()); });
}

template <class F>
void add(const std::string& name, F f) {
    benchmark::RegisterBenchmark(name.c_str(), f)->UseManualTime()->Unit(benchmark::kMicrosecond);
}

}  // namespace

int main(int argc, char** argv) {
    const Shape matrices[] = {{768, 768}, {3072, 768}, {768, 3072}, {1536, 576}, {576, 1536}};
    for (const Held& held : held_as) {
        for (const Shape& s : matrices)
            add(join("linear/", held.name, "/1024x", s[0], "x", s[1]),
                [=](benchmark::State& state) { many_rows(state, held, 1024, s[0], s[1]); });
        for (const Shape& s : {Shape{1536, 576}, Shape{576, 1536}, Shape{49280, 576}})
            add(join("decode/", held.name, "/", s[0], "x", s[1]),
                [=](benchmark::State& state) { one_row(state, held, s[0], s[1]); });
    }
    add("linear/f32/64x576x12288", [](benchmark::State& state) { many_rows(state, held_as[0], 64, 576, 12288); });
    add("linear/int8/64x576x12288", [](benchmark::State& state) { many_rows(state, held_as[3], 64, 576, 12288); });
    for (const auto& [name, precision] : {std::pair{"", Precision::exact}, std::pair{"_narrow", Precision::native},
                                          std::pair{"_int8", Precision::int8}}) {
        add(join("attention", name, "/full/1024"),
            [=](benchmark::State& state) { attention(state, precision, {12, 12}, 1024, false); });
        add(join("attention", name, "/causal/1200"),
            [=](benchmark::State& state) { attention(state, precision, {9, 3}, 1200, true); });
    }
    add("layer_norm/1024x768", [](benchmark::State& state) {
        const auto w = random_tensor({768}, 2);
        elementwise(state, {1024, 768}, 2, [&](auto& be, const auto& x) { return be.layer_norm(x, w, w, 1e-6); });
    });
    add("gelu_tanh/1024x3072", [](benchmark::State& state) {
        elementwise(state, {1024, 3072}, 2, [](auto& be, const auto& x) { return be.gelu_tanh(x); });
    });
    add("silu_mul/1200x1536", [](benchmark::State& state) {
        elementwise(state, {1200, 1536}, 3, [](auto& be, const auto& x) { return be.silu_mul(x, x); });
    });
    benchmark::Initialize(&argc, argv);
    benchmark::AddCustomContext("path", join(cpu_path()));
    benchmark::RunSpecifiedBenchmarks();
}
