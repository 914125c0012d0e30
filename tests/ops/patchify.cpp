#include <doctest/doctest.h>

#include "support/backends.hpp"
#include "support/gradcheck.hpp"

using namespace smolvlm;
using namespace testing;

TEST_CASE_TEMPLATE("patchify: by pencil: patches row by row, each channel first", B, SMOLVLM_TEST_BACKENDS) {
    B be;
    // Two channels of 2x5 pixels, p = 2: two patches; the fifth column is dropped.
    const auto x = tensor(be, {1, 2, 2, 5}, {0,  1,  2,  3,  4,   //
                                             5,  6,  7,  8,  9,   //
                                             10, 11, 12, 13, 14,  //
                                             15, 16, 17, 18, 19});
    const HostTensor<double> expected({2, 8}, {0, 1, 5, 6, 10, 11, 15, 16,  //
                                               2, 3, 7, 8, 12, 13, 17, 18});
    CHECK(inequality(host(be, be.patchify(x, 2)), expected) == "");
}

TEST_CASE_TEMPLATE("patchify: followed by linear is the convolution with kernel = stride = p", B,
                   SMOLVLM_TEST_BACKENDS) {
    B be;
    const Index I = 2, C = 3, height = 7, width = 10, p = 3, D = 4;
    const auto pixels = random_tensor<float>({I, C, height, width}, 1), kernel = random_tensor<float>({D, C, p, p}, 2);
    const Index rows = height / p, cols = width / p;
    HostTensor<double> expected({I * rows * cols, D});
    for (Index i = 0; i < I; ++i)
        for (Index d = 0; d < D; ++d)
            for (Index Y = 0; Y < rows; ++Y)
                for (Index X = 0; X < cols; ++X) {
                    double sum = 0;
                    for (Index c = 0; c < C; ++c)
                        for (Index a = 0; a < p; ++a)
                            for (Index b = 0; b < p; ++b)
                                sum += double(kernel.view()(d, c, a, b)) *
                                       double(pixels.view()(i, c, Y * p + a, X * p + b));
                    expected.view()((i * rows + Y) * cols + X, d) = sum;
                }
    const auto matrix = be.make_weight(HostWeight::from_tensor(kernel).reshaped({D, C * p * p}));
    const auto patches = be.patchify(random(be, {I, C, height, width}, 1), p);
    CHECK(departure(host(be, be.linear(patches, matrix, Tensor<B>{})), expected, rounding<B>(C * p * p)) == "");
}

TEST_CASE_TEMPLATE("patchify: equals its definition, whole patches or not", B, SMOLVLM_TEST_BACKENDS) {
    for (Index p : {1, 2, 3, 8, 14})
        for (Index height : {14, 28, 31})
            for (Index width : {14, 17, 32}) {
                const auto op = [&](auto& be) { return be.patchify(random(be, {2, 3, height, width}, 1), p); };
                CHECK(departs_from_definition<B>(op, 0) == "");
            }
}

TEST_CASE_TEMPLATE("patchify: pictures smaller than a patch have none; other ranks are refused", B,
                   SMOLVLM_TEST_BACKENDS) {
    B be;
    CHECK(be.patchify(random(be, {2, 3, 4, 9}, 1), 5).shape() == Shape{0, 75});
    CHECK(error_of([&] {
              be.patchify(random(be, {3, 4, 4}, 1), 2);
          }) == "patchify: x is [3, 4, 4] and the patch edge 2; [I, C, height, width] and a positive edge are needed");
    CHECK(error_of([&] {
              be.patchify(random(be, {1, 3, 4, 4}, 1), 0);
          }) ==
          "patchify: x is [1, 3, 4, 4] and the patch edge 0; [I, C, height, width] and a positive edge are needed");
}

TEST_CASE("patchify_vjp: is the derivative; dropped pixels get none") {
    const auto forward = [](const Tensors& in) {
        HostTensor<double> y({2 * 2 * 1, 2 * 4});
        ref::patchify(in[0].view(), 2, y.view());
        return y;
    };
    const auto vjp = [](const Tensors&, const HostTensor<double>& dy, const Gradients& d) {
        ref::patchify_vjp(2, dy.view(), d[0]);
    };
    CHECK(gradient_error({random_tensor<double>({2, 2, 5, 3}, 1)}, forward, vjp) == "");
}
