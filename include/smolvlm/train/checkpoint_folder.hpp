#pragma once
/// Checkpoints of a run: output/checkpoint-000250 is a Hugging Face folder that every program may load (or, of a run
/// that trains adapters, a PEFT folder), and beside that holds what training needs to go on as if it had never stopped:
///
///     optimizer.safetensors    mean.NAME, square.NAME and master.NAME of every trained parameter, and steps, an i64 [P]
///                              in their order; no masters where the model's own weights are as wide
///     trainer.json             step, position of every rank in its data, the whole configuration
///
/// A folder appears complete or not at all; older ones are removed only after that.

#include <filesystem>

#include <smolvlm/train/config_json.hpp>
#include <smolvlm/train/parameters.hpp>

namespace smolvlm {

/// Where a run stands.
struct RunState {
    Index step = 0;
    std::vector<Index> positions;  // of every rank
};

inline std::string checkpoint_path(const std::string& output, Index step) {
    const std::string digits = std::to_string(step);
    return output + "/checkpoint-" + std::string(digits.size() < 6 ? 6 - digits.size() : 0, '0') + digits;
}

/// The checkpoints in a run's folder, by step.
inline std::map<Index, std::string> list_checkpoints(const std::string& output) {
    std::map<Index, std::string> found;
    std::error_code none;
    for (const auto& entry : std::filesystem::directory_iterator(output, none)) {
        const std::string name = entry.path().filename().string();
        if (!name.starts_with("checkpoint-") || name.size() > 30) continue;
        const std::string digits = name.substr(11);
        if (!digits.empty() && digits.find_first_not_of("0123456789") == digits.npos)
            found[std::stoll(digits)] = entry.path().string();
    }
    return found;
}

/// Adds the training state to a checkpoint that is being written.
template <DifferentiableBackend B>
void write_training_state(AtomicFolder& folder, const Parameters<B>& parameters, const RunState& state,
                          const TrainConfig& config, bool with_masters) {
    std::vector<NamedTensor> tensors;
    HostTensor<std::int64_t> steps(Shape{static_cast<Index>(parameters.all().size())});
    for (std::size_t i = 0; i < parameters.all().size(); ++i) {
        const auto& p = parameters.all()[i];
        tensors.push_back(NamedTensor::of("mean." + p.name, p.mean));
        tensors.push_back(NamedTensor::of("square." + p.name, p.square));
        if (with_masters) tensors.push_back(NamedTensor::of("master." + p.name, p.master));
        steps.data()[i] = p.steps;
    }
    tensors.push_back(NamedTensor::of("steps", steps));
    save_safetensors(folder.add("optimizer.safetensors"), std::move(tensors));
    const Json json{{"step", state.step}, {"positions", state.positions}, {"config", to_json(config)}};
    folder.write("trainer.json", json.dump(2) + '\n');
}

/// Reads trainer.json; throws ValueError when the configuration has changed in a way that the run could not go on.
inline RunState read_run_state(const std::string& folder, const TrainConfig& config, Index ranks) {
    const std::string path = folder + "/trainer.json";
    const Json json = parse_json(read_text_file(path, 1 << 20), path);
    check_same_run(config, get_object(json, "config", path), path);
    RunState state{get<Index>(json, "step", path), {}};
    for (const Json& position : get_array(json, "positions", path))
        state.positions.push_back(value_as<Index>(position, "an item of \"positions\"", path));
    SMOLVLM_CHECK(static_cast<Index>(state.positions.size()) == ranks, ValueError, path, ": the run was on ",
                  state.positions.size(), " rank(s), now there are ", ranks,
                  "; a run goes on with as many as it began with");
    for (const Index position : state.positions)
        SMOLVLM_CHECK(position >= 0 && state.step >= 0, FormatError, path, ": a negative step or position");
    return state;
}

/// Reads optimizer.safetensors into the parameters, whose masters hold the model's weights already.
template <DifferentiableBackend B>
void read_training_state(const std::string& folder, Parameters<B>& parameters, bool with_masters) {
    using T = typename B::Scalar;
    const Safetensors file = Safetensors::open(folder + "/optimizer.safetensors");
    const auto read = [&](const std::string& name, HostTensor<T>& into) {
        const HostTensor<T> tensor = file.tensor<T>(name);
        SMOLVLM_CHECK(tensor.shape() == into.shape(), FormatError, file.path(), ": ", name, " is ", tensor.shape(),
                      ", expected ", into.shape());
        std::ranges::copy(tensor.flat(), into.data());
    };
    const HostTensor<std::int64_t> steps = file.tensor<std::int64_t>("steps");
    SMOLVLM_CHECK(steps.numel() == static_cast<Index>(parameters.all().size()), FormatError, file.path(), ": steps of ",
                  steps.numel(), " parameters, expected ", parameters.all().size());
    for (std::size_t i = 0; i < parameters.all().size(); ++i) {
        auto& p = parameters.all()[i];
        read("mean." + p.name, p.mean);
        read("square." + p.name, p.square);
        if (with_masters) read("master." + p.name, p.master);
        p.steps = steps.data()[i];
        p.publish(p.master);
    }
}

/// Removes all but the newest `keep` checkpoints.
inline void remove_old_checkpoints(const std::string& output, Index keep) {
    std::map<Index, std::string> found = list_checkpoints(output);
    std::error_code ignored;
    for (; static_cast<Index>(found.size()) > keep; found.erase(found.begin()))
        std::filesystem::remove_all(found.begin()->second, ignored);
}

}  // namespace smolvlm
