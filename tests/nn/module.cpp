#include <doctest/doctest.h>

#include <map>

#include "support/backends.hpp"
#include "support/tiny_model.hpp"

using namespace smolvlm;
using namespace testing;

TEST_CASE(
    "module: visit lists every parameter once, under the names of the published checkpoints, with its file shape") {
    SmolVLM<Ref<float>> model(tiny_config());
    std::map<std::string, std::string> found;
    for_each_parameter(model, [&](const std::string& name, const auto&, const Shape& shape) {
        CHECK_MESSAGE(found.count(name) == 0, name << " twice");
        found[name] = join(shape);
    });
    const std::map<std::string, std::string> expected = [] {
        std::map<std::string, std::string> names{
            {"lm_head.weight", "[31, 16]"},
            {"model.connector.modality_projection.proj.weight", "[16, 32]"},
            {"model.text_model.embed_tokens.weight", "[31, 16]"},
            {"model.text_model.norm.weight", "[16]"},
            {"model.vision_model.embeddings.patch_embedding.bias", "[8]"},
            {"model.vision_model.embeddings.patch_embedding.weight", "[8, 3, 3, 3]"},
            {"model.vision_model.embeddings.position_embedding.weight", "[16, 8]"},
            {"model.vision_model.post_layernorm.bias", "[8]"},
            {"model.vision_model.post_layernorm.weight", "[8]"},
        };
        for (const std::string i : {"0.", "1."}) {
            const std::string text = "model.text_model.layers." + i, vision = "model.vision_model.encoder.layers." + i;
            names.merge(std::map<std::string, std::string>{
                {text + "input_layernorm.weight", "[16]"},
                {text + "post_attention_layernorm.weight", "[16]"},
                {text + "self_attn.q_proj.weight", "[24, 16]"},
                {text + "self_attn.k_proj.weight", "[12, 16]"},
                {text + "self_attn.v_proj.weight", "[12, 16]"},
                {text + "self_attn.o_proj.weight", "[16, 24]"},
                {text + "mlp.gate_proj.weight", "[20, 16]"},
                {text + "mlp.up_proj.weight", "[20, 16]"},
                {text + "mlp.down_proj.weight", "[16, 20]"},
            });
            for (const std::string proj : {"q_proj", "k_proj", "v_proj", "out_proj"}) {
                names[vision + "self_attn." + proj + ".weight"] = "[8, 8]";
                names[vision + "self_attn." + proj + ".bias"] = "[8]";
            }
            for (const std::string norm : {"layer_norm1", "layer_norm2"}) {
                names[vision + norm + ".weight"] = "[8]";
                names[vision + norm + ".bias"] = "[8]";
            }
            names.merge(std::map<std::string, std::string>{
                {vision + "mlp.fc1.weight", "[12, 8]"},
                {vision + "mlp.fc1.bias", "[12]"},
                {vision + "mlp.fc2.weight", "[8, 12]"},
                {vision + "mlp.fc2.bias", "[8]"},
            });
        }
        return names;
    }();
    CHECK(found == expected);
}

TEST_CASE("module: a tied head and an absent vision tower have no parameters of their own") {
    ModelConfig config = tiny_config();
    const Index all = count_parameters(SmolVLM<Ref<float>>(config));
    config.tie_word_embeddings = true;
    CHECK(count_parameters(SmolVLM<Ref<float>>(config)) == all - 31 * 16);
    config.has_vision = false;
    SmolVLM<Ref<float>> text_only(config);
    for_each_parameter(text_only, [&](const std::string& name, const auto&, const Shape&) {
        CHECK_MESSAGE(name.starts_with("model.text_model."), name);
    });
}

TEST_CASE("module: the released shapes have the published numbers of parameters") {
    struct Release {
        Index vision_width, vision_inner, vision_layers, vision_heads, image, patch;
        Index vocab, width, inner, layers, heads, kv, scale, parameters;
    };
    for (const Release& r : {Release{768, 3072, 12, 12, 512, 16, 49280, 576, 1536, 30, 9, 3, 4, 256'484'928},
                             Release{768, 3072, 12, 12, 512, 16, 49280, 960, 2560, 32, 15, 5, 4, 507'482'304},
                             Release{1152, 4304, 27, 16, 384, 14, 49155, 2048, 8192, 24, 32, 32, 3, 2'246'272'880}}) {
        ModelConfig config;
        config.scale_factor = r.scale;
        config.vision = {r.vision_width, r.vision_inner, r.vision_layers, r.vision_heads, 3, r.image, r.patch};
        config.text = {r.vocab, r.width, r.inner, r.layers, r.heads, r.kv, 64};
        CHECK(count_parameters(SmolVLM<Ref<float>>(config)) == r.parameters);
    }
}

TEST_CASE("module: a shape counts as a matrix by its first dimension") {
    CHECK(as_matrix_shape({8, 3, 4, 4}) == Shape{8, 48});
    CHECK(as_matrix_shape({8, 3}) == Shape{8, 3});
    CHECK(as_matrix_shape({8}) == Shape{8});
    CHECK(as_matrix_shape({}) == Shape{});
}
