#include <smolvlm/checkpoint/load.hpp>
#include <smolvlm/checkpoint/save.hpp>
#include <smolvlm/cpu/cpu.hpp>
#include <smolvlm/ref/ref.hpp>

#include <doctest/doctest.h>

#include "support/error_text.hpp"
#include "support/temp_dir.hpp"

using namespace smolvlm;
using namespace testing;
namespace fs = std::filesystem;

namespace {

std::string golden(const std::string& name) { return std::string(SMOLVLM_TEST_DIR) + "/golden/models/" + name; }

/// A copy of a golden folder in which a test may break things.
struct Copy {
    TempDir folder;
    std::string path;

    explicit Copy(const std::string& name = "gqa_untied_r2") : path(folder / "model") {
        fs::copy(golden(name), path);
    }
    void write(const std::string& name, const std::string& text) const { folder.write("model/" + name, text); }
    void change(const std::string& name, auto&& change) const {
        Json json = parse_json(read_file(path + '/' + name), name);
        change(json);
        write(name, json.dump());
    }
    std::string load_error() const {
        return error_of([&] {
            Ref<float> be;
            const Checkpoint checkpoint = open_hf_folder(path);
            load_model(be, checkpoint.config, *checkpoint.weights);
        });
    }
};

/// Every parameter of a model as floats, by name.
template <class B>
std::map<std::string, std::vector<float>> parameters(B& be, const SmolVLM<B>& model) {
    std::map<std::string, std::vector<float>> all;
    for_each_parameter(model, [&](const std::string& name, const auto& slot, const Shape&) {
        HostTensor<float> values;
        if constexpr (std::is_same_v<std::remove_cvref_t<decltype(slot)>, Weight<B>>)
            values = detail::weight_to_host<float>(slot, 1).template to_tensor<float>();
        else
            values = be.to_host(slot);
        all[name].assign(values.flat().begin(), values.flat().end());
    });
    return all;
}

}  // namespace

TEST_CASE("hf_folder: every golden folder opens, its weights fit, and each parameter is what the file holds") {
    for (const char* name :
         {"defaults", "gqa_untied_r2", "grid27_r3", "grid32_r4", "mha_tied_r3", "odd_head_dim", "sharded_tied"}) {
        CAPTURE(name);
        const Checkpoint checkpoint = open_hf_folder(golden(name));
        CHECK(checkpoint.processor.image_seq_len == checkpoint.config.tokens_per_image());
        CHECK(checkpoint.generation.eos.size() == 1);
        Ref<float> be;
        const auto model = load_model(be, checkpoint.config, *checkpoint.weights);
        const auto file = Safetensors::open_folder(golden(name));
        for (const auto& [parameter, values] : parameters(be, model)) {
            const auto stored = file.tensor<float>(parameter);
            CHECK(std::equal(values.begin(), values.end(), stored.data(), stored.data() + stored.numel()));
        }
    }
}

TEST_CASE("load: three threads, while the tokenizer is read, make the model that one makes") {
    for (const char* name : {"gqa_untied_r2", "mha_tied_r3", "sharded_tied"}) {
        CAPTURE(name);
        Cpu<float> alone(1), three(3);
        const Pipeline<Cpu<float>> first = load(alone, golden(name)), second = load(three, golden(name));
        CHECK(parameters(alone, first.model) == parameters(three, second.model));
        CHECK(first.processor.tokenizer.vocab_size() == second.processor.tokenizer.vocab_size());
    }
}

TEST_CASE("load: a model that is no longer wanted is not loaded to its end, and its file is let go") {
    const Checkpoint checkpoint = open_hf_folder(golden("gqa_untied_r2"));
    std::stop_source stop;
    stop.request_stop();
    for (int threads : {1, 3}) {
        Cpu<float> be(threads);
        const auto stopped = [&] { load_model(be, checkpoint.config, *checkpoint.weights, {}, stop.get_token()); };
        CHECK(contains(error_of(stopped), "model.safetensors: loading was stopped"));
        { const ModelBeingLoaded<Cpu<float>> unwanted(be, checkpoint.config, checkpoint.weights); }
        CHECK(checkpoint.weights.use_count() == 1);
    }
    const Copy copy;  // whose tokenizer is broken, which is found out while weights are packed
    copy.write("tokenizer.json", "{}");
    Cpu<float> be(3);
    CHECK(contains(error_of([&] { load(be, copy.path); }), "tokenizer.json"));
}

TEST_CASE("hf_folder: missing, misshapen and unexpected weights are listed in one error") {
    const Copy copy;
    auto file = Safetensors::open_folder(copy.path);
    std::vector<HostWeight> kept;
    std::vector<NamedTensor> tensors;
    for (const auto& [name, tensor] : file.tensors()) {
        if (name == "model.text_model.norm.weight" || name.find("layers.1.mlp.fc1") != name.npos) continue;
        HostWeight weight = file.host_weight(name);
        if (name == "lm_head.weight") weight = weight.reshaped(Shape{weight.cols(), weight.rows()});
        kept.push_back(weight);
        tensors.push_back(
            NamedTensor::of(name == "model.vision_model.post_layernorm.bias" ? "model.strange" : name, weight));
    }
    save_safetensors(copy.path + "/other.safetensors", tensors);
    fs::rename(copy.path + "/other.safetensors", copy.path + "/model.safetensors");
    const std::string message = copy.load_error();
    CAPTURE(message);
    CHECK(contains(message, "model.safetensors: the weights do not fit the configuration; 4 missing: "));
    CHECK(contains(
        message,
        "model.vision_model.encoder.layers.1.mlp.fc1.weight, model.vision_model.encoder.layers.1.mlp.fc1.bias"));
    CHECK(contains(message, "model.vision_model.post_layernorm.bias, model.text_model.norm.weight"));
    CHECK(contains(message, "1 of wrong shape: lm_head.weight [48, 296] instead of [296, 48]"));
    CHECK(contains(message, "1 not expected: model.strange"));
}

TEST_CASE("hf_folder: weights of an integer type are refused by name") {
    const Copy copy;
    auto file = Safetensors::open_folder(copy.path);
    std::vector<HostWeight> kept;
    std::vector<NamedTensor> tensors;
    for (const auto& [name, tensor] : file.tensors()) {
        kept.push_back(file.host_weight(name));
        tensors.push_back(NamedTensor::of(name, kept.back()));
        if (name == "model.text_model.norm.weight") {
            kept.push_back(HostWeight::from_tensor(HostTensor<std::int32_t>::zeros(tensor.shape)));
            tensors.back() = NamedTensor::of(name, kept.back());
        }
    }
    save_safetensors(copy.path + "/other.safetensors", tensors);
    fs::rename(copy.path + "/other.safetensors", copy.path + "/model.safetensors");
    const std::string expected = "tensor \"model.text_model.norm.weight\" is I32, expected a floating";
    CHECK(contains(copy.load_error(), expected));
    Cpu<float> on_three(3);
    CHECK(contains(error_of([&] { load(on_three, copy.path); }), expected));
}

TEST_CASE("hf_folder: a configuration that asks for more than the file has fails before anything is allocated") {
    const Copy copy;
    copy.change("config.json", [](Json& json) { json["text_config"]["num_hidden_layers"] = 1000; });
    CHECK(contains(copy.load_error(), "the configuration asks for 1002 layers, the file has only 68 tensors"));
}

TEST_CASE("hf_folder: what is missing or broken in a folder is an error that names the file") {
    const auto without = [](const char* name) {
        const Copy copy;
        fs::remove(copy.path + '/' + name);
        return copy.load_error();
    };
    CHECK(contains(without("config.json"), "config.json: cannot be opened"));
    CHECK(contains(without("tokenizer.json"), "tokenizer.json: cannot be opened"));
    CHECK(contains(without("model.safetensors"), "model.safetensors: cannot be opened"));
    CHECK(contains(without("preprocessor_config.json"), "needs preprocessor_config.json"));
    CHECK(without("generation_config.json") == "");
    CHECK(without("processor_config.json") == "");
    CHECK(without("chat_template.json") == "");
    const Copy copy;
    copy.write("config.json", std::string(200000, '['));
    CHECK(contains(copy.load_error(), "config.json: byte 200: JSON nested"));
    copy.write("config.json", "{}");
    CHECK(contains(copy.load_error(), "config.json: the key \"model_type\" is missing"));
}

TEST_CASE("hf_folder: the chat template comes from the first file that has one") {
    const Copy copy("mha_tied_r3");
    const std::string smolvlm =
        get<std::string>(parse_json(read_file(copy.path + "/chat_template.json"), "t"), "chat_template", "t");
    const auto with_start = [&](const std::string& start) { return start + smolvlm.substr(smolvlm.find('{')); };
    CHECK(read_chat_template(copy.path, true).start == smolvlm.substr(0, smolvlm.find('{')));
    copy.write("chat_template.jinja", with_start("<jinja>"));
    CHECK(read_chat_template(copy.path, true).start == "<jinja>");
    fs::remove(copy.path + "/chat_template.jinja");
    fs::remove(copy.path + "/chat_template.json");
    copy.write("tokenizer_config.json", Json{{"chat_template", with_start("<one>")}}.dump());
    CHECK(read_chat_template(copy.path, true).start == "<one>");
    copy.write(
        "tokenizer_config.json",
        Json{{"chat_template",
              {{{"name", "tools"}, {"template", "x"}}, {{"name", "default"}, {"template", with_start("<two>")}}}}}
            .dump());
    CHECK(read_chat_template(copy.path, true).start == "<two>");
    copy.write("tokenizer_config.json", "{}");
    CHECK(read_chat_template(copy.path, true).style == ChatTemplate::Style::smolvlm);
    CHECK(read_chat_template(copy.path, false).style == ChatTemplate::Style::chatml);
}

TEST_CASE("hf_folder: processor settings nested in processor_config.json win over a file of their own") {
    const Copy copy;
    copy.change("processor_config.json", [](Json& json) {
        json["image_processor"] = {{"size", {{"longest_edge", 96}}}, {"max_image_size", {{"longest_edge", 48}}}};
        json["image_seq_len"] = 9;
    });
    const Processor processor = read_processor(copy.path);
    CHECK(processor.image.longest_edge == 96);
    CHECK(processor.image.tile == 48);
    CHECK(processor.image_seq_len == 9);
    fs::remove(copy.path + "/processor_config.json");
    CHECK(read_processor(copy.path).image_seq_len == 169);  // transformers' class default
    CHECK(read_processor(copy.path, 16).image_seq_len == 16);
}

TEST_CASE("save: what was saved loads again with the same parameters, configuration and processor, from any backend") {
    for (const char* name : {"defaults", "gqa_untied_r2", "mha_tied_r3", "odd_head_dim", "sharded_tied"}) {
        CAPTURE(name);
        const TempDir folder;
        const Checkpoint before = open_hf_folder(golden(name));
        Ref<float> ref;
        Cpu<float> cpu;
        const auto model = load_model(ref, before.config, *before.weights);
        save(ref, model, before.generation, folder / "ref", {.dtype = {}, .copy_from = golden(name)});
        save(cpu, load_model(cpu, before.config, *before.weights), before.generation, folder / "cpu",
             {.dtype = DType::f32, .copy_from = golden(name)});
        for (const char* saved : {"ref", "cpu"}) {
            const Checkpoint after = open_hf_folder(folder / saved);
            CHECK(parameters(ref, load_model(ref, after.config, *after.weights)) == parameters(ref, model));
            CHECK(after.config.model_type == before.config.model_type);
            CHECK(after.config.text.rms_norm_eps == before.config.text.rms_norm_eps);
            CHECK(after.config.text.rope_theta == before.config.text.rope_theta);
            CHECK(after.config.text.head_dim == before.config.text.head_dim);
            CHECK(after.config.tie_word_embeddings == before.config.tie_word_embeddings);
            CHECK(after.config.image_token_id == before.config.image_token_id);
            CHECK(after.generation.eos == before.generation.eos);
            CHECK(after.processor.image.tile == before.processor.image.tile);
            CHECK(after.processor.image_seq_len == before.processor.image_seq_len);
        }
    }
}

TEST_CASE("save: a folder that holds something is left alone, and a failed save leaves nothing") {
    const TempDir folder;
    const Checkpoint checkpoint = open_hf_folder(golden("gqa_untied_r2"));
    Ref<float> be;
    const auto model = load_model(be, checkpoint.config, *checkpoint.weights);
    folder.write("file", "x");
    const auto message = [&](const std::string& path, const SaveOptions& options = {}) {
        return error_of([&] { save(be, model, checkpoint.generation, path, options); });
    };
    CHECK(contains(message(folder.path().string()), "the folder is not empty"));
    CHECK(contains(message(folder / "file"), "cannot be written: Not a directory"));
    CHECK(contains(message(folder / "no/such"), "cannot be written: No such file"));
    CHECK(contains(message(folder / "new", {.dtype = DType::q8_0}), "cannot save as Q8_0"));
    CHECK(contains(
        error_of([&] { save(be, SmolVLM<Ref<float>>(checkpoint.config), checkpoint.generation, folder / "new"); }),
        "patch_embedding.weight was never loaded"));
    CHECK(std::distance(fs::directory_iterator(folder.path()), {}) == 1);
    fs::create_directory(folder / "empty");
    CHECK(message(folder / "empty/") == "");
    CHECK(fs::exists(folder / "empty/model.safetensors"));
}

TEST_CASE("save: a Llama without pictures is saved and loaded under Llama's own names") {
    const TempDir folder;
    const Checkpoint golden_model = open_hf_folder(golden("gqa_untied_r2"));
    ModelConfig config = golden_model.config;
    config.model_type = "llama";
    config.has_vision = false;
    Ref<float> be;
    SmolVLM<Ref<float>> model(config);
    for_each_parameter(model, [&](const std::string& name, auto& slot, const Shape& shape) {
        const HostWeight weight = golden_model.weights->weight(name);
        if constexpr (std::is_same_v<std::remove_cvref_t<decltype(slot)>, HostWeight>)
            slot = weight.reshaped(as_matrix_shape(shape));
        else
            slot = weight.to_tensor<float>();
    });
    save(be, model, golden_model.generation, folder / "llama");
    const auto file = Safetensors::open_folder(folder / "llama");
    CHECK(file.find("model.norm.weight"));
    CHECK(file.find("model.layers.0.self_attn.q_proj.weight"));
    CHECK(file.find("lm_head.weight"));
    const ModelConfig again = read_model_config(folder / "llama");
    CHECK_FALSE(again.has_vision);
    CHECK(parameters(be, load_model(be, again, *open_hf_weights(folder / "llama", again))) == parameters(be, model));
}
