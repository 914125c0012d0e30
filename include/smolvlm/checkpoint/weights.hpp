#pragma once
/// Joins the names in a file to the names in `visit`: a model is returned whole or not at all.

#include <atomic>
#include <exception>
#include <functional>
#include <map>
#include <optional>
#include <stop_token>

#include <smolvlm/core/panel_weight.hpp>
#include <smolvlm/core/parallel.hpp>
#include <smolvlm/io/printable.hpp>
#include <smolvlm/model/smolvlm.hpp>

namespace smolvlm {

/// Parameters by their Hugging Face names ("model.text_model.norm.weight"), whatever file they come from.
class WeightSource {
public:
    virtual ~WeightSource() = default;
    virtual const std::string& where() const = 0;                      // the path, for messages
    virtual const std::map<std::string, Shape>& shapes() const = 0;    // every parameter in the file(s)
    virtual HostWeight weight(const std::string& name) const = 0;      // borrowed from the map where possible
    virtual void release(const std::string& name) const = 0;           // its pages will not be read again soon
    /// The parameter as the file holds it, if that is in panels; weight() then makes rows of them.
    virtual std::optional<PanelWeight> panels(const std::string& /*name*/) const { return std::nullopt; }
};

namespace detail {

/// "a, b, c" of at most about 500 characters; what is left out is counted.
inline std::string listed(const std::vector<std::string>& items) {
    std::string text;
    for (std::size_t i = 0; i < items.size(); ++i) {
        if (text.size() > 500) return join(text, ", and ", items.size() - i, " more");
        text += (i ? ", " : "") + items[i];
    }
    return text;
}

/// Buffers that some exporters save although they are computed, and the head of a model whose head is the embedding.
inline bool may_be_ignored(const std::string& name, const ModelConfig& config) {
    return name.ends_with("rotary_emb.inv_freq") || name.ends_with("embeddings.position_ids") ||
           (name == "lm_head.weight" && config.tie_word_embeddings);
}

/// A table of tokens that is no head as well: a text needs few of its rows, and nothing is multiplied with it.
inline bool is_only_looked_up(const std::string& name, const ModelConfig& config) {
    return name == "model.text_model.embed_tokens.weight" && !config.tie_word_embeddings;
}

/// Compares all declared parameters with all that the file has. Throws one FormatError that lists every difference.
template <Backend B>
void check_parameters(const SmolVLM<B>& model, const WeightSource& source) {
    std::vector<std::string> missing, misshapen, extra;
    std::map<std::string, bool> declared;
    for_each_parameter(model, [&](const std::string& name, const auto&, const Shape& shape) {
        declared[name] = true;
        const auto found = source.shapes().find(name);
        if (found == source.shapes().end())
            missing.push_back(name);
        else if (found->second != shape)
            misshapen.push_back(join(name, " ", found->second, " instead of ", shape));
    });
    for (const auto& [name, shape] : source.shapes())
        if (!declared.count(name) && !may_be_ignored(name, model.config)) extra.push_back(printable(name));
    if (missing.empty() && misshapen.empty() && extra.empty()) return;
    std::string text = source.where() + ": the weights do not fit the configuration";
    if (!missing.empty()) text += join("; ", missing.size(), " missing: ", listed(missing));
    if (!misshapen.empty()) text += join("; ", misshapen.size(), " of wrong shape: ", listed(misshapen));
    if (!extra.empty()) text += join("; ", extra.size(), " not expected: ", listed(extra));
    throw FormatError(text);
}

/// slot = the parameter. Whether it still borrows the file's bytes.
template <Backend B>
bool load_weight(B& be, Weight<B>& slot, const WeightSource& source, const std::string& name, const Shape& shape,
                 std::optional<DType> weight_dtype, bool only_looked_up) {
    // What every token reads is worth a copy where memory is fast.
    const bool every_token = !only_looked_up && (name.starts_with("model.text_model.") || name == "lm_head.weight");
    if constexpr (requires(const PanelWeight& panels) { be.make_weight(panels, every_token); })
        if (const auto panels = source.panels(name)) {
            slot = be.make_weight(*panels, /*in_place=*/!every_token);
            return panels->storage.shared();
        }
    HostWeight file = source.weight(name).reshaped(shape);
    const bool converts = weight_dtype && is_floating(file.dtype) && file.cols() % info(*weight_dtype).block_elements == 0;
    if constexpr (requires { be.make_table(file, weight_dtype); })
        if (only_looked_up) {
            slot = be.make_table(file, converts ? weight_dtype : std::nullopt);
            return true;
        }
    if (converts) file = file.converted(*weight_dtype, default_threads());
    slot = be.make_weight(file);
    return file.storage.shared();
}

struct Job {
    Index size;
    std::function<void()> run;
};

/// Runs them all, so many at a time, large ones first. When one throws, no other is begun, and what it threw is thrown on.
inline void run_all(std::vector<Job> jobs, int threads) {
    if (threads > 1) std::ranges::stable_sort(jobs, std::greater(), &Job::size);
    std::exception_ptr failure;
    std::atomic<bool> failed = false;
    parallel_dynamic(threads, static_cast<Index>(jobs.size()), [&](Index i) {
        if (failed) return;
        try {
            jobs[static_cast<std::size_t>(i)].run();
        } catch (...) {
            if (!failed.exchange(true)) failure = std::current_exception();
        }
    });
    if (failure) std::rethrow_exception(failure);
}

}  // namespace detail

/// A model of that shape with the parameters of `source`, each packed as the backend likes and its file pages given back, so
/// that two copies are never held. weight_dtype: what matrices are held in; empty = as in the file (16-bit and quantised
/// weights stay as they are: widening is exact and happens in the kernels). Quantised files and panels are never
/// converted; a matrix whose rows are no whole blocks of a quantised weight_dtype stays as it is. The table of tokens, of
/// which a text needs few rows, stays in the file where the backend can look rows up there (make_table). Throws FormatError when
/// the weights do not fit, ValueError when `stop` is asked for: the weights begun are finished, no other is begun.
template <Backend B>
SmolVLM<B> load_model(B& be, const ModelConfig& config, const WeightSource& source,
                      std::optional<DType> weight_dtype = std::nullopt, const std::stop_token& stop = {}) {
    const Index layers = config.text.num_hidden_layers + (config.has_vision ? config.vision.num_hidden_layers : 0);
    SMOLVLM_CHECK(layers <= static_cast<Index>(source.shapes().size()), FormatError, source.where(),
                  ": the configuration asks for ", layers, " layers, the file has only ", source.shapes().size(), " tensors");
    SmolVLM<B> model(config);
    detail::check_parameters(model, source);
    std::vector<detail::Job> jobs;
    for_each_parameter(model, [&](const std::string& name, auto& slot, const Shape& shape) {
        jobs.push_back({shape.numel(), [&, name, shape] {
            SMOLVLM_CHECK(!stop.stop_requested(), ValueError, source.where(), ": loading was stopped");
            if constexpr (std::is_same_v<std::remove_cvref_t<decltype(slot)>, Weight<B>>) {
                if (detail::load_weight(be, slot, source, name, as_matrix_shape(shape), weight_dtype,
                                        detail::is_only_looked_up(name, config)))
                    return;
            } else {
                slot = be.from_host(source.weight(name).template to_tensor<typename B::Scalar>());
            }
            source.release(name);
        }});
    });
    int threads = 1;
    if constexpr (requires { be.weight_makers(); }) threads = be.weight_makers();
    detail::run_all(std::move(jobs), threads);
    return model;
}

}  // namespace smolvlm
