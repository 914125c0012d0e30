#pragma once
/// Cpu<T>: the fast backend, T = float or double. Every op is listed here with its checks; the work is in the other
/// files of this folder, one per op, with the names of ref/. Kernels for the machine's instruction set are chosen at
/// run time (core/cpu_features.hpp), threads are OpenMP's where it is compiled in (core/parallel.hpp). Results do
/// not depend on the number of threads.
///
/// An object serves one thread of the caller; several objects may share weights and tensors.

#include <smolvlm/backend/differentiable.hpp>
#include <smolvlm/backend/shapes.hpp>
#include <smolvlm/core/cpu_features.hpp>
#include <smolvlm/cpu/activations.hpp>
#include <smolvlm/cpu/activations_vjp.hpp>
#include <smolvlm/cpu/attention.hpp>
#include <smolvlm/cpu/attention_vjp.hpp>
#include <smolvlm/cpu/cross_entropy.hpp>
#include <smolvlm/cpu/linear.hpp>
#include <smolvlm/cpu/linear_vjp.hpp>
#include <smolvlm/cpu/mlp.hpp>
#include <smolvlm/cpu/norm.hpp>
#include <smolvlm/cpu/norm_vjp.hpp>
#include <smolvlm/cpu/patchify.hpp>
#include <smolvlm/cpu/rope.hpp>
#include <smolvlm/cpu/rows_vjp.hpp>
#include <smolvlm/cpu/slab.hpp>
#include <smolvlm/cpu/workspace.hpp>
#include <smolvlm/ref/patchify.hpp>
#include <smolvlm/ref/rows.hpp>

namespace smolvlm {

template <std::floating_point T>
class Cpu : public cpu::Workspace<T> {
    using Base = cpu::Workspace<T>;
    using Base::arena_, Base::like, Base::make, Base::own, Base::path_, Base::precision_, Base::rope_table, Base::share,
        Base::sink, Base::team, Base::team_for, Base::threads_;

public:
    using Scalar = T;
    using Tensor = HostTensor<T>;
    using Weight = cpu::PackedWeight<T>;
    using Slab = cpu::Slab<T>;

    /// Throws ValueError when SMOLVLM_CPU asks for a path that this machine has not.
    /// cache: what keys and values of earlier tokens are held in; where it is not said, bf16 unless the precision is exact.
    explicit Cpu(int threads = default_threads(), CpuPath path = cpu_path(), Precision precision = Precision::exact,
                 std::optional<CacheFormat> cache = {})
        : Base(threads, path, precision),
          cache_(cache.value_or(precision == Precision::exact ? CacheFormat::exact : CacheFormat::bf16)) {}
    Cpu(int threads, Precision precision, std::optional<CacheFormat> cache = {})
        : Cpu(threads, cpu_path(), precision, cache) {}

    CacheFormat cache_format() const { return cache_; }
    Tensor from_host(const HostTensor<T>& x) { return x; }
    HostTensor<T> to_host(const Tensor& x) { return x; }
    Weight make_weight(const HostWeight& w) { return Weight(w, share(w.shape().numel()), precision_, path_, &arena_); }
    Weight make_weight(const PanelWeight& w, bool in_place) {
        return Weight(w, threads_, precision_, path_, &arena_, in_place);
    }
    Weight make_table(const HostWeight& w, std::optional<DType> held) { return Weight::table(w, precision_, path_, held); }
    Tensor zeros(const Shape& shape) {
        Tensor y = make(shape);
        parallel_for(threads_, y.numel(), Index(1) << 16,
                     [&](Index begin, Index end) { std::fill(y.data() + begin, y.data() + end, T(0)); });
        return y;
    }

    Tensor linear(const Tensor& x, const Weight& w, const Tensor& bias) {
        Tensor y = make(shapes::linear(x.shape(), w.shape(), bias.shape()));
        const cpu::Map<T> map{&w, bias.data(), y.data()};
        cpu::linear<T>(x.view(), {&map, 1}, path_, team_for(x, w.rows()));
        return y;
    }
    /// Three maps of the same x at once: layers ask for it where a backend has it (nn/linear.hpp).
    std::array<Tensor, 3> linear_three(const Tensor& x, const Weight& w0, const Tensor& bias0, const Weight& w1,
                                       const Tensor& bias1, const Weight& w2, const Tensor& bias2) {
        if (!cpu::multiplied_alike(w0, w1) || !cpu::multiplied_alike(w0, w2))
            return {linear(x, w0, bias0), linear(x, w1, bias1), linear(x, w2, bias2)};
        std::array<Tensor, 3> y{make(shapes::linear(x.shape(), w0.shape(), bias0.shape())),
                                make(shapes::linear(x.shape(), w1.shape(), bias1.shape())),
                                make(shapes::linear(x.shape(), w2.shape(), bias2.shape()))};
        const cpu::Map<T> maps[] = {{&w0, bias0.data(), y[0].data()}, {&w1, bias1.data(), y[1].data()},
                                    {&w2, bias2.data(), y[2].data()}};
        cpu::linear<T>(x.view(), maps, path_, team_for(x, w0.rows() + w1.rows() + w2.rows()));
        return y;
    }
    Tensor embedding(const Weight& w, Ids ids) {
        Tensor y = make(shapes::gather("embedding", w.shape(), ids));
        parallel_for(share(y.numel()), y.dim(0), Index(16), [&](Index begin, Index end) {
            for (Index n = begin; n < end; ++n) w.row(ids[static_cast<std::size_t>(n)], y.data() + n * y.dim(1));
        });
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

    std::vector<Slab> make_slabs(Index count, const Shape& shape, Index heads = 1) {
        return cpu::make_slabs<T>(cache_, count, shape, heads);
    }
    void write_rows(Slab& slab, const Segments& segments, const Tensor& rows) {
        const auto write = [&](auto& held) {
            shapes::write_rows(held.shape(), segments, rows.shape());
            cpu::write_rows<T>(this->own(held), segments, rows.view(), path_, this->pool());
        };
        std::visit(write, slab);
    }
    Tensor gather_rows(const Slab& slab, Ids ids) {
        const auto gather = [&](const auto& held) {
            Tensor y = this->make(shapes::gather("gather_rows", held.shape(), ids));
            cpu::gather_rows(held, ids, y.view());
            return y;
        };
        return std::visit(gather, slab);
    }

    Tensor rms_norm(const Tensor& x, const Tensor& weight, double eps) {
        Tensor y = make(shapes::norm("rms_norm", x.shape(), weight.shape()));
        cpu::norm<false, T>(x.view(), weight.view(), {}, static_cast<T>(eps), y.view(), path_, share(y.numel()));
        return y;
    }
    Tensor layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps) {
        Tensor y = make(shapes::norm("layer_norm", x.shape(), weight.shape(), bias.shape()));
        cpu::norm<true, T>(x.view(), weight.view(), bias.view(), static_cast<T>(eps), y.view(), path_, share(y.numel()));
        return y;
    }

    /// x& += h and then the norm, in one pass: layers ask for it where a backend has it (nn/rms_norm.hpp).
    Tensor add_rms_norm(Tensor& x, const Tensor& h, const Tensor& weight, double eps) {
        return add_norm<false>(x, h, weight, {}, eps);
    }
    Tensor add_layer_norm(Tensor& x, const Tensor& h, const Tensor& weight, const Tensor& bias, double eps) {
        return add_norm<true>(x, h, weight, bias, eps);
    }

    // Ops that take an operand by value write into it when nobody else can see it.
    Tensor rope(Tensor x, Index heads, double theta, const Segments& segments) {
        Tensor y = like(x, shapes::rope(x.shape(), heads, segments));
        auto& table = rope_table(theta, x.dim(1) / heads);
        cpu::rope<T>(x.cview(), heads, table, segments, y.view(), path_, share(y.numel()));
        return y;
    }
    Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, Heads heads, const Segments& segments) {
        return attend(q, cpu::kept(k, heads), cpu::kept(v, heads), heads, segments);
    }
    Tensor attention(const Tensor& q, const Slab& k, const Slab& v, Heads heads, const Segments& segments) {
        const auto meet = [&](const auto& keys) {
            const auto& values = std::get<std::decay_t<decltype(keys)>>(v);
            return this->attend(q, cpu::kept(keys, heads), cpu::kept(values, heads), heads, segments);
        };
        return std::visit(meet, k);
    }

    Tensor gelu_tanh(Tensor x) {
        Tensor y = like(x, x.shape());
        cpu::elementwise<cpu::GeluTanh>(x.cview(), x.cview(), y.view(), path_, share(y.numel()));
        return y;
    }
    Tensor silu_mul(Tensor gate, const Tensor& up) {
        Tensor y = like(gate, shapes::same("silu_mul", gate.shape(), up.shape()));
        cpu::elementwise<cpu::SiluMul>(gate.cview(), up.view(), y.view(), path_, share(y.numel()));
        return y;
    }
    void add_to(Tensor& x, const Tensor& h) {
        Tensor y = like(x, shapes::same("add_to", x.shape(), h.shape()));
        cpu::elementwise<cpu::Add>(x.cview(), h.view(), y.view(), path_, share(y.numel()));
        x = std::move(y);
    }

    /// x& += w2 gelu_tanh(w1 h + b1) + b2: layers ask for it where a backend has it (vision/encoder_layer.hpp).
    void add_gelu_mlp(Tensor& x, const Tensor& h, const Weight& w1, const Tensor& b1, const Weight& w2, const Tensor& b2) {
        const Shape inner = shapes::linear(h.shape(), w1.shape(), b1.shape());
        shapes::same("add_to", x.shape(), shapes::linear(inner, w2.shape(), b2.shape()));
        const cpu::Mlp<T> mlp{w1, b1.view(), nullptr, w2, b2.view()};
        if (!mlp.in_one_piece(h.dim(0))) return add_to(x, linear(gelu_tanh(linear(h, w1, b1)), w2, b2));
        cpu::add_mlp<cpu::GeluTanh, T>(h.view(), mlp, own(x).view(), path_, team_for(h, 2 * w1.rows()));
    }
    /// x& += down (silu(gate h) * (up h)): likewise (text/decoder_layer.hpp).
    void add_gated_mlp(Tensor& x, const Tensor& h, const Weight& gate, const Weight& up, const Weight& down) {
        const Shape inner = shapes::same("silu_mul", shapes::linear(h.shape(), gate.shape(), {}),
                                         shapes::linear(h.shape(), up.shape(), {}));
        shapes::same("add_to", x.shape(), shapes::linear(inner, down.shape(), {}));
        const cpu::Mlp<T> mlp{gate, {}, &up, down, {}};
        if (!mlp.in_one_piece(h.dim(0))) return add_to(x, linear(silu_mul(linear(h, gate, {}), linear(h, up, {})), down, {}));
        cpu::add_mlp<cpu::SiluMul, T>(h.view(), mlp, own(x).view(), path_, team_for(h, 3 * gate.rows()));
    }

    Tensor patchify(const Tensor& x, Index patch) {
        Tensor y = make(shapes::patchify(x.shape(), patch));
        cpu::patchify<T>(x.view(), patch, y.view(), share(y.numel()));
        return y;
    }
    /// patchify of what the bytes stand for: layers ask for it where a backend has it (vision/siglip.hpp).
    Tensor patchify_bytes(const BytePixels& x, Index patch) {
        Tensor y = make(shapes::patchify(x.shape(), patch));
        cpu::patchify_bytes<T>(x, patch, y.view(), share(y.numel()));
        return y;
    }
    Tensor pixel_shuffle(const Tensor& x, Index rows, Index cols, Index s) {
        Tensor y = make(shapes::pixel_shuffle(x.shape(), rows, cols, s));
        cpu::pixel_shuffle<T>(x.view(), rows, cols, s, y.view(), share(y.numel()));
        return y;
    }

    // Vector-Jacobian products (backend/differentiable.hpp): each *dx += J^T dy; null = not wanted.

    void linear_vjp(const Tensor& x, const Weight& w, const Tensor& dy, Tensor* dx, Tensor* dw, Tensor* dbias) {
        const Shape rows{dy.dim(0), w.cols()}, bias{w.rows()};
        cpu::linear_vjp<T>(x.view(), w, dy.view(), sink(dx, rows), sink(dw, w.shape()), sink(dbias, bias), path_, team());
    }
    void embedding_vjp(Ids ids, const Tensor& dy, Tensor* dw) { gather_rows_vjp(ids, dy, dw); }
    void gather_rows_vjp(Ids ids, const Tensor& dy, Tensor* dx) {
        if (dx) cpu::gather_rows_vjp<T>(ids, dy.view(), own(*dx).view(), path_, threads_);
    }
    void scatter_rows_vjp(Ids ids, const Tensor& dy, Tensor* dx, Tensor* drows) {
        const Shape rows{static_cast<Index>(ids.size()), dy.dim(1)};
        cpu::scatter_rows_vjp<T>(ids, dy.view(), sink(dx, dy.shape()), sink(drows, rows), path_, threads_);
    }
    void rms_norm_vjp(const Tensor& x, const Tensor& weight, double eps, const Tensor& dy, Tensor* dx, Tensor* dweight) {
        cpu::norm_vjp<false, T>(x.view(), weight.view(), static_cast<T>(eps), dy.view(), sink(dx, x.shape()),
                                sink(dweight, weight.shape()), {}, path_, team());
    }
    void layer_norm_vjp(const Tensor& x, const Tensor& weight, double eps, const Tensor& dy, Tensor* dx,
                        Tensor* dweight, Tensor* dbias) {
        cpu::norm_vjp<true, T>(x.view(), weight.view(), static_cast<T>(eps), dy.view(), sink(dx, x.shape()),
                               sink(dweight, weight.shape()), sink(dbias, weight.shape()), path_, team());
    }
    void rope_vjp(Index heads, double theta, const Segments& segments, const Tensor& dy, Tensor* dx) {
        if (!dx) return;
        auto& table = rope_table(theta, dy.dim(1) / heads);
        cpu::rope_vjp<T>(heads, table, segments, dy.view(), sink(dx, dy.shape()), path_, threads_);
    }
    void attention_vjp(const Tensor& q, const Tensor& k, const Tensor& v, Heads heads, const Segments& segments,
                       const Tensor& dy, Tensor* dq, Tensor* dk, Tensor* dv) {
        const auto sum = [&](Tensor* d) {  // keys may belong to several segments or to none
            if (d && d->empty()) *d = zeros(k.shape());
            return d ? own(*d).data() : nullptr;
        };
        cpu::attention_vjp<T>(q.view(), k.view(), v.view(), heads, segments, dy.view(), sink(dq, q.shape()), sum(dk),
                              sum(dv), path_, team());
    }
    void gelu_tanh_vjp(const Tensor& x, const Tensor& dy, Tensor* dx) {
        cpu::elementwise_vjp<cpu::GeluTanhVjp, T>(x.view(), x.view(), dy.view(), sink(dx, x.shape()), {}, path_, threads_);
    }
    void silu_mul_vjp(const Tensor& gate, const Tensor& up, const Tensor& dy, Tensor* dgate, Tensor* dup) {
        cpu::elementwise_vjp<cpu::SiluMulVjp, T>(gate.view(), up.view(), dy.view(), sink(dgate, gate.shape()),
                                                 sink(dup, up.shape()), path_, threads_);
    }
    void patchify_vjp(Index patch, const Tensor& dy, Tensor* dx) {
        if (dx) ref::patchify_vjp(patch, dy.view(), own(*dx).view());
    }
    void pixel_shuffle_vjp(Index rows, Index cols, Index s, const Tensor& dy, Tensor* dx) {
        if (!dx) return;
        const Shape patches{dy.dim(0) * s * s, dy.dim(1) / (s * s)};
        cpu::pixel_shuffle_vjp<T>(rows, cols, s, dy.view(), sink(dx, patches), path_, threads_);
    }
    Tensor cross_entropy(const Tensor& logits, Ids targets) {
        Tensor loss = make(shapes::cross_entropy(logits.shape(), targets));
        cpu::cross_entropy<T>(logits.view(), targets, loss.view(), path_, team());
        return loss;
    }
    void cross_entropy_vjp(const Tensor& logits, Ids targets, const Tensor& dloss, Tensor* dlogits) {
        if (!dlogits) return;
        cpu::cross_entropy_vjp<T>(logits.view(), targets, dloss.cview()(0), sink(dlogits, logits.shape()), path_, team());
    }

private:
    template <bool subtract_mean>
    Tensor add_norm(Tensor& x, const Tensor& h, const Tensor& weight, const Tensor& bias, double eps) {
        shapes::same("add_to", x.shape(), h.shape());
        Tensor y = make(shapes::norm(subtract_mean ? "layer_norm" : "rms_norm", x.shape(), weight.shape(), bias.shape()));
        cpu::add_norm<subtract_mean, T>(own(x).view(), h.view(), weight.view(), bias.view(), static_cast<T>(eps), y.view(),
                                        path_, share(2 * y.numel()));
        return y;
    }
    template <class S>
    Tensor attend(const Tensor& q, const cpu::KeptRows<S>& k, const cpu::KeptRows<S>& v, Heads heads,
                  const Segments& segments) {
        Tensor y = make(shapes::attention(q.shape(), k.shape(), v.shape(), heads, segments));
        Index pairs = 0;
        for (const Segment& s : segments) pairs += std::max<Index>(s.n, 8) * s.keys;  // few rows wait for the keys
        const auto numbers = cpu::attention_numbers(precision_, path_);
        cpu::attention<T, S>(q.view(), k, v, heads, segments, y.view(), numbers, path_, team(2 * pairs * q.dim(1)));
        return y;
    }

    CacheFormat cache_;
};

}  // namespace smolvlm

#ifdef SMOLVLM_CPU_KERNELS_ELSEWHERE
#include <smolvlm/cpu/instances.hpp>
#endif
