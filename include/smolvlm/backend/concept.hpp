#pragma once
/// THE contract between layers and machines. A backend is an object with the coarse operations below; a layer calls them and
/// nothing else, so every layer is written once. All matrices are row-major with one token or patch a row; letters as in
/// core/shape.hpp.
///
///     operation          definition (equation, loops)    fast path
///     linear             ref/linear.hpp                  cpu/linear.hpp
///     embedding          ref/embedding.hpp               cpu/cpu.hpp
///     gather_rows,
///     scatter_rows,
///     write_rows         ref/rows.hpp                    cpu/cpu.hpp
///     make_slabs         the concept CachingBackend      cpu/slab.hpp
///     rms_norm           ref/rms_norm.hpp                cpu/norm.hpp
///     layer_norm         ref/layer_norm.hpp              cpu/norm.hpp
///     rope               ref/rope.hpp                    cpu/rope.hpp
///     attention          ref/attention.hpp               cpu/attention.hpp
///     gelu_tanh,
///     silu_mul, add_to   ref/activations.hpp             cpu/activations.hpp
///     patchify           ref/patchify.hpp                cpu/patchify.hpp
///     pixel_shuffle      ref/pixel_shuffle.hpp           cpu/patchify.hpp
///
/// Some neighbours are faster in one piece. A backend may offer that; no contract asks for it, and a layer that finds it takes
/// it instead, with the same numbers up to rounding (on Cpu<T> bit for bit):
///
///     add_layer_norm, add_rms_norm      x += h, and the norm of the sum         nn/layer_norm.hpp, nn/rms_norm.hpp
///     linear_three                      three maps of the same rows             nn/linear.hpp
///     add_gelu_mlp                      x += w2 gelu_tanh(w1 h + b1) + b2       vision/encoder_layer.hpp
///     add_gated_mlp                     x += down (silu(gate h) * (up h))       text/decoder_layer.hpp
///     patchify_bytes                    patches of what bytes stand for         vision/siglip.hpp
///     pixel_shuffle_linear              a map of shuffled rows                  model/connector.hpp
///
/// A new op goes here, into ref/ with its definition, into the fast backends, and into tests/ops/.
/// Every op checks its operands and throws ShapeError or ValueError; none changes an operand except those named x&.

#include <concepts>
#include <vector>

#include <smolvlm/backend/segments.hpp>
#include <smolvlm/core/host_tensor.hpp>
#include <smolvlm/core/host_weight.hpp>

namespace smolvlm {

/// What a backend computes with. Kept apart from the operations so that a wrong type gives a short message.
template <class B>
concept HasTypes = requires {
    requires std::floating_point<typename B::Scalar>;  // what from_host and to_host speak
    typename B::Tensor;                                // activations, norm weights, biases
    typename B::Weight;                                // a matrix of linear or embedding, of any dtype, packed as B likes
} && requires(const typename B::Tensor& x, const typename B::Weight& w) {
    { x.shape() } -> std::convertible_to<Shape>;
    { x.empty() } -> std::same_as<bool>;  // "no tensor": an absent bias, a moved-from value
    { w.shape() } -> std::convertible_to<Shape>;
};

template <HasTypes B>
using Tensor = typename B::Tensor;
template <HasTypes B>
using Weight = typename B::Weight;

template <class B>
concept Backend = HasTypes<B> && requires(B& be, const typename B::Tensor& x, typename B::Tensor& mutable_x,
                                          const typename B::Weight& w, const HostTensor<typename B::Scalar>& host,
                                          const HostWeight& file, const Shape& shape, Index n, double real, Ids ids,
                                          Heads heads, const Segments& segments) {
    // In and out.
    { be.from_host(host) } -> std::same_as<Tensor<B>>;
    { be.to_host(x) } -> std::same_as<HostTensor<typename B::Scalar>>;
    { be.make_weight(file) } -> std::same_as<Weight<B>>;
    { be.zeros(shape) } -> std::same_as<Tensor<B>>;

    // Matrices. linear: x [N, K], w [M, K], bias [M] or empty -> x w^T + bias [N, M].
    { be.linear(x, w, /*bias*/ x) } -> std::same_as<Tensor<B>>;
    { be.embedding(w, ids) } -> std::same_as<Tensor<B>>;         // w [V, D], ids [N] -> rows of w [N, D]
    { be.gather_rows(x, ids) } -> std::same_as<Tensor<B>>;       // x [R, D], ids [N] -> rows of x [N, D]
    { be.scatter_rows(mutable_x, ids, x) } -> std::same_as<void>;  // x&[ids[i]] = x[i]: image tokens into the text

    // Norms, per row: x [N, D], weight [D], bias [D].
    { be.rms_norm(x, /*weight*/ x, /*eps*/ real) } -> std::same_as<Tensor<B>>;
    { be.layer_norm(x, /*weight*/ x, /*bias*/ x, /*eps*/ real) } -> std::same_as<Tensor<B>>;

    // Attention. rope: x [N, heads*K], position = past + t. attention: q [N, H*K], k, v [R, G*K] -> [N, H*K].
    { be.rope(x, /*heads*/ n, /*theta*/ real, segments) } -> std::same_as<Tensor<B>>;
    { be.attention(x, x, x, heads, segments) } -> std::same_as<Tensor<B>>;

    // Elementwise.
    { be.gelu_tanh(x) } -> std::same_as<Tensor<B>>;
    { be.silu_mul(/*gate*/ x, /*up*/ x) } -> std::same_as<Tensor<B>>;  // silu(gate) * up
    { be.add_to(mutable_x, x) } -> std::same_as<void>;                 // x& += x

    // Pictures. patchify: x [I, C, height, width], patch p -> [I * patches, C*p*p]; pixels right and below whole patches
    // are dropped. pixel_shuffle: x [I * rows*cols, D], (x, rows, cols, s) -> [I * rows/s * cols/s, s*s*D].
    { be.patchify(x, /*patch*/ n) } -> std::same_as<Tensor<B>>;
    { be.pixel_shuffle(x, /*rows*/ n, /*cols*/ n, /*s*/ n) } -> std::same_as<Tensor<B>>;
};

/// A backend that can also keep keys and values of earlier tokens, in slabs: matrices [R, D] that are written in place and
/// may be held in fewer bits than a tensor. (Autograd does not model this: what is written in place has no place on a tape.)
template <class B>
concept CachingBackend = Backend<B> && requires { typename B::Slab; } &&
                         requires(B& be, typename B::Slab& slab, const typename B::Slab& kept, const Tensor<B>& x,
                                  Index count, const Shape& shape, Ids ids, Heads heads, const Segments& segments) {
    // Zeros. Rows are made of so many heads: each may have a scale of its own.
    { be.make_slabs(count, shape, heads.kv) } -> std::same_as<std::vector<typename B::Slab>>;
    { be.write_rows(slab, segments, x) } -> std::same_as<void>;  // slab&: at the last n key rows of each segment
    { be.gather_rows(kept, ids) } -> std::same_as<Tensor<B>>;
    { be.attention(x, kept, kept, heads, segments) } -> std::same_as<Tensor<B>>;
};

template <CachingBackend B>
using Slab = typename B::Slab;

/// make_slabs of a backend whose slabs are tensors.
template <class B>
std::vector<typename B::Tensor> zero_slabs(B& be, Index count, const Shape& shape) {
    std::vector<typename B::Tensor> slabs;
    for (Index i = 0; i < count; ++i) slabs.push_back(be.zeros(shape));
    return slabs;
}

}  // namespace smolvlm
