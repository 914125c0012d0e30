#include <doctest/doctest.h>

#include "support/backends.hpp"
#include "support/gradcheck.hpp"

using namespace smolvlm;
using namespace testing;

TEST_CASE_TEMPLATE("layer_norm: by pencil", B, SMOLVLM_TEST_BACKENDS) {
    B be;
    // (1, 3): mean 2, variance 1; 1 + eps 3 = 4, so (-1, 1) / 2; times (2, 4) plus (10, 20)
    const auto x = tensor(be, {1, 2}, {1, 3}), weight = tensor(be, {2}, {2, 4});
    const auto y = be.layer_norm(x, weight, tensor(be, {2}, {10, 20}), 3);
    CHECK(departure(host(be, y), HostTensor<double>({1, 2}, {9, 22}), rounding<B>(2)) == "");
    const auto without_bias = be.layer_norm(x, weight, Tensor<B>{}, 3);
    CHECK(departure(host(be, without_bias), HostTensor<double>({1, 2}, {-1, 2}), rounding<B>(2)) == "");
}

TEST_CASE_TEMPLATE("layer_norm: adding a constant to a row, or scaling it (eps = 0), changes nothing", B,
                   SMOLVLM_TEST_BACKENDS) {
    B be;
    const auto weight = random(be, {29}, 2), bias = random(be, {29}, 3);
    const auto x = random_tensor<float>({2, 29}, 1);
    auto moved = x;
    moved = HostTensor<float>(x.shape());
    for (Index i = 0; i < x.numel(); ++i) moved.data()[i] = 2 * x.data()[i] + 5;
    const auto of = [&](const HostTensor<float>& rows) {
        return host(be, be.layer_norm(be.from_host(converted<typename B::Scalar>(rows)), weight, bias, 0));
    };
    CHECK(departure(of(moved), of(x), 1e-6) == "");  // adding 5 rounded the float inputs themselves
}

TEST_CASE_TEMPLATE("layer_norm: a constant row becomes the bias", B, SMOLVLM_TEST_BACKENDS) {
    B be;
    const auto bias = random(be, {4}, 3);
    const auto y = be.layer_norm(tensor(be, {1, 4}, {7, 7, 7, 7}), random(be, {4}, 2), bias, 1e-6);
    CHECK(inequality(host(be, y), host(be, bias).reshaped({1, 4})) == "");
}

TEST_CASE_TEMPLATE("layer_norm: equals its definition for every width", B, SMOLVLM_TEST_BACKENDS) {
    for (Index N : {0, 1, 3})
        for (Index D : {1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 64, 100, 768}) {
            CAPTURE(D);
            const auto op = [&](auto& be) {
                return be.layer_norm(random(be, {N, D}, 1), random(be, {D}, 2), random(be, {D}, 3), 1e-6);
            };
            CHECK(departs_from_definition<B>(op, rounding<B>(D)) == "");
        }
}

TEST_CASE_TEMPLATE("layer_norm: a large mean does not spoil the variance", B, SMOLVLM_TEST_BACKENDS) {
    // E[x^2] - E[x]^2 would lose all digits here; the definition subtracts the mean first.
    B be;
    const auto y = be.layer_norm(tensor(be, {1, 4}, {4096, 4097, 4098, 4099}), tensor(be, {4}, {1, 1, 1, 1}),
                                 tensor(be, {4}, {0, 0, 0, 0}), 0);
    const double a = 3 / std::sqrt(5.0), b = 1 / std::sqrt(5.0);
    CHECK(departure(host(be, y), HostTensor<double>({1, 4}, {-a, -b, b, a}), rounding<B>(4)) == "");
}

TEST_CASE_TEMPLATE("layer_norm: a weight or bias that does not fit is refused", B, SMOLVLM_TEST_BACKENDS) {
    B be;
    CHECK(error_of([&] {
              be.layer_norm(random(be, {2, 6}, 1), random(be, {5}, 1), random(be, {5}, 1), 1e-6);
          }) == "layer_norm: weight is [5] but x is [2, 6]; the last dimension must match");
    CHECK(error_of([&] {
              be.layer_norm(random(be, {2, 6}, 1), random(be, {6}, 1), random(be, {5}, 1), 1e-6);
          }) == "layer_norm: bias is [5] but weight is [6]");
}

TEST_CASE("layer_norm_vjp: is the derivative in x, w and b") {
    const auto forward = [](const Tensors& in) {
        HostTensor<double> y({3, 5});
        ref::layer_norm(in[0].view(), in[1].view(), in[2].view(), 1e-2, y.view());
        return y;
    };
    const auto vjp = [](const Tensors& in, const HostTensor<double>& dy, const Gradients& d) {
        ref::layer_norm_vjp(in[0].view(), in[1].view(), 1e-2, dy.view(), d[0], d[1], d[2]);
    };
    const Tensors inputs{random_tensor<double>({3, 5}, 1), random_tensor<double>({5}, 2),
                         random_tensor<double>({5}, 3)};
    CHECK(gradient_error(inputs, forward, vjp) == "");
}
