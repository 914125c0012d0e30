#pragma once
/// Modules are aggregates of tensors with a `forward` and a `visit`. `visit` is the only list of names in the project, spelled
/// as in the published checkpoints; loading, saving, counting and moving to another backend all come from it.
///
///     static void visit(auto& self, auto&& f) {
///         f("weight", self.weight, Shape{self.out, self.in});   // a parameter: name, slot, the shape files give it
///         f("q_proj", self.q_proj);                             // a module inside
///         f("layers", self.layers);                             // a std::vector of modules: "layers.0", "layers.1", ...
///     }

#include <string>
#include <type_traits>
#include <vector>

#include <smolvlm/backend/concept.hpp>

namespace smolvlm {

namespace detail {

template <class F>
class ParameterWalk {
public:
    ParameterWalk(std::string prefix, F& f) : prefix_(std::move(prefix)), f_(f) {}

    template <class Slot>
    void operator()(std::string_view name, Slot& slot, const Shape& shape) const {
        f_(prefix_ + std::string(name), slot, shape);
    }
    template <class Module>
    void operator()(std::string_view name, Module& module) const {
        std::remove_const_t<Module>::visit(module, ParameterWalk(prefix_ + std::string(name) + ".", f_));
    }
    template <class Module>
    void operator()(std::string_view name, std::vector<Module>& modules) const {
        for (std::size_t i = 0; i < modules.size(); ++i) (*this)(join(name, ".", i), modules[i]);
    }
    template <class Module>
    void operator()(std::string_view name, const std::vector<Module>& modules) const {
        for (std::size_t i = 0; i < modules.size(); ++i) (*this)(join(name, ".", i), modules[i]);
    }

private:
    std::string prefix_;
    F& f_;
};

}  // namespace detail

/// f(name, slot, shape) for every parameter, in reading order. The slot is a Tensor<B> (norm weights, biases) or a Weight<B>
/// (matrices of linear and embedding; a convolution's [D, C, p, p] is the matrix [D, C*p*p]).
template <class Module, class F>
void for_each_parameter(Module& module, F&& f) {
    std::remove_const_t<Module>::visit(module, detail::ParameterWalk<std::remove_reference_t<F>>("", f));
}

/// Number of parameters (from the declared shapes, so also of a module not loaded yet).
template <class Module>
Index count_parameters(const Module& module) {
    Index n = 0;
    for_each_parameter(module, [&](const std::string&, const auto&, const Shape& shape) { n += shape.numel(); });
    return n;
}

/// The parameter's shape as the matrix a Weight holds: first dimension by all others.
inline Shape as_matrix_shape(const Shape& shape) {
    return shape.rank() <= 1 || shape[0] == 0 ? shape : Shape{shape[0], shape.numel() / shape[0]};
}

/// Sees the activations named in the trace format (README) as they are computed; does nothing when empty. Passed down as a
/// pointer that is null in ordinary use, so that layers stay plain functions.
template <HasTypes B>
class Probe {
public:
    virtual ~Probe() = default;
    virtual void operator()(const std::string& name, const Tensor<B>& x) = 0;
};

}  // namespace smolvlm
