#include <smolvlm/checkpoint/config_json.hpp>

#include <doctest/doctest.h>

#include "support/error_text.hpp"

using namespace smolvlm;
using namespace testing;

namespace {

/// A config that is right, changed by `change`.
template <class F>
ModelConfig model_config(F&& change) {
    Json json = {
        {"model_type", "smolvlm"},
        {"scale_factor", 2},
        {"image_token_id", 7},
        {"text_config", {{"hidden_size", 32}, {"num_attention_heads", 4}, {"vocab_size", 99}}},
        {"vision_config", {{"hidden_size", 24}, {"num_attention_heads", 3}, {"image_size", 32}, {"patch_size", 4}}}};
    change(json, json["text_config"], json["vision_config"]);
    return parse_model_config(json, "config.json");
}

template <class F>
std::string config_error(F&& change) {
    return error_of([&] { model_config(change); });
}

GenerationConfig generation_config(const char* generation, const char* config) {
    const Json json = generation ? parse_json(generation, "g") : Json();
    return parse_generation_config(generation ? &json : nullptr, "generation_config.json", parse_json(config, "c"),
                                   "config.json");
}

ImageProcessorConfig image_config(const char* text) {
    return parse_image_processor_config(parse_json(text, "p"), "preprocessor_config.json");
}

}  // namespace

TEST_CASE("config_json: absent keys take transformers' class defaults") {
    const ModelConfig config = parse_model_config(Json{{"model_type", "idefics3"}, {"scale_factor", 1}}, "config.json");
    CHECK(config.image_token_id == 128257);
    CHECK_FALSE(config.tie_word_embeddings);
    CHECK(config.vision.hidden_size == 1152);
    CHECK(config.vision.intermediate_size == 3072);
    CHECK(config.vision.num_hidden_layers == 12);
    CHECK(config.vision.num_attention_heads == 16);
    CHECK(config.vision.image_size == 224);
    CHECK(config.vision.patch_size == 32);
    CHECK(config.vision.layer_norm_eps == 1e-6);
    CHECK(config.text.hidden_size == 4096);
    CHECK(config.text.intermediate_size == 11008);
    CHECK(config.text.num_hidden_layers == 32);
    CHECK(config.text.num_attention_heads == 32);
    CHECK(config.text.num_key_value_heads == 32);
    CHECK(config.text.head_dim == 128);
    CHECK(config.text.vocab_size == 32000);
    CHECK(config.text.rope_theta == 10000);
    CHECK(config.text.max_position_embeddings == 2048);
    CHECK(config.text.rms_norm_eps == 1e-5);
    // 1e-5 belongs to the text_config that transformers makes when there is none; in one that is there, Llama's own
    // holds.
    CHECK(model_config([](auto&, auto&, auto&) {}).text.rms_norm_eps == 1e-6);
    CHECK(model_config([](auto&, auto& text, auto&) { text["num_attention_heads"] = 2; }).text.num_key_value_heads ==
          2);
    CHECK(model_config([](auto&, auto& text, auto&) { text["head_dim"] = nullptr; }).text.head_dim == 8);
    CHECK(model_config([](auto& top, auto&, auto&) { top.erase("scale_factor"); }).scale_factor == 2);
}

TEST_CASE("config_json: the rotary base is read in the form of transformers 4.x and of 5.x") {
    CHECK(model_config([](auto&, auto& text, auto&) { text["rope_theta"] = 273768; }).text.rope_theta == 273768);
    CHECK(model_config([](auto&, auto& text, auto&) {
              text["rope_theta"] = 5.0;
              text["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 100000.0}};
          }).text.rope_theta == 100000);
    CHECK(model_config([](auto&, auto& text, auto&) {
              text["rope_theta"] = 7.0;
              text["rope_scaling"] = nullptr;
              text["rope_parameters"] = {{"rope_type", "default"}};
          }).text.rope_theta == 7);
    const auto scaled = [](const char* key, const char* type) {
        return config_error([&](auto&, auto& text, auto&) { text[key] = {{type, "linear"}, {"factor", 2.0}}; });
    };
    CHECK(scaled("rope_scaling", "type") ==
          "config.json: text_config: rope_scaling: \"type\" is \"linear\", only \"default\" is supported");
    CHECK(contains(scaled("rope_parameters", "rope_type"), "rope_parameters: \"rope_type\" is \"linear\""));
    CHECK(contains(config_error([](auto&, auto& text, auto&) { text["partial_rotary_factor"] = 0.5; }),
                   "is 0.5, only 1"));
    CHECK(contains(config_error([](auto&, auto& text, auto&) { text["rope_theta"] = -1.0; }),
                   "expected a positive number"));
}

TEST_CASE("config_json: a value that no model can have is an error that names file, part and key") {
    const auto text_error = [](const char* key, const Json& value) {
        const std::string message = config_error([&](auto&, auto& text, auto&) { text[key] = value; });
        CHECK(contains(message, "config.json: text_config: "));
        return message;
    };
    const auto vision_error = [](const char* key, const Json& value) {
        const std::string message = config_error([&](auto&, auto&, auto& vision) { vision[key] = value; });
        CHECK(contains(message, "config.json: "));
        return message;
    };
    CHECK(text_error("num_attention_heads", 0) ==
          "config.json: text_config: \"num_attention_heads\" is 0, expected 1 to 65536");
    CHECK(contains(text_error("hidden_size", -32), "\"hidden_size\" is -32"));
    CHECK(contains(text_error("num_hidden_layers", 1000000000),
                   "\"num_hidden_layers\" is 1000000000, expected 1 to 1024"));
    CHECK(contains(text_error("num_hidden_layers", "three"), "is the string \"three\", expected an integer"));
    CHECK(contains(text_error("num_key_value_heads", 7), "4 attention heads cannot share 7 key/value heads"));
    CHECK(contains(text_error("num_attention_heads", 5),
                   "\"hidden_size\" 32 is no multiple of \"num_attention_heads\" 5"));
    CHECK(contains(text_error("head_dim", 7), "\"head_dim\" must be even"));
    CHECK(contains(text_error("head_dim", 65536), "wider than"));
    CHECK(contains(text_error("rms_norm_eps", 0), "expected a positive number"));
    CHECK(contains(text_error("vocab_size", 1LL << 40), "\"vocab_size\" is 1099511627776"));
    CHECK(contains(text_error("hidden_act", "relu"), "\"hidden_act\" is \"relu\", only \"silu\" is supported"));
    CHECK(contains(text_error("model_type", "qwen2"), "only \"llama\" is supported"));
    CHECK(contains(text_error("attention_bias", true), "\"attention_bias\" is true, only false is supported"));
    CHECK(contains(text_error("mlp_bias", true), "\"mlp_bias\" is true"));
    CHECK(contains(text_error("qk_layer_norms", true), "\"qk_layer_norms\" is true"));
    CHECK(contains(vision_error("patch_size", 0), "vision_config: \"patch_size\" is 0, expected 1 to 32"));
    CHECK(contains(vision_error("patch_size", 64), "\"patch_size\" is 64, expected 1 to 32"));
    CHECK(contains(vision_error("num_attention_heads", 5), "\"hidden_size\" 24 is no multiple"));
    CHECK(
        contains(vision_error("image_size", Json::array({32, 32})), "\"image_size\" is an array, expected an integer"));
    CHECK(contains(vision_error("hidden_act", "gelu"), "only \"gelu_pytorch_tanh\""));
    CHECK(contains(vision_error("patch_size", 10),
                   "3 patches on an edge (\"image_size\" / \"patch_size\") are no multiple"));
    CHECK(contains(config_error([](auto& top, auto&, auto&) { top["scale_factor"] = 0; }), "\"scale_factor\" is 0"));
    CHECK(contains(config_error([](auto& top, auto&, auto&) { top["text_config"] = 5; }),
                   "\"text_config\" is the number 5"));
    CHECK(contains(config_error([](auto& top, auto&, auto&) { top["model_type"] = "gpt2"; }),
                   "\"model_type\" is \"gpt2\""));
    CHECK(contains(error_of([] { parse_model_config(Json::object(), "config.json"); }), "\"model_type\" is missing"));
    CHECK(contains(error_of([] { parse_model_config(Json::array(), "config.json"); }), "expected a JSON object"));
}

TEST_CASE("config_json: a Llama has its settings at the top and no pictures") {
    const ModelConfig config = parse_model_config(
        Json{{"model_type", "llama"}, {"hidden_size", 64}, {"num_attention_heads", 4}, {"tie_word_embeddings", true}},
        "c");
    CHECK_FALSE(config.has_vision);
    CHECK(config.tie_word_embeddings);
    CHECK(config.text.hidden_size == 64);
    CHECK(config.text.head_dim == 16);
    CHECK(config.text.rms_norm_eps == 1e-6);
}

TEST_CASE("config_json: end tokens are one id or several, from the generation file or else from the model's") {
    CHECK(generation_config(R"({"eos_token_id": 5})", "{}").eos == std::vector<std::int32_t>{5});
    CHECK(generation_config(R"({"eos_token_id": [5, 6]})", "{}").eos == std::vector<std::int32_t>{5, 6});
    CHECK(generation_config("{}", R"({"eos_token_id": 4})").eos.empty());  // the file is there and names none
    CHECK(generation_config(nullptr, R"({"eos_token_id": 4, "text_config": {"eos_token_id": 3}})").eos[0] == 4);
    CHECK(generation_config(nullptr, R"({"text_config": {"eos_token_id": 3}})").eos[0] == 3);
    CHECK(generation_config(nullptr, R"({"text_config": {}})").eos[0] == 2);
    CHECK(generation_config(R"({"bos_token_id": 1, "pad_token_id": null})", "{}").bos == 1);
    CHECK_FALSE(generation_config(R"({"bos_token_id": 1, "pad_token_id": null})", "{}").pad);
    CHECK(contains(error_of([] { generation_config(R"({"eos_token_id": -1})", "{}"); }),
                   "generation_config.json: \"eos_token_id\" is -1"));
    CHECK(contains(error_of([] { generation_config(R"({"eos_token_id": ["x"]})", "{}"); }), "expected an integer"));
}

TEST_CASE("config_json: image processor settings, their class defaults and their bounds") {
    const auto defaults = image_config("{}");
    CHECK(defaults.longest_edge == 4 * 364);
    CHECK(defaults.tile == 364);
    CHECK(defaults.do_image_splitting);
    CHECK(defaults.resample == Resample::lanczos);
    const auto config = image_config(R"({"size": {"longest_edge": 2048}, "max_image_size": {"longest_edge": 512},
        "do_image_splitting": false, "resample": 3, "image_mean": [0.1, 0.2, 0.3], "image_std": 0.25,
        "rescale_factor": 0.5})");
    CHECK(config.longest_edge == 2048);
    CHECK(config.tile == 512);
    CHECK_FALSE(config.do_image_splitting);
    CHECK(config.resample == Resample::bicubic);
    CHECK(config.mean[2] == 0.3);
    CHECK(config.std[1] == 0.25);
    CHECK(config.rescale_factor == 0.5);
    const auto message = [](const char* text) { return error_of([&] { image_config(text); }); };
    CHECK(message(R"({"size":{"longest_edge":-5}})") ==
          "preprocessor_config.json: size: \"longest_edge\" is -5, expected 1 to 16384");
    CHECK(contains(message(R"({"max_image_size":{"longest_edge":0}})"), "max_image_size: \"longest_edge\" is 0"));
    CHECK(contains(message(R"({"size":7})"), "\"size\" is the number 7, expected an object"));
    CHECK(contains(message(R"({"image_mean":[0.5]})"), "\"image_mean\" has 1 numbers, expected 3"));
    CHECK(contains(message(R"({"image_std":[0.5,0,0.5]})"), "image_std holds 0"));
    CHECK(contains(message(R"({"resample":9})"), "\"resample\" is 9"));
    CHECK(contains(message(R"({"resample":0})"), "resample is 0"));
    CHECK(contains(message(R"({"rescale_factor":"x"})"), "expected a number"));
}
