// Cuda<bfloat16> and Cuda<half>: numbers of two bytes, sums in float. What they are compared with is the definition in
// double on operands rounded to the type; what may differ is the rounding of each result, and of the weights of attention.
#define SMOLVLM_TEST_BACKENDS smolvlm::Cuda<smolvlm::half>, smolvlm::Cuda<smolvlm::bfloat16>

#include <doctest/doctest.h>

#include <smolvlm/cuda/cuda.cuh>

#include "support/backends.hpp"

using namespace smolvlm;
using namespace testing;

namespace {

/// Half the distance of neighbouring numbers of that type, relative.
template <class T>
constexpr double unit = std::is_same_v<T, half> ? 0x1p-11 : 0x1p-8;

template <class T>
HostTensor<float> rounded(const HostTensor<float>& x) {
    return converted<float>(converted<T>(x));
}

/// Only the emulation counts them.
void check_no_bank_conflicts() {
#if defined(SMOLVLM_CUDA_EMULATION)
    CHECK(cuda::emulation::bank_counts.matrices > 0);
    CHECK(cuda::emulation::bank_counts.conflicts == 0);
#endif
}

}  // namespace

TEST_CASE_TEMPLATE("two-byte numbers: linear on tensor cores is the definition of the rounded operands, whatever the sizes",
                   T, half, bfloat16) {
    Cuda<T> be;
    Ref<double> definition;
    for (const auto& [N, K, M] : {std::array<Index, 3>{9, 8, 3}, {64, 64, 64}, {65, 200, 70}, {17, 72, 33}, {12, 13, 5}}) {
        const Index rows = N;
        CAPTURE(rows);
        const auto x = rounded<T>(random_tensor<float>({N, K}, 1)), w = rounded<T>(random_tensor<float>({M, K}, 2));
        const auto bias = rounded<T>(random_tensor<float>({M}, 3));
        const auto expected = definition.linear(converted<double>(x), HostWeight::from_tensor(w), converted<double>(bias));
        const auto found = be.linear(be.from_host(x), be.make_weight(HostWeight::from_tensor(w)), be.from_host(bias));
        CHECK(departure(host(be, found), expected, unit<T> + 1e-6) == "");
    }
}

TEST_CASE_TEMPLATE("two-byte numbers: the large tiles of tensor cores give the bits of the small ones, however factors lie", T,
                   half, bfloat16) {
    Cuda<T> be;
    const Index N = 136, K = 144, M = 152;
    const auto a = random(be, {N, K}, 1), turned_a = random(be, {K, N}, 2), b = random(be, {M, K}, 3),
               turned_b = random(be, {K, M}, 4);
    const auto agree = [&](auto left, auto right) {
        auto small = be.zeros({N, M}), large = be.zeros({N, M});
        auto& on = be.runtime().stream();
        using Out = cuda::Activated<cuda::Same, T>;
        cuda::gemm_mma<cuda::MmaTiles<2, 2, 2>>(on, left, right, Out{nullptr, {small.data()}}, N, M, K);
        cuda::gemm_mma<cuda::MmaTiles<2, 4, 4>>(on, left, right, Out{nullptr, {large.data()}}, N, M, K);
        return inequality(be.to_host(large), be.to_host(small));
    };
    const cuda::DenseRows<T> rows_a{a.data(), K}, rows_b{b.data(), K};
    const cuda::DenseColumns<T> columns_a{turned_a.data(), N}, columns_b{turned_b.data(), M};
    CHECK(agree(rows_a, rows_b) == "");
    CHECK(agree(rows_a, columns_b) == "");
    CHECK(agree(columns_a, columns_b) == "");
    check_no_bank_conflicts();  // of all products so far, these included
}

TEST_CASE_TEMPLATE("two-byte numbers: derivatives of linear on tensor cores are the definition's of the rounded operands", T,
                   half, bfloat16) {
    Cuda<T> be;
    Ref<double> definition;
    for (const auto& [N, K, M] : {std::array<Index, 3>{9, 8, 16}, {64, 64, 64}, {65, 200, 72}, {17, 72, 33}, {12, 13, 8}}) {
        const Index rows = N;
        CAPTURE(rows);
        const auto x = rounded<T>(random_tensor<float>({N, K}, 1)), w = rounded<T>(random_tensor<float>({M, K}, 2));
        const auto dy = rounded<T>(random_tensor<float>({N, M}, 3));
        for (const bool quantised : {false, true}) {
            if (quantised && K % 32 != 0) continue;
            const auto weight = quantised ? HostWeight::from_tensor(w).converted(DType::q8_0) : HostWeight::from_tensor(w);
            const auto run = [&](auto& b) {
                using Be = std::remove_cvref_t<decltype(b)>;
                using S = typename Be::Scalar;
                const auto given = b.from_host(converted<S>(x)), by = b.from_host(converted<S>(dy));
                Tensor<Be> dx, dw, dbias = b.zeros({by.dim(1)});
                b.linear_vjp(given, b.make_weight(weight), by, &dx, &dw, &dbias);
                b.linear_vjp(given, b.make_weight(weight), by, &dx, nullptr, nullptr);  // added
                return std::array{host(b, dx), host(b, dw), host(b, dbias)};
            };
            const auto found = run(be), expected = run(definition);
            // dx is rounded twice, and quantised values once more on their way to tensor cores.
            CHECK(departure(found[0], expected[0], (quantised ? 4 : 2) * unit<T>) == "");
            CHECK(departure(found[1], expected[1], unit<T> + 1e-6) == "");
            CHECK(departure(found[2], expected[2], unit<T> + 1e-6) == "");
        }
    }
    check_no_bank_conflicts();
}

TEST_CASE_TEMPLATE("two-byte numbers: quantised weights give what their values rounded to the type give", T, half, bfloat16) {
    Cuda<T> be;
    Ref<double> definition;
    for (const DType dtype : {DType::q8_0, DType::q4_0})
        for (const Index N : {1, 3, 20}) {
            CAPTURE(N);
            const auto w = HostWeight::from_tensor(random_tensor<float>({66, 96}, 2)).converted(dtype);
            const auto x = rounded<T>(random_tensor<float>({N, 96}, 1));
            const auto expected = definition.linear(converted<double>(x), w, {});
            // Products of few rows take the values exactly, tensor cores rounded: a random walk of 96 roundings.
            CHECK(departure(host(be, be.linear(be.from_host(x), be.make_weight(w), {})), expected, 3 * unit<T>) == "");
        }
}

TEST_CASE_TEMPLATE("fused: an MLP with its residual is the definition's ops one after the other", T, float, half, bfloat16) {
    Cuda<T> be;
    Ref<double> definition;
    // What is between the two maps is rounded once to the type, and quantised values are on their way to tensor cores.
    const double once = std::is_same_v<T, float> ? 2e-6 : 2 * unit<T>;
    for (const auto& [N, K, F, D] : {std::array<Index, 4>{1, 64, 96, 64}, {3, 1056, 32, 24}, {9, 64, 96, 64}, {70, 40, 72, 24},
                                     {12, 13, 9, 5}})
        for (const DType dtype : {DType::f32, DType::q8_0, DType::q4_0}) {
            if (dtype != DType::f32 && (K % 32 != 0 || F % 32 != 0)) continue;
            CAPTURE(K);
            const auto of = [](const Shape& shape, std::uint64_t seed, double scale) {
                return rounded<T>(random_tensor<float>(shape, seed, scale));
            };
            const double small = 1 / std::sqrt(static_cast<double>(K));
            const auto w1 = HostWeight::from_tensor(of({F, K}, 1, small)).converted(dtype),
                       up = HostWeight::from_tensor(of({F, K}, 2, small)).converted(dtype),
                       w2 = HostWeight::from_tensor(of({D, F}, 3, 0.3)).converted(dtype);
            const auto b1 = of({F}, 4, 1), b2 = of({D}, 5, 1), h = of({N, K}, 6, 1), x = of({N, D}, 7, 1);
            const auto expected = [&](bool gated, const HostWeight& gate, const HostWeight& other) {
                auto& d = definition;
                const auto from = converted<double>(h);
                const auto inner = gated ? d.silu_mul(d.linear(from, gate, {}), d.linear(from, other, {}))
                                         : d.gelu_tanh(d.linear(from, gate, converted<double>(b1)));
                auto y = converted<double>(x);
                d.add_to(y, d.linear(inner, w2, gated ? HostTensor<double>() : converted<double>(b2)));
                return y;
            };
            const double tolerance = dtype == DType::f32 || std::is_same_v<T, float> ? once : 2 * once;
            auto y = be.from_host(x);
            const auto held = y;
            const auto given = be.from_host(h);
            be.add_gelu_mlp(y, given, be.make_weight(w1), be.from_host(b1), be.make_weight(w2), be.from_host(b2));
            CHECK(departure(host(be, y), expected(false, w1, up), tolerance) == "");
            y = be.from_host(x);
            be.add_gated_mlp(y, given, be.make_weight(w1), be.make_weight(up), be.make_weight(w2));
            CHECK(departure(host(be, y), expected(true, w1, up), tolerance) == "");
            if (dtype == DType::q8_0) {  // gate and up in two types
                const auto other = HostWeight::from_tensor(of({F, K}, 2, small)).converted(DType::q4_0);
                y = be.from_host(x);
                be.add_gated_mlp(y, given, be.make_weight(w1), be.make_weight(other), be.make_weight(w2));
                CHECK(departure(host(be, y), expected(true, w1, other), 2 * tolerance) == "");
            }
            CHECK(inequality(be.to_host(held), x) == "");  // who else holds x keeps what it has
        }
}

TEST_CASE_TEMPLATE("fused: pixel shuffle as the addressing of a product gives the bits of a shuffled copy; operands that do not "
                   "fit are refused",
                   T, float, half, bfloat16) {
    Cuda<T> be;
    for (const auto& [I, rows, cols, s, D] :
         {std::array<Index, 5>{2, 8, 12, 2, 8}, {1, 8, 8, 4, 24}, {3, 6, 6, 3, 16}, {2, 4, 6, 2, 3}, {1, 4, 8, 2, 12}})
        for (const DType dtype : {DType::f32, DType::q8_0}) {
            if (dtype == DType::q8_0 && s * s * D % 32 != 0) continue;
            CAPTURE(D);
            const auto x = random(be, {I * rows * cols, D}, 1);
            const auto w = be.make_weight(HostWeight::from_tensor(random_tensor<float>({20, s * s * D}, 2)).converted(dtype));
            const auto found = host(be, be.pixel_shuffle_linear(x, rows, cols, s, w));
            const auto copy = be.pixel_shuffle(x, rows, cols, s);
            CHECK(departure(found, host(be, be.linear(copy, w, {})), std::is_same_v<T, float> ? 1e-6 : 3 * unit<T>) == "");
            if (D % 8 == 0 && copy.dim(0) > cuda::few_rows)
                CHECK(inequality(found, host(be, be.linear(copy, w, {}))) == "");
        }
    if (!std::is_same_v<T, float>) check_no_bank_conflicts();
    auto x = random(be, {3, 8}, 1);
    const auto h = random(be, {3, 16}, 2), bias = random(be, {8}, 3), none = decltype(h){};
    const auto w1 = random_weight(be, {24, 16}, 4), w2 = random_weight(be, {8, 24}, 5), odd = random_weight(be, {23, 16}, 6);
    const auto error = [](auto&& work) { return error_of(work); };
    CHECK(contains(error([&] { be.add_gelu_mlp(x, h, w1, bias, w2, bias); }), "linear: bias is [8]"));
    CHECK(contains(error([&] { be.add_gelu_mlp(x, h, w2, bias, w1, none); }), "linear: x is [3, 16]"));
    CHECK(contains(error([&] { be.add_gelu_mlp(x, h, odd, none, w2, bias); }), "linear: x is [3, 23]"));
    CHECK(contains(error([&] { be.add_gated_mlp(x, h, w1, odd, w2); }), "silu_mul: operands are [3, 24] and [3, 23]"));
    CHECK(contains(error([&] {
              auto y = random(be, {2, 8}, 1);
              be.add_gated_mlp(y, h, w1, w1, w2);
          }),
                   "add_to: operands are [2, 8] and [3, 8]"));
    CHECK(contains(error([&] { be.pixel_shuffle_linear(x, 2, 2, 2, w1); }), "pixel_shuffle: x is [3, 8]"));
    CHECK(contains(error([&] { be.pixel_shuffle_linear(random(be, {4, 8}, 1), 2, 2, 2, w1); }), "linear: x is [1, 32]"));
    CHECK(inequality(host(be, x), host(be, random(be, {3, 8}, 1))) == "");  // as it was
}

TEST_CASE_TEMPLATE("two-byte numbers: attention is the definition of the rounded operands", T, half, bfloat16) {
    Cuda<T> be;
    Ref<double> definition;
    for (const auto mask : {Segments::Mask::causal, Segments::Mask::full})
        for (const Heads heads : {Heads{2, 2}, Heads{6, 2}})
            for (const Index K : {24, 64, 72}) {
                CAPTURE(K);
                const Segments segments(mask, {{0, 5, 0, 45}, {5, 1, 50, 20}, {6, 30, 70, 30}});
                const auto q = rounded<T>(random_tensor<float>({36, heads.query * K}, 1));
                const auto k = rounded<T>(random_tensor<float>({100, heads.kv * K}, 2));
                const auto v = rounded<T>(random_tensor<float>({100, heads.kv * K}, 3));
                const auto expected = definition.attention(converted<double>(q), converted<double>(k), converted<double>(v),
                                                           heads, segments);
                const auto found = be.attention(be.from_host(q), be.from_host(k), be.from_host(v), heads, segments);
                CHECK(departure(host(be, found), expected, 2 * unit<T>) == "");
            }
}

TEST_CASE_TEMPLATE("two-byte numbers: derivatives of attention round weights and results, whatever lies in rows that are "
                   "nobody's",
                   T, half, bfloat16) {
    struct Case {
        Segments segments;
        Heads heads;
        Index K;
    };
    const Segments causal(Segments::Mask::causal, {{0, 5, 0, 45}, {5, 18, 50, 20}});
    const Segments full(Segments::Mask::full, {{0, 15, 0, 45}, {15, 1, 50, 3}, {16, 7, 60, 10}});
    const Segments long_past(Segments::Mask::causal, {{0, 3, 0, 40}, {3, 80, 50, 130}});
    for (const auto& [segments, heads, K] : {Case{causal, {6, 2}, 40}, Case{causal, {6, 2}, 64}, Case{full, {2, 2}, 72},
                                             Case{full, {3, 1}, 12}, Case{long_past, {2, 1}, 64}}) {
        const Index width = K, N = segments.rows(), R = segments.key_rows() + 7;
        CAPTURE(width);
        const auto of = [](Index rows, Index columns, std::uint64_t seed) {
            return rounded<T>(random_tensor<float>({rows, columns}, seed));
        };
        const auto q = of(N, heads.query * K, 1), dy = of(N, heads.query * K, 4);
        auto k = of(R, heads.kv * K, 2), v = of(R, heads.kv * K, 3);
        for (auto* keys : {&k, &v})
            for (const Index row : {Index{47}, R - 1})
                std::fill_n(keys->data() + row * heads.kv * K, heads.kv * K, std::numeric_limits<float>::quiet_NaN());
        const auto run = [&, heads = heads, &segments = segments](auto be) {
            using Be = decltype(be);
            const auto there = [&](const auto& x) { return be.from_host(converted<typename Be::Scalar>(x)); };
            // Added to zeros: the definition wants somewhere to add to.
            Tensor<Be> dq = be.zeros(q.shape()), dk = be.zeros(k.shape()), dv = be.zeros(v.shape());
            be.attention_vjp(there(q), there(k), there(v), heads, segments, there(dy), &dq, &dk, &dv);
            return std::array{host(be, dq), host(be, dk), host(be, dv)};
        };
        const auto found = run(Cuda<T>()), expected = run(Ref<double>());
        // Tensor cores take the weights of the sums rounded too; where heads come in no whole words, there are none.
        const double tolerance = (K % 8 == 0 ? 2 : 1) * unit<T> + 1e-6;
        for (std::size_t i = 0; i < 3; ++i) CHECK(departure(found[i], expected[i], tolerance) == "");
    }
    check_no_bank_conflicts();
}

TEST_CASE_TEMPLATE("decoding: attention of few rows is the definition, into however many parts its keys are cut", T, float, half,
                   bfloat16) {
    Cuda<T> be;
    Ref<double> definition;
    const double tolerance = std::is_same_v<T, float> ? 1e-6 : unit<T> + 1e-6;
    for (const auto mask : {Segments::Mask::causal, Segments::Mask::full})
        for (const Heads heads : {Heads{1, 1}, Heads{6, 2}, Heads{7, 1}})
            for (const Index K : {8, 64, 72}) {
                CAPTURE(K);
                // One token with a past, one without, several at once.
                const Segments segments(mask, {{0, 1, 0, 45}, {1, 1, 50, 1}, {2, 3, 60, 30}});
                const auto q = rounded<T>(random_tensor<float>({5, heads.query * K}, 1));
                const auto k = rounded<T>(random_tensor<float>({100, heads.kv * K}, 2));
                const auto v = rounded<T>(random_tensor<float>({100, heads.kv * K}, 3));
                const auto expected = definition.attention(converted<double>(q), converted<double>(k), converted<double>(v),
                                                           heads, segments);
                const auto x = be.from_host(q), keys = be.from_host(k), values = be.from_host(v);
                CHECK(departure(host(be, be.attention(x, keys, values, heads, segments)), expected, tolerance) == "");
                const cuda::HeadShape of = cuda::head_shape(q.shape(), heads);
                cuda::SegmentPlan plan(segments);
                const auto& tiles = plan.tiles(be.runtime(), heads.query / heads.kv, cuda::few_pairs);
                for (const Index parts : {2, 3, 32}) {  // more than some rows have keys
                    CAPTURE(parts);
                    auto y = be.zeros(q.shape());
                    const cuda::Memory room = be.runtime().take(cuda::KeyParts::bytes(5 * heads.query, parts, K));
                    cuda::attention_few(be.runtime().stream(), x.data(), keys.data(), values.data(), tiles.data(), tiles.count,
                                        of, 5, parts, static_cast<float*>(room.data()), y.data());
                    CHECK(departure(host(be, y), expected, tolerance) == "");
                }
            }
    CHECK(cuda::key_parts(3, 100, 132) == 1);
    CHECK(cuda::key_parts(3, 1200, 132) == 9);
    CHECK(cuda::key_parts(3, 100000, 132) == cuda::most_key_parts);
    CHECK(cuda::key_parts(300, 100000, 132) == 1);
}

TEST_CASE_TEMPLATE("two-byte numbers: norms, rope, activations and rows round each result once", T, half, bfloat16) {
    Cuda<T> be;
    Ref<double> definition;
    const auto x = rounded<T>(random_tensor<float>({5, 72}, 1)), w = rounded<T>(random_tensor<float>({72}, 2));
    const auto both = [&](auto op) {
        const auto run = [&](auto& b) {
            using S = typename std::remove_cvref_t<decltype(b)>::Scalar;
            return host(b, op(b, b.from_host(converted<S>(x)), b.from_host(converted<S>(w))));
        };
        return departure(run(be), run(definition), unit<T> + 1e-6);
    };
    const Segments segments(Segments::Mask::causal, {{0, 5, 0, 900}});
    CHECK(both([](auto& b, auto y, auto u) { return b.rms_norm(y, u, 1e-5); }) == "");
    CHECK(both([](auto& b, auto y, auto u) { return b.layer_norm(y, u, u, 1e-5); }) == "");
    CHECK(both([&](auto& b, auto y, auto) { return b.rope(y, 3, 1e4, segments); }) == "");
    CHECK(both([](auto& b, auto y, auto) { return b.gelu_tanh(y); }) == "");
    CHECK(both([](auto& b, auto y, auto) { return b.silu_mul(y, y); }) == "");
    CHECK(both([](auto& b, auto y, auto) {
              const auto held = y;
              b.add_to(y, held);
              return y;
          }) == "");
    CHECK(inequality(be.to_host(be.from_host(x)), x) == "");
}
