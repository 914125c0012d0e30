#include <doctest/doctest.h>

#include "support/backends.hpp"
#include "support/gradcheck.hpp"

using namespace smolvlm;
using namespace testing;

TEST_CASE_TEMPLATE("rms_norm: by pencil", B, SMOLVLM_TEST_BACKENDS) {
    B be;
    // mean of squares of (3, 4) is 12.5, and 12.5 + eps 3.5 = 16: the row is divided by 4, then weighted by (2, -1)
    const auto y = be.rms_norm(tensor(be, {1, 2}, {3, 4}), tensor(be, {2}, {2, -1}), 3.5);
    CHECK(departure(host(be, y), HostTensor<double>({1, 2}, {1.5, -1}), rounding<B>(2)) == "");
}

TEST_CASE_TEMPLATE("rms_norm: eps stands inside the root: a row of zeros gives zeros, not NaN", B,
                   SMOLVLM_TEST_BACKENDS) {
    B be;
    const auto y = be.rms_norm(be.zeros({2, 8}), random(be, {8}, 1), 1e-5);
    CHECK(inequality(host(be, y), HostTensor<double>::zeros({2, 8})) == "");
    // A row of the size of eps: mean square 1e-6 + eps 3e-6 = 4e-6, so 1e-3 becomes 1/2. Outside the root it would be
    // near 1.
    const auto small = be.rms_norm(tensor(be, {1, 2}, {1e-3, -1e-3}), tensor(be, {2}, {1, 1}), 3e-6);
    CHECK(departure(host(be, small), HostTensor<double>({1, 2}, {0.5, -0.5}), rounding<B>(2)) == "");
}

TEST_CASE_TEMPLATE("rms_norm: scaling x by c > 0 leaves y unchanged (eps = 0)", B, SMOLVLM_TEST_BACKENDS) {
    B be;
    const auto weight = random(be, {37}, 2);
    const auto y = host(be, be.rms_norm(random(be, {3, 37}, 1), weight, 0));
    const auto of_scaled = host(be, be.rms_norm(random(be, {3, 37}, 1, 64), weight, 0));
    CHECK(departure(of_scaled, y, rounding<B>(37)) == "");
}

TEST_CASE_TEMPLATE("rms_norm: equals its definition for every width", B, SMOLVLM_TEST_BACKENDS) {
    for (Index N : {0, 1, 3})
        for (Index D : {1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 64, 100, 576}) {
            CAPTURE(D);
            const auto op = [&](auto& be) { return be.rms_norm(random(be, {N, D}, 1), random(be, {D}, 2), 1e-5); };
            CHECK(departs_from_definition<B>(op, rounding<B>(D)) == "");
        }
}

TEST_CASE_TEMPLATE("rms_norm: a weight that does not fit is refused", B, SMOLVLM_TEST_BACKENDS) {
    B be;
    CHECK(error_of([&] {
              be.rms_norm(random(be, {2, 6}, 1), random(be, {5}, 1), 1e-5);
          }) == "rms_norm: weight is [5] but x is [2, 6]; the last dimension must match");
}

TEST_CASE("rms_norm_vjp: is the derivative in x and w") {
    const auto forward = [](const Tensors& in) {
        HostTensor<double> y({3, 5});
        ref::rms_norm(in[0].view(), in[1].view(), 1e-2, y.view());
        return y;
    };
    const auto vjp = [](const Tensors& in, const HostTensor<double>& dy, const Gradients& d) {
        ref::rms_norm_vjp(in[0].view(), in[1].view(), 1e-2, dy.view(), d[0], d[1]);
    };
    CHECK(gradient_error({random_tensor<double>({3, 5}, 1), random_tensor<double>({5}, 2)}, forward, vjp) == "");
}
