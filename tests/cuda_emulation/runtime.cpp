// The runtime: what it says when the device fails, that it stays usable, what it counts. The emulated device can be told to
// fail as a real one does.

#include <doctest/doctest.h>

#include <vector>

#include <smolvlm/cuda/runtime.cuh>

#include "planted.cuh"

using namespace smolvlm::cuda;

namespace {

// Puts the emulated machine back as it was.
struct Machine {
    emulation::Machine& m = emulation::machine();
    ~Machine() {
        m.devices = 1;
        m.major = 9;
        m.minor = 0;
        m.memory = std::size_t(1) << 40;
        m.failing_call.clear();
    }
};

template <class Work>
std::string error_of(Work&& work) {
    try {
        work();
    } catch (const smolvlm::DeviceError& error) {
        return error.what();
    }
    return "";
}
bool says(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

void copy_kernel_works(Runtime& on) {
    std::vector<float> x(64, 3.0f), y(64);
    const Memory from = on.upload(x.data(), 256), to = on.take(256);
    launch(on.stream(), planted::barrier_reads_next<false>, 1, 64, sizeof(planted::Shared),
           static_cast<const float*>(from.data()), static_cast<float*>(to.data()));
    on.download(to.data(), y.data(), 256);
    CHECK(y == x);
}

/// A launch that reads x and writes y.
void copy_by_kernel(Runtime& on, const Memory& x, const Memory& y) {
    launch(on.stream(), planted::uninitialised_global<false>, 1, 64, 0, static_cast<const float*>(x.data()),
           static_cast<float*>(y.data()));
}

}  // namespace

TEST_CASE("runtime: no device, a device that is not there, and one that is too old are told apart") {
    const Machine machine;
    machine.m.devices = 0;
    CHECK(says(error_of([] { Runtime(); }), "CUDA device 0 was asked for, but there are 0"));
    machine.m.devices = 1;
    CHECK(says(error_of([] { Runtime(3); }), "CUDA device 3 was asked for, but there is 1"));
    CHECK(says(error_of([] { Runtime(-1); }), "CUDA device -1"));
    machine.m.major = 7;
    machine.m.minor = 5;
    CHECK(says(error_of([] { Runtime(); }), "has compute capability 7.5; 8.0 is needed"));
    machine.m.major = 8;
    machine.m.minor = 0;
    CHECK(Runtime().facts().major == 8);
    machine.m.failing_call = "cudaGetDeviceCount";
    machine.m.failing_code = "cudaErrorNoDevice";
    CHECK(says(error_of([] { Runtime(); }), "cudaGetDeviceCount failed: cudaErrorNoDevice"));
}

TEST_CASE("runtime: out of memory says what was asked, what is free and what helps; the rest can be used") {
    const Machine machine;
    Runtime on;
    machine.m.memory = machine.m.used() + 10000;
    const Memory kept = on.take(4096);
    const std::string error = error_of([&] { on.take(8192); });
    CHECK(says(error, "8192 bytes were asked for, 5904 of "));
    CHECK(says(error, "--max-tiles"));
    CHECK(on.take(4096));
    {
        const Memory again = on.take(4096);
        CHECK(again);
    }
    CHECK(on.take(5120));  // the pool gave its unused block back first
    machine.m.memory = std::size_t(1) << 40;
    copy_kernel_works(on);
}

TEST_CASE("runtime: a call that fails names itself and its code, and the runtime works afterwards") {
    const Machine machine;
    Runtime on;
    machine.m.failing_code = "cudaErrorUnknown";
    const auto fails = [&](const char* call, auto&& work) {
        machine.m.failing_call = call;
        CHECK(says(error_of(work), std::string(call) + " failed: cudaErrorUnknown"));
        copy_kernel_works(on);
    };
    float number = 1;
    const Memory memory = on.upload(&number, 4);
    fails("launch", [&] { copy_kernel_works(on); });
    fails("cudaMallocAsync", [&] { on.take(100000); });
    fails("cudaMemcpyAsync (host to device)", [&] { on.upload(&number, 4); });
    fails("cudaMemcpyAsync (device to host)", [&] { on.download(memory.data(), &number, 4); });
    fails("cudaMemcpyAsync (device to device)", [&] { on.copy(memory.data(), memory.data(), 4); });
    fails("cudaMemsetAsync", [&] { on.fill_zero(memory.data(), 4); });
    fails("cudaStreamSynchronize", [&] { on.wait(); });
}

TEST_CASE("runtime: a launch that the device would refuse is refused, naming who launched") {
    Runtime on;
    const Memory memory = on.take(256);
    auto* y = static_cast<float*>(memory.data());
    const auto with = [&](dim3 grid, unsigned block, std::size_t shared) {
        return error_of([&] { launch(on.stream(), planted::uninitialised_global<false>, grid, block, shared, y, y); });
    };
    CHECK(says(with(dim3(0), 64, 0), "cudaErrorInvalidConfiguration: 0 x 1 x 1 blocks"));
    CHECK(says(with(dim3(1, 70000), 64, 0), "1 x 70000 x 1 blocks"));
    CHECK(says(with(dim3(1), 48, 0), "blocks of 48 threads"));
    CHECK(says(with(dim3(1), 2048, 0), "blocks of 2048 threads"));
    CHECK(says(with(dim3(1), 64, 300000), "300000 bytes of shared memory"));
    CHECK(says(with(dim3(1), 64, 300000), "runtime.cpp:"));
    float number = 0;
    CHECK(says(error_of([&] { launch(on.stream(), planted::uninitialised_global<false>, 1, 64, 0, y, &number); }),
               "pointer argument 1 is no device memory"));
    CHECK(says(error_of([&] { on.copy(&number, y, 4); }), "cudaErrorInvalidValue"));
}

TEST_CASE("runtime: what was taken once is not allocated again; copies do not wait, downloads do") {
    Runtime on;
    std::vector<std::byte> bytes(1000);
    smolvlm::Index fresh = 0;
    for (int round = 0; round < 5; ++round) {
        const Memory a = on.upload(bytes.data(), bytes.size()), b = on.take(5000), c = on.take(0);
        if (round == 0) fresh = on.fresh_allocations();
    }
    CHECK(on.fresh_allocations() == fresh);
    CHECK(on.waits() == 0);
    const Memory memory = on.upload(bytes.data(), bytes.size());
    on.download(memory.data(), bytes.data(), bytes.size());
    CHECK(on.waits() == 1);
    for (int i = 0; i < 5000; ++i) on.copy_to_device(memory.data(), bytes.data(), bytes.size());  // more than is pinned
    CHECK(on.waits() == 2);
}

TEST_CASE("streams: what two of them use in no certain order is refused: too early, too late, or given back too soon") {
    Runtime one, other;
    const std::vector<float> numbers(64, 1.0f);
    const auto unordered = [](auto&& work) { return says(error_of(work), "in no certain order"); };
    Memory x = one.upload(numbers.data(), 256);
    const Memory y = other.take(256);
    CHECK(unordered([&] { other.copy(x.data(), y.data(), 256); }));
    CHECK(unordered([&] { copy_by_kernel(other, x, y); }));
    one.wait_for(other);  // the wrong way round
    CHECK(unordered([&] { other.copy(x.data(), y.data(), 256); }));
    other.wait_for(one);
    copy_by_kernel(other, x, y);
    one.copy(x.data(), one.take(256).data(), 256);  // both may read
    CHECK(unordered([&] { one.fill_zero(x.data(), 256); }));  // the other still reads
    x = Memory();
    CHECK(unordered([&] { x = one.take(256); }));  // the same bytes again
    one.wait_for(other);
    x = one.upload(numbers.data(), 256);
    other.wait_for(one);
    one.fill_zero(x.data(), 256);  // after what was waited for
    CHECK(unordered([&] { copy_by_kernel(other, x, y); }));
    one.wait();  // when the host has waited, all that comes later is in order
    copy_by_kernel(other, x, y);
}

TEST_CASE("runtime: memory is alone until it is shared, and may outlive its runtime") {
    Memory memory;
    CHECK(!memory);
    {
        Runtime on;
        memory = on.take(16);
        CHECK(memory.writable_alone());
        const Memory other = memory;
        CHECK(!memory.writable_alone());
        CHECK(other.data() == memory.data());
    }
    CHECK(memory.writable_alone());
}

TEST_CASE("runtime: the device and its emulation in one program are refused") {
    CHECK(says(error_of([] { Runtime(0, "the device"); }), "one program holds kernels for the device and for the emulation"));
}
