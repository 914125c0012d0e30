#pragma once
/// The backends every law is tested on, and short ways to feed them: the same seed gives every backend the same
/// numbers.
///
///     TEST_CASE_TEMPLATE("gelu_tanh: ...", B, SMOLVLM_TEST_BACKENDS) {
///         B be;
///         CHECK(departure(host(be, be.gelu_tanh(tensor(be, {1, 2}, {0, 1}))), ..., rounding<B>(1)) == "");
///         CHECK(departs_from_definition<B>([](auto& any) { return any.gelu_tanh(random(any, {3, 5}, 1)); }, 1e-6) ==
///         "");
///     }

#include <limits>
#include <numeric>
#include <smolvlm/ref/ref.hpp>

#include "support/approx.hpp"
#include "support/error_text.hpp"
#include "support/random_tensor.hpp"

#ifndef SMOLVLM_TEST_BACKENDS  // tests/cuda brings its own: nvcc, which compiles it too, cannot read the kernels of the CPU
#include <smolvlm/cpu/cpu.hpp>
#define SMOLVLM_TEST_BACKENDS smolvlm::Ref<double>, smolvlm::Ref<float>, smolvlm::Cpu<double>, smolvlm::Cpu<float>
#endif

namespace testing {

using smolvlm::Backend;
using smolvlm::HostTensor;
using smolvlm::HostWeight;
using smolvlm::Segments;
using smolvlm::Shape;
using smolvlm::Tensor;
using smolvlm::Weight;

/// A tensor of the given numbers.
template <Backend B>
Tensor<B> tensor(B& be, Shape shape, const std::vector<double>& values) {
    return be.from_host(converted<typename B::Scalar>(HostTensor<double>(shape, values)));
}
/// A matrix for linear or embedding; float32 as in a file.
template <Backend B>
Weight<B> weight(B& be, Shape shape, const std::vector<double>& values) {
    return be.make_weight(HostWeight::from_tensor(converted<float>(HostTensor<double>(shape, values))));
}
/// About N(0, scale^2), rounded to float32 so that no backend sees other numbers.
template <Backend B>
Tensor<B> random(B& be, Shape shape, std::uint64_t seed, double scale = 1) {
    return be.from_host(converted<typename B::Scalar>(random_tensor<float>(shape, seed, scale)));
}
template <Backend B>
Weight<B> random_weight(B& be, Shape shape, std::uint64_t seed, double scale = 1) {
    return be.make_weight(HostWeight::from_tensor(random_tensor<float>(shape, seed, scale)));
}

/// Where keys or values are kept, with these rows in it.
template <Backend B>
typename B::Slab slab_of(B& be, const Tensor<B>& rows) {
    auto slab = be.make_slabs(1, rows.shape())[0];
    be.write_rows(slab, Segments(Segments::Mask::causal, {{0, rows.shape()[0], 0, rows.shape()[0]}}), rows);
    return slab;
}

/// Back in ordinary memory, as double.
template <Backend B>
HostTensor<double> host(B& be, const Tensor<B>& x) {
    return converted<double>(be.to_host(x));
}
/// The first rows of a slab, as double.
template <Backend B>
HostTensor<double> first_rows(B& be, const typename B::Slab& slab, Index rows) {
    std::vector<std::int32_t> ids(static_cast<std::size_t>(rows));
    std::iota(ids.begin(), ids.end(), 0);
    return host(be, be.gather_rows(slab, ids));
}

/// Tolerance for a sum of that many terms in B's arithmetic, relative to the largest result: every addition may round
/// once, and exp, tanh and the like cost a few units more. Generous in the number of terms, as errors rarely add up all
/// one way.
template <Backend B>
double rounding(Index terms) {
    return std::numeric_limits<typename B::Scalar>::epsilon() * static_cast<double>(16 + terms);
}

/// Empty when op(be) gives the same on B as on Ref<double>, the definition; op takes any backend and returns its
/// tensor. The tolerance is relative to the largest result, or to 1 (the size of the operands) where all results happen
/// to be smaller.
template <Backend B, class Op>
std::string departs_from_definition(Op op, double tolerance) {
    B be;
    smolvlm::Ref<double> definition;
    const HostTensor<double> found = host(be, op(be)), expected = host(definition, op(definition));
    double largest = 0;
    for (double value : expected.flat()) largest = std::max(largest, std::abs(value));
    return departure(found, expected, largest > 0 && largest < 1 ? tolerance / largest : tolerance);
}

}  // namespace testing
