#pragma once
/// Cuda<T>: the backend of an NVIDIA GPU, T = float, half or bfloat16: what activations and weights are kept in. Sums
/// are floats in all of them, and so is what the host sees. Every op is listed here with its checks; the kernels are in
/// the other files of this folder, with the names of ref/.
///
///     Cuda<bfloat16> be;                                   // throws DeviceError where there is no device
///     const SmolVLM<Cuda<bfloat16>> model = load_model(be, checkpoint.config, *checkpoint.weights);
///
/// Nothing waits for the device but to_host and the ops that return numbers of the host. Memory comes from a pool, in
/// the order of the stream; after the first tokens a decode step takes nothing fresh. No sum uses atomics, so every run gives
/// the same bits. An object serves one thread of the caller.

#include <smolvlm/backend/differentiable.hpp>
#include <smolvlm/core/byte_pixels.hpp>
#include <smolvlm/cuda/adamw.cuh>
#include <smolvlm/cuda/attend.cuh>
#include <smolvlm/cuda/cross_entropy.cuh>
#include <smolvlm/cuda/fused.cuh>
#include <smolvlm/cuda/sampling.cuh>

namespace smolvlm {

template <class T>
class Cuda : public cuda::FusedOps<T> {
    using Base = cuda::FusedOps<T>;
    using Base::columns, Base::dense, Base::like, Base::make, Base::move, Base::on_, Base::over, Base::own, Base::plan,
        Base::product, Base::sink, Base::sum_into, Base::turn_table, Base::upload;
    using Plain = cuda::Activated<cuda::Same, T>;

public:
    using Scalar = float;
    using Tensor = cuda::DeviceTensor<T>;
    using Slab = Tensor;
    using Weight = cuda::DeviceWeight<T>;

    /// What runs the kernels: its pool, its counters, its stream.
    cuda::Runtime& runtime() { return on_; }

    Tensor from_host(const HostTensor<float>& x) {
        if constexpr (std::is_same_v<T, float>) {
            return Tensor(x.shape(), on_.upload(x.data(), cuda::bytes<float>(x.numel())));
        } else {
            Tensor y = make(x.shape());
            const cuda::Memory wide = on_.upload(x.data(), cuda::bytes<float>(x.numel()));
            cuda::convert<T>(on_.stream(), static_cast<const float*>(wide.data()), y.data(), x.numel());
            return y;
        }
    }
    HostTensor<float> to_host(const Tensor& x) {
        HostTensor<float> y(x.shape());
        if constexpr (std::is_same_v<T, float>) {
            on_.download(x.data(), y.data(), cuda::bytes<float>(x.numel()));
        } else {
            const cuda::Memory wide = on_.take(cuda::bytes<float>(x.numel()));
            cuda::convert<float>(on_.stream(), x.data(), static_cast<float*>(wide.data()), x.numel());
            on_.download(wide.data(), y.data(), cuda::bytes<float>(x.numel()));
        }
        return y;
    }
    Weight make_weight(const HostWeight& w) { return Weight(on_, w); }
    Tensor zeros(const Shape& shape) {
        Tensor y = make(shape);
        on_.fill_zero(y.data(), cuda::bytes<T>(y.numel()));
        return y;
    }

    Tensor linear(const Tensor& x, const Weight& w, const Tensor& bias) {
        Tensor y = make(shapes::linear(x.shape(), w.shape(), bias.shape()));
        product(x, w, Plain{bias.data(), over(y)});
        return y;
    }
    Tensor embedding(const Weight& w, Ids ids) {
        Tensor y = make(shapes::gather("embedding", w.shape(), ids));
        const cuda::Memory list = upload(ids);
        w.with_rows([&](const auto& rows) {
            cuda::embedding(on_.stream(), rows, cuda::items<std::int32_t>(list), y.data(), y.dim(0), y.dim(1));
        });
        return y;
    }
    Tensor gather_rows(const Tensor& x, Ids ids) {
        Tensor y = make(shapes::gather("gather_rows", x.shape(), ids));
        std::vector<cuda::Move> moves;
        for (std::size_t i = 0; i < ids.size(); ++i) moves.push_back({static_cast<std::int32_t>(i), ids[i]});
        move(x, moves, over(y), y.dim(1));
        return y;
    }
    void scatter_rows(Tensor& x, Ids ids, const Tensor& rows) {
        shapes::scatter_rows(x.shape(), ids, rows.shape());
        own(x);
        move(rows, cuda::last_writers(ids, x.dim(0)), over(x), x.dim(1));
    }
    std::vector<Slab> make_slabs(Index count, const Shape& shape, Index /*heads*/ = 1) {
        return zero_slabs(*this, count, shape);
    }
    void write_rows(Slab& slab, const Segments& segments, const Tensor& rows) {
        shapes::write_rows(slab.shape(), segments, rows.shape());
        own(slab);
        cuda::write_rows(on_.stream(), rows.data(), plan(segments).rows(on_), slab.data(), rows.dim(0), rows.dim(1));
    }

    Tensor rms_norm(const Tensor& x, const Tensor& weight, double eps) {
        shapes::norm("rms_norm", x.shape(), weight.shape());
        return this->template norm<false>(x.shape(), x.data(), nullptr, nullptr, weight, {}, eps);
    }
    Tensor layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps) {
        shapes::norm("layer_norm", x.shape(), weight.shape(), bias.shape());
        return this->template norm<true>(x.shape(), x.data(), nullptr, nullptr, weight, bias, eps);
    }
    /// add_to and then the norm, in one kernel: layers ask for it where a backend has it (nn/rms_norm.hpp).
    Tensor add_rms_norm(Tensor& x, const Tensor& h, const Tensor& weight, double eps) {
        shapes::norm("rms_norm", shapes::same("add_to", x.shape(), h.shape()), weight.shape());
        return this->template add_norm<false>(x, h, weight, {}, eps);
    }
    Tensor add_layer_norm(Tensor& x, const Tensor& h, const Tensor& weight, const Tensor& bias, double eps) {
        shapes::norm("layer_norm", shapes::same("add_to", x.shape(), h.shape()), weight.shape(), bias.shape());
        return this->template add_norm<true>(x, h, weight, bias, eps);
    }

    // Ops that take an operand by value write into it when nobody else can see it.
    Tensor rope(Tensor x, Index heads, double theta, const Segments& segments) {
        Tensor y = like(x, shapes::rope(x.shape(), heads, segments));
        turn<false>(x, heads, theta, segments, over(y));
        return y;
    }
    Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, Heads heads, const Segments& segments) {
        Tensor y = make(shapes::attention(q.shape(), k.shape(), v.shape(), heads, segments));
        cuda::attend(on_, plan(segments), q.data(), k.data(), v.data(), cuda::head_shape(q.shape(), heads), q.dim(0),
                     y.data());
        return y;
    }

    Tensor gelu_tanh(Tensor x) {
        Tensor y = like(x, x.shape());
        cuda::elementwise<cuda::GeluTanh>(on_.stream(), std::as_const(x).data(), std::as_const(x).data(), y.data(),
                                          y.numel());
        return y;
    }
    Tensor silu_mul(Tensor gate, const Tensor& up) {
        Tensor y = like(gate, shapes::same("silu_mul", gate.shape(), up.shape()));
        cuda::elementwise<cuda::SiluMul>(on_.stream(), std::as_const(gate).data(), up.data(), y.data(), y.numel());
        return y;
    }
    void add_to(Tensor& x, const Tensor& h) {
        Tensor y = like(x, shapes::same("add_to", x.shape(), h.shape()));
        cuda::elementwise<cuda::Add>(on_.stream(), std::as_const(x).data(), h.data(), y.data(), y.numel());
        x = std::move(y);
    }

    Tensor patchify(const Tensor& x, Index patch) {
        Tensor y = make(shapes::patchify(x.shape(), patch));
        cuda::gather(on_.stream(), x.data(), cuda::patch_pixel(x.shape(), patch), over(y), y.numel());
        return y;
    }
    /// patchify of what the bytes stand for, a quarter to upload: layers ask for it where a backend has it (vision/siglip.hpp).
    Tensor patchify_bytes(const BytePixels& x, Index patch) {
        Tensor y = make(shapes::patchify(x.shape(), patch));
        const cuda::Memory bytes = on_.upload(x.bytes().data(), cuda::bytes<std::uint8_t>(x.bytes().numel()));
        const cuda::Memory numbers = upload(x.table());
        cuda::patchify_bytes(on_.stream(), cuda::items<std::uint8_t>(bytes), cuda::items<float>(numbers),
                             cuda::patch_pixel(x.shape(), patch), y.data(), y.numel());
        return y;
    }
    Tensor pixel_shuffle(const Tensor& x, Index rows, Index cols, Index s) {
        Tensor y = make(shapes::pixel_shuffle(x.shape(), rows, cols, s));
        cuda::scatter(on_.stream(), x.data(), cuda::shuffle(rows, cols, s, x.dim(1)), over(y), x.numel());
        return y;
    }

    // Vector-Jacobian products (backend/differentiable.hpp): each *dx += J^T dy; null = not wanted.

    void linear_vjp(const Tensor& x, const Weight& w, const Tensor& dy, Tensor* dx, Tensor* dw, Tensor* dbias) {
        const Index N = dy.dim(0), M = w.rows(), K = w.cols();
        if (dx)
            w.with_rows([&](const auto& rows) {
                cuda::product(on_.stream(), dense(dy, M), cuda::Turned{rows}, Plain{nullptr, sink(dx, {N, K})}, N, K, M);
            });
        if (dw)
            cuda::product(on_.stream(), columns(dy, M), columns(x, K), Plain{nullptr, sink(dw, w.shape())}, M, K, N);
        cuda::column_sums(on_.stream(), dy.data(), sink(dbias, {M}), N, M);
    }
    void embedding_vjp(Ids ids, const Tensor& dy, Tensor* dw) { gather_rows_vjp(ids, dy, dw); }
    void gather_rows_vjp(Ids ids, const Tensor& dy, Tensor* dx) {
        if (!dx) return;
        const cuda::ReadersOfRows readers(ids);
        const cuda::Memory sums = upload(readers.sums), sources = upload(readers.sources);
        cuda::sum_rows(on_.stream(), dy.data(), cuda::items<cuda::Sum>(sums), static_cast<Index>(readers.sums.size()),
                       cuda::items<std::int32_t>(sources), sink(dx, dx->shape()), dy.dim(1));
    }
    void scatter_rows_vjp(Ids ids, const Tensor& dy, Tensor* dx, Tensor* drows) {
        const Index R = dy.dim(0), D = dy.dim(1);
        const cuda::WrittenRows rows(ids, R);
        if (dx) move(dy, rows.kept, sum_into(dx, dy.shape()), D);
        if (drows) move(dy, rows.taken, sum_into(drows, {static_cast<Index>(ids.size()), D}), D);
    }
    void rms_norm_vjp(const Tensor& x, const Tensor& weight, double eps, const Tensor& dy, Tensor* dx, Tensor* dweight) {
        norm_vjp<false>(x, weight, eps, dy, dx, dweight, nullptr);
    }
    void layer_norm_vjp(const Tensor& x, const Tensor& weight, double eps, const Tensor& dy, Tensor* dx, Tensor* dweight,
                        Tensor* dbias) {
        norm_vjp<true>(x, weight, eps, dy, dx, dweight, dbias);
    }
    void rope_vjp(Index heads, double theta, const Segments& segments, const Tensor& dy, Tensor* dx) {
        if (dx) turn<true>(dy, heads, theta, segments, sink(dx, dy.shape()));
    }
    void attention_vjp(const Tensor& q, const Tensor& k, const Tensor& v, Heads heads, const Segments& segments,
                       const Tensor& dy, Tensor* dq, Tensor* dk, Tensor* dv) {
        cuda::attend_vjp(on_, plan(segments), q.data(), k.data(), v.data(), dy.data(), cuda::head_shape(q.shape(), heads),
                         q.dim(0), k.dim(0), sink(dq, q.shape()), sink(dk, k.shape()), sink(dv, v.shape()));
    }
    void gelu_tanh_vjp(const Tensor& x, const Tensor& dy, Tensor* dx) {
        if (dx)
            cuda::elementwise_vjp<cuda::GeluTanh>(on_.stream(), x.data(), x.data(), dy.data(), sink(dx, x.shape()),
                                                  cuda::Sink<T>{}, x.numel());
    }
    void silu_mul_vjp(const Tensor& gate, const Tensor& up, const Tensor& dy, Tensor* dgate, Tensor* dup) {
        cuda::elementwise_vjp<cuda::SiluMul>(on_.stream(), gate.data(), up.data(), dy.data(), sink(dgate, gate.shape()),
                                             sink(dup, up.shape()), gate.numel());
    }
    void patchify_vjp(Index patch, const Tensor& dy, Tensor* dx) {
        if (!dx) return;
        const cuda::PatchPixel map = cuda::patch_pixel(dx->shape(), patch);
        cuda::scatter(on_.stream(), dy.data(), map, sink(dx, dx->shape()), dy.numel());
    }
    void pixel_shuffle_vjp(Index rows, Index cols, Index s, const Tensor& dy, Tensor* dx) {
        const Shape patches{dy.dim(0) * s * s, dy.dim(1) / (s * s)};
        if (!dx) return;
        const cuda::PixelShuffle map = cuda::shuffle(rows, cols, s, patches[1]);
        cuda::gather(on_.stream(), dy.data(), map, sink(dx, patches), dy.numel());
    }
    Tensor cross_entropy(const Tensor& logits, Ids targets) {
        Tensor loss = make(shapes::cross_entropy(logits.shape(), targets));
        const cuda::Memory list = upload(targets), losses = on_.take(cuda::bytes<float>(logits.dim(0)));
        cuda::cross_entropy(on_.stream(), logits.data(), cuda::items<std::int32_t>(list), static_cast<float*>(losses.data()),
                            loss.data(), logits.dim(0), logits.dim(1), cuda::counted_targets(targets));
        return loss;
    }
    void cross_entropy_vjp(const Tensor& logits, Ids targets, const Tensor& dloss, Tensor* dlogits) {
        if (!dlogits) return;
        const cuda::Memory list = upload(targets);
        cuda::cross_entropy_vjp(on_.stream(), logits.data(), cuda::items<std::int32_t>(list), dloss.data(),
                                sink(dlogits, logits.shape()), logits.dim(0), logits.dim(1),
                                cuda::counted_targets(targets));
    }

    // Beyond the contract: a second stream, and what decoding and training leave to the device.

    /// What this object is asked for from now on comes after all that `other` was asked for so far; otherwise two objects
    /// work side by side, on weights that both read: one on the pictures of a question, one on the text of another. What one
    /// made and the other reads must be kept until its maker has waited for the reader. The host does not wait.
    template <class U>
    void wait_for(Cuda<U>& other) {
        on_.wait_for(other.runtime());
    }

    /// The most likely token of every row of logits [N, V], the first of equals; -1 where a row holds no number. Waits.
    std::vector<std::int32_t> arg_max(const Tensor& logits) {
        const cuda::Memory ids = on_.take(cuda::bytes<std::int32_t>(logits.dim(0)));
        cuda::arg_max(on_.stream(), logits.data(), static_cast<std::int32_t*>(ids.data()), logits.dim(0), logits.dim(1));
        return this->ids_on_host(ids, logits.dim(0));
    }
    /// A token of every row, drawn by uniforms [N] in [0, 1) from the top_k likeliest. Waits. Throws ValueError for a
    /// top_k outside 1 .. 128, a temperature not above 0 or a top_p outside (0, 1].
    std::vector<std::int32_t> sample(const Tensor& logits, std::span<const float> uniforms, Index top_k,
                                     double temperature, double top_p = 1) {
        cuda::check_drawing(top_k, temperature, top_p, uniforms.size(), logits.dim(0));
        const cuda::Memory ids = on_.take(cuda::bytes<std::int32_t>(logits.dim(0))), random = upload(uniforms);
        const cuda::Drawing how{static_cast<int>(top_k), static_cast<float>(temperature), static_cast<float>(top_p)};
        cuda::sample(on_.stream(), logits.data(), cuda::items<float>(random), how, static_cast<std::int32_t*>(ids.data()),
                     logits.dim(0), logits.dim(1));
        return this->ids_on_host(ids, logits.dim(0));
    }
    /// One step of AdamW: float masters and means [n] change in place, `model` receives the master rounded to T.
    void adamw(cuda::DeviceTensor<float>& master, const Tensor& gradient, cuda::DeviceTensor<float>& mean,
               cuda::DeviceTensor<float>& square, Tensor* model, const cuda::AdamWStep& step) {
        shapes::same("adamw", master.shape(), gradient.shape());
        const cuda::Sink<T> copy = model ? over(own(*model)) : cuda::Sink<T>{};
        cuda::adamw(on_.stream(), master.data(), gradient.data(), mean.data(), square.data(), copy.data, step,
                    master.numel());
    }

private:
    template <bool Back>
    void turn(const Tensor& x, Index heads, double theta, const Segments& segments, cuda::Sink<T> y) {
        const Index K = x.dim(1) / heads;
        auto& batch = plan(segments);
        const cuda::Turn* table = turn_table(theta, K).upto(on_, batch.last_position());
        cuda::rope<Back>(on_.stream(), x.data(), table, batch.rows(on_), y, x.dim(0), heads, K);
    }
    template <bool Centred>
    void norm_vjp(const Tensor& x, const Tensor& weight, double eps, const Tensor& dy, Tensor* dx, Tensor* dweight,
                  Tensor* dbias) {
        const cuda::Memory moments = on_.take(cuda::bytes<cuda::Moments>(x.dim(0)));
        cuda::norm_vjp<Centred>(on_.stream(), x.data(), weight.data(), static_cast<float>(eps), dy.data(),
                                sink(dx, x.shape()), sink(dweight, weight.shape()), sink(dbias, weight.shape()),
                                static_cast<cuda::Moments*>(moments.data()), x.dim(0), x.dim(1));
    }
};

}  // namespace smolvlm
