#include <doctest/doctest.h>

#include "support/backends.hpp"
#include "support/gradcheck.hpp"

using namespace smolvlm;
using namespace testing;

TEST_CASE_TEMPLATE("linear: y = x W^T + b by pencil", B, SMOLVLM_TEST_BACKENDS) {
    B be;
    // rows of W are outputs:  (1 2) . (5 6) + 1 = 18   (1 2) . (7 8) + 2 = 25;   (3 4): 39 + 1, 53 + 2
    const auto x = tensor(be, {2, 2}, {1, 2, 3, 4});
    const auto w = weight(be, {3, 2}, {5, 6, 7, 8, -1, 0});
    const auto with_bias = be.linear(x, w, tensor(be, {3}, {1, 2, 3}));
    CHECK(inequality(host(be, with_bias), HostTensor<double>({2, 3}, {18, 25, 2, 40, 55, 0})) == "");
    const auto without = be.linear(x, w, Tensor<B>{});
    CHECK(inequality(host(be, without), HostTensor<double>({2, 3}, {17, 23, -1, 39, 53, -3})) == "");
}

TEST_CASE_TEMPLATE("linear: equals its definition for every small size", B, SMOLVLM_TEST_BACKENDS) {
    for (Index N : {0, 1, 2, 3, 7, 17, 33})
        for (Index K : {1, 2, 5, 8, 31, 64, 65})
            for (Index M : {1, 3, 8, 33}) {
                CAPTURE(N);
                CAPTURE(K);
                CAPTURE(M);
                const auto op = [&](auto& be) {
                    return be.linear(random(be, {N, K}, 1), random_weight(be, {M, K}, 2), random(be, {M}, 3));
                };
                CHECK(departs_from_definition<B>(op, rounding<B>(K)) == "");
            }
}

TEST_CASE_TEMPLATE("linear: a row's result does not depend on the other rows of the batch", B, SMOLVLM_TEST_BACKENDS) {
    B be;
    const auto w = random_weight(be, {24, 40}, 2);
    const auto all = host(be, be.linear(random(be, {9, 40}, 1), w, Tensor<B>{}));
    const std::vector<std::int32_t> fifth{5};
    const auto one = host(be, be.linear(be.gather_rows(random(be, {9, 40}, 1), fifth), w, Tensor<B>{}));
    const std::vector<double> expected(all.data() + 5 * 24, all.data() + 6 * 24);
    CHECK(departure(one, HostTensor<double>({1, 24}, expected), rounding<B>(40)) == "");
}

TEST_CASE_TEMPLATE("linear: weights of every file dtype give what their widened values give", B,
                   SMOLVLM_TEST_BACKENDS) {
    B be;
    const auto matrix = HostWeight::from_tensor(random_tensor<float>({6, 64}, 2));
    const auto x = random(be, {3, 64}, 1), bias = random(be, {6}, 3);
    for (DType dtype : {DType::f64, DType::f32, DType::f16, DType::bf16, DType::q8_0, DType::q4_0, DType::q4_1}) {
        CAPTURE(std::string(info(dtype).name));
        const HostWeight stored = matrix.converted(dtype);
        Ref<double> definition;
        const auto wide = definition.make_weight(HostWeight::from_tensor(stored.to_tensor<double>()));
        const auto expected = definition.linear(random(definition, {3, 64}, 1), wide, random(definition, {6}, 3));
        CHECK(departure(host(be, be.linear(x, be.make_weight(stored), bias)), expected, rounding<B>(64)) == "");
    }
}

TEST_CASE_TEMPLATE("linear: operands that do not fit are refused with their shapes", B, SMOLVLM_TEST_BACKENDS) {
    B be;
    const auto x = random(be, {4, 5}, 1);
    const auto w = random_weight(be, {3, 6}, 2);
    CHECK(error_of([&] { be.linear(x, w, Tensor<B>{}); }) ==
          "linear: x is [4, 5] but the weight is [3, 6]; the last dimensions must match");
    CHECK(error_of([&] {
              be.linear(random(be, {5}, 1), random_weight(be, {3, 5}, 2), Tensor<B>{});
          }) == "linear: x is [5] but the weight is [3, 5]; the last dimensions must match");
    CHECK(error_of([&] {
              be.linear(random(be, {4, 6}, 1), w, random(be, {6}, 3));
          }) == "linear: bias is [6] but the weight is [3, 6]; one bias per output row is needed");
}

TEST_CASE("linear_vjp: is the derivative in x, w and b") {
    const auto forward = [](const Tensors& in) {
        HostTensor<double> y({3, 4});
        ref::linear(in[0].view(), HostWeight::from_tensor(in[1]), in[2].view(), y.view());
        return y;
    };
    const auto vjp = [](const Tensors& in, const HostTensor<double>& dy, const Gradients& d) {
        ref::linear_vjp(in[0].view(), HostWeight::from_tensor(in[1]), dy.view(), d[0], d[1], d[2]);
    };
    const Tensors inputs{random_tensor<double>({3, 5}, 1), random_tensor<double>({4, 5}, 2),
                         random_tensor<double>({4}, 3)};
    CHECK(gradient_error(inputs, forward, vjp) == "");
}

TEST_CASE("linear_vjp: gradients pass through a quantised weight to x") {
    const auto w = HostWeight::from_tensor(random_tensor<float>({4, 32}, 2)).converted(DType::q4_0);
    const auto forward = [&](const Tensors& in) {
        HostTensor<double> y({3, 4});
        ref::linear(in[0].view(), w, {}, y.view());
        return y;
    };
    const auto vjp = [&](const Tensors& in, const HostTensor<double>& dy, const Gradients& d) {
        ref::linear_vjp(in[0].view(), w, dy.view(), d[0], {}, {});
    };
    CHECK(gradient_error({random_tensor<double>({3, 32}, 1)}, forward, vjp) == "");
}
