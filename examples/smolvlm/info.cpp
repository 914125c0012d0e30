// smolvlm info: what a checkpoint is.

#include <smolvlm/ref/ref.hpp>

#include "commands.hpp"
#include "console.hpp"
#include "inputs.hpp"

namespace cli {
namespace {

using namespace smolvlm;

/// 1234567 as "1,234,567".
std::string grouped(Index n) {
    std::string text = std::to_string(n);
    for (std::size_t i = text.size(); i > 3; i -= 3) text.insert(i - 3, 1, ',');
    return text;
}
std::string mebibytes(Index bytes) {
    char text[40];
    std::snprintf(text, sizeof text, "%.1f MiB", static_cast<double>(bytes) / (1 << 20));
    return text;
}
std::string line(std::string_view label, std::string_view value) {
    std::string text(label);
    text.resize(std::max<std::size_t>(text.size() + 1, 20), ' ');
    return text.append(value) + '\n';
}
std::string token(const Tokenizer& tokenizer, std::string_view content) {
    const auto id = tokenizer.id_of(content);
    return id ? join(content, " ", *id) : join(content, " as text (", tokenizer.encode(content).size(), " tokens)");
}

std::string about_processor(const Processor& processor) {
    const Tokenizer& tokenizer = processor.tokenizer;
    std::string text = line("tokenizer", join(grouped(tokenizer.vocab_size()), " ids, byte-level BPE"));
    text += line("chat",
                 join(processor.chat_template.style == ChatTemplate::Style::smolvlm ? "SmolVLM turns" : "ChatML turns",
                      ", each ended by ", token(tokenizer, processor.chat_template.turn_end)));
    if (!processor.has_images()) return text + line("pictures", "none: this model reads text only");

    const ImageProcessorConfig& image = processor.image;
    const bool learned = processor.positions() == PositionScheme::learned;
    text +=
        line("position scheme", learned ? "learned tokens: <row_r_col_c> and <global-img> are one token each"
                                        : "strings: <row_r_col_c> and <global-img> are several ordinary tokens each");
    const ImageTokenNames& names = processor.token_names;
    text += line("image tokens", join(token(tokenizer, names.image), ", ", token(tokenizer, names.around), ", ",
                                      token(tokenizer, names.global), ", ", token(tokenizer, "<row_1_col_1>")));
    text += line("frames", join(image.tile, "x", image.tile, " pixels, ", processor.image_seq_len,
                                " tokens each; pictures are resized to ", image.longest_edge, " pixels",
                                image.do_image_splitting ? " and split into tiles" : ", not split"));
    for (const auto& [width, height] : {std::pair<Index, Index>{640, 480}, {1920, 1080}, {1000, 1000}}) {
        const TilePlan plan = plan_tiles(width, height, image.tile_rule());
        const ImageLayout layout{plan.rows, plan.cols};
        const std::string all = image_text(layout, processor.image_seq_len, names);
        text += line("", join(width, "x", height, ": ", plan.rows, "x", plan.cols, " tiles, ", plan.frames(),
                              " frames, ", tokenizer.encode(all).size(), " tokens in the prompt"));
    }
    text += line("videos", join("read at ", processor.video.fps, " frames a second, at most ", processor.video.max_frames,
                                ", none cut into tiles"));
    return text;
}

std::string about_model(const Checkpoint& checkpoint) {
    const ModelConfig& config = checkpoint.config;
    const TextConfig& t = config.text;
    const VisionConfig& v = config.vision;
    const SmolVLM<Ref<float>> model(config);  // shapes only, no weights
    std::string text = line("architecture", config.model_type);
    if (config.has_vision)
        text += line("vision tower", join(v.num_hidden_layers, " layers, width ", v.hidden_size, ", ",
                                          v.num_attention_heads, " heads, mlp ", v.intermediate_size, ", ", v.grid(),
                                          "x", v.grid(), " patches of ", v.patch_size, " pixels")) +
                line("connector",
                     join("pixel shuffle ", config.scale_factor, ", ", config.tokens_per_image(), " tokens a frame"));
    text += line("decoder", join(t.num_hidden_layers, " layers, width ", t.hidden_size, ", ", t.num_attention_heads,
                                 " heads (", t.num_key_value_heads, " key/value) of ", t.head_dim, ", mlp ",
                                 t.intermediate_size, ", rope theta ", t.rope_theta));
    text += line("vocabulary", join(grouped(t.vocab_size), " ids, head ",
                                    config.tie_word_embeddings ? "tied to the embedding" : "of its own"));
    text += line("context", join(grouped(t.max_position_embeddings), " tokens"));
    std::string ends;
    for (const std::int32_t id : checkpoint.generation.eos)
        ends += join(ends.empty() ? "" : ", ", checkpoint.processor.tokenizer.token_of(id), " ", id);
    text += line("answers end at", ends.empty() ? "no token" : ends);

    const Index vision = count_parameters(model.vision_model), connector = count_parameters(model.connector);
    const Index decoder = count_parameters(model.text_model), all = count_parameters(model);
    text += line("parameters", grouped(all));
    if (config.has_vision) text += line("  vision tower", grouped(vision)) + line("  connector", grouped(connector));
    text += line("  decoder", grouped(decoder)) +
            line("  head", config.tie_word_embeddings ? "tied" : grouped(count_parameters(model.lm_head)));

    std::map<std::string, Index> by_dtype;  // bytes
    Index bytes = 0;
    for (const auto& [name, shape] : checkpoint.weights->shapes()) {
        const auto panels = checkpoint.weights->panels(name);
        const HostWeight weight = panels ? HostWeight{} : checkpoint.weights->weight(name);
        const Index size = panels ? panels->bytes() : bytes_of(weight.dtype, weight.shape());
        by_dtype[panels ? join("panels of ", panels->format) : join(weight.dtype)] += size;
        bytes += size;
    }
    std::string dtypes;
    for (const auto& [dtype, size] : by_dtype)
        dtypes += (dtypes.empty() ? "" : ", ") + join(dtype, " ") + mebibytes(size);
    text += line("weights on disk", dtypes);
    const Index per_token =
        2 * t.num_hidden_layers * t.num_key_value_heads * t.head_dim * static_cast<Index>(sizeof(float));
    text += line("memory needed",
                 join("weights ", mebibytes(bytes), " as they are; keys and values ", grouped(per_token),
                      " bytes a token, ", mebibytes(per_token * t.max_position_embeddings), " for a full context"));
    return text;
}

}  // namespace

int info(const Words& words) {
    ModelFlags flags;
    Arguments arguments(
        "info",
        "Says what a checkpoint is: architecture, parameters of each part, types, how tile positions are written,\n"
        "special tokens, memory needed. A folder that holds only processor files is described as far as it goes.");
    flags.declare(arguments);
    if (!arguments.parse(words)) return print(arguments.help()), 0;
    flags.check();
    if (flags.processor_only()) {
        print(line("checkpoint", flags.model) + line("architecture", "no config.json: processor files only") +
              about_processor(flags.open_processor()));
        return 0;
    }
    const Checkpoint checkpoint = flags.open();
    print(line("checkpoint", flags.model) + about_model(checkpoint) + about_processor(checkpoint.processor));
    return 0;
}

}  // namespace cli
