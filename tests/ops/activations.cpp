#include <doctest/doctest.h>

#include "support/backends.hpp"
#include "support/gradcheck.hpp"

using namespace smolvlm;
using namespace testing;

TEST_CASE_TEMPLATE("gelu_tanh: known values, and it is the tanh form, not erf", B, SMOLVLM_TEST_BACKENDS) {
    B be;
    // x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), to 15 digits; the erf form would give 0.841344746068543 at 1.
    const auto y = be.gelu_tanh(tensor(be, {1, 4}, {0, 1, -1, 3}));
    const HostTensor<double> expected({1, 4}, {0, 0.841191990608276, -0.158808009391724, 2.99636260791823});
    CHECK(departure(host(be, y), expected, rounding<B>(1)) == "");
}

TEST_CASE_TEMPLATE("gelu_tanh: gelu(x) - gelu(-x) = x, and far out it is x or 0", B, SMOLVLM_TEST_BACKENDS) {
    B be;
    const auto x = random(be, {3, 41}, 1, 3);
    const auto minus_x = random(be, {3, 41}, 1, -3);
    const auto plus = host(be, be.gelu_tanh(x)), minus = host(be, be.gelu_tanh(minus_x));
    HostTensor<double> gap(plus.shape());
    for (Index i = 0; i < gap.numel(); ++i) gap.data()[i] = plus.data()[i] - minus.data()[i];
    CHECK(departure(gap, host(be, x), rounding<B>(2)) == "");
    const auto far = be.gelu_tanh(tensor(be, {1, 4}, {30, -30, 1e4, -1e4}));
    CHECK(inequality(host(be, far), HostTensor<double>({1, 4}, {30, 0, 1e4, 0})) == "");
}

TEST_CASE_TEMPLATE("silu_mul: by pencil, and no NaN far out", B, SMOLVLM_TEST_BACKENDS) {
    B be;
    // silu(ln 3) = ln 3 * 3/4
    const double ln3 = std::log(3.0);
    const auto y = be.silu_mul(tensor(be, {1, 5}, {0, ln3, -ln3, 1000, -1000}), tensor(be, {1, 5}, {5, 4, 4, 2, 2}));
    const HostTensor<double> expected({1, 5}, {0, 3 * ln3, -ln3, 2000, 0});
    CHECK(departure(host(be, y), expected, rounding<B>(1)) == "");
}

TEST_CASE_TEMPLATE("silu_mul: silu(x) - silu(-x) = x", B, SMOLVLM_TEST_BACKENDS) {
    B be;
    std::vector<double> ones(87, 1);
    const auto up = tensor(be, {3, 29}, ones);
    const auto plus = host(be, be.silu_mul(random(be, {3, 29}, 1, 4), up));
    const auto minus = host(be, be.silu_mul(random(be, {3, 29}, 1, -4), up));
    HostTensor<double> gap(plus.shape());
    for (Index i = 0; i < gap.numel(); ++i) gap.data()[i] = plus.data()[i] - minus.data()[i];
    CHECK(departure(gap, host(be, random(be, {3, 29}, 1, 4)), rounding<B>(2)) == "");
}

TEST_CASE_TEMPLATE("add_to: adds in place, a tensor to itself too", B, SMOLVLM_TEST_BACKENDS) {
    B be;
    auto x = tensor(be, {2, 2}, {1, 2, 3, 4});
    be.add_to(x, tensor(be, {2, 2}, {10, 20, 30, 40}));
    CHECK(inequality(host(be, x), HostTensor<double>({2, 2}, {11, 22, 33, 44})) == "");
    be.add_to(x, x);
    CHECK(inequality(host(be, x), HostTensor<double>({2, 2}, {22, 44, 66, 88})) == "");
}

TEST_CASE_TEMPLATE("activations: equal their definitions for every size", B, SMOLVLM_TEST_BACKENDS) {
    for (Index n : {0, 1, 7, 8, 9, 15, 16, 17, 31, 33, 1000, 4099}) {
        CAPTURE(n);
        const auto gelu = [&](auto& be) { return be.gelu_tanh(random(be, {1, n}, 1, 3)); };
        const auto swiglu = [&](auto& be) { return be.silu_mul(random(be, {1, n}, 1, 3), random(be, {1, n}, 2)); };
        const auto sum = [&](auto& be) {
            auto x = random(be, {n, 1}, 1);
            be.add_to(x, random(be, {n, 1}, 2));
            return x;
        };
        CHECK(departs_from_definition<B>(gelu, rounding<B>(1)) == "");
        CHECK(departs_from_definition<B>(swiglu, rounding<B>(1)) == "");
        CHECK(departs_from_definition<B>(sum, rounding<B>(1)) == "");
    }
}

TEST_CASE_TEMPLATE("activations: operands of different shapes are refused", B, SMOLVLM_TEST_BACKENDS) {
    B be;
    auto x = random(be, {2, 3}, 1);
    CHECK(error_of([&] {
              be.silu_mul(x, random(be, {3, 2}, 1));
          }) == "silu_mul: operands are [2, 3] and [3, 2]; they must be equal");
    CHECK(error_of([&] { be.add_to(x, random(be, {2}, 1)); }) ==
          "add_to: operands are [2, 3] and [2]; they must be equal");
}

TEST_CASE("gelu_tanh_vjp and silu_mul_vjp: are the derivatives") {
    const auto gelu = [](const Tensors& in) {
        HostTensor<double> y(in[0].shape());
        ref::gelu_tanh(in[0].view(), y.view());
        return y;
    };
    const auto gelu_vjp = [](const Tensors& in, const HostTensor<double>& dy, const Gradients& d) {
        ref::gelu_tanh_vjp(in[0].view(), dy.view(), d[0]);
    };
    CHECK(gradient_error({random_tensor<double>({4, 5}, 1, 2)}, gelu, gelu_vjp) == "");

    const auto swiglu = [](const Tensors& in) {
        HostTensor<double> y(in[0].shape());
        ref::silu_mul(in[0].view(), in[1].view(), y.view());
        return y;
    };
    const auto swiglu_vjp = [](const Tensors& in, const HostTensor<double>& dy, const Gradients& d) {
        ref::silu_mul_vjp(in[0].view(), in[1].view(), dy.view(), d[0], d[1]);
    };
    CHECK(gradient_error({random_tensor<double>({4, 5}, 1, 2), random_tensor<double>({4, 5}, 2)}, swiglu, swiglu_vjp) ==
          "");
}
