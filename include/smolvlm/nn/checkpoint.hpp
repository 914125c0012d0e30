#pragma once
/// Activation checkpointing, as far as layers know of it: they are called through forward_layer, and a backend that can
/// trade time for memory does so there (Grad<B>, when asked to; plain backends have nothing to keep).

#include <smolvlm/backend/concept.hpp>

namespace smolvlm {

template <class B>
concept CheckpointingBackend = Backend<B> && requires(B& be, Tensor<B>& x, void (*f)(B&, Tensor<B>&)) {
    { be.checkpoint(x, f) } -> std::same_as<void>;
};

/// layer.forward(be, x, arguments...), which changes x. The layer must live until the backward pass; arguments are
/// copied.
template <Backend B, class Layer, class... Arguments>
void forward_layer(B& be, const Layer& layer, Tensor<B>& x, const Arguments&... arguments) {
    if constexpr (CheckpointingBackend<B>)
        be.checkpoint(x, [&layer, arguments...](B& again, Tensor<B>& y) { layer.forward(again, y, arguments...); });
    else
        layer.forward(be, x, arguments...);
}

}  // namespace smolvlm
