#pragma once
/// Ref<T>: the backend assembled from the definitions in this folder, derivatives included. One thread, no cleverness;
/// the oracle of all tests.

#include <smolvlm/backend/differentiable.hpp>
#include <smolvlm/backend/shapes.hpp>
#include <smolvlm/ref/activations.hpp>
#include <smolvlm/ref/attention.hpp>
#include <smolvlm/ref/cross_entropy.hpp>
#include <smolvlm/ref/embedding.hpp>
#include <smolvlm/ref/layer_norm.hpp>
#include <smolvlm/ref/linear.hpp>
#include <smolvlm/ref/patchify.hpp>
#include <smolvlm/ref/pixel_shuffle.hpp>
#include <smolvlm/ref/rms_norm.hpp>
#include <smolvlm/ref/rope.hpp>
#include <smolvlm/ref/rows.hpp>

namespace smolvlm {

template <std::floating_point T>
class Ref {
public:
    using Scalar = T;
    using Tensor = HostTensor<T>;
    using Slab = Tensor;
    using Weight = HostWeight;

    Tensor from_host(const HostTensor<T>& x) { return x; }
    HostTensor<T> to_host(const Tensor& x) { return x; }
    Weight make_weight(const HostWeight& w) { return w; }
    Tensor zeros(const Shape& shape) { return Tensor::zeros(shape); }

    Tensor linear(const Tensor& x, const Weight& w, const Tensor& bias) {
        Tensor y(shapes::linear(x.shape(), w.shape(), bias.shape()));
        ref::linear(x.view(), w, bias.view(), y.view());
        return y;
    }
    Tensor embedding(const Weight& w, Ids ids) {
        Tensor y(shapes::gather("embedding", w.shape(), ids));
        ref::embedding(w, ids, y.view());
        return y;
    }
    Tensor gather_rows(const Tensor& x, Ids ids) {
        Tensor y(shapes::gather("gather_rows", x.shape(), ids));
        ref::gather_rows(x.view(), ids, y.view());
        return y;
    }
    void scatter_rows(Tensor& x, Ids ids, const Tensor& rows) {
        shapes::scatter_rows(x.shape(), ids, rows.shape());
        ref::scatter_rows(own(x).view(), ids, rows.view());
    }
    std::vector<Slab> make_slabs(Index count, const Shape& shape, Index /*heads*/ = 1) {
        return zero_slabs(*this, count, shape);
    }
    void write_rows(Slab& slab, const Segments& segments, const Tensor& rows) {
        shapes::write_rows(slab.shape(), segments, rows.shape());
        ref::write_rows(own(slab).view(), segments, rows.view());
    }

    Tensor rms_norm(const Tensor& x, const Tensor& weight, double eps) {
        Tensor y(shapes::norm("rms_norm", x.shape(), weight.shape()));
        ref::rms_norm(x.view(), weight.view(), static_cast<T>(eps), y.view());
        return y;
    }
    Tensor layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps) {
        Tensor y(shapes::norm("layer_norm", x.shape(), weight.shape(), bias.shape()));
        ref::layer_norm(x.view(), weight.view(), bias.view(), static_cast<T>(eps), y.view());
        return y;
    }

    Tensor rope(const Tensor& x, Index heads, double theta, const Segments& segments) {
        Tensor y(shapes::rope(x.shape(), heads, segments));
        ref::rope(x.view(), heads, theta, segments, y.view());
        return y;
    }
    Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, Heads heads, const Segments& segments) {
        Tensor y(shapes::attention(q.shape(), k.shape(), v.shape(), heads, segments));
        ref::attention(q.view(), k.view(), v.view(), heads, segments, y.view());
        return y;
    }

    Tensor gelu_tanh(const Tensor& x) {
        Tensor y(x.shape());
        ref::gelu_tanh(x.view(), y.view());
        return y;
    }
    Tensor silu_mul(const Tensor& gate, const Tensor& up) {
        Tensor y(shapes::same("silu_mul", gate.shape(), up.shape()));
        ref::silu_mul(gate.view(), up.view(), y.view());
        return y;
    }
    void add_to(Tensor& x, const Tensor& h) {
        shapes::same("add_to", x.shape(), h.shape());
        ref::add_to(own(x).view(), h.view());
    }

    Tensor patchify(const Tensor& x, Index patch) {
        Tensor y(shapes::patchify(x.shape(), patch));
        ref::patchify(x.view(), patch, y.view());
        return y;
    }
    Tensor pixel_shuffle(const Tensor& x, Index rows, Index cols, Index s) {
        Tensor y(shapes::pixel_shuffle(x.shape(), rows, cols, s));
        ref::pixel_shuffle(x.view(), rows, cols, s, y.view());
        return y;
    }

    // Vector-Jacobian products (backend/differentiable.hpp): each *dx += J^T dy; null = not wanted.

    void linear_vjp(const Tensor& x, const Weight& w, const Tensor& dy, Tensor* dx, Tensor* dw, Tensor* dbias) {
        ref::linear_vjp(dw ? x.view() : rows_like(dy, w.cols()), w, dy.view(), sink(dx, {dy.dim(0), w.cols()}),
                        sink(dw, w.shape()), sink(dbias, {w.rows()}));
    }
    void embedding_vjp(Ids ids, const Tensor& dy, Tensor* dw) {
        if (dw) ref::embedding_vjp(ids, dy.view(), own(*dw).view());
    }
    void gather_rows_vjp(Ids ids, const Tensor& dy, Tensor* dx) {
        if (dx) ref::gather_rows_vjp(ids, dy.view(), own(*dx).view());
    }
    void scatter_rows_vjp(Ids ids, const Tensor& dy, Tensor* dx, Tensor* drows) {
        ref::scatter_rows_vjp(ids, dy.view(), sink(dx, dy.shape()),
                              sink(drows, {static_cast<Index>(ids.size()), dy.dim(1)}));
    }
    void rms_norm_vjp(const Tensor& x, const Tensor& weight, double eps, const Tensor& dy, Tensor* dx, Tensor* dweight) {
        ref::rms_norm_vjp(x.view(), weight.view(), static_cast<T>(eps), dy.view(), sink(dx, x.shape()),
                          sink(dweight, weight.shape()));
    }
    void layer_norm_vjp(const Tensor& x, const Tensor& weight, double eps, const Tensor& dy, Tensor* dx, Tensor* dweight,
                        Tensor* dbias) {
        ref::layer_norm_vjp(x.view(), weight.view(), static_cast<T>(eps), dy.view(), sink(dx, x.shape()),
                            sink(dweight, weight.shape()), sink(dbias, weight.shape()));
    }
    void rope_vjp(Index heads, double theta, const Segments& segments, const Tensor& dy, Tensor* dx) {
        if (dx) ref::rope_vjp(heads, theta, segments, dy.view(), sink(dx, dy.shape()));
    }
    void attention_vjp(const Tensor& q, const Tensor& k, const Tensor& v, Heads heads, const Segments& segments,
                       const Tensor& dy, Tensor* dq, Tensor* dk, Tensor* dv) {
        ref::attention_vjp(q.view(), k.view(), v.view(), heads, segments, dy.view(), sink(dq, q.shape()),
                           sink(dk, k.shape()), sink(dv, v.shape()));
    }
    void gelu_tanh_vjp(const Tensor& x, const Tensor& dy, Tensor* dx) {
        if (dx) ref::gelu_tanh_vjp(x.view(), dy.view(), sink(dx, x.shape()));
    }
    void silu_mul_vjp(const Tensor& gate, const Tensor& up, const Tensor& dy, Tensor* dgate, Tensor* dup) {
        ref::silu_mul_vjp(gate.view(), up.view(), dy.view(), sink(dgate, gate.shape()), sink(dup, up.shape()));
    }
    void patchify_vjp(Index patch, const Tensor& dy, Tensor* dx) {
        if (dx) ref::patchify_vjp(patch, dy.view(), own(*dx).view());
    }
    void pixel_shuffle_vjp(Index rows, Index cols, Index s, const Tensor& dy, Tensor* dx) {
        if (dx) ref::pixel_shuffle_vjp(rows, cols, s, dy.view(), sink(dx, {dy.dim(0) * s * s, dy.dim(1) / (s * s)}));
    }
    Tensor cross_entropy(const Tensor& logits, Ids targets) {
        Tensor loss(shapes::cross_entropy(logits.shape(), targets));
        ref::cross_entropy(logits.view(), targets, loss.view());
        return loss;
    }
    void cross_entropy_vjp(const Tensor& logits, Ids targets, const Tensor& dloss, Tensor* dlogits) {
        if (dlogits) ref::cross_entropy_vjp(logits.view(), targets, dloss.view(), sink(dlogits, logits.shape()));
    }

private:
    /// Where a vjp adds its result: zeros where there is nothing yet; null stays null.
    static View<T> sink(Tensor* dx, const Shape& shape) {
        if (dx && dx->empty()) *dx = Tensor::zeros(shape);
        return dx ? own(*dx).view() : View<T>();
    }
    /// Stands for an x that is not read: only its shape is.
    static View<const T> rows_like(const Tensor& dy, Index width) { return {nullptr, Shape{dy.dim(0), width}}; }

    /// Copies x first if anybody else can see its elements: a probe, a tape, a mapped file.
    static Tensor& own(Tensor& x) {
        if (!x.storage().writable_alone()) {
            Tensor copy(x.shape());
            std::ranges::copy(std::as_const(x).flat(), copy.data());
            x = std::move(copy);
        }
        return x;
    }
};

}  // namespace smolvlm
