#pragma once
/// Writes a checkpoint as a folder whose matrices lie in panels, as panel_file.hpp describes it.
///
///     Cpu<float> be(threads, CpuPath::avx512bf16, Precision::native);        // packs; nothing is multiplied
///     save_panels(be, open_checkpoint("SmolVLM-256M-Instruct"), "out", IntegerFormat::q8_0, {.copy_from = ...});
///
/// A matrix is what load_model makes of it with that precision, byte for byte. Q8_0 and Q4_0 of a GGUF file stay what
/// they are, a matrix whose rows are no whole blocks of 32 stays as wide as it was. One parameter is in memory at a
/// time.

#include <smolvlm/checkpoint/save.hpp>

namespace smolvlm {

namespace detail {

/// The format in which a matrix of that type and width is held; none: as rows, as it is.
inline IntegerFormat panel_format(DType dtype, Index cols, IntegerFormat wanted) {
    if (dtype == DType::q8_0) return IntegerFormat::q8_0;
    if (dtype == DType::q4_0) return IntegerFormat::q4_0;
    const bool blocks = wanted == IntegerFormat::q8_0 || wanted == IntegerFormat::q4_0;
    constexpr Index longest_sum = 1 << 16;  // of products of bytes that fits into 32 bits: longer rows stay floats
    return cols > longest_sum || (blocks && cols % 32 != 0) ? IntegerFormat::none : wanted;
}

/// A parameter as it will stand in the file.
struct PlannedParameter {
    std::string name;  // as the source knows it
    Shape matrix;
    IntegerFormat format = IntegerFormat::none;
    NamedTensor tensor;
};

/// All parameters, those in panels first: these are multiples of 64 bytes, so each of them begins at one.
template <Backend B>
std::vector<PlannedParameter> plan_panels(const Checkpoint& checkpoint, const std::string& path, IntegerFormat wanted,
                                          PanelFile& panels) {
    const ModelConfig& config = checkpoint.config;
    const SmolVLM<B> model(config);
    check_parameters(model, *checkpoint.weights);
    std::vector<PlannedParameter> plan;
    for_each_parameter(model, [&](const std::string& name, const auto& slot, const Shape& shape) {
        const HostWeight held = checkpoint.weights->weight(name);
        PlannedParameter p{name, as_matrix_shape(shape), {}, {}};
        const bool is_matrix = std::is_same_v<std::remove_cvref_t<decltype(slot)>, Weight<B>>;
        // A table in bf16 is no smaller in panels, and as rows it can stay in the file whatever bf16 is multiplied as.
        const bool stays_rows =
            wanted == IntegerFormat::bf16 && is_floating(held.dtype) && is_only_looked_up(name, config);
        if (is_matrix && !stays_rows) p.format = panel_format(held.dtype, p.matrix[1], wanted);
        SMOLVLM_CHECK(p.format != IntegerFormat::none || is_floating(held.dtype), ValueError, path, ": ", name,
                      " is held as ", held.dtype,
                      ", expected a floating type, Q8_0 or Q4_0; quantise from the model as it was released");
        const bool rename = !config.has_vision && name.starts_with("model.text_model.");
        p.tensor = {rename ? "model." + name.substr(17) : name, stays_rows ? DType::bf16 : held.dtype, shape, {}};
        if (p.format != IntegerFormat::none) {
            const PanelWeight layout{p.format, p.matrix, {}};
            panels.entries[p.tensor.name] = {p.format, shape};
            p.tensor.dtype = DType::u8;
            p.tensor.shape = {layout.panels(), layout.layout().panel_bytes()};
        }
        plan.push_back(std::move(p));
    });
    std::stable_sort(plan.begin(), plan.end(), [](const PlannedParameter& a, const PlannedParameter& b) {
        const auto rank = [](const PlannedParameter& p) {
            return p.format != IntegerFormat::none ? Index(64) : info(p.tensor.dtype).block_bytes;
        };
        return rank(a) > rank(b);
    });
    return plan;
}

}  // namespace detail

/// `be` packs the weights: its precision is int8 for int8, else native. options.dtype is not looked at. Throws
/// ValueError when the folder is there and not empty, when a matrix is in another quantised type, or when the disk is
/// full; FormatError when the weights do not fit the configuration. Then nothing is left behind.
template <Backend B>
requires requires(const Weight<B> weight) { weight.panel_weight(); }
void save_panels(B& be, const Checkpoint& checkpoint, const std::string& path, IntegerFormat format,
                 const SaveOptions& options = {}) {
    PanelFile panels;
    panels.precision = format;
    const auto plan = detail::plan_panels<B>(checkpoint, path, format, panels);
    Json config = detail::model_config_json(checkpoint.config, checkpoint.generation, DType::f32);
    config["quantization_config"] = {{"quant_method", PanelFile::version_key}, {"precision", join(format)}};
    AtomicFolder folder(path);
    detail::write_folder_files(folder, config, checkpoint.generation, options);

    std::vector<NamedTensor> announced;
    for (const auto& p : plan) announced.push_back(p.tensor);
    Safetensors::Metadata metadata = panels.metadata();
    metadata["format"] = "pt";  // whose names and shapes these are
    SafetensorsWriter writer(folder.add("model.safetensors"), announced, metadata);
    for (const auto& p : plan) {
        HostWeight held = checkpoint.weights->weight(p.name);
        if (p.format == IntegerFormat::none) {
            writer.write(NamedTensor::of("", held.converted(p.tensor.dtype, options.threads)).bytes);
        } else {
            held = held.reshaped(p.matrix);
            if (is_floating(held.dtype) && format != IntegerFormat::int8)
                held = held.converted(dtype_of_rows(format), options.threads);
            const Weight<B> packed = be.make_weight(held);
            const PanelWeight made = packed.panel_weight();
            SMOLVLM_CHECK(made.format == p.format, ValueError, path, ": ", p.name, " was packed as ", made.format,
                          " instead of ", p.format, ": the backend's precision is another");
            writer.write(std::span(made.storage.data(), static_cast<std::size_t>(made.bytes())));
        }
        held = {};
        checkpoint.weights->release(p.name);
    }
    writer.commit();
    if (options.also) options.also(folder);
    folder.commit();
}

}  // namespace smolvlm
