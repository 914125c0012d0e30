#include <smolvlm/checkpoint/save.hpp>
#include <smolvlm/ref/ref.hpp>

#include <doctest/doctest.h>

#include "support/error_text.hpp"
#include "support/gguf_pair.hpp"

using namespace smolvlm;
using namespace testing;

namespace {


struct Pair : GgufPair {
    using GgufPair::GgufPair;

    /// What is wrong with it, or nothing.
    std::string error() const {
        return error_of([&] {
            const Checkpoint checkpoint = open();
            Ref<float> be;
            load_model(be, checkpoint.config, *checkpoint.weights);
        });
    }
};

}  // namespace

TEST_CASE("gguf_pair: rows of rotated heads go back where they were, whatever their dtype") {
    HostTensor<float> stored(Shape{12, 32});  // two heads of six rows
    for (Index i = 0; i < stored.numel(); ++i) stored.data()[i] = static_cast<float>(i / 32);
    for (DType dtype : {DType::f32, DType::f16, DType::q8_0}) {
        const auto rows = unpermute_rope_rows(HostWeight::from_tensor(stored).converted(dtype), 2).to_tensor<float>();
        const float expected[] = {0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11};
        for (Index i = 0; i < 12; ++i) CHECK(rows.view()(i, 7) == doctest::Approx(expected[i]).epsilon(0.01));
    }
    CHECK_THROWS_AS(unpermute_rope_rows(HostWeight::from_tensor(stored), 4), ShapeError);
}

TEST_CASE("gguf_pair: a pair made from a folder has the folder's parameters, configuration and tokenizer") {
    for (const char* name : {"gqa_untied_r2", "mha_tied_r3", "odd_head_dim", "sharded_tied"}) {
        CAPTURE(name);
        const Pair pair(name);
        const Checkpoint checkpoint = pair.open();
        const ModelConfig &found = checkpoint.config, &expected = pair.source.config;
        CHECK(found.has_vision);
        CHECK(found.scale_factor == expected.scale_factor);
        CHECK(found.image_token_id == expected.image_token_id);
        CHECK(found.tie_word_embeddings == expected.tie_word_embeddings);
        CHECK(found.text.head_dim == expected.text.head_dim);
        CHECK(found.text.num_key_value_heads == expected.text.num_key_value_heads);
        CHECK(found.text.vocab_size == expected.text.vocab_size);
        CHECK(found.text.rope_theta == doctest::Approx(expected.text.rope_theta));
        CHECK(found.text.rms_norm_eps == doctest::Approx(expected.text.rms_norm_eps));
        CHECK(found.vision.patches() == expected.vision.patches());
        CHECK(checkpoint.processor.image_seq_len == pair.source.processor.image_seq_len);
        CHECK(checkpoint.processor.image.longest_edge == pair.source.processor.image.longest_edge);
        CHECK(checkpoint.weights->shapes() == pair.source.weights->shapes());
        for (const auto& parameter : pair.source.weights->shapes()) {
            CAPTURE(parameter.first);
            const auto a = checkpoint.weights->weight(parameter.first).to_tensor<float>();
            const auto b = pair.source.weights->weight(parameter.first).to_tensor<float>();
            CHECK(std::equal(a.flat().begin(), a.flat().end(), b.flat().begin(), b.flat().end()));
        }
        const std::string text = "User:<image>What are 12 x 34?<end_of_utterance>\nAssistant:";
        CHECK(checkpoint.processor.tokenizer.encode(text) == pair.source.processor.tokenizer.encode(text));
        Ref<float> be;
        CHECK_NOTHROW(load_model(be, checkpoint.config, *checkpoint.weights));
    }
}

TEST_CASE("gguf_pair: quantised and 16-bit matrices stay as the file has them, close to the originals") {
    for (DType dtype : {DType::f16, DType::bf16, DType::q8_0, DType::q4_0, DType::q4_1}) {
        CAPTURE(info(dtype).name);
        Pair pair("grid27_r3");  // rows of 32
        pair.dtype = dtype;
        const Checkpoint checkpoint = pair.open();
        for (const char* which : {"q", "k", "v"}) {
            const std::string name = join("model.text_model.layers.0.self_attn.", which, "_proj.weight");
            const HostWeight weight = checkpoint.weights->weight(name);
            CHECK(weight.dtype == dtype);
            const auto a = weight.to_tensor<float>(), b = pair.source.weights->weight(name).to_tensor<float>();
            float worst = 0, largest = 0;
            for (Index i = 0; i < a.numel(); ++i) {
                worst = std::max(worst, std::abs(a.data()[i] - b.data()[i]));
                largest = std::max(largest, std::abs(b.data()[i]));
            }
            CHECK(worst <= largest * (dtype == DType::q4_0 || dtype == DType::q4_1 ? 0.14f : 0.01f));
        }
    }
}

TEST_CASE("gguf_pair: files whose MLP maps have each other's names read the same") {
    Pair pair;
    pair.swap_ffn = true;
    const Checkpoint checkpoint = pair.open();
    for (const char* name : {"fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"}) {
        const std::string parameter = join("model.vision_model.encoder.layers.1.mlp.", name);
        const auto a = checkpoint.weights->weight(parameter).to_tensor<float>();
        const auto b = pair.source.weights->weight(parameter).to_tensor<float>();
        CHECK(a.shape() == b.shape());
        CHECK(std::equal(a.flat().begin(), a.flat().end(), b.flat().begin()));
    }
}

TEST_CASE("gguf_pair: without an mmproj the model reads text only") {
    const Pair pair;
    pair.write();
    const Checkpoint checkpoint = open_checkpoint(pair.text_path);
    CHECK_FALSE(checkpoint.config.has_vision);
    CHECK_FALSE(checkpoint.processor.has_images());
    Ref<float> be;
    CHECK_NOTHROW(load_model(be, checkpoint.config, *checkpoint.weights));
    const std::string folder = SMOLVLM_TEST_DIR "/golden/models/gqa_untied_r2";
    CHECK(contains(error_of([&] { open_checkpoint(folder, pair.vision_path); }), "this is a folder"));
}

TEST_CASE("gguf_pair: answers end at the file's end tokens and at the end of a turn") {
    Pair pair;
    pair.text["tokenizer.ggml.eot_token_id"] = 5;
    const auto end_of_turn = pair.source.processor.tokenizer.encode("<end_of_utterance>");
    CHECK(pair.open().generation.eos == std::vector<std::int32_t>{2, 5, end_of_turn.at(0)});
    CHECK(pair.open().generation.bos == 1);
}

TEST_CASE("gguf_pair: what does not fit is an error that names the file and the key or tensor") {
    const auto with_text = [](const char* key, const Json& value) {
        Pair pair;
        pair.text[key] = value;
        const std::string message = pair.error();
        CHECK(contains(message, "text.gguf: "));
        return message;
    };
    const auto with_vision = [](const char* key, const Json& value) {
        Pair pair;
        pair.vision[key] = value;
        const std::string message = pair.error();
        CHECK(contains(message, "mmproj.gguf: "));
        return message;
    };
    CHECK(contains(with_text("general.architecture", "qwen2"), "is \"qwen2\", expected \"llama\""));
    CHECK(contains(with_text("llama.block_count", "x"), "\"llama.block_count\" is the string \"x\""));
    CHECK(contains(with_text("llama.block_count", 900), "the configuration asks for 902 layers"));
    CHECK(contains(with_text("llama.attention.head_count", 0), "\"llama.attention.head_count\" is 0"));
    CHECK(contains(with_text("llama.attention.head_count_kv", 4), "6 attention heads cannot share 4"));
    CHECK(contains(with_text("llama.rope.dimension_count", 4), "4 of them rotated"));
    CHECK(contains(with_text("llama.rope.scaling.type", "yarn"), "only \"none\" is supported"));
    CHECK(contains(with_text("llama.expert_count", 8), "a mixture of experts is not supported"));
    CHECK(contains(with_text("tokenizer.ggml.model", "llama"), "tokenizer.ggml.model"));
    CHECK(contains(with_text("tokenizer.ggml.tokens", {1, 2}),
                   "an element of \"tokenizer.ggml.tokens\" is the number 1"));
    CHECK(contains(with_text("tokenizer.ggml.tokens", std::vector<std::string>(400, "t")),
                   "400 tokens, but the embedding has only 296"));
    CHECK(contains(with_vision("clip.projector_type", "mlp"),
                   "\"clip.projector_type\" is \"mlp\", expected \"idefics3\""));
    CHECK(contains(with_vision("clip.vision.patch_size", 0), "\"clip.vision.patch_size\" is 0"));
    CHECK(contains(with_vision("clip.vision.projector.scale_factor", 3), "8 patches on an edge are no multiple"));
    CHECK(contains(with_vision("clip.vision.attention.head_count", 5), "not divisible by 5 heads"));
    Pair pair;
    pair.leave_out = "model.text_model.layers.1.mlp.up_proj.weight";
    CHECK(contains(pair.error(), "1 missing: model.text_model.layers.1.mlp.up_proj.weight"));
    pair.leave_out = "model.text_model.embed_tokens.weight";
    CHECK(contains(pair.error(), "holds no tensor \"token_embd.weight\""));
    pair.leave_out = "";
    pair.write();
    CHECK(contains(error_of([&] { open_checkpoint(pair.vision_path, pair.vision_path); }), "expected \"llama\""));
    CHECK(contains(error_of([&] { open_checkpoint(pair.text_path, pair.text_path); }), "expected \"clip\""));
}

TEST_CASE("save: a GGUF pair becomes a folder with its tokenizer, generation and picture settings") {
    for (const char* name : {"gqa_untied_r2", "mha_tied_r3"}) {
        CAPTURE(name);
        const Pair pair(name);
        const Checkpoint before = pair.open();
        Ref<float> be;
        const auto model = load_model(be, before.config, *before.weights);
        const std::string path = pair.folder / "saved";
        save(be, model, before.generation, path, {.copy_from = pair.text_path, .mmproj = pair.vision_path});

        const Checkpoint after = open_hf_folder(path);
        CHECK(after.generation.eos == before.generation.eos);
        CHECK(after.processor.image_seq_len == before.processor.image_seq_len);
        CHECK(after.processor.image.longest_edge == before.processor.image.longest_edge);
        CHECK(after.processor.image.tile == before.processor.image.tile);
        CHECK(after.processor.image.mean == before.processor.image.mean);
        const Tokenizer &ours = after.processor.tokenizer, &theirs = pair.source.processor.tokenizer;
        const std::string text = "User:<image> Row 12, caf\u00e9: a  b\n<row_1_col_2><end_of_utterance>\nAssistant:";
        CHECK(ours.encode(text) == theirs.encode(text));
        for (std::int32_t id = 0; id < theirs.vocab_size(); ++id) CHECK(ours.is_special(id) == theirs.is_special(id));
    }
    const Pair pair;
    pair.write();
    const Checkpoint text_only = open_gguf_pair(pair.text_path);
    Ref<float> be;
    save(be, load_model(be, text_only.config, *text_only.weights), text_only.generation, pair.folder / "text",
         {.copy_from = pair.text_path});
    CHECK_FALSE(open_hf_folder(pair.folder / "text").processor.has_images());
}
