#pragma once
/// Grad<B>: the backend that runs every op on B and notes how to differentiate it. A layer does not know the
/// difference.
///
///     Grad<Cpu<float>> be;
///     auto trainable = watch(be, model, [](std::string_view name) { return name != "lm_head.weight"; });
///     auto loss      = be.cross_entropy(trainable.logits(be, trainable.forward(be, ids, features, segments)),
///     targets); auto gradients = be.backward(loss);                      // a value; tensors stay as they were
///
/// First order only, by design: Grad needs a DifferentiableBackend and models a Backend. An op all of whose inputs are
/// constants records nothing, and a frozen weight costs no dW. The tape keeps references to what a vjp reads, so an op
/// never finds such a tensor writable in place.

#include <memory>
#include <smolvlm/autograd/adapter.hpp>
#include <smolvlm/autograd/tape.hpp>
#include <smolvlm/nn/module.hpp>

namespace smolvlm {

template <DifferentiableBackend B>
class Grad {
public:
    using Inner = smolvlm::Tensor<B>;
    using InnerWeight = smolvlm::Weight<B>;
    using Scalar = typename B::Scalar;
    using Sinks = typename Tape<B>::Sinks;

    struct Tensor {
        Inner value;
        NodeId node = 0;  // who made it; 0: a constant

        Shape shape() const { return value.shape(); }
        bool empty() const { return value.empty(); }
        Parent parent() const { return {node, value.shape()}; }
    };
    /// A matrix of linear or embedding; its gradient is a plain tensor [M, K].
    struct Weight {
        InnerWeight value;
        NodeId node = 0;
        std::shared_ptr<Adapter<Grad>> adapter = nullptr;  // applied by linear; null: none

        Shape shape() const { return value.shape(); }
        bool empty() const { return value.empty(); }
        Parent parent() const { return {node, value.shape()}; }
    };

    explicit Grad(B inner = B()) : inner_(std::move(inner)) {}
    B& inner() { return inner_; }
    Tape<B>& tape() { return tape_; }

    Tensor from_host(const HostTensor<Scalar>& x) { return {inner_.from_host(x)}; }
    HostTensor<Scalar> to_host(const Tensor& x) { return inner_.to_host(x.value); }
    Weight make_weight(const HostWeight& w) { return {inner_.make_weight(w)}; }
    Tensor zeros(const Shape& shape) { return {inner_.zeros(shape)}; }

    /// The same value as a parameter: backward will say how the loss depends on it.
    Tensor watch(Inner value) { return {std::move(value), tape_.new_leaf()}; }
    Weight watch(InnerWeight value) requires(!std::same_as<Inner, InnerWeight>) {
        return {std::move(value), tape_.new_leaf()};
    }

    /// d loss / d every watched parameter. loss [1]. Consumes the tape. Throws ValueError for a loss of an earlier
    /// step.
    Gradients<B> backward(const Tensor& loss) {
        SMOLVLM_CHECK(loss.shape() == Shape{1}, ShapeError, "backward: the loss is ", loss.shape(),
                      "; a scalar [1] is needed");
        HostTensor<Scalar> one(Shape{1}, {Scalar(1)});
        return tape_.backward(inner_, loss.node, inner_.from_host(one));
    }

    Tensor linear(const Tensor& x, const Weight& w, const Tensor& bias) {
        return w.adapter ? w.adapter->forward(*this, x, w, bias) : plain_linear(x, w, bias);
    }
    /// Without the adapter.
    Tensor plain_linear(const Tensor& x, const Weight& w, const Tensor& bias) {
        return record(inner_.linear(x.value, w.value, bias.value), {x.parent(), w.parent(), bias.parent()},
                      [xv = w.node ? x.value : Inner(), wv = w.value](B& be, const Inner& dy, Sinks d) {
                          be.linear_vjp(xv, wv, dy, d[0], d[1], d[2]);
                      });
    }
    Tensor embedding(const Weight& w, Ids ids) {
        SMOLVLM_CHECK(!w.adapter, ValueError, "embedding: the table has an adapter, but only linear maps apply theirs");
        return record(inner_.embedding(w.value, ids), {w.parent()},
                      [i = copy(ids)](B& be, const Inner& dy, Sinks d) { be.embedding_vjp(i, dy, d.zeros(0)); });
    }
    Tensor gather_rows(const Tensor& x, Ids ids) {
        return record(inner_.gather_rows(x.value, ids), {x.parent()},
                      [i = copy(ids)](B& be, const Inner& dy, Sinks d) { be.gather_rows_vjp(i, dy, d.zeros(0)); });
    }
    void scatter_rows(Tensor& x, Ids ids, const Tensor& rows) {
        const std::vector<Parent> parents{x.parent(), rows.parent()};
        inner_.scatter_rows(x.value, ids, rows.value);
        x = record(std::move(x.value), parents,
                   [i = copy(ids)](B& be, const Inner& dy, Sinks d) { be.scatter_rows_vjp(i, dy, d[0], d[1]); });
    }

    Tensor rms_norm(const Tensor& x, const Tensor& weight, double eps) {
        return record(inner_.rms_norm(x.value, weight.value, eps), {x.parent(), weight.parent()},
                      [xv = x.value, wv = weight.value, eps](B& be, const Inner& dy, Sinks d) {
                          be.rms_norm_vjp(xv, wv, eps, dy, d[0], d[1]);
                      });
    }
    Tensor layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps) {
        return record(inner_.layer_norm(x.value, weight.value, bias.value, eps),
                      {x.parent(), weight.parent(), bias.parent()},
                      [xv = x.value, wv = weight.value, eps](B& be, const Inner& dy, Sinks d) {
                          be.layer_norm_vjp(xv, wv, eps, dy, d[0], d[1], d[2]);
                      });
    }

    Tensor rope(Tensor x, Index heads, double theta, const Segments& segments) {  // its vjp needs no x: may reuse it
        const std::vector<Parent> parents{x.parent()};
        return record(inner_.rope(std::move(x.value), heads, theta, segments), parents,
                      [heads, theta, segments](B& be, const Inner& dy, Sinks d) {
                          be.rope_vjp(heads, theta, segments, dy, d[0]);
                      });
    }
    Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, Heads heads, const Segments& segments) {
        return record(inner_.attention(q.value, k.value, v.value, heads, segments),
                      {q.parent(), k.parent(), v.parent()},
                      [qv = q.value, kv = k.value, vv = v.value, heads, segments](B& be, const Inner& dy, Sinks d) {
                          be.attention_vjp(qv, kv, vv, heads, segments, dy, d[0], d[1], d[2]);
                      });
    }

    Tensor gelu_tanh(const Tensor& x) {
        return record(inner_.gelu_tanh(x.value), {x.parent()},
                      [xv = x.value](B& be, const Inner& dy, Sinks d) { be.gelu_tanh_vjp(xv, dy, d[0]); });
    }
    Tensor silu_mul(const Tensor& gate, const Tensor& up) {
        return record(inner_.silu_mul(gate.value, up.value), {gate.parent(), up.parent()},
                      [gv = gate.value, uv = up.value](B& be, const Inner& dy, Sinks d) {
                          be.silu_mul_vjp(gv, uv, dy, d[0], d[1]);
                      });
    }
    void add_to(Tensor& x, const Tensor& h) {
        const std::vector<Parent> parents{x.parent(), h.parent()};
        inner_.add_to(x.value, h.value);
        x = record(std::move(x.value), parents, [](B&, const Inner& dy, Sinks d) {
            d.pass(0, dy);
            d.pass(1, dy);
        });
    }

    Tensor patchify(const Tensor& x, Index patch) {
        return record(inner_.patchify(x.value, patch), {x.parent()},
                      [patch](B& be, const Inner& dy, Sinks d) { be.patchify_vjp(patch, dy, d.zeros(0)); });
    }
    Tensor pixel_shuffle(const Tensor& x, Index rows, Index cols, Index s) {
        return record(
            inner_.pixel_shuffle(x.value, rows, cols, s), {x.parent()},
            [rows, cols, s](B& be, const Inner& dy, Sinks d) { be.pixel_shuffle_vjp(rows, cols, s, dy, d[0]); });
    }

    Tensor cross_entropy(const Tensor& logits, Ids targets) {
        return record(inner_.cross_entropy(logits.value, targets), {logits.parent()},
                      [lv = logits.value, t = copy(targets)](B& be, const Inner& dy, Sinks d) {
                          be.cross_entropy_vjp(lv, t, dy, d[0]);
                      });
    }

    /// x = f(be, x) where f keeps nothing for the backward pass but x: its inside runs again when its gradient is due
    /// (Chen et al. 2016, arXiv:1604.06174). f(Grad&, Tensor&) is kept until then, and so must be what it refers to.
    /// Does so only after checkpoint_layers(true); else f simply runs.
    template <class F>
    void checkpoint(Tensor& x, F f) {
        if (!checkpoints_ || !recording_) return f(*this, x);
        const Parent parent = x.parent();
        const Inner input = x.value;
        const std::uint64_t dropouts = dropouts_;
        x.node = 0;
        {
            const NotRecording guard(*this);
            f(*this, x);
        }
        x.node = 0;
        if (parent.node == 0 && !skipped_) return;
        x.node = tape_.push_opaque({parent}, [this, parent, input, dropouts, f](B&, const Inner& dy, Sinks) {
            // The entries of f go on top of the tape, over one that hands their gradient on to x.
            Tensor again{input, parent.node == 0 ? 0 : tape_.push_opaque({parent}, [](B&, const Inner& dx, Sinks d) {
                             d.pass(0, dx);
                         })};
            const std::uint64_t later = std::exchange(dropouts_, dropouts);
            f(*this, again);
            dropouts_ = later;
            tape_.seed(again.node, dy);
        });
    }
    void checkpoint_layers(bool on) { checkpoints_ = on; }

    /// While it lives nothing is recorded and nothing dropped out: for evaluating the model that is trained.
    class Evaluating {
    public:
        explicit Evaluating(Grad& be) : be_(be), recording_(be.recording_), dropping_(be.dropping_out_) {
            be.recording_ = be.dropping_out_ = false;
        }
        Evaluating(const Evaluating&) = delete;
        Evaluating& operator=(const Evaluating&) = delete;
        ~Evaluating() {
            be_.recording_ = recording_;
            be_.dropping_out_ = dropping_;
        }

    private:
        Grad& be_;
        bool recording_, dropping_;
    };

    // Dropout of adapters. The numbers of a step follow from the seed alone, which the trainer sets at every step.
    void seed_dropout(std::uint64_t seed) {
        dropout_seed_ = seed;
        dropouts_ = 0;
    }
    bool dropping_out() const { return dropping_out_; }
    Random next_dropout() { return Random(dropout_seed_, dropouts_++ << 40); }

    /// An op of one's own: its value, its inputs, and vjp(B&, dy, sinks), which adds to sinks[i] for parent i.
    Tensor record(Inner value, std::vector<Parent> parents, typename Tape<B>::Vjp vjp) {
        if (!recording_) {
            for (const Parent& parent : parents) skipped_ = skipped_ || parent.node != 0;
            return {std::move(value)};
        }
        const NodeId node = tape_.record(std::move(parents), std::move(vjp));
        return {std::move(value), node};
    }

private:
    /// Records nothing while it lives, but notes in skipped_ whether it would have.
    class NotRecording {
    public:
        explicit NotRecording(Grad& be) : be_(be) { be.recording_ = be.skipped_ = false; }
        NotRecording(const NotRecording&) = delete;
        NotRecording& operator=(const NotRecording&) = delete;
        ~NotRecording() { be_.recording_ = true; }

    private:
        Grad& be_;
    };

    static std::vector<std::int32_t> copy(Ids ids) { return {ids.begin(), ids.end()}; }

    B inner_;
    Tape<B> tape_;
    bool checkpoints_ = false, recording_ = true, skipped_ = false, dropping_out_ = true;
    std::uint64_t dropout_seed_ = 0, dropouts_ = 0;
};

/// The same model for training: parameters whose name passes `trainable(name)` are watched, in the order of visit; all
/// others are constants that cost nothing. Values are shared with `model`. names, if given, receives the names of the
/// leaves, in order.
template <DifferentiableBackend B, template <class> class Module, class Trainable>
Module<Grad<B>> watch(Grad<B>& be, const Module<B>& model, Trainable&& trainable,
                      std::vector<std::string>* names = nullptr) {
    Module<Grad<B>> out(model.config);
    std::vector<const Tensor<B>*> tensors;
    std::vector<const Weight<B>*> weights;
    for_each_parameter(model, [&](const std::string&, const auto& slot, const Shape&) {
        if constexpr (std::is_same_v<std::remove_cvref_t<decltype(slot)>, Weight<B>>)
            weights.push_back(&slot);
        else
            tensors.push_back(&slot);
    });
    std::size_t next_tensor = 0, next_weight = 0;
    for_each_parameter(out, [&](const std::string& name, auto& slot, const Shape&) {
        using Slot = std::remove_cvref_t<decltype(slot)>;
        const bool watched = trainable(std::string_view(name));
        if (watched && names) names->push_back(name);
        const auto& value = [&]() -> const auto& {
            if constexpr (std::is_same_v<Slot, Weight<Grad<B>>>)
                return *weights[next_weight++];
            else
                return *tensors[next_tensor++];
        }
        ();
        slot = watched ? be.watch(value) : Slot{value};
    });
    return out;
}

}  // namespace smolvlm
