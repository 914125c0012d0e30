// The emulation catches wrong kernels. Each bug runs beside the same kernel without it, in a child of its own, because some
// of them end the process. This file is built three times: as it is, with ASan and UBSan, and with TSan.

#include <doctest/doctest.h>

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdio>
#include <numeric>

#include <smolvlm/cuda/runtime.cuh>

#include "planted.cuh"
#include "support/schedules.hpp"

using namespace smolvlm::cuda;

// Asked by TSan alone. A child ends at once: it has no other threads that a second of waiting could catch in a race.
extern "C" const char* __tsan_default_options() { return "atexit_sleep_ms=0"; }

namespace {

// What runs in the child: "" or what was noticed.
std::string run_all_schedules(planted::Kernel kernel, unsigned blocks) {
    try {
        Runtime on;
        std::array<float, 64> x;
        std::iota(x.begin(), x.end(), 1.0f);
        const std::string departs = testing::departing_schedule([&] {
            const Memory from = on.upload(x.data(), sizeof x), to = on.take(sizeof x);
            launch(on.stream(), kernel, blocks, 64, sizeof(planted::Shared), static_cast<const float*>(from.data()),
                   static_cast<float*>(to.data()));
            std::array<float, 64> y;
            on.download(to.data(), y.data(), sizeof y);
            for (const float value : y)
                if (value != value) throw smolvlm::Error("a result is NaN");
            return y;
        });
        return departs.empty() ? "" : "other bytes: " + departs;
    } catch (const std::exception& error) {
        return std::string("error: ") + error.what();
    }
}

// What was noticed of work() by anybody: the emulation, a sanitizer, the system. "" = nothing.
template <class Work>
std::string noticed(Work&& work) {
    std::FILE* words = std::tmpfile();
    std::fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        dup2(fileno(words), 2);
        for (const int fatal : {SIGSEGV, SIGBUS, SIGABRT, SIGFPE}) std::signal(fatal, SIG_DFL);  // they were doctest's
        alarm(60);
        const std::string found = work();
        if (!found.empty()) std::fprintf(stderr, "%s\n", found.c_str());
        std::fflush(stderr);
        _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    std::string text;
    std::rewind(words);
    for (int c; (c = std::fgetc(words)) != EOF && text.size() < 20000;) text += static_cast<char>(c);
    std::fclose(words);
    if (WIFSIGNALED(status)) text += "signal " + std::to_string(WTERMSIG(status));
    return text;
}

struct Builds {
    bool plain, asan, tsan;
    bool here() const { return emulation::under_asan() ? asan : emulation::under_tsan() ? tsan : plain; }
};
constexpr Builds everywhere{true, true, true}, asan_only{false, true, false}, tsan_only{false, false, true};

// `word`: what the report says, where it always says the same.
void check_pair(planted::Kernel bug, planted::Kernel sound, Builds caught, const char* word = "", unsigned blocks = 1) {
    const std::string nothing = noticed([&] { return run_all_schedules(sound, blocks); });
    CHECK(nothing == "");
    if (!caught.here()) return;
    const std::string found = noticed([&] { return run_all_schedules(bug, blocks); });
    CHECK(found != "");
    CHECK_MESSAGE(found.find(word) != std::string::npos, found);
}
#define CHECK_PAIR(kernel, ...) check_pair(planted::kernel<true>, planted::kernel<false>, __VA_ARGS__)

}  // namespace

TEST_CASE("planted bug: a missing __syncthreads, whichever neighbour is read, and before shared memory is written again") {
    CHECK_PAIR(barrier_reads_next, everywhere);
    CHECK_PAIR(barrier_reads_previous, everywhere);
    CHECK_PAIR(barrier_before_overwriting, everywhere);
}

TEST_CASE("planted bug: a missing __syncwarp, and a shuffle in its place") {
    CHECK_PAIR(syncwarp, everywhere);
    CHECK_PAIR(shuffle_as_fence, tsan_only, "data race");
}

TEST_CASE("planted bug: barriers that not all threads reach") {
    CHECK_PAIR(divergent_barrier, everywhere, "while others wait at divergent_barrier");
    CHECK_PAIR(leaves_before_barrier, everywhere, "others");
    CHECK_PAIR(barrier_against_shuffle, everywhere, "barrier_against_shuffle");
}

TEST_CASE("planted bug: masks of warp operations that do not fit the lanes") {
    CHECK_PAIR(lane_missing_from_mask, everywhere, "nobody can go on");
    CHECK_PAIR(lane_not_in_its_mask, everywhere, "is not in its own mask");
    CHECK_PAIR(reads_outside_mask, everywhere, "which is not in the mask");
}

TEST_CASE("planted bug: asynchronous copies without their wait, with a late one, into a stage in use, still in flight") {
    CHECK_PAIR(copy_wait, everywhere);
    CHECK_PAIR(late_copy_wait, everywhere);
    CHECK_PAIR(stage_overwritten, everywhere);
    CHECK_PAIR(copy_still_in_flight, everywhere, "in flight");
    CHECK_PAIR(copy_not_aligned, everywhere, "multiples of 16");
}

TEST_CASE("planted bug: a sum by several threads without atomics") { CHECK_PAIR(atomic, tsan_only, "data race"); }

TEST_CASE("planted bug: shared or device memory that nobody wrote is read, into a sum and into a maximum") {
    CHECK_PAIR(uninitialised_shared_sum, everywhere);
    CHECK_PAIR(uninitialised_shared_max, everywhere);
    CHECK_PAIR(uninitialised_global, everywhere);
}

TEST_CASE("planted bug: accesses outside an allocation or the shared struct") {
    CHECK_PAIR(writes_behind_global, everywhere);
    CHECK_PAIR(reads_behind_global, everywhere);
    CHECK_PAIR(far_outside, everywhere);
    CHECK_PAIR(writes_behind_shared, everywhere);
    CHECK_PAIR(inner_array_overrun, everywhere);
    CHECK_PAIR(more_shared_than_launched, everywhere, "was launched with");
}

TEST_CASE("planted bug: two blocks write the same cells") { CHECK_PAIR(blocks_write_the_same, everywhere, "", 2); }

TEST_CASE("planted bug: the host follows a pointer of the device") {
    const auto read = [](bool bug) {
        return noticed([bug] {
            Runtime on;
            const float one = 1;
            const Memory memory = on.upload(&one, sizeof one);
            float back = 1;
            if (bug)
                back = *static_cast<const volatile float*>(memory.data());
            else
                on.download(memory.data(), &back, sizeof back);
            return std::string(back == 1 ? "" : "lost");
        });
    };
    CHECK(read(false) == "");
    if (asan_only.here()) CHECK(read(true).find("use-after-poison") != std::string::npos);
}

TEST_CASE("planted bug: memory is used after it was given back") {
    const std::string found = noticed([] {
        try {
            Runtime on;
            const float* gone = nullptr;
            {
                const Memory memory = on.take(256);
                gone = static_cast<const float*>(memory.data());
            }
            const Memory to = on.take(1024);
            launch(on.stream(), planted::barrier_reads_next<false>, 1, 64, sizeof(planted::Shared), gone,
                   static_cast<float*>(to.data()));
            return std::string();
        } catch (const std::exception& error) {
            return std::string(error.what());
        }
    });
    CHECK(found.find("no device memory in use") != std::string::npos);
}
