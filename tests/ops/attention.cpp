#include <doctest/doctest.h>

#include "support/backends.hpp"
#include "support/gradcheck.hpp"

using namespace smolvlm;
using namespace testing;
using Mask = Segments::Mask;

namespace {

Segments one_sequence(Mask mask, Index n, Index past = 0) { return Segments(mask, {{0, n, 0, past + n}}); }

std::vector<std::int32_t> range(Index begin, Index end) {
    std::vector<std::int32_t> ids;
    for (Index i = begin; i < end; ++i) ids.push_back(static_cast<std::int32_t>(i));
    return ids;
}

}  // namespace

TEST_CASE_TEMPLATE("attention: by pencil", B, SMOLVLM_TEST_BACKENDS) {
    B be;
    // K = 1. Scores of the only query are (0, ln 3), so the weights are 1/4 and 3/4: 1/4 * 8 + 3/4 * 4 = 5
    const auto q = tensor(be, {1, 1}, {1}), k = tensor(be, {2, 1}, {0, std::log(3.0)}), v = tensor(be, {2, 1}, {8, 4});
    const auto y = be.attention(q, k, v, {}, one_sequence(Mask::causal, 1, 1));
    CHECK(departure(host(be, y), HostTensor<double>({1, 1}, {5}), rounding<B>(2)) == "");
    // K = 4: scores are divided by 2, so ln 9 counts as ln 3.
    const auto y4 =
        be.attention(tensor(be, {1, 4}, {1, 0, 0, 0}), tensor(be, {2, 4}, {0, 5, 5, 5, std::log(9.0), 7, 7, 7}),
                     tensor(be, {2, 4}, {8, 0, 0, 1, 4, 0, 0, 1}), {}, one_sequence(Mask::causal, 1, 1));
    CHECK(departure(host(be, y4), HostTensor<double>({1, 4}, {5, 0, 0, 1}), rounding<B>(4)) == "");
}

TEST_CASE_TEMPLATE("attention: a query that meets one key only returns that key's value", B, SMOLVLM_TEST_BACKENDS) {
    B be;
    // One-hot keys, large enough that softmax is one-hot as well: query t of head h picks key (t + h) mod 4.
    const Index T = 4, H = 2, K = 4;
    auto q = HostTensor<double>::zeros({T, H * K}), k = HostTensor<double>::zeros({T, K}), expected = q;
    const auto v = random_tensor<float>({T, K}, 3);
    expected = HostTensor<double>({T, H * K});
    for (Index j = 0; j < T; ++j) k.view()(j, j) = 100;
    for (Index t = 0; t < T; ++t)
        for (Index h = 0; h < H; ++h) {
            const Index j = (t + h) % T;
            q.view()(t, h * K + j) = 100;
            for (Index d = 0; d < K; ++d) expected.view()(t, h * K + d) = v.view()(j, d);
        }
    const auto y = be.attention(tensor(be, q.shape(), {q.flat().begin(), q.flat().end()}),
                                tensor(be, k.shape(), {k.flat().begin(), k.flat().end()}), random(be, {T, K}, 3),
                                {.query = 2, .kv = 1}, one_sequence(Mask::full, T));
    CHECK(inequality(host(be, y), expected) == "");
}

TEST_CASE_TEMPLATE("attention: equal keys give the mean of the values", B, SMOLVLM_TEST_BACKENDS) {
    B be;
    const auto y = be.attention(random(be, {1, 6}, 1), tensor(be, {4, 3}, {1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3}),
                                tensor(be, {4, 3}, {1, 0, 8, 3, 0, 8, 5, 0, 8, 7, 4, 8}), {.query = 2, .kv = 1},
                                Segments(Mask::full, {{0, 1, 0, 4}}));
    CHECK(departure(host(be, y), HostTensor<double>({1, 6}, {4, 1, 8, 4, 1, 8}), rounding<B>(4)) == "");
}

TEST_CASE_TEMPLATE("attention: without a mask the order of the keys does not matter", B, SMOLVLM_TEST_BACKENDS) {
    B be;
    const Heads heads{.query = 4, .kv = 2};
    const auto segments = one_sequence(Mask::full, 5);
    const auto q = random(be, {5, 12}, 1), k = random(be, {5, 6}, 2), v = random(be, {5, 6}, 3);
    const std::vector<std::int32_t> order{3, 0, 4, 2, 1};
    const auto shuffled = be.attention(q, be.gather_rows(k, order), be.gather_rows(v, order), heads, segments);
    CHECK(departure(host(be, shuffled), host(be, be.attention(q, k, v, heads, segments)), rounding<B>(5)) == "");
}

TEST_CASE_TEMPLATE("attention: a causal row sees itself and what is before it, nothing after", B,
                   SMOLVLM_TEST_BACKENDS) {
    B be;
    const Heads heads{.query = 6, .kv = 3};
    const Index T = 37, K = 8;
    const auto q = random(be, {T, 6 * K}, 1), k = random(be, {T, 3 * K}, 2), v = random(be, {T, 3 * K}, 3);
    const auto all = host(be, be.attention(q, k, v, heads, one_sequence(Mask::causal, T)));
    for (Index n : {1, 2, 8, 17, 36}) {  // the first n tokens alone
        CAPTURE(n);
        const auto first = range(0, n);
        const auto alone = be.attention(be.gather_rows(q, first), be.gather_rows(k, first), be.gather_rows(v, first),
                                        heads, one_sequence(Mask::causal, n));
        const HostTensor<double> expected({n, 6 * K}, std::vector<double>(all.data(), all.data() + n * 6 * K));
        CHECK(departure(host(be, alone), expected, rounding<B>(n)) == "");
    }
    for (Index past : {1, 5, 16, 35, 36}) {  // the rest as a chunk on a warm cache: causal for several tokens too
        CAPTURE(past);
        const auto chunk =
            be.attention(be.gather_rows(q, range(past, T)), k, v, heads, one_sequence(Mask::causal, T - past, past));
        const HostTensor<double> expected({T - past, 6 * K},
                                          std::vector<double>(all.data() + past * 6 * K, all.data() + T * 6 * K));
        CHECK(departure(host(be, chunk), expected, rounding<B>(T)) == "");
    }
}

TEST_CASE_TEMPLATE("attention: segments see their own keys only: a ragged batch equals its sequences alone", B,
                   SMOLVLM_TEST_BACKENDS) {
    B be;
    const Heads heads{.query = 4, .kv = 2};
    const Index K = 4, capacity = 16;
    const auto keys = random(be, {3 * capacity, 2 * K}, 2), values = random(be, {3 * capacity, 2 * K}, 3);
    for (Mask mask : {Mask::causal, Mask::full}) {
        const std::vector<Segment> list{{0, 3, 0, 7}, {3, 1, capacity, 1}, {4, 9, 2 * capacity, 16}};
        const auto q = random(be, {13, 4 * K}, 1);
        const auto batch = host(be, be.attention(q, keys, values, heads, Segments(mask, list)));
        for (const Segment& s : list) {
            const auto alone = be.attention(be.gather_rows(q, range(s.q0, s.q0 + s.n)), keys, values, heads,
                                            Segments(mask, {{0, s.n, s.k0, s.keys}}));
            const HostTensor<double> expected(
                {s.n, 4 * K}, std::vector<double>(batch.data() + s.q0 * 4 * K, batch.data() + (s.q0 + s.n) * 4 * K));
            CHECK(departure(host(be, alone), expected, rounding<B>(16)) == "");
        }
    }
}

TEST_CASE_TEMPLATE("attention: grouped heads equal ungrouped heads whose keys and values are repeated", B,
                   SMOLVLM_TEST_BACKENDS) {
    B be;
    const Index T = 5, K = 4, G = 2, repeat = 3;
    const auto k = random_tensor<float>({T, G * K}, 2), v = random_tensor<float>({T, G * K}, 3);
    const auto repeated = [&](const HostTensor<float>& x) {
        HostTensor<float> wide({T, G * repeat * K});
        for (Index t = 0; t < T; ++t)
            for (Index h = 0; h < G * repeat; ++h)
                for (Index d = 0; d < K; ++d) wide.view()(t, h * K + d) = x.view()(t, h / repeat * K + d);
        return be.from_host(converted<typename B::Scalar>(wide));
    };
    const auto q = random(be, {T, G * repeat * K}, 1);
    const auto segments = one_sequence(Mask::causal, T);
    const auto grouped =
        be.attention(q, random(be, {T, G * K}, 2), random(be, {T, G * K}, 3), {.query = G * repeat, .kv = G}, segments);
    const auto ungrouped = be.attention(q, repeated(k), repeated(v), {.query = G * repeat, .kv = G * repeat}, segments);
    CHECK(departure(host(be, grouped), host(be, ungrouped), rounding<B>(T)) == "");
}

TEST_CASE_TEMPLATE("attention: scores of any size neither overflow nor give NaN", B, SMOLVLM_TEST_BACKENDS) {
    B be;
    const auto segments = one_sequence(Mask::causal, 3);
    const auto y =
        be.attention(tensor(be, {3, 2}, {1e15, 0, -1e15, 0, 0, 0}), tensor(be, {3, 2}, {1e15, 0, 0, 0, -1e15, 0}),
                     tensor(be, {3, 2}, {1, 2, 3, 4, 8, 6}), {}, segments);
    // row 0 sees key 0; row 1 prefers key 1 (0 to -inf); row 2 is indifferent
    CHECK(departure(host(be, y), HostTensor<double>({3, 2}, {1, 2, 3, 4, 4, 4}), rounding<B>(3)) == "");
}

TEST_CASE_TEMPLATE("attention: rows that may see no key get zeros", B, SMOLVLM_TEST_BACKENDS) {
    B be;
    const Segments segments(Mask::full, {{0, 2, 0, 0}, {2, 1, 0, 1}});
    const auto y = be.attention(random(be, {3, 2}, 1), random(be, {1, 2}, 2), tensor(be, {1, 2}, {5, 6}), {}, segments);
    CHECK(inequality(host(be, y), HostTensor<double>({3, 2}, {0, 0, 0, 0, 5, 6})) == "");
}

TEST_CASE_TEMPLATE("attention: equals its definition over lengths, widths and groups", B, SMOLVLM_TEST_BACKENDS) {
    for (Heads heads : {Heads{1, 1}, Heads{3, 3}, Heads{6, 2}, Heads{9, 3}})
        for (Index K : {1, 2, 3, 8, 16, 17, 64})
            for (Index T : {1, 2, 5, 16, 33, 70})
                for (Mask mask : {Mask::causal, Mask::full}) {
                    CAPTURE(K);
                    CAPTURE(T);
                    const Index past = T % 7;
                    const auto op = [&](auto& be) {
                        return be.attention(
                            random(be, {T, heads.query * K}, 1), random(be, {T + past, heads.kv * K}, 2),
                            random(be, {T + past, heads.kv * K}, 3), heads, one_sequence(mask, T, past));
                    };
                    CHECK(departs_from_definition<B>(op, rounding<B>(T + K)) == "");
                }
}

TEST_CASE_TEMPLATE("attention: what does not fit is refused with its shapes", B, SMOLVLM_TEST_BACKENDS) {
    B be;
    const auto segments = one_sequence(Mask::causal, 3);
    const auto attend = [&](Shape q, Shape k, Shape v, Heads heads) {
        return error_of([&] { be.attention(random(be, q, 1), random(be, k, 2), random(be, v, 3), heads, segments); });
    };
    CHECK(attend({3, 12}, {3, 8}, {3, 8}, {3, 2}) == "attention: 3 query heads cannot share 2 key/value heads");
    CHECK(attend({3, 12}, {3, 4}, {3, 4}, {0, 0}) == "attention: 0 query heads cannot share 0 key/value heads");
    CHECK(attend({3, 12}, {3, 9}, {3, 9}, {4, 2}) ==
          "attention: q is [3, 12] with 4 heads, so k and v need 2 heads of the same width; k is [3, 9], v is [3, 9]");
    CHECK(attend({3, 12}, {3, 6}, {4, 6}, {4, 2}) ==
          "attention: q is [3, 12] with 4 heads, so k and v need 2 heads of the same width; k is [3, 6], v is [4, 6]");
    CHECK(attend({2, 12}, {3, 6}, {3, 6}, {4, 2}) ==
          "attention: the segments have 3 rows and reach key row 3; q is [2, 12], k is [3, 6]");
    CHECK(attend({3, 12}, {2, 6}, {2, 6}, {4, 2}) ==
          "attention: the segments have 3 rows and reach key row 3; q is [3, 12], k is [2, 6]");
}

TEST_CASE("attention_vjp: is the derivative in q, k and v: causal on a warm cache, full, grouped, ragged") {
    const Index K = 3;
    for (Mask mask : {Mask::causal, Mask::full})
        for (Heads heads : {Heads{1, 1}, Heads{4, 2}}) {
            const Segments segments(mask, {{0, 2, 0, 4}, {2, 3, 5, 3}});  // key row 4 belongs to nobody
            const auto forward = [&](const Tensors& in) {
                HostTensor<double> y(in[0].shape());
                ref::attention(in[0].view(), in[1].view(), in[2].view(), heads, segments, y.view());
                return y;
            };
            const auto vjp = [&](const Tensors& in, const HostTensor<double>& dy, const Gradients& d) {
                ref::attention_vjp(in[0].view(), in[1].view(), in[2].view(), heads, segments, dy.view(), d[0], d[1],
                                   d[2]);
            };
            const Tensors inputs{random_tensor<double>({5, heads.query * K}, 1),
                                 random_tensor<double>({8, heads.kv * K}, 2),
                                 random_tensor<double>({8, heads.kv * K}, 3)};
            CHECK(gradient_error(inputs, forward, vjp) == "");
        }
}
