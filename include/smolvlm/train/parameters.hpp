#pragma once
/// The parameters that a run trains: plain full-precision masters and the optimiser's two means beside the model,
/// which holds every matrix packed for its kernels and perhaps in bf16. A step changes the masters; `publish` makes the
/// model's weights from them again, in the plain model (for evaluating and saving) and in the differentiated one.
///
///     master [M, K] f32  --AdamW-->  master  --convert, pack-->  Weight<B>     shared by SmolVLM<B> and SmolVLM<Grad<B>>

#include <smolvlm/autograd/grad.hpp>
#include <smolvlm/checkpoint/save.hpp>
#include <smolvlm/train/adamw.hpp>
#include <smolvlm/train/clip.hpp>
#include <smolvlm/train/groups.hpp>

namespace smolvlm {

template <DifferentiableBackend B>
class Parameters {
public:
    using T = typename B::Scalar;

    struct Parameter {
        std::string name;
        Shape shape;  // as files have it
        HostTensor<T> master, mean, square;
        Index steps = 0;  // that it took part in

        ParameterGroup group() const { return parameter_group(name); }
    };

    /// Every parameter of the model that trains(name). held: what matrices are held in from now on.
    /// Throws ValueError for a quantised one, and when there is none.
    template <class Trains>
    Parameters(Grad<B>& be, SmolVLM<B>& model, Trains&& trains, DType held, int threads)
        : tracked(model.config), threads_(threads), held_(held) {
        for_each_parameter(model, [&](const std::string& name, auto& slot, const Shape& shape) {
            if (!trains(std::string_view(name))) return;
            Parameter p{name, shape, master_of(be.inner(), name, slot), {}, {}};
            p.mean = HostTensor<T>::zeros(p.master.shape());
            p.square = HostTensor<T>::zeros(p.master.shape());
            if constexpr (std::is_same_v<std::remove_reference_t<decltype(slot)>, Weight<B>>) slot = weight(be.inner(), p);
            all_.push_back(std::move(p));
        });
        SMOLVLM_CHECK(!all_.empty(), ValueError, "nothing is trained: \"freeze\" and the learning rates leave no parameter");
        tracked = watch(be, model, trains);
        // The places of each parameter in the two models, in the one order of visit.
        std::vector<Place> places;
        for_each_parameter(model, [&](const std::string&, auto& slot, const Shape&) { places.emplace_back().put(slot); });
        std::size_t i = 0;
        for_each_parameter(tracked, [&](const std::string&, auto& slot, const Shape&) { places[i++].put(slot); });
        i = 0;
        for_each_parameter(model, [&](const std::string& name, auto&, const Shape&) {
            if (trains(std::string_view(name))) places_.push_back(places[i]);
            ++i;
        });
    }
    Parameters(const Parameters&) = delete;
    Parameters& operator=(const Parameters&) = delete;

    SmolVLM<Grad<B>> tracked;

    /// In the order of the gradients' leaves.
    std::vector<Parameter>& all() { return all_; }
    const std::vector<Parameter>& all() const { return all_; }
    Index count() const {
        Index n = 0;
        for (const Parameter& p : all_) n += p.master.numel();
        return n;
    }
    /// Do the masters say more than the model's own weights?
    bool narrowed() const { return held_ != dtype_of<T>; }

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
                fail<ValueError>("step ", step, ": the gradient of ", all_[i].name, " is ", g.flat()[at], " at element ", at,
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
            publish(be, i);
        }
    }

    /// The model's weight i becomes its master.
    void publish(B& be, std::size_t i) {
        const Place& place = places_[i];
        if (place.weight)
            place.tracked_weight->value = *place.weight = weight(be, all_[i]);
        else
            place.tracked_tensor->value = *place.tensor = be.from_host(all_[i].master);
    }

private:
    /// Where a parameter stands in both models; either the tensors or the weights are set.
    struct Place {
        Tensor<B>* tensor = nullptr;
        Weight<B>* weight = nullptr;
        Tensor<Grad<B>>* tracked_tensor = nullptr;
        Weight<Grad<B>>* tracked_weight = nullptr;

        template <class Slot>
        void put(Slot& slot) {
            if constexpr (std::is_same_v<Slot, Weight<B>>) weight = &slot;
            else if constexpr (std::is_same_v<Slot, Weight<Grad<B>>>) tracked_weight = &slot;
            else if constexpr (std::is_same_v<Slot, Tensor<Grad<B>>>) tracked_tensor = &slot;
            else tensor = &slot;
        }
    };

    template <class Slot>
    HostTensor<T> master_of(B& be, const std::string& name, const Slot& slot) const {
        HostTensor<T> shared;
        if constexpr (std::is_same_v<Slot, Weight<B>>) {
            const DType dtype = detail::dtype_held(slot);
            SMOLVLM_CHECK(is_floating(dtype), ValueError, name, " is held as ", dtype,
                          ", which cannot be trained; freeze it, or start from a floating-point model");
            shared = detail::weight_to_host<T>(slot, threads_).template to_tensor<T>(threads_);
        } else {
            shared = be.to_host(slot);
        }
        HostTensor<T> own(shared.shape());  // a backend's tensor may be somebody else's too
        std::ranges::copy(std::as_const(shared).flat(), own.data());
        return own;
    }
    Weight<B> weight(B& be, const Parameter& p) const {
        HostWeight host = HostWeight::from_tensor(p.master);
        return be.make_weight(narrowed() ? host.converted(held_, threads_) : host);
    }

    std::vector<Parameter> all_;
    std::vector<Place> places_;
    int threads_;
    DType held_;
};

}  // namespace smolvlm
