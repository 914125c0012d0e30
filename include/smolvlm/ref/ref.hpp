#pragma once
/// Ref<T>: the backend assembled from the definitions in this folder. One thread, no cleverness; all tests' oracle.

#include <smolvlm/backend/concept.hpp>
#include <smolvlm/backend/shapes.hpp>
#include <smolvlm/ref/activations.hpp>
#include <smolvlm/ref/attention.hpp>
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
    void write_rows(Tensor& slab, const Segments& segments, const Tensor& rows) {
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

private:
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
