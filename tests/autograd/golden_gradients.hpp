#pragma once
// Gradients of whole models that PyTorch found (tests/golden/gen_gradients.py), and how far a backend's are from them.

#include "support.hpp"

namespace testing {

struct Golden {
    std::string name;
    Safetensors file;
    GoldenBatch batch;

    Golden(const std::string& model, const std::string& which)
        : name(model),
          file(Safetensors::open(golden + "gradients/" + model + ".safetensors")),
          batch(model + "." + which, file.tensor<std::int64_t>("labels")) {}
    HostTensor<double> tensor(const std::string& tensor_name) const { return file.tensor<double>(tensor_name); }
};

inline std::vector<Golden> goldens() {
    const Json index = parse_json(read_text_file(golden + "gradients.json", 1 << 20), "gradients.json");
    std::vector<Golden> all;
    for (const auto& [name, facts] : index["models"].items()) all.emplace_back(name, facts["case"].get<std::string>());
    return all;
}

/// Largest difference to the golden gradients, relative to the largest magnitude of each tensor. A gradient that is
/// zero by symmetry (a bias of keys, which softmax does not see) is measured by the largest of all.
template <class B>
double worst_gradient(const Golden& which, double tolerance) {
    CAPTURE(which.name);
    const Checkpoint checkpoint = open_checkpoint(golden + "models/" + which.name);
    Grad<B> be;
    const SmolVLM<B> plain = load_model(be.inner(), checkpoint.config, *checkpoint.weights);
    std::vector<std::string> names;
    const auto model = watch(
        be, plain, [](std::string_view) { return true; }, &names);
    const auto loss = loss_of(be, model, which.batch);
    CHECK(departure(host(be.inner(), loss.value), which.tensor("loss"), tolerance) == "");
    const auto gradients = be.backward(loss);

    double of_all = 0, worst = 0;
    for (const std::string& name : names) of_all = std::max(of_all, largest(which.tensor("grad." + name)));
    for (std::size_t i = 0; i < names.size(); ++i) {
        CAPTURE(names[i]);
        REQUIRE(!gradients[i].empty());
        const auto truth = which.tensor("grad." + names[i]);
        const auto found = projected(host(be.inner(), gradients[i]));
        REQUIRE(found.numel() == truth.numel());
        const double size = largest(truth) > 1e-9 * of_all ? largest(truth) : of_all;
        const double error = difference(found, truth).max_abs / size;
        CHECK(error <= tolerance);
        worst = std::max(worst, error);
    }
    CHECK(names.size() + 2 + 1 <= which.file.tensors().size());
    return worst;
}

}  // namespace testing
