#pragma once
/// Gradients of several ranks added up.

#include <smolvlm/train/communicator.hpp>
#include <smolvlm/train/parameters.hpp>

namespace smolvlm {

/// First one flag for each gradient that any rank has (a batch without pictures has none for the vision tower), then
/// those, with zeros where this rank has none.
template <DifferentiableBackend B>
void sum_gradients(Communicator& ranks, B& be, const Parameters<B>& parameters, Gradients<B>& gradients) {
    using T = typename B::Scalar;
    if (ranks.size() == 1) return;
    std::vector<float> wanted(gradients.size());
    for (std::size_t i = 0; i < gradients.size(); ++i) wanted[i] = gradients[i].empty() ? 0.0f : 1.0f;
    ranks.sum(wanted);
    std::vector<HostTensor<T>> sums;
    std::vector<std::span<T>> spans;
    for (std::size_t i = 0; i < gradients.size(); ++i) {
        if (wanted[i] == 0) continue;
        HostTensor<T> own = HostTensor<T>::zeros(parameters.all()[i].master.shape());
        if (!gradients[i].empty()) std::ranges::copy(be.to_host(gradients[i]).flat(), own.data());
        sums.push_back(std::move(own));
        spans.push_back(sums.back().flat());
    }
    ranks.sum(std::span<const std::span<T>>(spans));
    for (std::size_t i = 0, next = 0; i < gradients.size(); ++i)
        if (wanted[i] != 0) gradients[i] = be.from_host(sums[next++]);
}

}  // namespace smolvlm
