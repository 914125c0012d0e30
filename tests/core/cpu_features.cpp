#include <smolvlm/core/cpu_features.hpp>

#include <doctest/doctest.h>

#include <cstdio>
#include <string>

using namespace smolvlm;

TEST_CASE("cpu_features: a path is chosen by what the processor has") {
    CpuFeatures cpu;
    CHECK(best_cpu_path(cpu) == CpuPath::portable);
    cpu.avx2 = true;
    CHECK(best_cpu_path(cpu) == CpuPath::portable);  // avx2 kernels also read half floats
    cpu.f16c = true;
    CHECK(best_cpu_path(cpu) == CpuPath::avx2);
    cpu.avx512 = true;
    CHECK(best_cpu_path(cpu) == CpuPath::avx512);
    cpu.avx512_bf16 = true;
    CHECK(best_cpu_path(cpu) == CpuPath::avx512);  // whoever has bf16 products has those of bytes
    cpu.avx512_vnni = true;
    CHECK(last_cpu_path(cpu) == CpuPath::avx512bf16);
    CHECK(best_cpu_path(cpu) == CpuPath::avx512vnni);  // floats come sooner than slow products of bf16
    cpu.fast_bf16 = true;
    CHECK(best_cpu_path(cpu) == CpuPath::avx512bf16);
    cpu.avx512_bf16 = false;
    CHECK(best_cpu_path(cpu) == CpuPath::avx512vnni);
    cpu.avx512_bf16 = cpu.amx_bf16 = true;
    CHECK(last_cpu_path(cpu) == CpuPath::avx512bf16);
    cpu.amx_int8 = true;
    CHECK(last_cpu_path(cpu) == CpuPath::amx);
    CHECK(best_cpu_path(cpu) == CpuPath::amx);  // tiles come sooner than anything, however slow vdpbf16ps is

    CpuFeatures arm;
    arm.neon = true;
    CHECK(best_cpu_path(arm) == CpuPath::neon);
    arm.neon_dot = true;
    CHECK(best_cpu_path(arm) == CpuPath::neondot);
}

TEST_CASE("cpu_features: every machine supports the portable path, none a path of another architecture") {
    for (CpuPath last : {CpuPath::portable, CpuPath::neon, CpuPath::neondot, CpuPath::avx2, CpuPath::amx})
        CHECK(supports(last, CpuPath::portable));
    CHECK(supports(CpuPath::amx, CpuPath::avx2));
    CHECK_FALSE(supports(CpuPath::avx2, CpuPath::avx512));
    CHECK_FALSE(supports(CpuPath::amx, CpuPath::neon));
    CHECK(supports(CpuPath::neondot, CpuPath::neon));
    CHECK_FALSE(supports(CpuPath::neon, CpuPath::neondot));
    CHECK_FALSE(supports(CpuPath::neondot, CpuPath::avx2));
    CHECK(supports(last_cpu_path(cpu_features()), cpu_path()));
}

TEST_CASE("cpu_features: a name picks a supported path, anything else is an error that lists what there is") {
    CHECK(cpu_path_named("portable", CpuPath::avx2) == CpuPath::portable);
    CHECK(cpu_path_named("avx2", CpuPath::amx) == CpuPath::avx2);
    CHECK_THROWS_WITH_AS(cpu_path_named("avx512", CpuPath::avx2), "SMOLVLM_CPU=avx512: this machine has portable, avx2",
                         ValueError);
    CHECK(cpu_path_named("neon", CpuPath::neondot) == CpuPath::neon);
    CHECK_THROWS_WITH_AS(cpu_path_named("neon", CpuPath::avx2), "SMOLVLM_CPU=neon: this machine has portable, avx2",
                         ValueError);
    CHECK_THROWS_WITH_AS(cpu_path_named("avx2", CpuPath::neondot),
                         "SMOLVLM_CPU=avx2: this machine has portable, neon, neondot", ValueError);
    CHECK_THROWS_WITH_AS(cpu_path_named("sse", CpuPath::portable), "SMOLVLM_CPU=sse: this machine has portable",
                         ValueError);
}

#if defined(__aarch64__)
TEST_CASE("cpu_features: a 64-bit ARM processor has NEON, and its paths follow from that") {
    CHECK(cpu_features().neon);
    CHECK_FALSE(cpu_features().avx2);
    CHECK(last_cpu_path(cpu_features()) >= CpuPath::neon);
}
#endif

#if defined(__linux__) && defined(__x86_64__)
TEST_CASE("cpu_features: what the kernel lists in /proc/cpuinfo is found, and AMX only if it lists that") {
    std::string flags = " ";
    if (std::FILE* file = std::fopen("/proc/cpuinfo", "rb")) {
        char line[8192];
        while (std::fgets(line, sizeof line, file))
            if (std::string(line).starts_with("flags")) {
                flags += std::string(line);
                break;
            }
        std::fclose(file);
    }
    REQUIRE(flags.size() > 10);
    for (char& c : flags)
        if (c == '\n' || c == '\t') c = ' ';
    const auto has = [&](const char* flag) { return flags.find(' ' + std::string(flag) + ' ') != flags.npos; };
    const CpuFeatures& cpu = cpu_features();
    // An old kernel may not know a feature's name, hence implications.
    if (has("avx2") && has("fma")) CHECK(cpu.avx2);
    if (has("f16c")) CHECK(cpu.f16c);
    if (has("avx512f") && has("avx512bw") && has("avx512vl") && has("avx512dq")) CHECK(cpu.avx512);
    if (has("avx512_bf16")) CHECK(cpu.avx512_bf16);
    if (has("avx512_vnni")) CHECK(cpu.avx512_vnni);
    if (has("avx512bw") && has("avx512vbmi") && cpu.avx512) CHECK(cpu.avx512_vbmi);
    if (has("avx_vnni")) CHECK(cpu.avx_vnni);
    CHECK(cpu.avx2 >= cpu.avx512);
    // The kernel may refuse tile data to a process that could have it.
    CHECK((!cpu.amx_bf16 || has("amx_bf16")));
    CHECK((!cpu.amx_int8 || has("amx_int8")));
}
#endif
