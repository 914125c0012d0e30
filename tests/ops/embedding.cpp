#include <doctest/doctest.h>

#include "support/backends.hpp"
#include "support/gradcheck.hpp"

using namespace smolvlm;
using namespace testing;

TEST_CASE_TEMPLATE("embedding: picks rows of the table, in the order of the ids", B, SMOLVLM_TEST_BACKENDS) {
    B be;
    const auto table = weight(be, {3, 2}, {1, 2, 3, 4, 5, 6});
    const auto y = be.embedding(table, std::vector<std::int32_t>{2, 0, 2});
    CHECK(inequality(host(be, y), HostTensor<double>({3, 2}, {5, 6, 1, 2, 5, 6})) == "");
}

TEST_CASE_TEMPLATE("embedding: is linear of one-hot rows with the transposed table", B, SMOLVLM_TEST_BACKENDS) {
    B be;
    HostTensor<float> table = random_tensor<float>({7, 5}, 1), transposed({5, 7});
    for (Index v = 0; v < 7; ++v)
        for (Index d = 0; d < 5; ++d) transposed.view()(d, v) = table.view()(v, d);
    const std::vector<std::int32_t> ids{6, 3, 0, 3};
    HostTensor<double> one_hot = HostTensor<double>::zeros({4, 7});
    for (Index n = 0; n < 4; ++n) one_hot.view()(n, ids[static_cast<std::size_t>(n)]) = 1;
    const auto looked_up = be.embedding(be.make_weight(HostWeight::from_tensor(table)), ids);
    const auto multiplied = be.linear(be.from_host(converted<typename B::Scalar>(one_hot)),
                                      be.make_weight(HostWeight::from_tensor(transposed)), Tensor<B>{});
    CHECK(inequality(host(be, looked_up), host(be, multiplied)) == "");
}

TEST_CASE_TEMPLATE("embedding: tables of every file dtype are widened exactly", B, SMOLVLM_TEST_BACKENDS) {
    B be;
    const auto table = HostWeight::from_tensor(random_tensor<float>({5, 32}, 2));
    const std::vector<std::int32_t> ids{4, 1, 1};
    for (DType dtype : {DType::f32, DType::f16, DType::bf16, DType::q8_0, DType::q4_0, DType::q4_1}) {
        CAPTURE(std::string(info(dtype).name));
        const HostWeight stored = table.converted(dtype);
        const auto values = stored.to_tensor<double>();
        HostTensor<double> expected({3, 32});
        for (std::size_t n = 0; n < ids.size(); ++n)
            std::ranges::copy(values.view().row(ids[n]), expected.view().row(static_cast<Index>(n)).begin());
        CHECK(inequality(host(be, be.embedding(be.make_weight(stored), ids)), expected) == "");
    }
}

TEST_CASE_TEMPLATE("embedding: no ids give no rows", B, SMOLVLM_TEST_BACKENDS) {
    B be;
    CHECK(be.embedding(random_weight(be, {3, 4}, 1), {}).shape() == Shape{0, 4});
}

TEST_CASE_TEMPLATE("embedding: an id outside the table is refused with its position", B, SMOLVLM_TEST_BACKENDS) {
    B be;
    const auto table = random_weight(be, {3, 4}, 1);
    CHECK(error_of([&] {
              be.embedding(table, std::vector<std::int32_t>{0, 3});
          }) == "embedding: id 3 at position 1 is outside the table of 3 rows");
    CHECK(error_of([&] { be.embedding(table, std::vector<std::int32_t>{-1}); }) ==
          "embedding: id -1 at position 0 is outside the table of 3 rows");
}

TEST_CASE("embedding_vjp: is the derivative in the table; a row read twice gets both gradients") {
    const std::vector<std::int32_t> ids{2, 0, 2, 4};
    const auto forward = [&](const Tensors& in) {
        HostTensor<double> y({4, 3});
        ref::embedding(HostWeight::from_tensor(in[0]), ids, y.view());
        return y;
    };
    const auto vjp = [&](const Tensors&, const HostTensor<double>& dy, const Gradients& d) {
        ref::embedding_vjp(ids, dy.view(), d[0]);
    };
    CHECK(gradient_error({random_tensor<double>({5, 3}, 1)}, forward, vjp) == "");
}
