#pragma once
// Every intermediate of golden traces, on any backend: the truth is transformers in float64 (tests/golden/README.md).

#include <doctest/doctest.h>

#include <map>
#include <smolvlm/checkpoint/load.hpp>

#include "support/backends.hpp"

namespace testing::traces {

using namespace smolvlm;
using Int32s = std::vector<std::int32_t>;

inline const std::string golden = std::string(SMOLVLM_TEST_DIR) + "/golden/";

struct Case {
    std::string model, name, file;
    std::map<std::string, double> float32_error;  // of transformers' own float32 run, relative to the truth's largest
};

inline std::vector<Case> cases() {
    std::vector<Case> all;
    const Json index = parse_json(read_text_file(golden + "traces.json", 1 << 24), "traces.json");
    for (const auto& [model, entry] : index.items())
        for (const auto& [name, facts] : entry["cases"].items())
            all.push_back({model, name, golden + facts["file"].get<std::string>(),
                           facts["float32_error"].get<std::map<std::string, double>>()});
    return all;
}

/// The inputs of a case without their padding: one ragged batch.
struct Batch {
    Shape padded;                         // [B, T]
    std::vector<std::int32_t> places;     // of every real token in the padded batch, b * T + t
    std::vector<Int32s> sequences;        // ids of each sequence
    HostTensor<double> pixels;            // [I, C, H, W] of all real pictures, or empty
    HostTensor<std::int64_t> pixel_mask;  // [I, H, W], or empty

    explicit Batch(const Safetensors& file) {
        const auto ids = file.tensor<std::int64_t>("in.input_ids");
        const bool has_mask = file.find("in.attention_mask");
        const auto mask = has_mask ? file.tensor<std::int64_t>("in.attention_mask") : HostTensor<std::int64_t>{};
        padded = ids.shape();
        for (Index b = 0; b < padded[0]; ++b) {
            sequences.emplace_back();
            for (Index t = 0; t < padded[1]; ++t) {
                if (has_mask && !mask.view()(b, t)) continue;
                places.push_back(static_cast<std::int32_t>(b * padded[1] + t));
                sequences.back().push_back(static_cast<std::int32_t>(ids.view()(b, t)));
            }
        }
        if (file.find("in.pixel_values")) read_pictures(file);
    }

private:
    /// A picture of nothing but zeros is padding; of a batch of such, transformers keeps the first.
    void read_pictures(const Safetensors& file) {
        const auto all = file.tensor<float>("in.pixel_values");
        const bool has_mask = file.find("in.pixel_attention_mask");
        const auto mask = has_mask ? file.tensor<std::int64_t>("in.pixel_attention_mask") : HostTensor<std::int64_t>{};
        const Index total = all.dim(0) * all.dim(1), size = all.numel() / total, area = all.dim(3) * all.dim(4);
        std::vector<Index> real;
        for (Index i = 0; i < total; ++i)
            if (std::any_of(all.data() + i * size, all.data() + (i + 1) * size, [](float x) { return x != 0; }))
                real.push_back(i);
        if (real.empty()) real.push_back(0);
        const auto I = static_cast<Index>(real.size());
        pixels = HostTensor<double>({I, all.dim(2), all.dim(3), all.dim(4)});
        if (has_mask) pixel_mask = HostTensor<std::int64_t>({I, all.dim(3), all.dim(4)});
        for (Index i = 0; i < I; ++i) {
            const Index from = real[static_cast<std::size_t>(i)];
            std::copy_n(all.data() + from * size, size, pixels.data() + i * size);
            if (has_mask) std::copy_n(mask.data() + from * area, area, pixel_mask.data() + i * area);
        }
    }
};

/// Activations by name, as double.
template <class B>
struct Recorder : Probe<B> {
    B& be;
    std::map<std::string, HostTensor<double>> seen;

    explicit Recorder(B& backend) : be(backend) {}
    void operator()(const std::string& name, const Tensor<B>& x) override { seen[name] = host(be, x); }
};

/// Rows of a ragged batch put back into the padded one; rows of padding are zero.
inline HostTensor<double> padded(const HostTensor<double>& rows, const Batch& batch) {
    const Index D = rows.dim(1);
    auto out = HostTensor<double>::zeros({batch.padded[0], batch.padded[1], D});
    for (std::size_t n = 0; n < batch.places.size(); ++n)
        std::copy_n(rows.data() + static_cast<Index>(n) * D, D, out.data() + batch.places[n] * D);
    return out;
}

/// How far found is from truth, relative to the largest of truth. Shapes may differ in how rows are grouped only.
inline double distance(const HostTensor<double>& found, const HostTensor<double>& truth) {
    REQUIRE(found.numel() == truth.numel());
    REQUIRE(found.shape().back() == truth.shape().back());
    return difference(found, truth).max_rel;
}

/// Checks each case as described, and returns how many tensors were compared. of_type: what is allowed instead to a backend
/// that keeps fewer digits than its Scalar has; its answers are not compared, as near ties may go either way.
template <class B>
Index check(const std::vector<Case>& which_cases, double of_type = 0) {
    constexpr bool is_double = std::is_same_v<typename B::Scalar, double>;
    // In float64 the order of additions is all that differs. In float32 we may be twice as far from the truth as
    // transformers' own float32 run; three units in the last place are granted where that run happens to be exact.
    constexpr double double_tolerance = 1e-9, float_floor = 3 * std::numeric_limits<float>::epsilon();
    double worst = 0;
    Index compared = 0;
    for (const Case& which : which_cases) {
        CAPTURE(which.model);
        CAPTURE(which.name);
        B be;
        const Checkpoint checkpoint = open_checkpoint(golden + "models/" + which.model);
        const SmolVLM<B> model = load_model(be, checkpoint.config, *checkpoint.weights);
        const Safetensors truth = Safetensors::open(which.file);
        const Batch batch(truth);

        Recorder<B> recorder(be);
        Tensor<B> features;
        if (!batch.pixels.empty()) {
            const Index I = batch.pixels.dim(0), height = batch.pixels.dim(2), width = batch.pixels.dim(3);
            const auto grid = make_patch_grid(checkpoint.config.vision, I, height, width, batch.pixel_mask.cview());
            const auto ids = truth.tensor<std::int64_t>("vision.position_ids");
            CHECK(std::ranges::equal(grid.position_ids, ids.flat()));
            features =
                model.encode_images(be, be.from_host(converted<typename B::Scalar>(batch.pixels)), grid, &recorder);
        }
        Int32s ids;
        std::vector<Index> lengths;
        for (const Int32s& sequence : batch.sequences) {
            ids.insert(ids.end(), sequence.begin(), sequence.end());
            lengths.push_back(static_cast<Index>(sequence.size()));
        }
        const auto segments = Segments::packed(Segments::Mask::causal, lengths);
        const auto hidden = model.forward(be, ids, features, segments, nullptr, &recorder);
        recorder("logits", model.logits(be, hidden));

        for (const auto& tensor : truth.tensors()) {
            const std::string& tensor_name = tensor.first;
            if (!is_floating(tensor.second.dtype) || tensor_name.starts_with("in.")) continue;
            CAPTURE(tensor_name);
            REQUIRE(recorder.seen.count(tensor_name) == 1);
            const auto& rows = recorder.seen[tensor_name];
            const bool of_text = tensor_name.starts_with("text.") || tensor_name == "logits";
            const double error = distance(of_text ? padded(rows, batch) : rows, truth.tensor<double>(tensor_name));
            const double reference = which.float32_error.at(tensor_name);
            const double allowed = of_type > 0 ? of_type : is_double ? double_tolerance : 2 * reference + float_floor;
            CHECK(error <= allowed);
            worst = std::max(worst, error / allowed);
            ++compared;
        }

        if (of_type > 0) continue;
        const auto greedy = truth.tensor<std::int64_t>("greedy");
        GenerateOptions options;
        options.max_new_tokens = greedy.dim(1);
        Index picture_rows = 0;
        for (std::size_t b = 0; b < batch.sequences.size(); ++b) {
            PromptInput<B> input{batch.sequences[b], {}};
            const Index rows = std::ranges::count(input.ids, checkpoint.config.image_token_id);
            Int32s places;
            for (Index i = 0; i < rows; ++i) places.push_back(static_cast<std::int32_t>(picture_rows + i));
            if (rows > 0 && features.empty()) {  // a trace takes <image> tokens without pictures for words, an answer does not
                CHECK_THROWS_AS(generate(be, model, input, options), ValueError);
                continue;
            }
            if (rows > 0) input.features = be.gather_rows(features, places);
            picture_rows += rows;
            const GeneratedSequence answer = generate(be, model, input, options);
            CHECK(std::ranges::equal(answer.ids, greedy.view().row(static_cast<Index>(b))));
        }
    }
    MESSAGE(compared << " tensors, the worst at " << worst << " of what is allowed");
    return compared;
}

}  // namespace testing::traces
