#pragma once
/// Golden folders as llama.cpp's users have them: GGUF pairs, made by a table of names and a permutation of their own,
/// against which the library's are tested.

#include <algorithm>
#include <optional>
#include <smolvlm/checkpoint/load.hpp>
#include <smolvlm/io/gguf_writer.hpp>

#include "support/temp_dir.hpp"

namespace testing {

using namespace smolvlm;

/// llama.cpp's permutation, as its converter defines it: [heads, 2, K/2, D] -> [heads, K/2, 2, D].
inline HostWeight permuted(const HostWeight& weight, Index heads) {
    const auto w = weight.to_tensor<float>();
    const Index half = weight.rows() / heads / 2, D = weight.cols();
    HostTensor<float> out(weight.shape());
    for (Index h = 0; h < heads; ++h)
        for (Index side = 0; side < 2; ++side)
            for (Index j = 0; j < half; ++j)
                std::copy_n(w.data() + ((h * 2 + side) * half + j) * D, D,
                            out.data() + ((h * half + j) * 2 + side) * D);
    return HostWeight::from_tensor(out);
}

/// A golden folder as a GGUF pair, written as llama.cpp's converter writes it.
struct GgufPair {
    TempDir folder;
    Checkpoint source;
    Json text, vision;
    bool swap_ffn = false;
    std::optional<DType> dtype;                 // of matrices, where their rows are whole blocks
    std::string leave_out;                      // a parameter that the files lack
    std::string text_path = folder / "text.gguf", vision_path = folder / "mmproj.gguf";

    static std::string folder_of(const std::string& name) { return SMOLVLM_TEST_DIR "/golden/models/" + name; }
    explicit GgufPair(const std::string& name = "gqa_untied_r2") : source(open_hf_folder(folder_of(name))) {
        const TextConfig& t = source.config.text;
        const VisionConfig& v = source.config.vision;
        text = {{"general.architecture", "llama"},
                {"llama.context_length", t.max_position_embeddings},
                {"llama.embedding_length", t.hidden_size},
                {"llama.block_count", t.num_hidden_layers},
                {"llama.feed_forward_length", t.intermediate_size},
                {"llama.attention.head_count", t.num_attention_heads},
                {"llama.attention.head_count_kv", t.num_key_value_heads},
                {"llama.attention.key_length", t.head_dim},
                {"llama.attention.value_length", t.head_dim},
                {"llama.attention.layer_norm_rms_epsilon", t.rms_norm_eps},
                {"llama.rope.freq_base", t.rope_theta},
                {"llama.rope.dimension_count", t.head_dim},
                {"tokenizer.ggml.model", "gpt2"},
                {"tokenizer.ggml.pre", "smollm"},
                {"tokenizer.ggml.eos_token_id", 2},
                {"tokenizer.ggml.bos_token_id", 1}};
        add_vocabulary(parse_json(read_file(folder_of(name) + "/tokenizer.json"), "t"));
        vision = {{"general.architecture", "clip"},
                  {"clip.has_vision_encoder", true},
                  {"clip.projector_type", "idefics3"},
                  {"clip.vision.image_size", v.image_size},
                  {"clip.vision.patch_size", v.patch_size},
                  {"clip.vision.embedding_length", v.hidden_size},
                  {"clip.vision.feed_forward_length", v.intermediate_size},
                  {"clip.vision.block_count", v.num_hidden_layers},
                  {"clip.vision.attention.head_count", v.num_attention_heads},
                  {"clip.vision.attention.layer_norm_epsilon", v.layer_norm_eps},
                  {"clip.vision.projector.scale_factor", source.config.scale_factor},
                  {"clip.vision.preproc_image_size", source.processor.image.longest_edge},
                  {"clip.vision.image_mean", {0.5, 0.5, 0.5}},
                  {"clip.vision.image_std", {0.5, 0.5, 0.5}}};
    }

    void add_vocabulary(const Json& tokenizer) {
        std::vector<std::string> tokens(static_cast<std::size_t>(source.config.text.vocab_size), "[unused]");
        std::vector<int> types(tokens.size(), 1);
        for (const auto& [token, id] : tokenizer["model"]["vocab"].items()) tokens[id.get<std::size_t>()] = token;
        for (const Json& token : tokenizer["added_tokens"]) {
            tokens[token["id"].get<std::size_t>()] = token["content"].get<std::string>();
            types[token["id"].get<std::size_t>()] = token["special"].get<bool>() ? 3 : 4;
        }
        std::vector<std::string> merges;
        for (const Json& merge : tokenizer["model"]["merges"])
            merges.push_back(merge.is_string() ? merge.get<std::string>()
                                               : merge[0].get<std::string>() + ' ' + merge[1].get<std::string>());
        for (std::size_t i = 0; i < tokens.size(); ++i)
            if (tokens[i] == "[unused]") tokens[i] += std::to_string(i);
        text["tokenizer.ggml.tokens"] = tokens;
        text["tokenizer.ggml.token_type"] = types;
        text["tokenizer.ggml.merges"] = merges;
    }

    /// The names of llama.cpp, spelled out here once more: a table of its own, against which the library's is tested.
    std::string their_name(const std::string& name) const {
        std::string out = name;
        const auto replace = [&](const std::string& from, const std::string& to) {
            const std::size_t at = out.find(from);
            if (at != out.npos) out.replace(at, from.size(), to);
        };
        replace("model.connector.modality_projection.proj", "mm.model.fc");
        replace("model.text_model.embed_tokens", "token_embd");
        replace("model.text_model.norm", "output_norm");
        replace("lm_head", "output");
        replace("model.text_model.layers.", "blk.");
        replace("post_attention_layernorm", "ffn_norm");
        replace("input_layernorm", "attn_norm");
        replace("mlp.gate_proj", "ffn_gate");
        replace("mlp.up_proj", "ffn_up");
        replace("mlp.down_proj", "ffn_down");
        replace("self_attn.o_proj", "attn_output");
        replace("model.vision_model.embeddings.patch_embedding", "v.patch_embd");
        replace("model.vision_model.embeddings.position_embedding", "v.position_embd");
        replace("model.vision_model.post_layernorm", "v.post_ln");
        replace("model.vision_model.encoder.layers.", "v.blk.");
        replace("layer_norm1", "ln1");
        replace("layer_norm2", "ln2");
        replace("self_attn.out_proj", "attn_out");
        replace("mlp.fc1", swap_ffn ? "ffn_down" : "ffn_up");
        replace("mlp.fc2", swap_ffn ? "ffn_up" : "ffn_down");
        for (const char* which : {"q", "k", "v"}) replace(join("self_attn.", which, "_proj"), join("attn_", which));
        return out;
    }

    void write() const {
        std::vector<HostWeight> kept;
        std::vector<NamedTensor> text_tensors, vision_tensors;
        for (const auto& [name, shape] : source.weights->shapes()) {
            if (name == leave_out) continue;
            HostWeight weight = source.weights->weight(name);
            if (name.ends_with("self_attn.q_proj.weight") && name.find("text_model") != name.npos)
                weight = permuted(weight, source.config.text.num_attention_heads);
            if (name.ends_with("self_attn.k_proj.weight") && name.find("text_model") != name.npos)
                weight = permuted(weight, source.config.text.num_key_value_heads);
            if (dtype && shape.rank() == 2 && shape.back() % info(*dtype).block_elements == 0)
                weight = weight.converted(*dtype);
            kept.push_back(weight);
            const bool in_text = name.find("text_model") != name.npos || name == "lm_head.weight";
            (in_text ? text_tensors : vision_tensors).push_back(NamedTensor::of(their_name(name), kept.back()));
        }
        save_gguf(text_path, text, text_tensors);
        save_gguf(vision_path, vision, vision_tensors);
    }
    Checkpoint open() const {
        write();
        return open_checkpoint(text_path, vision_path);
    }
};

}  // namespace testing
