#include <smolvlm/checkpoint/save_gguf_pair.hpp>
#include <smolvlm/checkpoint/load.hpp>

#include <doctest/doctest.h>

#include <filesystem>

#include "support/error_text.hpp"
#include "support/temp_dir.hpp"

using namespace smolvlm;
using namespace testing;

namespace {

const char* const models[] = {"gqa_untied_r2", "mha_tied_r3", "odd_head_dim", "sharded_tied"};

std::string golden_model(const std::string& name) { return SMOLVLM_TEST_DIR "/golden/models/" + name; }

/// A golden folder written as a pair, and opened again.
struct Written {
    TempDir folder;
    Checkpoint source;
    std::string text, vision = folder / "out/mmproj-F16.gguf";

    Written(const std::string& name, DType dtype)
        : source(open_hf_folder(golden_model(name))), text(folder / ("out/" + gguf_text_file(dtype))) {
        save_gguf_pair(golden_model(name), "", folder / "out", {.dtype = dtype});
    }
    Checkpoint open() const { return open_checkpoint(text, vision); }
};

/// The largest |difference| that rounding one block of weights may make.
double bound(DType dtype, const float* x) {
    const auto [low, high] = std::minmax_element(x, x + 32);
    const double most = std::max(-static_cast<double>(*low), static_cast<double>(*high));
    const double half_precision = most / 1024;  // of d and m
    if (dtype == DType::q8_0) return most / 127 / 2 + half_precision;
    if (dtype == DType::q4_0) return most / 8 + half_precision;  // the far end of the other sign is cut off
    return (static_cast<double>(*high) - static_cast<double>(*low)) / 15 / 2 + 2 * half_precision;
}

}  // namespace

TEST_CASE("save_gguf_pair: what is opened again is the same model, tokenizer and processor") {
    for (const char* name : models) {
        CAPTURE(name);
        const Written written(name, DType::f16);
        const Checkpoint found = written.open();
        const Checkpoint& expected = written.source;
        CHECK(found.weights->shapes() == expected.weights->shapes());
        CHECK(found.config.text.num_key_value_heads == expected.config.text.num_key_value_heads);
        CHECK(found.config.text.head_dim == expected.config.text.head_dim);
        CHECK(found.config.text.vocab_size == expected.config.text.vocab_size);
        CHECK(found.config.text.max_position_embeddings == expected.config.text.max_position_embeddings);
        CHECK(found.config.text.rope_theta == doctest::Approx(expected.config.text.rope_theta));
        CHECK(found.config.text.rms_norm_eps == doctest::Approx(expected.config.text.rms_norm_eps));
        CHECK(found.config.vision.patches() == expected.config.vision.patches());
        CHECK(found.config.vision.intermediate_size == expected.config.vision.intermediate_size);
        CHECK(found.config.scale_factor == expected.config.scale_factor);
        CHECK(found.config.tie_word_embeddings == expected.config.tie_word_embeddings);
        CHECK(found.config.image_token_id == expected.config.image_token_id);
        CHECK(found.processor.image_seq_len == expected.processor.image_seq_len);
        CHECK(found.processor.image.longest_edge == expected.processor.image.longest_edge);
        CHECK(found.processor.image.tile == expected.processor.image.tile);
        for (const std::int32_t end : expected.generation.eos)
            CHECK(std::count(found.generation.eos.begin(), found.generation.eos.end(), end) == 1);
        const Conversation chat{{"system", {{ContentPart::text, "Be 12 times brief."}}},
                                {"user",
                                 {{ContentPart::image, ""},
                                  {ContentPart::text, "What's\n  this? <global-img> \u00e9\u4e2d"}}}};
        const std::string asked = expected.processor.chat_template.render(chat);
        CHECK(found.processor.chat_template.render(chat) == asked);
        CHECK(found.processor.tokenizer.encode(asked) == expected.processor.tokenizer.encode(asked));
    }
}

TEST_CASE("save_gguf_pair: vectors keep their values, and no weight is further off than its block allows") {
    int quantised = 0, halves = 0;
    for (const char* name : models)
        for (const DType dtype : {DType::q8_0, DType::q4_0, DType::q4_1}) {
            CAPTURE(name);
            const Written written(name, dtype);
            const Checkpoint found = written.open();
            for (const auto& [parameter, shape] : written.source.weights->shapes()) {
                CAPTURE(parameter);
                const HostWeight stored = found.weights->weight(parameter);
                const auto x = written.source.weights->weight(parameter).to_tensor<float>();
                const auto y = stored.to_tensor<float>();
                double excess = 0;
                for (Index i = 0; i < x.numel(); ++i) {
                    const double off = std::abs(static_cast<double>(x.data()[i]) - static_cast<double>(y.data()[i]));
                    const double allowed =
                        is_quantized(stored.dtype) ? bound(dtype, x.data() + i / 32 * 32)
                        : stored.dtype == DType::f16 ? std::abs(static_cast<double>(x.data()[i])) / 2048 + 1e-7
                                                     : 0.0;
                    excess = std::max(excess, off - allowed);
                }
                CHECK(excess <= 0.0);
                const bool decoder = parameter.find("text_model") != parameter.npos || parameter == "lm_head.weight";
                const bool embedding = parameter.find("vision_model.embeddings.") != parameter.npos;
                const DType expected = shape.rank() < 2 || embedding ? DType::f32
                                       : decoder && shape.back() % 32 == 0 ? dtype
                                                                           : DType::f16;
                CHECK(stored.dtype == expected);
                quantised += decoder && stored.dtype == dtype;
                halves += decoder && stored.dtype == DType::f16;
            }
        }
    CHECK(quantised > 0);
    CHECK(halves > 0);
}

TEST_CASE("save_gguf_pair: a pair out of a pair is the pair out of the folder") {
    TempDir again;
    const Written first("gqa_untied_r2", DType::q8_0);
    save_gguf_pair(first.text, first.vision, again / "out", {.dtype = DType::q8_0});
    CHECK(read_file(again / "out/mmproj-F16.gguf") == read_file(first.vision));
    const Gguf a = Gguf::open(first.text), b = Gguf::open(again / "out/model-Q8_0.gguf");
    REQUIRE(a.tensors().size() == b.tensors().size());
    for (const auto& [name, tensor] : a.tensors()) {
        CAPTURE(name);
        const HostWeight x = a.host_weight(name), y = b.host_weight(name);
        REQUIRE(x.dtype == y.dtype);
        CHECK(std::equal(x.bytes(), x.bytes() + x.rows() * x.row_bytes(), y.bytes()));
    }
    CHECK(a.metadata()["tokenizer.ggml.tokens"] == b.metadata()["tokenizer.ggml.tokens"]);
    CHECK(a.metadata()["tokenizer.ggml.merges"] == b.metadata()["tokenizer.ggml.merges"]);
}

TEST_CASE("save_gguf_pair: what cannot be written leaves nothing behind") {
    const TempDir dir;
    const auto attempt = [&](const std::string& model, const std::string& out, DType dtype) {
        return error_of([&] { save_gguf_pair(model, "", out, {.dtype = dtype}); });
    };
    CHECK(contains(attempt(golden_model("gqa_untied_r2"), dir / "a", DType::q4_k), "expected Q8_0, Q4_0, Q4_1 or F16"));
    CHECK(contains(attempt(golden_model("no_such"), dir / "a", DType::q8_0), "no_such"));
    CHECK(!std::filesystem::exists(dir / "a"));

    std::filesystem::create_directory(dir / "full");
    dir.write("full/mine.txt", "mine");
    CHECK(contains(attempt(golden_model("gqa_untied_r2"), dir / "full", DType::q8_0), "not empty"));
    CHECK(read_file(dir / "full/mine.txt") == "mine");

    // A folder whose weights have one too many: refused by name, and no half of a pair is left.
    std::filesystem::copy(golden_model("gqa_untied_r2"), dir / "odd");
    const Safetensors file = Safetensors::open(golden_model("gqa_untied_r2") + "/model.safetensors");
    std::vector<HostWeight> kept;
    std::vector<NamedTensor> tensors;
    kept.reserve(file.tensors().size() + 1);
    for (const auto& [name, tensor] : file.tensors()) {
        kept.push_back(file.host_weight(name));
        tensors.push_back(NamedTensor::of(name, kept.back()));
    }
    tensors.push_back(NamedTensor::of("model.adapter.weight", kept.front()));
    std::filesystem::remove(dir / "odd/model.safetensors");
    save_safetensors(dir / "odd/model.safetensors", tensors);
    CHECK(contains(attempt(dir / "odd", dir / "b", DType::q8_0), "\"model.adapter.weight\" has no place"));
    CHECK(!std::filesystem::exists(dir / "b"));
    for (const auto& entry : std::filesystem::directory_iterator(dir.path()))
        CHECK(entry.path().string().find(".part") == std::string::npos);
}
