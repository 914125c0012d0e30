#pragma once
/// Adapters (LoRA, DoRA: autograd/adapter.hpp) in files, in the layout of PEFT: a folder with adapter_config.json and
/// adapter_model.safetensors, whose tensors are named after the modules of the model in transformers:
///
///     base_model.model.model.text_model.layers.0.self_attn.q_proj.lora_A.weight           A [r, K]
///                                                                 .lora_B.weight           B [M, r]
///                                                                 .lora_magnitude_vector   m [M]      (DoRA)
///
/// merge_adapters makes ordinary weights of them, for any backend:
///     LoRA  W + s B A          DoRA  m (W + s B A) / |W + s B A|, row by row

#include <cmath>
#include <smolvlm/checkpoint/save.hpp>
#include <smolvlm/io/nearest.hpp>

namespace smolvlm {

struct AdapterSettings {
    Index rank = 8;                // r
    double alpha = 8;              // the adapter counts alpha / r times
    double dropout = 0;            // of the adapter's input, while training
    bool dora = false;             // a learned magnitude for every output
    bool rank_stabilised = false;  // alpha / sqrt(r) (Kalajdzievski 2023, arXiv:2312.03732)

    double scale() const {
        return alpha / (rank_stabilised ? std::sqrt(static_cast<double>(rank)) : static_cast<double>(rank));
    }
};

/// All adapters of a model as plain numbers.
template <class T>
struct AdapterSet {
    struct Entry {
        std::string module;             // whose weight it is: "model.text_model.layers.0.self_attn.q_proj"
        HostTensor<T> a, b, magnitude;  // [r, K], [M, r], [M] or empty
    };
    AdapterSettings settings;
    std::vector<Entry> entries;

    /// f(name of the parameter in adapter files, its numbers), in a fixed order.
    template <class F>
    void for_each(F f) {
        for (Entry& e : entries) {
            f(e.module + ".lora_A.weight", e.a);
            f(e.module + ".lora_B.weight", e.b);
            if (settings.dora) f(e.module + ".lora_magnitude_vector", e.magnitude);
        }
    }
};

namespace detail {

/// Modules as transformers calls them: a decoder alone has no "text_model".
inline std::string module_in_files(const ModelConfig& config, const std::string& module) {
    return !config.has_vision && module.starts_with("model.text_model.") ? "model." + module.substr(17) : module;
}
inline std::string module_of_files(const ModelConfig& config, const std::string& module) {
    return !config.has_vision && module.starts_with("model.") ? "model.text_model." + module.substr(6) : module;
}
inline constexpr std::string_view peft_prefix = "base_model.model.";

}  // namespace detail

/// The two files of an adapter, into a folder that is being written. base: the model it belongs to, as PEFT shall find
/// it (a path or a name; may be empty).
template <class T>
void write_adapters(AtomicFolder& folder, AdapterSet<T> set, const ModelConfig& config, const std::string& base) {
    Json modules = Json::array();
    for (const auto& entry : set.entries) modules.push_back(detail::module_in_files(config, entry.module));
    const AdapterSettings& s = set.settings;
    const Json json = {{"peft_type", "LORA"},
                       {"base_model_name_or_path", base},
                       {"r", s.rank},
                       {"lora_alpha", s.alpha},
                       {"lora_dropout", s.dropout},
                       {"use_dora", s.dora},
                       {"use_rslora", s.rank_stabilised},
                       {"target_modules", modules},
                       {"bias", "none"},
                       {"fan_in_fan_out", false},
                       {"inference_mode", true},
                       {"init_lora_weights", true},
                       {"task_type", nullptr}};
    folder.write("adapter_config.json", json.dump(2) + '\n');
    std::vector<HostTensor<float>> kept;
    std::vector<NamedTensor> tensors;
    set.for_each([&](const std::string& name, const HostTensor<T>& values) {
        kept.emplace_back(values.shape());
        std::ranges::transform(values.flat(), kept.back().data(), [](T x) { return static_cast<float>(x); });
        const std::string file_name = std::string(detail::peft_prefix) + detail::module_in_files(config, name);
        tensors.push_back(NamedTensor::of(file_name, kept.back()));
    });
    save_safetensors(folder.add("adapter_model.safetensors"), tensors, {{"format", "pt"}});
}

/// A folder of an adapter alone. Throws ValueError when it is there and not empty, or cannot be written.
template <class T>
void save_adapters(const std::string& path, const AdapterSet<T>& set, const ModelConfig& config,
                   const std::string& base = {}) {
    AtomicFolder folder(path);
    write_adapters(folder, set, config, base);
    folder.commit();
}

/// Reads what PEFT or save_adapters wrote. Throws FormatError for a damaged folder and ValueError for kinds of adapters
/// that are not known here.
template <class T>
AdapterSet<T> load_adapters(const std::string& path, const ModelConfig& config) {
    const std::string where = path + "/adapter_config.json";
    const Json json = parse_json(read_text_file(where, Index(1) << 24), where);
    const auto type = get<std::string>(json, "peft_type", where);
    SMOLVLM_CHECK(type == "LORA", ValueError, where, ": \"peft_type\" is ", in_quotes(type), ", expected \"LORA\"");
    const auto bias = get_or<std::string>(json, "bias", where, "none");
    SMOLVLM_CHECK(bias == "none", ValueError, where, ": \"bias\" is ", in_quotes(bias), ", expected \"none\"");
    for (const char* key : {"alpha_pattern", "rank_pattern", "modules_to_save", "layer_replication"})
        if (const Json* const value = find(json, key, where))
            SMOLVLM_CHECK(value->empty(), ValueError, where, ": \"", key, "\" is ", detail::describe(*value),
                          ", which is not supported");
    AdapterSet<T> set;
    AdapterSettings& s = set.settings;
    s.rank = get<Index>(json, "r", where);
    SMOLVLM_CHECK(s.rank > 0, FormatError, where, ": \"r\" is ", s.rank, ", expected at least 1");
    s.alpha = get_or<double>(json, "lora_alpha", where, 8);
    s.dropout = get_or<double>(json, "lora_dropout", where, 0);
    SMOLVLM_CHECK(s.dropout >= 0 && s.dropout < 1, FormatError, where, ": \"lora_dropout\" is ", s.dropout,
                  ", expected a number from 0 to below 1");
    s.dora = get_or<bool>(json, "use_dora", where, false);
    s.rank_stabilised = get_or<bool>(json, "use_rslora", where, false);

    const Safetensors file = Safetensors::open(path + "/adapter_model.safetensors");
    constexpr std::string_view suffix = ".lora_A.weight";
    std::size_t used = 0;
    for (const auto& tensor : file.tensors()) {
        const std::string& name = tensor.first;
        if (!name.starts_with(detail::peft_prefix) || !name.ends_with(suffix)) continue;
        const std::string stem = name.substr(0, name.size() - suffix.size());
        typename AdapterSet<T>::Entry entry;
        entry.module = detail::module_of_files(config, stem.substr(detail::peft_prefix.size()));
        entry.a = file.tensor<T>(name);
        entry.b = file.tensor<T>(stem + ".lora_B.weight");
        if (s.dora) entry.magnitude = file.tensor<T>(stem + ".lora_magnitude_vector");
        SMOLVLM_CHECK(entry.a.rank() == 2 && entry.a.dim(0) == s.rank && entry.b.rank() == 2 &&
                          entry.b.dim(1) == s.rank && (!s.dora || entry.magnitude.shape() == Shape{entry.b.dim(0)}),
                      FormatError, file.path(), ": the adapter of ", printable(entry.module), " has A ",
                      entry.a.shape(), " and B ", entry.b.shape(), ", expected [", s.rank, ", K] and [M, ", s.rank,
                      "]");
        used += s.dora ? 3 : 2;
        set.entries.push_back(std::move(entry));
    }
    SMOLVLM_CHECK(used > 0, FormatError, file.path(), ": has no tensor named ", detail::peft_prefix, "*", suffix);
    for (const auto& tensor : file.tensors()) {
        const std::string& name = tensor.first;
        const bool known = name.ends_with(suffix) || name.ends_with(".lora_B.weight") ||
                           (s.dora && name.ends_with(".lora_magnitude_vector"));
        SMOLVLM_CHECK(known && name.starts_with(detail::peft_prefix), ValueError, file.path(), ": tensor ",
                      in_quotes(name), " is not part of a ", s.dora ? "DoRA" : "LoRA", " of linear maps");
    }
    SMOLVLM_CHECK(used == file.tensors().size(), FormatError, file.path(), ": has ", file.tensors().size(),
                  " tensors, expected ", used, ": A and B of every module");
    return set;
}

namespace detail {

/// rows = W + s B A, and DoRA's rescaling of every row.
template <class T>
void merge_into(HostTensor<T>& rows, const typename AdapterSet<T>::Entry& e, const AdapterSettings& s, int threads) {
    const Index K = rows.dim(1), r = s.rank;
    parallel_for(threads, rows.dim(0), Index(8), [&](Index begin, Index end) {
        std::vector<double> row(static_cast<std::size_t>(K));
        for (Index m = begin; m < end; ++m) {
            std::copy_n(rows.data() + m * K, K, row.begin());
            for (Index i = 0; i < r; ++i) {
                const double factor = s.scale() * static_cast<double>(e.b.data()[m * r + i]);
                for (Index k = 0; k < K; ++k)
                    row[static_cast<std::size_t>(k)] += factor * static_cast<double>(e.a.data()[i * K + k]);
            }
            double g = 1;
            if (s.dora) {
                double squares = 0;
                for (const double value : row) squares += value * value;
                g = static_cast<double>(e.magnitude.data()[m]) / std::sqrt(squares);
            }
            std::ranges::transform(row, rows.data() + m * K, [g](double value) { return static_cast<T>(g * value); });
        }
    });
}

}  // namespace detail

/// f(entry, slot) for the weight of every entry in model, whatever its backend. Throws ValueError when a module is not
/// there, FormatError when its shape is another.
template <class T, class Model, class F>
void for_each_adapted(Model& model, const AdapterSet<T>& set, F f) {
    std::vector<std::string> modules;
    std::vector<bool> found(set.entries.size(), false);
    for_each_parameter(model, [&](const std::string& name, auto& slot, const Shape& shape) {
        if constexpr (
            requires { slot.dtype(); } || requires { slot.dtype; } || requires { slot.adapter; }) {
            if (shape.rank() != 2 || !name.ends_with(".weight")) return;
            modules.push_back(name.substr(0, name.size() - 7));
            for (std::size_t i = 0; i < found.size(); ++i) {
                const auto& entry = set.entries[i];
                if (entry.module != modules.back()) continue;
                SMOLVLM_CHECK((Shape{entry.b.dim(0), entry.a.dim(1)}) == shape, FormatError, "adapter of ",
                              entry.module, ": made for a weight of ", Shape{entry.b.dim(0), entry.a.dim(1)},
                              ", the model's is ", shape);
                found[i] = true;
                f(entry, slot);
            }
        }
    });
    for (std::size_t i = 0; i < found.size(); ++i) {
        if (found[i]) continue;
        const std::string_view near = nearest(set.entries[i].module, {modules.begin(), modules.end()});
        fail<ValueError>("adapter of ", printable(set.entries[i].module), ": the model has no linear map of that name",
                         near.empty() ? std::string() : join("; the nearest is ", near));
    }
}

/// The model with its adapters become part of its weights. Floating weights keep their type, quantised ones become F32.
template <Backend B>
void merge_adapters(B& be, SmolVLM<B>& model, const AdapterSet<typename B::Scalar>& set,
                    int threads = default_threads()) {
    using T = typename B::Scalar;
    for_each_adapted(model, set, [&](const auto& entry, Weight<B>& slot) {
        const DType held = detail::dtype_held(slot);
        const HostTensor<T> shared = detail::weight_to_host<T>(slot, threads).template to_tensor<T>(threads);
        HostTensor<T> rows(shared.shape());
        std::ranges::copy(shared.flat(), rows.data());
        detail::merge_into(rows, entry, set.settings, threads);
        const HostWeight merged = HostWeight::from_tensor(rows);
        slot = be.make_weight(is_floating(held) ? merged.converted(held, threads) : merged);
    });
}

}  // namespace smolvlm
