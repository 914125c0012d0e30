// Cpu<T> is a backend: the concept holds, and the whole model instantiates on it.
#include <doctest/doctest.h>

#include <smolvlm/cpu/cpu.hpp>
#include <smolvlm/model/smolvlm.hpp>
#include <smolvlm/ref/ref.hpp>

using namespace smolvlm;

static_assert(CachingBackend<Cpu<float>> && CachingBackend<Cpu<double>>);
template struct smolvlm::SmolVLM<Cpu<float>>;
template struct smolvlm::SmolVLM<Cpu<double>>;

TEST_CASE("cpu: linear with a bias is what the definition says") {
    const HostTensor<double> x({2, 3}, {1, 2, 3, 4, 5, 6}), w({2, 3}, {1, 0, -1, 2, 1, 0}), b({2}, {10, 20});
    Cpu<double> be(2);
    const auto y = be.linear(x, be.make_weight(HostWeight::from_tensor(w)), b);
    CHECK(y.shape() == Shape{2, 2});
    CHECK(std::vector<double>(y.flat().begin(), y.flat().end()) == std::vector<double>{8, 24, 8, 33});
}
