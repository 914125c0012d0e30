#pragma once
/// What a backend needs besides the forward ops so that Grad<B> can differentiate through it: for every op its vector-Jacobian
/// product, and the loss. One contract for all of them:
///
///     be.op_vjp(what the derivative needs, dy, dx...)      dx += J^T dy      for each dx that is not null
///
/// Results are accumulated, because a tensor used twice receives both contributions. A null pointer means "not wanted" and
/// costs nothing. Like every x& operand, *dx is copied first when somebody else can see its elements. An empty *dx stands
/// for zeros that nobody has had to write: the op makes it. (Not of embedding, gather_rows and patchify, where no operand
/// tells its shape.)
///
///     operation                        derivation (equation, loops)                    fast path
///     linear                           ref/linear.hpp                                  cpu/linear_vjp.hpp
///     embedding, gather_rows,
///     scatter_rows                     ref/embedding.hpp, ref/rows.hpp                 cpu/rows_vjp.hpp
///     rms_norm, layer_norm             ref/rms_norm.hpp, ref/layer_norm.hpp            cpu/norm_vjp.hpp
///     rope, pixel_shuffle              ref/rope.hpp, ref/pixel_shuffle.hpp             cpu/rows_vjp.hpp
///     attention                        ref/attention.hpp                               cpu/attention_vjp.hpp
///     gelu_tanh, silu_mul              ref/activations.hpp                             cpu/activations_vjp.hpp
///     patchify                         ref/patchify.hpp                                the definition
///     cross_entropy                    ref/cross_entropy.hpp                           cpu/cross_entropy.hpp
/// A tensor that only an unwanted derivative needs may be empty: linear with dw = null does not read x.

#include <smolvlm/backend/concept.hpp>

namespace smolvlm {

template <class B>
concept DifferentiableBackend = Backend<B> && requires(B& be, const typename B::Tensor& x, typename B::Tensor* dx,
                                                       const typename B::Weight& w, const Shape& shape, Index n, double real,
                                                       Ids ids, Heads heads, const Segments& segments) {
    { be.linear_vjp(x, w, /*dy*/ x, dx, /*dw*/ dx, /*dbias*/ dx) } -> std::same_as<void>;
    { be.embedding_vjp(ids, /*dy*/ x, /*dw*/ dx) } -> std::same_as<void>;
    { be.gather_rows_vjp(ids, /*dy*/ x, dx) } -> std::same_as<void>;
    { be.scatter_rows_vjp(ids, /*dy*/ x, dx, /*drows*/ dx) } -> std::same_as<void>;
    { be.rms_norm_vjp(x, /*weight*/ x, /*eps*/ real, /*dy*/ x, dx, /*dweight*/ dx) } -> std::same_as<void>;
    { be.layer_norm_vjp(x, /*weight*/ x, /*eps*/ real, /*dy*/ x, dx, /*dweight*/ dx, /*dbias*/ dx) } -> std::same_as<void>;
    { be.rope_vjp(/*heads*/ n, /*theta*/ real, segments, /*dy*/ x, dx) } -> std::same_as<void>;
    { be.attention_vjp(/*q*/ x, /*k*/ x, /*v*/ x, heads, segments, /*dy*/ x, dx, dx, dx) } -> std::same_as<void>;
    { be.gelu_tanh_vjp(x, /*dy*/ x, dx) } -> std::same_as<void>;
    { be.silu_mul_vjp(/*gate*/ x, /*up*/ x, /*dy*/ x, dx, dx) } -> std::same_as<void>;
    { be.patchify_vjp(/*patch*/ n, /*dy*/ x, dx) } -> std::same_as<void>;
    { be.pixel_shuffle_vjp(/*rows*/ n, /*cols*/ n, /*s*/ n, /*dy*/ x, dx) } -> std::same_as<void>;

    // The loss: mean of -log softmax(logits[n])[targets[n]] over the targets != ignore_index -> [1].
    { be.cross_entropy(/*logits [N, V]*/ x, /*targets [N]*/ ids) } -> std::same_as<typename B::Tensor>;
    { be.cross_entropy_vjp(/*logits*/ x, ids, /*dloss [1]*/ x, dx) } -> std::same_as<void>;
};

}  // namespace smolvlm
