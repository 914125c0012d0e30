#pragma once
/// Where a loss that is not finite comes from: a parameter, or the first activation of the model that is not.

#include <smolvlm/train/parameters.hpp>

namespace smolvlm {

/// A part of a sentence that names it. forward(probe) runs the model on the batch in question.
template <DifferentiableBackend B, class Forward>
std::string origin_of_trouble(Grad<B>& be, const SmolVLM<B>& model, const Parameters<B>& parameters,
                              Forward&& forward) {
    using T = typename B::Scalar;
    struct FirstNotFinite : Probe<Grad<B>> {
        Grad<B>& backend;
        std::string name;

        explicit FirstNotFinite(Grad<B>& b) : backend(b) {}
        void operator()(const std::string& activation, const Tensor<Grad<B>>& x) override {
            const HostTensor<T> values = backend.to_host(x);
            if (name.empty() && first_not_finite<T>(values.flat()) < values.flat().size()) name = activation;
        }
    };
    std::string found;
    const auto check = [&](const std::string& name, const HostTensor<T>& values) {
        if (const std::size_t at = first_not_finite<T>(values.flat()); found.empty() && at < values.flat().size())
            found = join("the parameter ", name, " is ", values.flat()[at], " at element ", at);
    };
    for_each_parameter(model, [&](const std::string& name, const auto& slot, const Shape&) {
        if constexpr (std::is_same_v<std::remove_cvref_t<decltype(slot)>, Weight<B>>)
            check(name, detail::weight_to_host<T>(slot, 1).template to_tensor<T>());
        else
            check(name, be.inner().to_host(slot));
    });
    for (const auto& parameter : parameters.all()) check(parameter.name, parameter.master);
    if (!found.empty()) return found;
    be.tape().clear();
    FirstNotFinite probe(be);
    forward(probe);
    return "all parameters are finite, the first activation that is not is " +
           (probe.name.empty() ? "the loss" : probe.name);
}

}  // namespace smolvlm
