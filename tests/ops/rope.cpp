#include <doctest/doctest.h>

#include "support/backends.hpp"
#include "support/gradcheck.hpp"

using namespace smolvlm;
using namespace testing;

namespace {

Segments positions(Index past, Index n) { return Segments(Segments::Mask::causal, {{0, n, 0, past + n}}); }

/// Element i of a head of width K in the interleaved order (pairs 2i, 2i + 1) stands here in the half-split order.
Index half_split(Index i, Index K) { return i / 2 + i % 2 * (K / 2); }

/// The rotation as GGUF files mean it: element 2i of a head is paired with element 2i + 1.
HostTensor<double> interleaved_rope(const HostTensor<double>& x, Index heads, double theta) {
    HostTensor<double> y(x.shape());
    const Index K = x.dim(1) / heads;
    for (Index n = 0; n < x.dim(0); ++n)
        for (Index h = 0; h < heads; ++h)
            for (Index i = 0; i < K; i += 2) {
                const double angle = double(n) * std::pow(theta, -double(i) / double(K));
                const double a = x.view()(n, h * K + i), b = x.view()(n, h * K + i + 1);
                y.view()(n, h * K + i) = a * std::cos(angle) - b * std::sin(angle);
                y.view()(n, h * K + i + 1) = b * std::cos(angle) + a * std::sin(angle);
            }
    return y;
}

}  // namespace

TEST_CASE_TEMPLATE("rope: by pencil: element i turns with element i + K/2", B, SMOLVLM_TEST_BACKENDS) {
    B be;
    // K = 4, theta 100: pair (0, 2) turns by position * 1, pair (1, 3) by position * 100^(-1/2) = position / 10
    const auto y = be.rope(tensor(be, {1, 4}, {1, 1, 0, 0}), 1, 100, positions(2, 1));
    const HostTensor<double> expected({1, 4}, {std::cos(2.0), std::cos(0.2), std::sin(2.0), std::sin(0.2)});
    CHECK(departure(host(be, y), expected, rounding<B>(2)) == "");
}

TEST_CASE_TEMPLATE("rope: position 0 changes nothing", B, SMOLVLM_TEST_BACKENDS) {
    B be;
    const auto x = random(be, {1, 24}, 1);
    CHECK(inequality(host(be, be.rope(x, 3, 1e4, positions(0, 1))), host(be, x)) == "");
}

TEST_CASE_TEMPLATE("rope: keeps the length of every head", B, SMOLVLM_TEST_BACKENDS) {
    B be;
    const Index heads = 3, K = 8;
    const auto x = host(be, random(be, {5, heads * K}, 1));
    const auto y = host(be, be.rope(random(be, {5, heads * K}, 1), heads, 1e4, positions(1000, 5)));
    HostTensor<double> before({5, heads}), after({5, heads});
    for (Index n = 0; n < 5; ++n)
        for (Index h = 0; h < heads; ++h) {
            double a = 0, b = 0;
            for (Index i = h * K; i < (h + 1) * K; ++i) {
                a += x.view()(n, i) * x.view()(n, i);
                b += y.view()(n, i) * y.view()(n, i);
            }
            before.view()(n, h) = a;
            after.view()(n, h) = b;
        }
    CHECK(departure(after, before, rounding<B>(K)) == "");
}

TEST_CASE_TEMPLATE("rope: the product of a query and a key depends on their distance only", B, SMOLVLM_TEST_BACKENDS) {
    B be;
    const auto q = random(be, {1, 16}, 1), k = random(be, {1, 16}, 2);
    const auto product = [&](Index at_q, Index at_k) {
        const auto a = host(be, be.rope(q, 1, 1e4, positions(at_q, 1)));
        const auto b = host(be, be.rope(k, 1, 1e4, positions(at_k, 1)));
        double sum = 0;
        for (Index i = 0; i < 16; ++i) sum += a.data()[i] * b.data()[i];
        return HostTensor<double>({1}, {sum});
    };
    const auto near = product(7, 4);
    const double of_angles = 8000 * std::numeric_limits<double>::epsilon();  // angles grow to 8000, in double always
    for (Index shift : {1, 50, 1000, 8000})
        CHECK(departure(product(7 + shift, 4 + shift), near, rounding<B>(16) + of_angles) == "");
    CHECK(departure(product(8, 4), near, 1e-3) != "");
}

TEST_CASE_TEMPLATE("rope: a chunk at a position equals the same rows of the whole; segments count on their own", B,
                   SMOLVLM_TEST_BACKENDS) {
    B be;
    const auto whole = host(be, be.rope(random(be, {6, 8}, 1), 2, 1e4, positions(0, 6)));
    const auto chunk =
        be.rope(be.gather_rows(random(be, {6, 8}, 1), std::vector<std::int32_t>{4, 5}), 2, 1e4, positions(4, 2));
    CHECK(inequality(host(be, chunk),
                     HostTensor<double>({2, 8}, std::vector<double>(whole.data() + 32, whole.data() + 48))) == "");
    // Two sequences, one at past 4 and one at past 0, where the whole has rows 4, 5, 0.
    const Segments ragged(Segments::Mask::causal, {{0, 2, 0, 6}, {2, 1, 10, 1}});
    const auto mixed =
        be.rope(be.gather_rows(random(be, {6, 8}, 1), std::vector<std::int32_t>{4, 5, 0}), 2, 1e4, ragged);
    std::vector<double> expected(whole.data() + 32, whole.data() + 48);
    expected.insert(expected.end(), whole.data(), whole.data() + 8);
    CHECK(inequality(host(be, mixed), HostTensor<double>({3, 8}, expected)) == "");
}

TEST_CASE_TEMPLATE(
    "rope: half-split equals interleaved after permuting each head, also with fewer key than query heads", B,
    SMOLVLM_TEST_BACKENDS) {
    B be;
    const Index K = 6, T = 4;
    for (Index heads : {1, 2, 5}) {  // q and k are permuted with their own number of heads: H for q, G for k
        CAPTURE(heads);
        const auto x = converted<double>(random_tensor<float>({T, heads * K}, 1));
        const auto permuted = [&](const HostTensor<double>& from) {
            HostTensor<double> to(from.shape());
            for (Index n = 0; n < T; ++n)
                for (Index h = 0; h < heads; ++h)
                    for (Index i = 0; i < K; ++i) to.view()(n, h * K + half_split(i, K)) = from.view()(n, h * K + i);
            return to;
        };
        const auto turned =
            be.rope(be.from_host(converted<typename B::Scalar>(permuted(x))), heads, 1e4, positions(0, T));
        CHECK(departure(host(be, turned), permuted(interleaved_rope(x, heads, 1e4)), rounding<B>(2)) == "");
    }
}

TEST_CASE_TEMPLATE("rope: equals its definition far out in the context", B, SMOLVLM_TEST_BACKENDS) {
    for (Index K : {2, 4, 6, 16, 64})
        for (Index heads : {1, 3})
            for (double theta : {1e4, 1e5, 273768.0}) {
                CAPTURE(K);
                const auto op = [&](auto& be) {
                    return be.rope(random(be, {5, heads * K}, 1), heads, theta, positions(16000, 5));
                };
                CHECK(departs_from_definition<B>(op, rounding<B>(2)) == "");
            }
}

TEST_CASE_TEMPLATE("rope: what does not fit is refused", B, SMOLVLM_TEST_BACKENDS) {
    B be;
    const auto turn = [&](Shape x, Index heads) {
        return error_of([&] { be.rope(random(be, x, 1), heads, 1e4, positions(0, 2)); });
    };
    CHECK(turn({2, 6}, 2) == "rope: x is [2, 6], which is not a row of 2 heads of even width");
    CHECK(turn({2, 6}, 0) == "rope: x is [2, 6], which is not a row of 0 heads of even width");
    CHECK(turn({3, 4}, 2) == "rope: x has 3 rows but the segments have 2");
}

TEST_CASE("rope_vjp: is the derivative") {
    const Segments segments(Segments::Mask::causal, {{0, 2, 0, 5}, {2, 1, 5, 1}});
    const auto forward = [&](const Tensors& in) {
        HostTensor<double> y(in[0].shape());
        ref::rope(in[0].view(), 2, 100, segments, y.view());
        return y;
    };
    const auto vjp = [&](const Tensors&, const HostTensor<double>& dy, const Gradients& d) {
        ref::rope_vjp(2, 100, segments, dy.view(), d[0]);
    };
    CHECK(gradient_error({random_tensor<double>({3, 12}, 1)}, forward, vjp) == "");
}
