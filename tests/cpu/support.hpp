#pragma once
// What the tests of the fast backend share: its paths and threads, random operands, and the comparison with
// Ref<double>.

#include <doctest/doctest.h>

#include <cmath>

#include <smolvlm/core/random.hpp>
#include <smolvlm/cpu/cpu.hpp>
#include <smolvlm/ref/ref.hpp>

namespace smolvlm::test {

/// Every path that this machine can run, up to `last`.
inline std::vector<CpuPath> paths(CpuPath last) {
    std::vector<CpuPath> list;
    for (int i = 0; i <= static_cast<int>(last); ++i)
        if (const auto path = static_cast<CpuPath>(i); supports(last_cpu_path(cpu_features()), path)) list.push_back(path);
    return list;
}
/// Those that differ in how they compute with floats, and with integers.
inline std::vector<CpuPath> paths() {
    auto list = paths(CpuPath::avx512);
    std::erase(list, CpuPath::neondot);
    return list;
}
/// And those with tiles, which are emulated where the processor has none; what goes beside them needs VNNI.
inline std::vector<CpuPath> narrow_paths(CpuPath last) {
    std::vector<CpuPath> list = paths(last);
    if (last_cpu_path(cpu_features()) >= CpuPath::avx512vnni) list.push_back(CpuPath::amx);
    return list;
}
inline std::vector<CpuPath> integer_paths() { return narrow_paths(CpuPath::avx512vnni); }

/// f(backend) on every path, with one thread and with three.
template <class T, class F>
void on_every_path(F f) {
    for (CpuPath path : paths())
        for (int threads : {1, 3}) {
            CAPTURE(join(path));
            CAPTURE(threads);
            Cpu<T> be(threads, path);
            be.share_small_work();
            f(be);
        }
}

inline HostTensor<double> random_tensor(const Shape& shape, std::uint64_t seed) {
    Random random(seed);
    HostTensor<double> x(shape);
    // Numbers that a float holds, so that every backend starts from the same operands.
    for (double& value : x.flat()) value = static_cast<double>(static_cast<float>(random.normal()));
    return x;
}
/// Integers of -most .. most; the first of every `block` of a row is `most`, so that its scale is one.
inline HostTensor<double> whole_numbers(const Shape& shape, int most, Index block, std::uint64_t seed) {
    Random random(seed);
    HostTensor<double> x(shape);
    const auto values = 2 * static_cast<unsigned>(most) + 1;
    for (double& value : x.flat()) value = static_cast<double>(random.below(values)) - most;
    for (Index n = 0; n < shape[0]; ++n)
        for (Index k = 0; k < shape[1]; k += block) x.data()[n * shape[1] + k] = most;
    return x;
}

template <class T, class U>
HostTensor<T> as(const HostTensor<U>& x) {
    if (x.empty()) return {};
    HostTensor<T> y(x.shape());
    std::ranges::transform(x.flat(), y.data(), [](U value) { return static_cast<T>(value); });
    return y;
}

/// Rounding errors of a computation whose terms are about `size`: a few units in the last place of T.
template <class T>
double tolerance(double size) {
    return 4 * static_cast<double>(std::numeric_limits<T>::epsilon()) * size;
}

/// Every element of `found` within `tolerance` of `expected`; names the worst.
template <class T>
void check_close(const HostTensor<T>& found, const HostTensor<double>& expected, double tolerance) {
    REQUIRE(found.shape() == expected.shape());
    Index worst = 0;
    double largest = -1;
    for (Index i = 0; i < found.numel(); ++i) {
        const double error = std::abs(static_cast<double>(found.data()[i]) - expected.data()[i]);
        if (!(error <= largest)) worst = i, largest = error;
    }
    if (found.numel() == 0) return;
    CHECK_MESSAGE(largest <= tolerance, "element " << worst << " is " << found.data()[worst] << ", expected "
                                                   << expected.data()[worst] << ", off by " << largest
                                                   << ", tolerance " << tolerance);
}

/// Cosine of the angle between two tensors.
inline double cosine(const HostTensor<float>& a, const HostTensor<double>& b) {
    double ab = 0, aa = 0, bb = 0;
    for (Index i = 0; i < b.numel(); ++i) {
        const double x = static_cast<double>(a.data()[i]), y = b.data()[i];
        ab += x * y, aa += x * x, bb += y * y;
    }
    return ab / std::sqrt(aa * bb);
}

}  // namespace smolvlm::test
