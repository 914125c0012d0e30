#pragma once
/// Writes a checkpoint as the GGUF pair that llama.cpp loads: the decoder in one file, with its matrices quantised, the
/// vision tower and connector in another (mmproj), whose matrices are F16.
///
///     save_gguf_pair("SmolVLM-256M-Instruct", "", "out", {.dtype = DType::q8_0});
///     // out/model-Q8_0.gguf, out/mmproj-F16.gguf
///
/// As llama.cpp's converter writes them: vectors (norms, biases) and the embeddings of patches and their positions stay
/// F32; a matrix whose rows are no whole blocks is F16; rows of q_proj and k_proj are in GGUF's order. One parameter is
/// in memory at a time. Source: llama.cpp, convert_hf_to_gguf.py (LlamaModel, SmolVLMModel) and gguf-py/gguf/constants.py.

#include <smolvlm/checkpoint/gguf_pair.hpp>
#include <smolvlm/checkpoint/hf_folder.hpp>
#include <smolvlm/io/atomic_folder.hpp>
#include <smolvlm/io/gguf_writer.hpp>

namespace smolvlm {

struct GgufPairOptions {
    DType dtype = DType::q8_0;  // of the decoder's matrices: Q8_0, Q4_0, Q4_1 or F16
    int threads = default_threads();
};

namespace detail {

/// llama.cpp's number for a file of mostly that type (enum llama_ftype).
inline int gguf_file_type(DType dtype) {
    switch (dtype) {
        case DType::f16: return 1;
        case DType::q4_0: return 2;
        case DType::q4_1: return 3;
        case DType::q8_0: return 7;
        default: fail<ValueError>("a GGUF pair cannot be written in ", dtype, ", expected Q8_0, Q4_0, Q4_1 or F16");
    }
}

/// The vocabulary and the template's program of a checkpoint, from its files.
struct TokenizerFiles {
    TokenizerSpec spec;
    std::optional<std::string> chat_template;
    Json roles = Json::object();  // tokenizer.ggml.*_token_id
};

inline TokenizerFiles read_tokenizer_files(const std::string& model) {
    TokenizerFiles files;
    if (model.ends_with(".gguf")) {
        const Gguf file = Gguf::open(model);
        const Json& meta = file.metadata();
        files.spec = spec_from_gguf_arrays(read_gguf_array<std::string>(file, "tokenizer.ggml.tokens"),
                                           read_gguf_array<std::string>(file, "tokenizer.ggml.merges"),
                                           read_gguf_array<std::int32_t>(file, "tokenizer.ggml.token_type"),
                                           get<std::string>(meta, "tokenizer.ggml.model", model),
                                           get_or<std::string>(meta, "tokenizer.ggml.pre", model, "gpt-2"), model);
        if (const Json* const program = find(meta, "tokenizer.chat_template", model))
            files.chat_template = value_as<std::string>(*program, "tokenizer.chat_template", model);
        return files;
    }
    const std::string path = model + "/tokenizer.json";
    constexpr Index max_bytes = 256 << 20;
    files.spec = parse_tokenizer_json(parse_json(read_text_file(path, max_bytes), path), path);
    if (auto found = find_chat_template(model)) files.chat_template = std::move(found->program);
    return files;
}

/// tokenizer.ggml.*: as many tokens as the embedding has rows; those that nobody has are of type 5.
inline void add_gguf_tokenizer(Json& meta, const TokenizerFiles& files, const Checkpoint& checkpoint) {
    enum : int { normal = 1, control = 3, user_defined = 4, unused = 5 };
    const auto rows = static_cast<std::size_t>(checkpoint.config.text.vocab_size);
    std::vector<std::string> tokens = files.spec.vocab;
    tokens.resize(rows);
    std::vector<int> types(rows, normal);
    for (const AddedToken& token : files.spec.added_tokens) {
        const auto id = static_cast<std::size_t>(token.id);
        SMOLVLM_CHECK(id < rows, ValueError, "the token ", in_quotes(token.content), " has the id ", id,
                      ", but the embedding has only ", rows, " rows");
        tokens[id] = token.content;
        types[id] = token.special ? control : user_defined;
    }
    for (std::size_t id = 0; id < rows; ++id)
        if (tokens[id].empty()) tokens[id] = join("[PAD", id, "]"), types[id] = unused;
    Json merges = Json::array();
    for (const auto& [left, right] : files.spec.merges) merges.push_back(left + ' ' + right);
    meta["tokenizer.ggml.model"] = "gpt2";
    meta["tokenizer.ggml.pre"] = files.spec.split_digits ? "smollm" : "gpt-2";
    meta["tokenizer.ggml.tokens"] = tokens;
    meta["tokenizer.ggml.token_type"] = types;
    meta["tokenizer.ggml.merges"] = merges;
    meta["tokenizer.ggml.add_bos_token"] = false;  // the template writes it
    const GenerationConfig& generation = checkpoint.generation;
    if (generation.bos) meta["tokenizer.ggml.bos_token_id"] = *generation.bos;
    if (generation.pad) meta["tokenizer.ggml.padding_token_id"] = *generation.pad;
    if (!generation.eos.empty()) meta["tokenizer.ggml.eos_token_id"] = generation.eos[0];
    if (generation.eos.size() > 1) meta["tokenizer.ggml.eot_token_id"] = generation.eos[1];
    if (files.chat_template) meta["tokenizer.chat_template"] = *files.chat_template;
}

inline Json gguf_text_metadata(const Checkpoint& checkpoint, DType dtype) {
    const TextConfig& text = checkpoint.config.text;
    return {{"general.architecture", "llama"},
            {"general.type", "model"},
            {"general.name", checkpoint.config.has_vision ? "SmolVLM" : "Llama"},
            {"general.file_type", gguf_file_type(dtype)},
            {"general.quantization_version", 2},
            {"llama.vocab_size", text.vocab_size},
            {"llama.context_length", text.max_position_embeddings},
            {"llama.embedding_length", text.hidden_size},
            {"llama.block_count", text.num_hidden_layers},
            {"llama.feed_forward_length", text.intermediate_size},
            {"llama.attention.head_count", text.num_attention_heads},
            {"llama.attention.head_count_kv", text.num_key_value_heads},
            {"llama.attention.key_length", text.head_dim},
            {"llama.attention.value_length", text.head_dim},
            {"llama.attention.layer_norm_rms_epsilon", text.rms_norm_eps},
            {"llama.rope.freq_base", text.rope_theta},
            {"llama.rope.dimension_count", text.head_dim}};
}

inline Json gguf_vision_metadata(const Checkpoint& checkpoint) {
    const VisionConfig& vision = checkpoint.config.vision;
    const ImageProcessorConfig& image = checkpoint.processor.image;
    return {{"general.architecture", "clip"},
            {"general.type", "mmproj"},
            {"general.name", "SmolVLM"},
            {"general.file_type", gguf_file_type(DType::f16)},
            {"clip.has_vision_encoder", true},
            {"clip.projector_type", "idefics3"},
            {"clip.use_gelu", true},
            {"clip.vision.projection_dim", checkpoint.config.text.hidden_size},
            {"clip.vision.image_size", vision.image_size},
            {"clip.vision.patch_size", vision.patch_size},
            {"clip.vision.embedding_length", vision.hidden_size},
            {"clip.vision.feed_forward_length", vision.intermediate_size},
            {"clip.vision.block_count", vision.num_hidden_layers},
            {"clip.vision.attention.head_count", vision.num_attention_heads},
            {"clip.vision.attention.layer_norm_epsilon", vision.layer_norm_eps},
            {"clip.vision.projector.scale_factor", checkpoint.config.scale_factor},
            {"clip.vision.preproc_image_size", image.longest_edge},
            {"clip.vision.image_mean", image.mean},
            {"clip.vision.image_std", image.std}};
}

/// The parameters that `naming` knows, into one file.
inline void write_gguf_part(const std::string& path, const Json& metadata, const Checkpoint& checkpoint,
                            const GgufNaming& naming, DType dtype, int threads) {
    const WeightSource& source = *checkpoint.weights;
    std::vector<std::string> names;
    std::vector<NamedTensor> announced;
    for (const auto& [name, shape] : source.shapes()) {
        if (may_be_ignored(name, checkpoint.config)) continue;
        const auto theirs = their_name(naming, name);
        if (!theirs) continue;
        const bool embedding_of_patches = name.find("vision_model.embeddings.") != name.npos;
        const bool whole_blocks = shape.back() % info(dtype).block_elements == 0;
        const DType held = shape.rank() < 2 || embedding_of_patches ? DType::f32 : whole_blocks ? dtype : DType::f16;
        names.push_back(name);
        announced.push_back({*theirs, held, shape, {}});
    }
    GgufWriter writer(path, metadata, announced);
    const TextConfig& text = checkpoint.config.text;
    for (std::size_t i = 0; i < names.size(); ++i) {
        HostWeight weight = source.weight(names[i]).converted(announced[i].dtype, threads);
        const bool in_decoder = names[i].starts_with(gguf_text.our_layers);
        if (in_decoder && names[i].ends_with(".q_proj.weight"))
            weight = permute_rope_rows(weight, text.num_attention_heads);
        if (in_decoder && names[i].ends_with(".k_proj.weight"))
            weight = permute_rope_rows(weight, text.num_key_value_heads);
        writer.write(NamedTensor::of("", weight).bytes);
        source.release(names[i]);
    }
    writer.commit();
}

/// Every parameter must belong to one of the two files.
inline void check_names_for_gguf(const Checkpoint& checkpoint) {
    for (const auto& [name, shape] : checkpoint.weights->shapes())
        SMOLVLM_CHECK(may_be_ignored(name, checkpoint.config) || their_name(gguf_text, name) ||
                          (checkpoint.config.has_vision && their_name(gguf_vision, name)),
                      ValueError, checkpoint.weights->where(), ": tensor ", in_quotes(name),
                      " has no place in a GGUF file");
}

}  // namespace detail

/// The names of the two files in the folder.
inline std::string gguf_text_file(DType dtype) { return join("model-", dtype, ".gguf"); }
inline constexpr const char* gguf_vision_file = "mmproj-F16.gguf";

/// model, mmproj: as open_checkpoint takes them. The folder appears whole or not at all. Throws FormatError or
/// ValueError, also when the folder is there and not empty.
inline void save_gguf_pair(const std::string& model, const std::string& mmproj, const std::string& path,
                           const GgufPairOptions& options = {}) {
    detail::gguf_file_type(options.dtype);
    const Checkpoint checkpoint = model.ends_with(".gguf") ? open_gguf_pair(model, mmproj) : open_hf_folder(model);
    detail::check_names_for_gguf(checkpoint);
    Json metadata = detail::gguf_text_metadata(checkpoint, options.dtype);
    detail::add_gguf_tokenizer(metadata, detail::read_tokenizer_files(model), checkpoint);

    AtomicFolder folder(path);
    detail::write_gguf_part(folder.add(gguf_text_file(options.dtype)), metadata, checkpoint, detail::gguf_text,
                            options.dtype, options.threads);
    if (checkpoint.config.has_vision)
        detail::write_gguf_part(folder.add(gguf_vision_file), detail::gguf_vision_metadata(checkpoint), checkpoint,
                                detail::gguf_vision, DType::f16, options.threads);
    folder.commit();
}

}  // namespace smolvlm
