#pragma once
/// The parameters that a run trains: plain full-precision masters and the optimiser's two means, beside the model,
/// which holds every matrix packed for its kernels and perhaps in bf16. A step changes the masters; `publish` makes the
/// model's weights from them again.
///
///     master [M, K] f32  --AdamW-->  master  --convert, pack-->  Weight<B>     shared by SmolVLM<B> and SmolVLM<Grad<B>>
///
/// What is trained is either weights of the model itself (train_weights) or adapters beside them (train_adapters).

#include <functional>

#include <smolvlm/checkpoint/save.hpp>
#include <smolvlm/train/adamw.hpp>
#include <smolvlm/train/adapters.hpp>
#include <smolvlm/train/clip.hpp>

namespace smolvlm {

template <DifferentiableBackend B>
class Parameters {
public:
    using T = typename B::Scalar;

    struct Parameter {
        std::string name;
        Shape shape;  // as files have it
        HostTensor<T> master, mean, square;
        std::function<void(const HostTensor<T>& master)> publish;
        Index steps = 0;  // that it took part in

        ParameterGroup group() const { return parameter_group(name); }
    };

    explicit Parameters(int threads) : threads_(threads) {}

    /// In the order in which they were watched, which is that of the gradients.
    void add(std::string name, const Shape& shape, HostTensor<T> master,
             std::function<void(const HostTensor<T>&)> publish) {
        const Shape held = master.shape();
        all_.push_back({std::move(name), shape, std::move(master), HostTensor<T>::zeros(held),
                        HostTensor<T>::zeros(held), std::move(publish)});
    }
    std::vector<Parameter>& all() { return all_; }
    const std::vector<Parameter>& all() const { return all_; }
    Index count() const {
        Index n = 0;
        for (const Parameter& p : all_) n += p.master.numel();
        return n;
    }

    /// sqrt of the sum of squares of all gradients. Throws ValueError naming the first that is not finite.
    double gradient_norm(B& be, const Gradients<B>& gradients, Index step) const {
        double sum = 0;
        for (std::size_t i = 0; i < all_.size(); ++i)
            if (!gradients[i].empty()) sum += sum_of_squares<T>(be.to_host(gradients[i]).flat(), threads_);
        if (std::isfinite(sum)) return std::sqrt(sum);
        for (std::size_t i = 0; i < all_.size(); ++i) {
            if (gradients[i].empty()) continue;
            const HostTensor<T> g = be.to_host(gradients[i]);
            if (const std::size_t at = first_not_finite<T>(g.flat()); at < g.flat().size())
                fail<ValueError>("step ", step, ": the gradient of ", all_[i].name, " is ", g.flat()[at],
                                 " at element ", at,
                                 "; nothing was changed. A lower learning rate or a smaller \"clip\" may help");
        }
        fail<ValueError>("step ", step, ": the norm of the gradient overflows; nothing was changed");
    }

    /// One step of AdamW for every parameter that has a gradient (as PyTorch, which passes over the others).
    /// rate(group): learning rate of this step.
    template <class Rate>
    void update(B& be, const Gradients<B>& gradients, const AdamW& adamw, Rate&& rate, double decay, double scale) {
        for (std::size_t i = 0; i < all_.size(); ++i) {
            if (gradients[i].empty()) continue;
            Parameter& p = all_[i];
            const HostTensor<T> g = be.to_host(gradients[i]);
            adamw.update<T>(p.master.flat(), g.flat(), p.mean.flat(), p.square.flat(), ++p.steps, rate(p.group()),
                            decays(p.shape) ? decay : 0.0, scale, threads_);
            p.publish(p.master);
        }
    }

private:
    std::vector<Parameter> all_;
    int threads_;
};

/// Every parameter of the model that trains(name), from now on held in that dtype, and the model's differentiated twin.
/// Both models must stay where they are. Throws ValueError for a quantised parameter, and when there is none.
template <DifferentiableBackend B, class Trains>
void train_weights(Grad<B>& be, SmolVLM<B>& model, SmolVLM<Grad<B>>& twin, Parameters<B>& parameters, Trains&& trains,
                   DType held, int threads) {
    using T = typename B::Scalar;
    const auto weight = [&be, held, threads](const HostTensor<T>& master) {
        const HostWeight host = HostWeight::from_tensor(master);
        return be.inner().make_weight(held == dtype_of<T> ? host : host.converted(held, threads));
    };
    for_each_parameter(model, [&](const std::string& name, auto& slot, const Shape& shape) {
        if (!trains(std::string_view(name))) return;
        HostTensor<T> shared;
        if constexpr (std::is_same_v<std::remove_reference_t<decltype(slot)>, Weight<B>>) {
            const DType dtype = detail::dtype_held(slot);
            SMOLVLM_CHECK(is_floating(dtype), ValueError, name, " is held as ", dtype,
                          ", which cannot be trained; freeze it, train adapters, or start from a floating-point model");
            shared = detail::weight_to_host<T>(slot, threads).template to_tensor<T>(threads);
        } else {
            shared = be.inner().to_host(slot);
        }
        HostTensor<T> master(shared.shape());  // a backend's tensor may be somebody else's too
        std::ranges::copy(std::as_const(shared).flat(), master.data());
        if constexpr (std::is_same_v<std::remove_reference_t<decltype(slot)>, Weight<B>>) {
            slot = weight(master);
            parameters.add(name, shape, std::move(master),
                           [weight, &slot](const HostTensor<T>& values) { slot = weight(values); });
        } else {
            parameters.add(name, shape, std::move(master),
                           [&be, &slot](const HostTensor<T>& values) { slot = be.inner().from_host(values); });
        }
    });
    SMOLVLM_CHECK(!parameters.all().empty(), ValueError,
                  "nothing is trained: \"freeze\" and the learning rates leave no parameter");
    twin = watch(be, model, trains);
    // A published value goes on to the twin, which has the same names in the same order.
    std::vector<const Tensor<B>*> tensors;
    std::vector<const Weight<B>*> weights;
    for_each_parameter(std::as_const(model), [&](const std::string&, const auto& slot, const Shape&) {
        if constexpr (std::is_same_v<std::remove_cvref_t<decltype(slot)>, Weight<B>>)
            weights.push_back(&slot);
        else
            tensors.push_back(&slot);
    });
    std::size_t t = 0, w = 0, next = 0;
    for_each_parameter(twin, [&](const std::string& name, auto& slot, const Shape&) {
        const auto* const from = [&] {
            if constexpr (std::is_same_v<std::remove_reference_t<decltype(slot)>, Weight<Grad<B>>>)
                return weights[w++];
            else
                return tensors[t++];
        }();
        if (!trains(std::string_view(name))) return;
        auto& publish = parameters.all()[next++].publish;
        publish = [first = publish, from, &slot](const HostTensor<T>& values) {
            first(values);
            slot.value = *from;
        };
    });
}

/// The adapters of the set, hung on a twin of the model that is otherwise frozen. Their numbers are the set's own.
template <DifferentiableBackend B>
void train_adapters(Grad<B>& be, const SmolVLM<B>& model, SmolVLM<Grad<B>>& twin, Parameters<B>& parameters,
                    AdapterSet<typename B::Scalar>& set) {
    using T = typename B::Scalar;
    twin = watch(be, model, [](std::string_view) { return false; });
    attach_adapters(be, twin, set);
    std::vector<std::shared_ptr<Adapter<Grad<B>>>> adapters(set.entries.size());
    for_each_adapted(twin, set, [&](const auto& entry, auto& slot) {
        adapters[static_cast<std::size_t>(&entry - set.entries.data())] = slot.adapter;
    });
    std::size_t n = 0;
    const Index parts = set.settings.dora ? 3 : 2;
    set.for_each([&](const std::string& name, HostTensor<T>& values) {
        const auto adapter = adapters[n / static_cast<std::size_t>(parts)];
        const std::size_t part = n++ % static_cast<std::size_t>(parts);
        parameters.add(name, values.shape(), values, [&be, adapter, part](const HostTensor<T>& now) {
            if (part == 0)
                publish(be, adapter->a, now);
            else if (part == 1)
                publish(be, adapter->b, now);
            else
                publish(be, adapter->magnitude, now);
        });
    });
}

}  // namespace smolvlm
