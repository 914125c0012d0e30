#pragma once
/// Is a vector-Jacobian product the derivative of its definition? Central differences in double decide.

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "support/random_tensor.hpp"

namespace testing {

using Tensors = std::vector<smolvlm::HostTensor<double>>;
using Gradients = std::vector<smolvlm::View<double>>;

/// forward(inputs) -> y; vjp(inputs, dy, gradients) adds to one view per input, of which some may be null ("not
/// wanted").
///
/// The output is projected onto random numbers p, so that loss = sum_i p_i y_i has dy = p, and for every element x of
/// every input, with h = cbrt(epsilon) max(1, |x|):
///     gradient = (loss(x + h) - loss(x - h)) / 2h
/// Also checked: gradients are added to what is there, and wanting one alone gives the same as wanting all.
/// Empty when all of this holds to 1e-8 of the largest numbers involved; else a sentence.
template <class Forward, class Vjp>
std::string gradient_error(Tensors inputs, Forward forward, Vjp vjp) {
    const smolvlm::HostTensor<double> y = forward(std::as_const(inputs));
    const auto dy = random_tensor<double>(y.shape(), 900);
    const auto loss = [&] {
        const smolvlm::HostTensor<double> out = forward(std::as_const(inputs));
        double sum = 0;
        for (smolvlm::Index i = 0; i < out.numel(); ++i) sum += dy.data()[i] * out.data()[i];
        return sum;
    };

    // What was there before is part of the answer.
    Tensors before, found;
    Gradients views;
    for (std::size_t k = 0; k < inputs.size(); ++k) {
        before.push_back(random_tensor<double>(inputs[k].shape(), 901 + k));
        found.push_back(random_tensor<double>(inputs[k].shape(), 901 + k));
    }
    for (auto& gradient : found) views.push_back(gradient.view());
    vjp(std::as_const(inputs), dy, views);

    for (std::size_t k = 0; k < inputs.size(); ++k)
        for (smolvlm::Index i = 0; i < inputs[k].numel(); ++i) {
            double& x = inputs[k].data()[i];
            const double kept = x, h = std::cbrt(std::numeric_limits<double>::epsilon()) * std::max(1.0, std::abs(x));
            x = kept + h;
            const double above = loss();
            x = kept - h;
            const double below = loss();
            x = kept;
            const double numeric = (above - below) / (2 * h), exact = found[k].data()[i] - before[k].data()[i];
            if (!(std::abs(numeric - exact) <= 1e-8 * std::max({1.0, std::abs(exact), std::abs(above)})))
                return smolvlm::join("input ", k, ", element ", i, ": the gradient is ", exact, ", differences give ",
                                     numeric);
        }

    for (std::size_t k = 0; inputs.size() > 1 && k < inputs.size(); ++k) {
        auto alone = random_tensor<double>(inputs[k].shape(), 901 + k);
        Gradients one(inputs.size());
        one[k] = alone.view();
        vjp(std::as_const(inputs), dy, one);
        if (!std::ranges::equal(alone.flat(), found[k].flat()))
            return smolvlm::join("input ", k, ": wanted alone, its gradient is another");
    }
    return "";
}

}  // namespace testing
