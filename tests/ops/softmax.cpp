#include <doctest/doctest.h>

#include <smolvlm/ref/softmax.hpp>

#include "support/gradcheck.hpp"

using namespace smolvlm;
using namespace testing;

namespace {

template <class T>
std::vector<T> softmax(std::vector<T> a) {
    ref::softmax_in_place(std::span(a));
    return a;
}

}  // namespace

TEST_CASE_TEMPLATE("softmax: by pencil", T, double, float) {
    // e^0 : e^ln 3 = 1 : 3
    const auto a = softmax<T>({T(0), std::log(T(3))});
    CHECK(a[0] == doctest::Approx(0.25).epsilon(1e-6));
    CHECK(a[1] == doctest::Approx(0.75).epsilon(1e-6));
    CHECK(softmax<T>({T(-7)}) == std::vector<T>{1});
    CHECK(softmax<T>({}).empty());
}

TEST_CASE_TEMPLATE("softmax: sums to one and ignores a shift, also one that exp could not hold", T, double, float) {
    const std::vector<T> scores{T(1), T(-2), T(0.5), T(3)};
    const auto a = softmax(scores);
    CHECK(a[0] + a[1] + a[2] + a[3] == doctest::Approx(1).epsilon(1e-6));
    for (T shift : {T(8), T(-64), T(1024), T(-1024)}) {  // exact in both types
        std::vector<T> shifted = scores;
        for (T& score : shifted) score += shift;
        CHECK(softmax(shifted) == a);
    }
}

TEST_CASE("softmax_vjp: is the derivative") {
    const auto forward = [](const Tensors& in) {
        HostTensor<double> y({6});
        std::ranges::copy(in[0].flat(), y.data());
        ref::softmax_in_place(y.flat());
        return y;
    };
    const auto vjp = [&](const Tensors& in, const HostTensor<double>& dy, const Gradients& d) {
        const HostTensor<double> a = forward(in);
        std::vector<double> da(dy.flat().begin(), dy.flat().end());
        ref::softmax_vjp_in_place(a.flat(), std::span(da));
        for (std::size_t i = 0; i < da.size(); ++i) d[0].data()[i] += da[i];
    };
    CHECK(gradient_error({random_tensor<double>({6}, 1)}, forward, vjp) == "");
}
