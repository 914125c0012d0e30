// smolvlm trace and compare.

#include <doctest/doctest.h>

#include "cli/program.hpp"
#include "support/approx.hpp"

using namespace cli_test;
using smolvlm::HostTensor;
using smolvlm::Index;
using smolvlm::Json;
using smolvlm::NamedTensor;
using smolvlm::Safetensors;
using smolvlm::Shape;

namespace {

/// The inputs of a golden trace as a file for the program.
std::string write_input(const testing::TempDir& dir, const Safetensors& trace) {
    std::vector<NamedTensor> tensors;
    std::vector<smolvlm::HostWeight> kept;
    for (const auto& [name, tensor] : trace.tensors())
        if (name.starts_with("in.")) {
            kept.push_back(trace.host_weight(name));
            tensors.push_back(NamedTensor::of(name.substr(3), kept.back()));
        }
    smolvlm::save_safetensors(dir / "in.safetensors", tensors);
    return dir / "in.safetensors";
}

/// Empty when `out` has every tensor of the trace within tolerance, tokens of padding left out.
std::string departs(const Safetensors& out, const Safetensors& trace, double tolerance) {
    const auto ids = trace.tensor<std::int64_t>("in.input_ids");
    std::vector<bool> real(static_cast<std::size_t>(ids.numel()), true);
    if (trace.find("in.attention_mask")) {
        const auto mask = trace.tensor<std::int64_t>("in.attention_mask");
        for (std::size_t i = 0; i < real.size(); ++i) real[i] = mask.data()[i] != 0;
    }
    for (const auto& [name, tensor] : trace.tensors()) {
        if (name.starts_with("in.") || name.starts_with("greedy")) continue;
        if (!out.find(name)) return "no " + name;
        if (name == "vision.position_ids") {
            const auto worse = testing::inequality(out.tensor<std::int64_t>(name), trace.tensor<std::int64_t>(name));
            if (!worse.empty()) return name + ": " + worse;
            continue;
        }
        auto found = out.tensor<double>(name), expected = trace.tensor<double>(name);
        if (found.shape() == expected.shape() && (name.starts_with("text.") || name == "logits")) {
            const Index width = found.shape().back();
            for (std::size_t row = 0; row < real.size(); ++row) {
                if (real[row]) continue;
                double* const padding = found.data() + static_cast<Index>(row) * width;
                if (std::any_of(padding, padding + width, [](double x) { return x != 0; }))
                    return name + ": padding is not zero";
                std::copy_n(expected.data() + static_cast<Index>(row) * width, width, padding);
            }
        }
        const std::string worse = testing::departure(found, expected, tolerance);
        if (!worse.empty()) return name + ": " + worse;
    }
    return "";
}

std::string write_ids(const testing::TempDir& dir, const std::vector<std::int64_t>& ids,
                      const std::vector<std::int64_t>& mask) {
    const HostTensor<std::int64_t> a({1, static_cast<Index>(ids.size())}, ids),
        b({1, static_cast<Index>(mask.size())}, mask);
    std::vector<NamedTensor> tensors = {NamedTensor::of("input_ids", a)};
    if (!mask.empty()) tensors.push_back(NamedTensor::of("attention_mask", b));
    smolvlm::save_safetensors(dir / "in.safetensors", tensors);
    return dir / "in.safetensors";
}

/// Two files that compare reads: tensors by name, each of one row.
template <class T>
std::string write_rows(const testing::TempDir& dir, const std::string& name,
                       const std::map<std::string, std::vector<T>>& rows) {
    std::vector<HostTensor<T>> kept;
    std::vector<NamedTensor> tensors;
    for (const auto& [key, values] : rows) {
        kept.emplace_back(Shape{1, static_cast<Index>(values.size())}, values);
        tensors.push_back(NamedTensor::of(key, kept.back()));
    }
    smolvlm::save_safetensors(dir / name, tensors);
    return dir / name;
}

}  // namespace

TEST_CASE("cli: trace gives the reference's tensors for every golden case, zeros for padding") {
    const testing::TempDir dir;
    int cases = 0;
    const Json traces = golden_json("traces.json");
    for (const auto& [name, entry] : traces.items())
        for (const auto& [label, info] : entry["cases"].items()) {
            CAPTURE(name);
            CAPTURE(label);
            const Safetensors trace = Safetensors::open(golden(info["file"].get<std::string>()));
            const std::string input = write_input(dir, trace), output = dir / "out.safetensors";
            const Words words = {"trace", "--model", golden("models/" + name), "--input", input, "--output", output};
            const bool all_machines = cases++ % 8 == 0;  // one in eight on all of them, to save time
            for (const auto& [machine, tolerance] : {std::pair<Words, double>{{"--dtype", "f32"}, 2e-5},
                                                     {{"--dtype", "f64"}, 1e-9},
                                                     {{"--backend", "ref"}, 2e-5},
                                                     {{"--backend", "ref", "--dtype", "f64"}, 1e-9}}) {
                if (machine[0] == "--backend" && !all_machines) continue;
                const Result result = run(words + machine);
                REQUIRE_MESSAGE(result.code == 0, result.err);
                CHECK(departs(Safetensors::open(output), trace, tolerance) == "");
            }
        }
    CHECK(cases > 20);
}

TEST_CASE("cli: trace computes in the type that it writes") {
    const testing::TempDir dir;
    const std::string input = write_ids(dir, {5, 6, 7}, {});
    const Words words = {"trace", "--model", model, "--input", input, "--output", dir / "out.safetensors"};
    REQUIRE(run(words).code == 0);
    CHECK(Safetensors::open(dir / "out.safetensors").at("logits").dtype == smolvlm::DType::f32);
    REQUIRE(run(words + Words{"--dtype", "f64"}).code == 0);
    CHECK(Safetensors::open(dir / "out.safetensors").at("logits").dtype == smolvlm::DType::f64);
}

TEST_CASE("cli: a batch that makes no sense is refused, and no output appears") {
    const testing::TempDir dir;
    const std::string output = dir / "out.safetensors";
    const auto refused = [&](const std::string& input, std::string_view part) {
        const std::string answer =
            not_refused(run({"trace", "--model", model, "--input", input, "--output", output}), part);
        return std::filesystem::exists(output) ? "an output appeared" : answer;
    };
    CHECK(refused(write_ids(dir, {5, 6, 7}, {1, 0, 1}), "\"attention_mask\" has a hole at [0, 1]") == "");
    CHECK(refused(write_ids(dir, {5, 6, 7}, {1, 2, 1}), "holds 2 at [0, 1], expected 0 or 1") == "");
    CHECK(refused(write_ids(dir, {5, 6, 7}, {1, 1}), "\"attention_mask\" is [1, 2], expected") == "");
    CHECK(refused(write_ids(dir, {5, 6}, {0, 0}), "leaves no token") == "");
    CHECK(refused(write_ids(dir, {5, 296}, {}), "holds 296 at [0, 1], expected a token id from 0 to 295") == "");
    CHECK(refused(write_ids(dir, {-1}, {}), "holds -1") == "");
    const HostTensor<std::int64_t> image_token({1, 1}, {289});
    const auto frames = [&](float value) {
        const HostTensor<float> pixels({1, 1, 3, 32, 32}, std::vector<float>(3 * 32 * 32, value));
        smolvlm::save_safetensors(dir / "in.safetensors", {NamedTensor::of("input_ids", image_token),
                                                           NamedTensor::of("pixel_values", pixels)});
        return dir / "in.safetensors";
    };
    CHECK(refused(frames(0.5f), "1 <image> tokens but the pictures give 16 feature rows") == "");
    CHECK(refused(write_ids(dir, std::vector<std::int64_t>(3000, 5), {}), "the model's context holds 2048") == "");
    CHECK(refused(write_rows<float>(dir, "in.safetensors", {{"input_ids", {1}}}),
                  "\"input_ids\" is F32, expected integers") == "");
    CHECK(refused(write_rows<std::int64_t>(dir, "in.safetensors", {{"ids", {1}}}), "holds no tensor \"input_ids\"") ==
          "");
    CHECK(refused(model + "/model.safetensors", "holds no tensor \"input_ids\"") == "");
}

TEST_CASE("compare: equal files agree, exit code 0; another number departs, exit code 1, and its place is named") {
    const testing::TempDir dir;
    const std::string a = write_rows<float>(dir, "a", {{"x", {1, 2, 4}}, {"y", {0, 0}}});
    const std::string b = write_rows<float>(dir, "b", {{"x", {1, 2.004f, 4}}, {"y", {0, 0}}});
    CHECK(run({"compare", a, a}).code == 0);
    CHECK(run({"compare", a, a}).out.find("all 2 tensors agree") != std::string::npos);
    const Result result = run({"compare", a, b});
    CHECK(result.code == 1);
    CHECK(result.out.find("the first is x") != std::string::npos);
    CHECK(result.out.find("[0, 1]") != std::string::npos);
    CHECK(result.out.find("1.00e-03") != std::string::npos);  // 0.004 of 4
    CHECK(run({"compare", a, b, "--rtol", "0.0011"}).code == 0);
    CHECK(run({"compare", a, b, "--rtol=0.0009"}).code == 1);
    CHECK(not_refused(run({"compare", a, dir / "none"}), "none") == "");
    CHECK(not_refused(run({"compare", a, b, "--rtol", "-1"}), "--rtol is \"-1\"") == "");
}

TEST_CASE("compare: NaN departs even from NaN, infinities only from others, missing tensors and other shapes always") {
    const testing::TempDir dir;
    const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
    const std::string nans = write_rows<float>(dir, "nans", {{"x", {1, nan}}});
    const std::string infinities = write_rows<float>(dir, "infinities", {{"x", {1, inf}}});
    const std::string numbers = write_rows<float>(dir, "numbers", {{"x", {1, 2}}});
    const std::string more = write_rows<float>(dir, "more", {{"x", {1, 2}}, {"z", {1}}});
    const std::string longer = write_rows<float>(dir, "longer", {{"x", {1, 2, 3}}});
    const std::string doubles = write_rows<double>(dir, "doubles", {{"x", {1, 2}}});
    const std::string integers = write_rows<std::int64_t>(dir, "integers", {{"x", {1, 2}}});
    CHECK(run({"compare", nans, nans}).code == 1);
    CHECK(run({"compare", numbers, nans, "--rtol", "1000"}).code == 1);
    CHECK(run({"compare", infinities, infinities}).code == 0);
    CHECK(run({"compare", infinities, numbers, "--rtol", "1000"}).code == 1);
    CHECK(run({"compare", numbers, more}).out.find("only in B") != std::string::npos);
    CHECK(run({"compare", more, numbers}).code == 1);
    CHECK(run({"compare", numbers, longer}).out.find("B has shape [1, 3]") != std::string::npos);
    CHECK(run({"compare", numbers, doubles}).code == 0);
    CHECK(run({"compare", numbers, integers}).out.find("B holds I64") != std::string::npos);
}

TEST_CASE("compare: integers must be equal to the last bit, whatever the tolerance") {
    const testing::TempDir dir;
    const std::int64_t big = (std::int64_t(1) << 60);
    const std::string a = write_rows<std::int64_t>(dir, "a", {{"x", {big, 1}}});
    const std::string b = write_rows<std::int64_t>(dir, "b", {{"x", {big + 1, 1}}});
    CHECK(run({"compare", a, a}).code == 0);
    CHECK(run({"compare", a, b, "--rtol", "1"}).code == 1);
}

TEST_CASE("compare: the first tensor that departs is the first that the model computes") {
    const testing::TempDir dir;
    std::map<std::string, std::vector<float>> rows;
    for (const char* name : {"logits", "connector", "text.layer.10", "text.layer.9", "vision.embeddings", "another"})
        rows[name] = {1};
    const std::string a = write_rows(dir, "a", rows);
    rows["text.layer.10"] = rows["text.layer.9"] = rows["logits"] = rows["another"] = {2};
    const Result result = run({"compare", a, write_rows(dir, "b", rows)});
    CHECK(result.out.find("4 of 6 tensors depart; the first is text.layer.9\n") != std::string::npos);
    const auto at = [&](std::string_view name) { return result.out.find(name); };
    CHECK(at("vision.embeddings") < at("connector"));
    CHECK(at("text.layer.9 ") < at("text.layer.10"));
    CHECK(at("logits") < at("another"));
}
