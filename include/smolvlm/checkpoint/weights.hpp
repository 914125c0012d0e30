#pragma once
/// Joins the names in a file to the names in `visit`: a model is returned whole or not at all.

#include <map>
#include <optional>

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

}  // namespace detail

/// A model of that shape with the parameters of `source`, each packed as the backend likes and its file pages given back, so
/// that two copies are never held. weight_dtype: what matrices are held in; empty = as in the file (16-bit and quantised
/// weights stay as they are: widening is exact and happens in the kernels). Quantised files are never converted; a matrix
/// whose rows are no whole blocks of a quantised weight_dtype stays as it is.
template <Backend B>
SmolVLM<B> load_model(B& be, const ModelConfig& config, const WeightSource& source,
                      std::optional<DType> weight_dtype = std::nullopt) {
    const Index layers = config.text.num_hidden_layers + (config.has_vision ? config.vision.num_hidden_layers : 0);
    SMOLVLM_CHECK(layers <= static_cast<Index>(source.shapes().size()), FormatError, source.where(),
                  ": the configuration asks for ", layers, " layers, the file has only ", source.shapes().size(), " tensors");
    SmolVLM<B> model(config);
    detail::check_parameters(model, source);
    for_each_parameter(model, [&](const std::string& name, auto& slot, const Shape& shape) {
        HostWeight file = source.weight(name);
        if constexpr (std::is_same_v<std::remove_cvref_t<decltype(slot)>, Weight<B>>) {
            file = file.reshaped(as_matrix_shape(shape));
            if (weight_dtype && is_floating(file.dtype) && file.cols() % info(*weight_dtype).block_elements == 0)
                file = file.converted(*weight_dtype, default_threads());
            slot = be.make_weight(file);
        } else {
            slot = be.from_host(file.template to_tensor<typename B::Scalar>());
        }
        file = {};
        source.release(name);
    });
    return model;
}

}  // namespace smolvlm
