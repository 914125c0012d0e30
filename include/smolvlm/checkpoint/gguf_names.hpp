#pragma once
/// What llama.cpp calls the parameters, in our names (those of the Hugging Face checkpoints).
///
///     blk.7.attn_q.weight      model.text_model.layers.7.self_attn.q_proj.weight
///     v.blk.7.ln1.bias         model.vision_model.encoder.layers.7.layer_norm1.bias
///
/// Source: llama.cpp, gguf-py/gguf/constants.py and tensor_mapping.py.

#include <algorithm>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace smolvlm {

namespace detail {

struct GgufName {
    std::string_view theirs, ours;
};

inline constexpr GgufName gguf_text_names[] = {
    {"token_embd", "model.text_model.embed_tokens"},
    {"output_norm", "model.text_model.norm"},
    {"output", "lm_head"},
};
inline constexpr GgufName gguf_text_layer_names[] = {
    {"attn_norm", "input_layernorm"},   {"attn_q", "self_attn.q_proj"},
    {"attn_k", "self_attn.k_proj"},     {"attn_v", "self_attn.v_proj"},
    {"attn_output", "self_attn.o_proj"}, {"ffn_norm", "post_attention_layernorm"},
    {"ffn_gate", "mlp.gate_proj"},      {"ffn_up", "mlp.up_proj"},
    {"ffn_down", "mlp.down_proj"},
};
inline constexpr GgufName gguf_vision_names[] = {
    {"v.patch_embd", "model.vision_model.embeddings.patch_embedding"},
    {"v.position_embd", "model.vision_model.embeddings.position_embedding"},
    {"v.post_ln", "model.vision_model.post_layernorm"},
    {"mm.model.fc", "model.connector.modality_projection.proj"},
};
inline constexpr GgufName gguf_vision_layer_names[] = {
    {"ln1", "layer_norm1"},         {"attn_q", "self_attn.q_proj"},     {"attn_k", "self_attn.k_proj"},
    {"attn_v", "self_attn.v_proj"}, {"attn_out", "self_attn.out_proj"}, {"ln2", "layer_norm2"},
    {"ffn_up", "mlp.fc1"},          {"ffn_down", "mlp.fc2"},
};

/// Names outside layers, names inside, and what stands before a layer's number on either side.
struct GgufNaming {
    std::span<const GgufName> names, layer_names;
    std::string_view their_layers, our_layers;
};
inline constexpr GgufNaming gguf_text{gguf_text_names, gguf_text_layer_names, "blk.", "model.text_model.layers."};
inline constexpr GgufNaming gguf_vision{gguf_vision_names, gguf_vision_layer_names, "v.blk.",
                                        "model.vision_model.encoder.layers."};

/// A tensor's name taken apart: "v.blk." "7." "ln1" ".bias"; of others only the last two.
struct GgufNameParts {
    std::string_view number, module, parameter;
};

inline GgufNameParts split_gguf_name(const GgufNaming& naming, std::string_view name) {
    GgufNameParts parts;
    parts.parameter = name.substr(std::min(name.rfind('.'), name.size()));
    parts.module = name.substr(0, name.size() - parts.parameter.size());
    if (!name.starts_with(naming.their_layers)) return parts;
    const std::string_view rest = parts.module.substr(std::min(naming.their_layers.size(), parts.module.size()));
    const std::size_t dot = rest.find('.');
    if (dot == rest.npos) return parts;
    parts.number = rest.substr(0, dot + 1);
    parts.module = rest.substr(dot + 1);
    return parts;
}

/// Our name of the tensor; its own where we have none, so that it shows up as unexpected.
inline std::string our_name(const GgufNaming& naming, std::string_view name) {
    const GgufNameParts parts = split_gguf_name(naming, name);
    for (const GgufName& entry : parts.number.empty() ? naming.names : naming.layer_names)
        if (entry.theirs == parts.module) {
            const std::string_view layers = parts.number.empty() ? "" : naming.our_layers;
            return std::string(layers).append(parts.number).append(entry.ours).append(parts.parameter);
        }
    return std::string(name);
}

/// The inverse: llama.cpp's name of our parameter; nothing when it has none in that file.
inline std::optional<std::string> their_name(const GgufNaming& naming, std::string_view name) {
    std::string prefix;
    if (name.starts_with(naming.our_layers)) {
        name.remove_prefix(naming.our_layers.size());
        const std::size_t dot = name.find('.');
        if (dot == name.npos) return std::nullopt;
        prefix = std::string(naming.their_layers).append(name.substr(0, dot + 1));
        name.remove_prefix(dot + 1);
    }
    const std::size_t dot = std::min(name.rfind('.'), name.size());
    for (const GgufName& entry : prefix.empty() ? naming.names : naming.layer_names)
        if (entry.ours == name.substr(0, dot)) return prefix.append(entry.theirs).append(name.substr(dot));
    return std::nullopt;
}

}  // namespace detail

}  // namespace smolvlm
