#pragma once
/// Tensors of reproducible random numbers: the same seed gives the same numbers in every element type (rounded to it).

#include <smolvlm/core/host_tensor.hpp>
#include <smolvlm/core/random.hpp>

namespace testing {

/// About N(0, scale^2).
template <class T>
smolvlm::HostTensor<T> random_tensor(smolvlm::Shape shape, std::uint64_t seed, double scale = 1) {
    smolvlm::HostTensor<T> x(shape);
    smolvlm::Random random(seed);
    for (smolvlm::Index i = 0; i < x.numel(); ++i) x.data()[i] = static_cast<T>(scale * random.normal());
    return x;
}

/// The same values in another element type.
template <class To, class From>
smolvlm::HostTensor<To> converted(const smolvlm::HostTensor<From>& x) {
    smolvlm::HostTensor<To> y(x.shape());
    for (smolvlm::Index i = 0; i < x.numel(); ++i) y.data()[i] = static_cast<To>(x.data()[i]);
    return y;
}

}  // namespace testing
