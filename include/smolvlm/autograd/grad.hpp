#pragma once
/// Grad<B>: the backend that runs every op on B and notes how to differentiate it. A layer does not know the difference.
///
///     Grad<Cpu<float>> be;
///     auto trainable = watch(be, model, [](std::string_view name) { return name != "lm_head.weight"; });
///     auto loss      = be.cross_entropy(trainable.logits(be, trainable.forward(be, ids, features, segments)), targets);
///     auto gradients = be.backward(loss);                      // a value; tensors stay as they were
///
/// First order only, by design: Grad needs a DifferentiableBackend and models a Backend. An op all of whose inputs are
/// constants records nothing, and a frozen weight costs no dW. The tape keeps references to what a vjp reads, so an op never
/// finds such a tensor writable in place.

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

    template <class Value>
    struct Tracked {
        Value value;
        NodeId node = 0;  // who made it; 0: a constant

        Shape shape() const { return value.shape(); }
        bool empty() const { return value.empty(); }
        Parent parent() const { return {node, value.shape()}; }
    };
    using Tensor = Tracked<Inner>;
    using Weight = Tracked<InnerWeight>;  // its gradient is a plain tensor [M, K]

    explicit Grad(B inner = B()) : inner_(std::move(inner)) {}
    B& inner() { return inner_; }
    Tape<B>& tape() { return tape_; }

    Tensor from_host(const HostTensor<Scalar>& x) { return {inner_.from_host(x)}; }
    HostTensor<Scalar> to_host(const Tensor& x) { return inner_.to_host(x.value); }
    Weight make_weight(const HostWeight& w) { return {inner_.make_weight(w)}; }
    Tensor zeros(const Shape& shape) { return {inner_.zeros(shape)}; }

    /// The same value as a parameter: backward will say how the loss depends on it.
    template <class Value>
    Tracked<Value> watch(Value value) {
        return {std::move(value), tape_.new_leaf()};
    }

    /// d loss / d every watched parameter. loss [1]. Consumes the tape. Throws ValueError for a loss of an earlier step.
    Gradients<B> backward(const Tensor& loss) {
        SMOLVLM_CHECK(loss.shape() == Shape{1}, ShapeError, "backward: the loss is ", loss.shape(), "; a scalar [1] is needed");
        HostTensor<Scalar> one(Shape{1}, {Scalar(1)});
        return tape_.backward(inner_, loss.node, inner_.from_host(one));
    }

    Tensor linear(const Tensor& x, const Weight& w, const Tensor& bias) {
        return record(inner_.linear(x.value, w.value, bias.value), {x.parent(), w.parent(), bias.parent()},
                      [xv = w.node ? x.value : Inner(), wv = w.value](B& be, const Inner& dy, Sinks d) {
                          be.linear_vjp(xv, wv, dy, d[0], d[1], d[2]);
                      });
    }
    Tensor embedding(const Weight& w, Ids ids) {
        return record(inner_.embedding(w.value, ids), {w.parent()}, [i = copy(ids)](B& be, const Inner& dy, Sinks d) {
            be.embedding_vjp(i, dy, d.zeros(0));
        });
    }
    Tensor gather_rows(const Tensor& x, Ids ids) {
        return record(inner_.gather_rows(x.value, ids), {x.parent()}, [i = copy(ids)](B& be, const Inner& dy, Sinks d) {
            be.gather_rows_vjp(i, dy, d.zeros(0));
        });
    }
    void scatter_rows(Tensor& x, Ids ids, const Tensor& rows) {
        const std::vector<Parent> parents{x.parent(), rows.parent()};
        inner_.scatter_rows(x.value, ids, rows.value);
        x = record(std::move(x.value), parents, [i = copy(ids)](B& be, const Inner& dy, Sinks d) {
            be.scatter_rows_vjp(i, dy, d[0], d[1]);
        });
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

    Tensor rope(const Tensor& x, Index heads, double theta, const Segments& segments) {
        return record(inner_.rope(x.value, heads, theta, segments), {x.parent()},
                      [heads, theta, segments](B& be, const Inner& dy, Sinks d) {
                          be.rope_vjp(heads, theta, segments, dy, d[0]);
                      });
    }
    Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, Heads heads, const Segments& segments) {
        return record(inner_.attention(q.value, k.value, v.value, heads, segments), {q.parent(), k.parent(), v.parent()},
                      [qv = q.value, kv = k.value, vv = v.value, heads, segments](B& be, const Inner& dy, Sinks d) {
                          be.attention_vjp(qv, kv, vv, heads, segments, dy, d[0], d[1], d[2]);
                      });
    }

    Tensor gelu_tanh(const Tensor& x) {
        return record(inner_.gelu_tanh(x.value), {x.parent()}, [xv = x.value](B& be, const Inner& dy, Sinks d) {
            be.gelu_tanh_vjp(xv, dy, d[0]);
        });
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
        return record(inner_.patchify(x.value, patch), {x.parent()}, [patch](B& be, const Inner& dy, Sinks d) {
            be.patchify_vjp(patch, dy, d.zeros(0));
        });
    }
    Tensor pixel_shuffle(const Tensor& x, Index rows, Index cols, Index s) {
        return record(inner_.pixel_shuffle(x.value, rows, cols, s), {x.parent()},
                      [rows, cols, s](B& be, const Inner& dy, Sinks d) { be.pixel_shuffle_vjp(rows, cols, s, dy, d[0]); });
    }

    Tensor cross_entropy(const Tensor& logits, Ids targets) {
        return record(inner_.cross_entropy(logits.value, targets), {logits.parent()},
                      [lv = logits.value, t = copy(targets)](B& be, const Inner& dy, Sinks d) {
                          be.cross_entropy_vjp(lv, t, dy, d[0]);
                      });
    }

private:
    static std::vector<std::int32_t> copy(Ids ids) { return {ids.begin(), ids.end()}; }

    Tensor record(Inner value, std::vector<Parent> parents, typename Tape<B>::Vjp vjp) {
        const NodeId node = tape_.record(std::move(parents), std::move(vjp));
        return {std::move(value), node};
    }

    B inner_;
    Tape<B> tape_;
};

/// The same model for training: parameters whose name passes `trainable(name)` are watched, in the order of visit; all others
/// are constants that cost nothing. Values are shared with `model`.
/// names, if given, receives the names of the leaves, in order.
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
        }();
        slot = watched ? be.watch(value) : Slot{value};
    });
    return out;
}

}  // namespace smolvlm
