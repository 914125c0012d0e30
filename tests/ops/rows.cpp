#include <doctest/doctest.h>

#include "support/backends.hpp"
#include "support/gradcheck.hpp"

using namespace smolvlm;
using namespace testing;
using Int32s = std::vector<std::int32_t>;

TEST_CASE_TEMPLATE("gather_rows: picks rows in the order of the ids", B, SMOLVLM_TEST_BACKENDS) {
    B be;
    const auto y = be.gather_rows(tensor(be, {3, 2}, {1, 2, 3, 4, 5, 6}), Int32s{1, 1, 0});
    CHECK(inequality(host(be, y), HostTensor<double>({3, 2}, {3, 4, 3, 4, 1, 2})) == "");
}

TEST_CASE_TEMPLATE("scatter_rows: replaces rows and leaves the others", B, SMOLVLM_TEST_BACKENDS) {
    B be;
    auto x = tensor(be, {3, 2}, {1, 2, 3, 4, 5, 6});
    be.scatter_rows(x, Int32s{2, 0}, tensor(be, {2, 2}, {7, 8, 9, 10}));
    CHECK(inequality(host(be, x), HostTensor<double>({3, 2}, {9, 10, 3, 4, 7, 8})) == "");
}

TEST_CASE_TEMPLATE("scatter_rows undoes gather_rows of a permutation", B, SMOLVLM_TEST_BACKENDS) {
    B be;
    const auto x = random(be, {5, 3}, 1);
    const Int32s order{3, 1, 4, 0, 2};
    auto back = be.zeros({5, 3});
    be.scatter_rows(back, order, be.gather_rows(x, order));
    CHECK(inequality(host(be, back), host(be, x)) == "");
}

TEST_CASE_TEMPLATE("write_rows: the new rows become the last n keys of their segment", B, SMOLVLM_TEST_BACKENDS) {
    B be;
    // Two sequences, caches of capacity 4: the first has 1 token and gets 2, the second has 2 and gets 1.
    const Segments segments(Segments::Mask::causal, {{0, 2, 0, 3}, {2, 1, 4, 3}});
    auto slab = be.make_slabs(1, {8, 1})[0];
    be.write_rows(slab, segments, tensor(be, {3, 1}, {10, 11, 20}));
    CHECK(inequality(first_rows(be, slab, 8), HostTensor<double>({8, 1}, {0, 10, 11, 0, 0, 0, 20, 0})) == "");
}

TEST_CASE_TEMPLATE("ops that write into an operand copy it first when somebody else holds it", B,
                   SMOLVLM_TEST_BACKENDS) {
    B be;
    const auto held = random(be, {3, 2}, 1);
    const auto before = host(be, held);
    auto x = held;
    be.scatter_rows(x, Int32s{1}, random(be, {1, 2}, 2));
    CHECK(inequality(host(be, held), before) == "");
    CHECK(inequality(host(be, x), before) != "");
    x = held;
    be.add_to(x, held);
    CHECK(inequality(host(be, held), before) == "");
    CHECK(inequality(host(be, x), before) != "");
    const auto held_slab = slab_of(be, held);
    auto slab = held_slab;
    be.write_rows(slab, Segments(Segments::Mask::causal, {{0, 1, 0, 2}}), random(be, {1, 2}, 2));
    CHECK(inequality(first_rows(be, held_slab, 3), before) == "");
    CHECK(inequality(first_rows(be, slab, 3), before) != "");
}

TEST_CASE_TEMPLATE("rows: what does not fit is refused with its shapes", B, SMOLVLM_TEST_BACKENDS) {
    B be;
    auto x = random(be, {3, 2}, 1);
    CHECK(error_of([&] {
              be.gather_rows(x, Int32s{0, 7});
          }) == "gather_rows: id 7 at position 1 is outside the table of 3 rows");
    CHECK(error_of([&] { be.gather_rows(random(be, {3}, 1), Int32s{0}); }) ==
          "gather_rows: the table is [3], two dimensions are needed");
    CHECK(error_of([&] {
              be.scatter_rows(x, Int32s{0, 1}, random(be, {1, 2}, 1));
          }) == "scatter_rows: 2 places in [3, 2] but the new rows are [1, 2]");
    CHECK(error_of([&] {
              be.scatter_rows(x, Int32s{3}, random(be, {1, 2}, 1));
          }) == "scatter_rows: id 3 at position 0 is outside the table of 3 rows");
    const Segments two(Segments::Mask::causal, {{0, 2, 0, 4}});
    auto slab = be.make_slabs(1, {3, 2})[0];
    CHECK(error_of([&] {
              be.write_rows(slab, two, random(be, {3, 2}, 1));
          }) == "write_rows: rows are [3, 2] but 2 new rows go into a slab of [3, 2]");
    CHECK(error_of([&] {
              be.write_rows(slab, two, random(be, {2, 2}, 1));
          }) == "write_rows: key row 3 is outside the slab of 3 rows");
}

TEST_CASE("gather_rows_vjp: is the derivative; a row gathered twice gets both gradients") {
    const Int32s ids{1, 3, 1};
    const auto forward = [&](const Tensors& in) {
        HostTensor<double> y({3, 2});
        ref::gather_rows(in[0].view(), ids, y.view());
        return y;
    };
    const auto vjp = [&](const Tensors&, const HostTensor<double>& dy, const Gradients& d) {
        ref::gather_rows_vjp(ids, dy.view(), d[0]);
    };
    CHECK(gradient_error({random_tensor<double>({4, 2}, 1)}, forward, vjp) == "");
}

TEST_CASE("scatter_rows_vjp: is the derivative in the text and in the rows, also when two rows go to one place") {
    for (const Int32s& ids : {Int32s{3, 0}, Int32s{2, 2}}) {
        const auto forward = [&](const Tensors& in) {
            HostTensor<double> y({4, 2});
            std::ranges::copy(in[0].flat(), y.data());
            ref::scatter_rows(y.view(), ids, in[1].view());
            return y;
        };
        const auto vjp = [&](const Tensors&, const HostTensor<double>& dy, const Gradients& d) {
            ref::scatter_rows_vjp(ids, dy.view(), d[0], d[1]);
        };
        CHECK(gradient_error({random_tensor<double>({4, 2}, 1), random_tensor<double>({2, 2}, 2)}, forward, vjp) == "");
    }
}
