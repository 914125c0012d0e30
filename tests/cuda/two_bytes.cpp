// Cuda<bfloat16> and Cuda<half>: numbers of two bytes, sums in float. What they are compared with is the definition in
// double on operands rounded to the type; what may differ is the rounding of each result, and of the weights of attention.
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

TEST_CASE_TEMPLATE("two-byte numbers: the large tiles of tensor cores give the bits of the small ones", T, half, bfloat16) {
    Cuda<T> be;
    const Index N = 130, K = 136, M = 132;
    auto x = random(be, {N, K}, 1), w = random(be, {M, K}, 2), small = be.zeros({N, M}), large = be.zeros({N, M});
    const auto multiply = [&](auto tiles, Tensor<Cuda<T>>& y) {
        const cuda::DenseRows<T> rows{x.data(), K}, columns{w.data(), K};
        const T* const no_bias = nullptr;
        cuda::launch_linear_mma<decltype(tiles)>(be.runtime().stream(), rows, columns, no_bias, cuda::Sink<T>{y.data()}, N, M,
                                                 K);
    };
    multiply(cuda::MmaTiles<2, 2, 2>{}, small);
    multiply(cuda::MmaTiles<2, 4, 4>{}, large);
    CHECK(inequality(be.to_host(large), be.to_host(small)) == "");
    CHECK(cuda::emulation::bank_counts.matrices > 0);  // of all products so far, these included
    CHECK(cuda::emulation::bank_counts.conflicts == 0);
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
