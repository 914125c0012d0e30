// smolvlm grad.

#include <doctest/doctest.h>

#include <cmath>

#include "cli/program.hpp"
#include "support/approx.hpp"

using namespace cli_test;
using smolvlm::HostTensor;
using smolvlm::HostWeight;
using smolvlm::Index;
using smolvlm::Json;
using smolvlm::NamedTensor;
using smolvlm::Safetensors;
using smolvlm::Shape;

namespace {

using Ids = HostTensor<std::int64_t>;

/// The inputs of a golden trace, and labels, as a file for the program.
std::string write_input(const testing::TempDir& dir, const Safetensors& trace, const Ids& labels) {
    std::vector<NamedTensor> tensors;
    std::vector<HostWeight> kept;
    for (const auto& [name, tensor] : trace.tensors())
        if (name.starts_with("in.")) {
            kept.push_back(trace.host_weight(name));
            tensors.push_back(NamedTensor::of(name.substr(3), kept.back()));
        }
    tensors.push_back(NamedTensor::of("labels", labels));
    smolvlm::save_safetensors(dir / "in.safetensors", tensors);
    return dir / "in.safetensors";
}

/// A batch of words alone.
std::string write_words(const testing::TempDir& dir, const Ids& ids, const Ids& labels) {
    smolvlm::save_safetensors(dir / "in.safetensors",
                              {NamedTensor::of("input_ids", ids), NamedTensor::of("labels", labels)});
    return dir / "in.safetensors";
}

/// As the golden files keep tensors (tests/golden/README.md).
HostTensor<double> projected(const HostTensor<double>& x) {
    if (x.numel() <= 600) return x;
    const Index M = x.dim(0), K = x.numel() / M;
    auto y = HostTensor<double>::zeros({M, 3});
    for (Index m = 0; m < M; ++m)
        for (Index j = 0; j < 3; ++j)
            for (Index k = 0; k < K; ++k)
                y.view()(m, j) += x.data()[m * K + k] * std::cos(static_cast<double>(k) * static_cast<double>(j + 1));
    return y;
}

}  // namespace

TEST_CASE("cli: grad gives PyTorch's loss and gradients, on every backend and in both precisions") {
    const testing::TempDir dir;
    const Json index = golden_json("gradients.json");
    for (const auto& [name, facts] : index["models"].items()) {
        CAPTURE(name);
        const auto truth = Safetensors::open(golden("gradients/" + name + ".safetensors"));
        const auto trace =
            Safetensors::open(golden("traces/" + name + "." + facts["case"].get<std::string>() + ".safetensors"));
        const Words words = {"grad",
                             "--model",
                             golden("models/" + name),
                             "--input",
                             write_input(dir, trace, truth.tensor<std::int64_t>("labels")),
                             "--output",
                             dir / "out.safetensors"};
        for (const auto& [machine, tolerance] : {std::pair<Words, double>{{"--dtype", "f64"}, 1e-9},
                                                 {{"--dtype", "f32"}, 1e-4},
                                                 {{"--backend", "ref", "--dtype", "f64"}, 1e-9},
                                                 {{"--backend", "ref"}, 1e-4}}) {
            if (machine[0] == "--backend" && name != "odd_head_dim") continue;  // one model is enough for the slow ones
            const Result result = run(words + machine);
            REQUIRE_MESSAGE(result.code == 0, result.err);
            const auto found = Safetensors::open(dir / "out.safetensors");
            std::size_t compared = 0;
            for (const auto& [key, tensor] : truth.tensors()) {
                if (key != "loss" && !key.starts_with("grad.")) continue;
                CAPTURE(key);
                REQUIRE(found.find(key));
                const auto expected = truth.tensor<double>(key);
                ++compared;
                if (key.ends_with("k_proj.bias")) continue;  // zero: softmax does not see it
                const auto values = projected(found.tensor<double>(key));
                CHECK(testing::departure(values.reshaped(expected.shape()), expected, tolerance) == "");
            }
            CHECK(compared == found.tensors().size());
        }
    }
}

TEST_CASE("cli: grad writes checkpoint names and shapes, and zeros for what the batch does not use") {
    const testing::TempDir dir;
    const Ids ids({1, 4}, {5, 6, 7, 8});
    const Words words = {"grad", "--model", model, "--input", write_words(dir, ids, ids), "--output"};
    REQUIRE(run(words + Words{dir / "out.safetensors", "--threads", "1"}).code == 0);
    const auto found = Safetensors::open(dir / "out.safetensors"),
               weights = Safetensors::open(model + "/model.safetensors");
    CHECK(found.tensors().size() == weights.tensors().size() + 1);
    for (const auto& [name, tensor] : weights.tensors()) {
        CAPTURE(name);
        REQUIRE(found.find("grad." + name));
        CHECK(found.at("grad." + name).shape == tensor.shape);
        const auto gradient = found.tensor<float>("grad." + name);
        const bool zero =
            std::all_of(gradient.data(), gradient.data() + gradient.numel(), [](float x) { return x == 0; });
        CHECK(zero == (name.starts_with("model.vision_model") || name.starts_with("model.connector")));
    }
    CHECK(run(words + Words{dir / "again.safetensors", "--threads", "3"}).code == 0);
    CHECK(testing::read_file(dir / "out.safetensors") == testing::read_file(dir / "again.safetensors"));
}

TEST_CASE("cli: grad of labels that make no sense is refused, and no output appears") {
    const testing::TempDir dir;
    const std::string output = dir / "out.safetensors";
    const Ids ids({1, 3}, {5, 6, 7});
    const auto refused = [&](const std::string& input, std::string_view part) {
        const std::string answer =
            not_refused(run({"grad", "--model", model, "--input", input, "--output", output}), part);
        return std::filesystem::exists(output) ? "an output appeared" : answer;
    };
    CHECK(refused(write_words(dir, ids, Ids({1, 2}, {5, 6})),
                  "\"labels\" is [1, 2], expected the shape of input_ids, [1, 3]") == "");
    CHECK(refused(write_words(dir, ids, Ids({1, 3}, {5, 296, 7})),
                  "\"labels\" holds 296 at [0, 1], expected -100 or a token id from 0 to 295") == "");
    CHECK(refused(write_words(dir, ids, Ids({1, 3}, {5, 6, -1})), "holds -1 at [0, 2]") == "");
    // The label of a first token is compared with nothing, so these two batches have no loss.
    CHECK(refused(write_words(dir, ids, Ids({1, 3}, {5, -100, -100})), "has no label that counts") == "");
    CHECK(refused(write_words(dir, Ids({1, 1}, {5}), Ids({1, 1}, {5})), "has no label that counts") == "");
    smolvlm::save_safetensors(dir / "none.safetensors", {NamedTensor::of("input_ids", ids)});
    CHECK(refused(dir / "none.safetensors", "labels") == "");
    CHECK(not_refused(run({"grad", "--model", model, "--output", output}), "--input is missing") == "");
    CHECK(not_refused(run({"grad", "--model", model, "--input", "x"}), "--output is missing") == "");
    CHECK(not_refused(run({"grad", "--dtype", "bf16"}), "--dtype is \"bf16\", expected f32 or f64") == "");
}
