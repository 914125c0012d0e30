#pragma once
/// Cpu<T>: the fast backend. Every op is listed here; none falls back silently.

#include <smolvlm/backend/concept.hpp>
#include <smolvlm/backend/shapes.hpp>
#include <smolvlm/cpu/linear.hpp>
#include <smolvlm/ref/activations.hpp>
#include <smolvlm/ref/attention.hpp>
#include <smolvlm/ref/embedding.hpp>
#include <smolvlm/ref/layer_norm.hpp>
#include <smolvlm/ref/patchify.hpp>
#include <smolvlm/ref/pixel_shuffle.hpp>
#include <smolvlm/ref/rms_norm.hpp>
#include <smolvlm/ref/rope.hpp>
#include <smolvlm/ref/rows.hpp>

namespace smolvlm {

template <std::floating_point T>
class Cpu {
public:
    using Scalar = T;
    using Tensor = HostTensor<T>;
    using Weight = HostWeight;

    explicit Cpu(int threads = default_threads()) : threads_(std::max(threads, 1)) {}

    Pool& pool() { return pool_; }
    int threads() const { return threads_; }

    Tensor from_host(const HostTensor<T>& x) { return x; }
    HostTensor<T> to_host(const Tensor& x) { return x; }
    Weight make_weight(const HostWeight& w) { return w; }
    Tensor zeros(const Shape& shape) {
        Tensor y = make(shape);
        std::fill_n(y.data(), y.numel(), T(0));
        return y;
    }

    Tensor linear(const Tensor& x, const Weight& w, const Tensor& bias) {
        Tensor y = make(shapes::linear(x.shape(), w.shape(), bias.shape()));
        cpu::linear<T>(x.view(), w, bias.view(), y.view(), threads_);
        return y;
    }
    Tensor embedding(const Weight& w, Ids ids) {
        Tensor y = make(shapes::gather("embedding", w.shape(), ids));
        ref::embedding(w, ids, y.view());
        return y;
    }
    Tensor gather_rows(const Tensor& x, Ids ids) {
        Tensor y = make(shapes::gather("gather_rows", x.shape(), ids));
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
        Tensor y = make(shapes::norm("rms_norm", x.shape(), weight.shape()));
        ref::rms_norm(x.view(), weight.view(), static_cast<T>(eps), y.view());
        return y;
    }
    Tensor layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps) {
        Tensor y = make(shapes::norm("layer_norm", x.shape(), weight.shape(), bias.shape()));
        ref::layer_norm(x.view(), weight.view(), bias.view(), static_cast<T>(eps), y.view());
        return y;
    }

    Tensor rope(const Tensor& x, Index heads, double theta, const Segments& segments) {
        Tensor y = make(shapes::rope(x.shape(), heads, segments));
        ref::rope(x.view(), heads, theta, segments, y.view());
        return y;
    }
    Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, Heads heads, const Segments& segments) {
        Tensor y = make(shapes::attention(q.shape(), k.shape(), v.shape(), heads, segments));
        ref::attention(q.view(), k.view(), v.view(), heads, segments, y.view());
        return y;
    }

    Tensor gelu_tanh(const Tensor& x) {
        Tensor y = make(x.shape());
        ref::gelu_tanh(x.view(), y.view());
        return y;
    }
    Tensor silu_mul(const Tensor& gate, const Tensor& up) {
        Tensor y = make(shapes::same("silu_mul", gate.shape(), up.shape()));
        ref::silu_mul(gate.view(), up.view(), y.view());
        return y;
    }
    void add_to(Tensor& x, const Tensor& h) {
        shapes::same("add_to", x.shape(), h.shape());
        ref::add_to(own(x).view(), h.view());
    }

    Tensor patchify(const Tensor& x, Index patch) {
        Tensor y = make(shapes::patchify(x.shape(), patch));
        ref::patchify(x.view(), patch, y.view());
        return y;
    }
    Tensor pixel_shuffle(const Tensor& x, Index rows, Index cols, Index s) {
        Tensor y = make(shapes::pixel_shuffle(x.shape(), rows, cols, s));
        ref::pixel_shuffle(x.view(), rows, cols, s, y.view());
        return y;
    }

private:
    Tensor make(const Shape& shape) {
        return Tensor(shape, pool_.take(static_cast<std::size_t>(shape.numel()) * sizeof(T)));
    }
    /// Copies x first if anybody else can see its elements: a probe, a tape, a mapped file.
    Tensor& own(Tensor& x) {
        if (!x.storage().writable_alone()) {
            Tensor copy = make(x.shape());
            std::ranges::copy(std::as_const(x).flat(), copy.data());
            x = std::move(copy);
        }
        return x;
    }

    Pool pool_;
    int threads_;
};

}  // namespace smolvlm
