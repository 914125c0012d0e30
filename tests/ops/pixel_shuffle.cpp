#include <doctest/doctest.h>

#include "support/backends.hpp"
#include "support/gradcheck.hpp"

using namespace smolvlm;
using namespace testing;

TEST_CASE_TEMPLATE("pixel_shuffle: by pencil: squares become tokens, corners row by row, channels innermost", B,
                   SMOLVLM_TEST_BACKENDS) {
    B be;
    // The picture of the definition: a 4x4 grid a..p of one channel, s = 2.
    std::vector<double> letters(16);
    for (std::size_t i = 0; i < 16; ++i) letters[i] = double(i);
    const auto y = be.pixel_shuffle(tensor(be, {16, 1}, letters), 4, 4, 2);
    CHECK(inequality(host(be, y), HostTensor<double>({4, 4}, {0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15})) ==
          "");
    // Two channels, a 2x2 grid: one token of the four patches, each with its channels together.
    const auto two = be.pixel_shuffle(tensor(be, {4, 2}, {1, -1, 2, -2, 3, -3, 4, -4}), 2, 2, 2);
    CHECK(inequality(host(be, two), HostTensor<double>({1, 8}, {1, -1, 2, -2, 3, -3, 4, -4})) == "");
}

TEST_CASE_TEMPLATE("pixel_shuffle: is a permutation: every number comes back once", B, SMOLVLM_TEST_BACKENDS) {
    B be;
    for (Index s : {1, 2, 3, 4}) {
        CAPTURE(s);
        const Index images = 2, rows = 2 * s, cols = 3 * s, D = 2, n = images * rows * cols * D;
        std::vector<double> numbers(static_cast<std::size_t>(n));
        for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = double(i);
        const auto y = host(be, be.pixel_shuffle(tensor(be, {n / D, D}, numbers), rows, cols, s));
        CHECK(y.shape() == Shape{images * 6, s * s * D});
        std::vector<double> sorted(y.flat().begin(), y.flat().end());
        std::ranges::sort(sorted);
        CHECK(sorted == numbers);
    }
}

TEST_CASE_TEMPLATE("pixel_shuffle: follows transformers' two views and permutes", B, SMOLVLM_TEST_BACKENDS) {
    // x [height, width, D] -> view [height, width/s, D*s] -> transpose the first two -> view [width/s, height/s, D*s*s]
    // -> transpose back: modeling_smolvlm.py, SmolVLMConnector.pixel_shuffle.
    B be;
    const Index height = 6, width = 6, D = 5, s = 3, wide = width / s, high = height / s;
    const auto x = host(be, random(be, {height * width, D}, 1));
    HostTensor<double> expected({high * wide, s * s * D});
    for (Index a = 0; a < wide; ++a)
        for (Index row = 0; row < height; ++row)
            for (Index e = 0; e < D * s; ++e) {  // element e of [width/s a, row], after the first transpose
                const double value = x.data()[(row * wide + a) * D * s + e];
                expected.view()(row / s * wide + a, row % s * D * s + e) = value;
            }
    CHECK(inequality(host(be, be.pixel_shuffle(random(be, {height * width, D}, 1), height, width, s)), expected) == "");
}

TEST_CASE_TEMPLATE("pixel_shuffle: equals its definition", B, SMOLVLM_TEST_BACKENDS) {
    for (Index s : {1, 2, 3, 4})
        for (Index D : {1, 7, 16}) {
            const auto op = [&](auto& be) { return be.pixel_shuffle(random(be, {3 * 12 * 24, D}, 1), 12, 24, s); };
            CHECK(departs_from_definition<B>(op, 0) == "");
        }
}

TEST_CASE_TEMPLATE("pixel_shuffle: grids that do not divide are refused", B, SMOLVLM_TEST_BACKENDS) {
    B be;
    const auto shuffle = [&](Shape x, Index rows, Index cols, Index s) {
        return error_of([&] { be.pixel_shuffle(random(be, x, 1), rows, cols, s); });
    };
    CHECK(shuffle({27, 2}, 5, 5, 2) == "pixel_shuffle: x is [27, 2], which is no whole number of 5x5 grids");
    CHECK(shuffle({25, 2}, 5, 5, 2) == "pixel_shuffle: the grid 5x5 is not divisible by 2");
    CHECK(shuffle({25, 2}, 5, 5, 0) == "pixel_shuffle: the grid 5x5 is not divisible by 0");
    CHECK(shuffle({0, 2}, 0, 5, 1) == "pixel_shuffle: x is [0, 2], which is no whole number of 0x5 grids");
}

TEST_CASE("pixel_shuffle_vjp: is the derivative, and undoes the permutation") {
    const auto forward = [](const Tensors& in) {
        HostTensor<double> y({2 * 4, 4 * 3});
        ref::pixel_shuffle(in[0].view(), 2, 8, 2, y.view());
        return y;
    };
    const auto vjp = [](const Tensors&, const HostTensor<double>& dy, const Gradients& d) {
        ref::pixel_shuffle_vjp(2, 8, 2, dy.view(), d[0]);
    };
    CHECK(gradient_error({random_tensor<double>({32, 3}, 1)}, forward, vjp) == "");

    const Tensors x{random_tensor<double>({32, 3}, 1)};
    auto back = HostTensor<double>::zeros({32, 3});
    vjp(x, forward(x), {back.view()});
    CHECK(inequality(back, x[0]) == "");
}
