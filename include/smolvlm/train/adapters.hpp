#pragma once
/// Adapters for training: new ones beside the matrices that a pattern names, and their places in the differentiated
/// model.
///
///     auto set = make_adapters(be.inner(), plain, {.settings = {.rank = 8}, .targets = {"q_proj", "v_proj"}});
///     auto model = watch(be, plain, [](std::string_view) { return false; });     // the model itself stays as it is
///     attach_adapters(be, model, set);                                           // leaves: A, B (and m) of each entry
///     ... train, then
///     save_adapters("folder", set, plain.config);   or   merge_adapters(be.inner(), plain, set);

#include <smolvlm/autograd/grad.hpp>
#include <smolvlm/checkpoint/adapter.hpp>
#include <smolvlm/train/groups.hpp>

namespace smolvlm {

struct AdapterOptions {
    AdapterSettings settings = {};
    std::vector<std::string> targets = {};  // patterns, * for any characters; q_proj stands for *.q_proj
    bool gaussian = false;                  // A ~ N(0, 1/r^2); else uniform in +-1/sqrt(K), as PEFT's default
    std::uint64_t seed = 0;
};

namespace detail {

/// Does the pattern name the module? By its whole name, by what follows a dot, or with ".weight" after it.
inline bool targets(const std::string& pattern, const std::string& module) {
    return matches(pattern, module) || matches("*." + pattern, module) || matches(pattern, module + ".weight");
}

}  // namespace detail

/// Fresh adapters: A random, B zero, m the norms of W's rows, so that the model is what it was. Throws ValueError for a
/// pattern that names no linear map, with the nearest that there are. Embeddings and the patch embedding take none.
template <Backend B>
AdapterSet<typename B::Scalar> make_adapters(B&, const SmolVLM<B>& model, const AdapterOptions& options,
                                             int threads = default_threads()) {
    using T = typename B::Scalar;
    const Index r = options.settings.rank;
    SMOLVLM_CHECK(r > 0, ValueError, "adapters: the rank is ", r, ", expected at least 1");
    SMOLVLM_CHECK(!options.targets.empty(), ValueError, "adapters: no target is given, expected patterns of names");
    AdapterSet<T> set;
    set.settings = options.settings;
    std::vector<bool> used(options.targets.size(), false);
    std::vector<std::string> known;
    for_each_parameter(model, [&](const std::string& name, const auto& slot, const Shape& shape) {
        if constexpr (std::is_same_v<std::remove_cvref_t<decltype(slot)>, Weight<B>>) {
            if (shape.rank() != 2 || name.find("embed") != name.npos || !name.ends_with(".weight")) return;
            const std::string module = name.substr(0, name.size() - 7);
            known.push_back(module);
            known.push_back(module.substr(module.rfind('.') + 1));
            bool wanted = false;
            for (std::size_t i = 0; i < used.size(); ++i)
                if (detail::targets(options.targets[i], module)) used[i] = wanted = true;
            if (!wanted) return;
            Random random(options.seed, static_cast<std::uint64_t>(set.entries.size()) << 40);
            typename AdapterSet<T>::Entry entry{
                module, HostTensor<T>({r, shape[1]}), HostTensor<T>::zeros({shape[0], r}), {}};
            const double bound = 1 / std::sqrt(static_cast<double>(shape[1])), deviation = 1 / static_cast<double>(r);
            for (T& x : entry.a.flat())
                x = static_cast<T>(options.gaussian ? deviation * random.normal() : bound * (2 * random.uniform() - 1));
            if (options.settings.dora) {
                const auto rows = detail::weight_to_host<T>(slot, threads).template to_tensor<T>(threads);
                entry.magnitude = HostTensor<T>({shape[0]});
                for (Index m = 0; m < shape[0]; ++m) {
                    double squares = 0;
                    for (const T x : rows.view().row(m)) squares += static_cast<double>(x) * static_cast<double>(x);
                    entry.magnitude.data()[m] = static_cast<T>(std::sqrt(squares));
                }
            }
            set.entries.push_back(std::move(entry));
        }
    });
    for (std::size_t i = 0; i < used.size(); ++i) {
        if (used[i]) continue;
        std::string word = options.targets[i];
        std::erase(word, '*');
        const std::string_view near = nearest(word, {known.begin(), known.end()});
        fail<ValueError>("adapters: the target ", in_quotes(options.targets[i]), " matches no linear map",
                         near.empty() ? join("; there are ", known.empty() ? std::string() : known.front(), " and ",
                                             known.size() / 2 - 1, " more")
                                      : join("; the nearest name is ", near));
    }
    return set;
}

/// The slot becomes the weight or tensor with those numbers; who watches it stays.
template <DifferentiableBackend B>
void publish(Grad<B>& be, typename Grad<B>::Weight& slot, const HostTensor<typename B::Scalar>& values) {
    slot.value = be.inner().make_weight(HostWeight::from_tensor(values));
}
template <DifferentiableBackend B>
void publish(Grad<B>& be, typename Grad<B>::Tensor& slot, const HostTensor<typename B::Scalar>& values) {
    slot.value = be.inner().from_host(values);
}

/// Hangs the adapters on the weights of the model and watches them, in the order of set.for_each. The model's copies of
/// the numbers are its own: after a change, publish_adapters. Throws what for_each_adapted throws.
template <DifferentiableBackend B>
void attach_adapters(Grad<B>& be, SmolVLM<Grad<B>>& model, const AdapterSet<typename B::Scalar>& set) {
    using T = typename B::Scalar;
    const AdapterSettings& s = set.settings;
    auto diagonal = HostTensor<T>::zeros({s.rank, s.rank});
    for (Index i = 0; i < s.rank; ++i) diagonal.data()[i * (s.rank + 1)] = static_cast<T>(s.scale());
    std::vector<typename Grad<B>::Weight*> slots(set.entries.size());
    for_each_adapted(model, set, [&](const auto& entry, typename Grad<B>::Weight& slot) {
        slots[static_cast<std::size_t>(&entry - set.entries.data())] = &slot;
    });
    for (std::size_t i = 0; i < slots.size(); ++i) {
        const auto& entry = set.entries[i];
        auto adapter = std::make_shared<Adapter<Grad<B>>>();
        adapter->a = be.watch(be.inner().make_weight(HostWeight::from_tensor(entry.a)));
        adapter->b = be.watch(be.inner().make_weight(HostWeight::from_tensor(entry.b)));
        if (s.dora) adapter->magnitude = be.watch(be.inner().from_host(entry.magnitude));
        adapter->scaling = {be.inner().make_weight(HostWeight::from_tensor(diagonal))};
        adapter->dropout = s.dropout;
        slots[i]->adapter = std::move(adapter);
    }
}

/// The model's adapters become what `set` says now.
template <DifferentiableBackend B>
void publish_adapters(Grad<B>& be, SmolVLM<Grad<B>>& model, const AdapterSet<typename B::Scalar>& set) {
    for_each_adapted(model, set, [&](const auto& entry, typename Grad<B>::Weight& slot) {
        publish(be, slot.adapter->a, entry.a);
        publish(be, slot.adapter->b, entry.b);
        if (set.settings.dora) publish(be, slot.adapter->magnitude, entry.magnitude);
    });
}

}  // namespace smolvlm
