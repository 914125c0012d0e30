#include <doctest/doctest.h>

#include <smolvlm/ref/cross_entropy.hpp>

#include "support/approx.hpp"
#include "support/gradcheck.hpp"

using namespace smolvlm;
using namespace testing;
using Targets = std::vector<std::int32_t>;

namespace {

template <class T>
double loss_of(const HostTensor<T>& logits, const Targets& targets) {
    HostTensor<T> loss({1});
    ref::cross_entropy(logits.view(), targets, loss.view());
    return static_cast<double>(loss.data()[0]);
}

}  // namespace

TEST_CASE_TEMPLATE("cross_entropy: by pencil", T, double, float) {
    // Probabilities of row 0: (1/4, 3/4), of row 1: (1/2, 1/2). Loss of targets 0 and 1: (ln 4 + ln 2) / 2
    const HostTensor<T> logits({2, 2}, {T(0), std::log(T(3)), T(5), T(5)});
    CHECK(loss_of(logits, {0, 1}) == doctest::Approx(1.5 * std::log(2.0)).epsilon(1e-6));
    CHECK(loss_of(logits, {1, 0}) == doctest::Approx((std::log(4.0 / 3) + std::log(2.0)) / 2).epsilon(1e-6));
}

TEST_CASE("cross_entropy: equal logits cost log V, whatever the target") {
    CHECK(loss_of(HostTensor<double>({1, 8}, std::vector<double>(8, 3.5)), {6}) == doctest::Approx(std::log(8.0)));
}

TEST_CASE_TEMPLATE("cross_entropy: ignores a shift of a row's logits, also one that exp could not hold", T, double,
                   float) {
    const HostTensor<T> near({1, 3}, {T(1), T(-2), T(0.5)}), far({1, 3}, {T(1025), T(1022), T(1024.5)});
    CHECK(loss_of(far, {1}) == doctest::Approx(loss_of(near, {1})).epsilon(1e-5));
    CHECK(loss_of(HostTensor<T>({1, 2}, {T(-1e6), T(0)}), {0}) == doctest::Approx(1e6));
}

TEST_CASE("cross_entropy: rows with target -100 count neither in the sum nor in the mean") {
    const auto logits = random_tensor<double>({3, 5}, 1);
    const HostTensor<double> outer({2, 5}, [&] {
        std::vector<double> rows(logits.data(), logits.data() + 5);
        rows.insert(rows.end(), logits.data() + 10, logits.data() + 15);
        return rows;
    }());
    CHECK(loss_of(logits, {2, -100, 4}) == doctest::Approx(loss_of(outer, {2, 4})).epsilon(1e-15));
}

TEST_CASE("cross_entropy: without any target the loss is 0 and there is no gradient") {
    const auto logits = random_tensor<double>({2, 5}, 1);
    CHECK(loss_of(logits, {-100, -100}) == 0);
    auto gradient = HostTensor<double>::zeros({2, 5});
    const HostTensor<double> one({1}, {1.0});
    ref::cross_entropy_vjp(logits.view(), Targets{-100, -100}, one.view(), gradient.view());
    CHECK(inequality(gradient, HostTensor<double>::zeros({2, 5})) == "");
}

TEST_CASE("cross_entropy_vjp: is the derivative, and sums to zero over each row") {
    const Targets targets{3, -100, 0, 4};
    const auto forward = [&](const Tensors& in) {
        HostTensor<double> loss({1});
        ref::cross_entropy(in[0].view(), targets, loss.view());
        return loss;
    };
    const auto vjp = [&](const Tensors& in, const HostTensor<double>& dy, const Gradients& d) {
        ref::cross_entropy_vjp(in[0].view(), targets, dy.view(), d[0]);
    };
    const Tensors logits{random_tensor<double>({4, 5}, 1, 3)};
    CHECK(gradient_error(logits, forward, vjp) == "");

    auto gradient = HostTensor<double>::zeros({4, 5});
    vjp(logits, HostTensor<double>({1}, {1.0}), {gradient.view()});
    for (Index n = 0; n < 4; ++n) {
        double sum = 0;
        for (double g : gradient.view().row(n)) sum += g;
        CHECK(std::abs(sum) < 1e-15);
    }
}
