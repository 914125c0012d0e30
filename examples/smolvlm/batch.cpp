#include "batch.hpp"

namespace cli {

using namespace smolvlm;

namespace {

/// Leaves the padding out: keeps the columns whose mask is 1, which must be one run.
void read_tokens(const TensorFile& file, const ModelConfig& config, Batch& batch) {
    const HostTensor<std::int64_t> ids = file.tensor<std::int64_t>("input_ids");
    SMOLVLM_CHECK(ids.rank() == 2 && ids.dim(0) > 0 && ids.dim(1) > 0, FormatError, file.path(), ": \"input_ids\" is ",
                  ids.shape(), ", expected [B, T]");
    batch.sequences = ids.dim(0);
    batch.columns = ids.dim(1);
    HostTensor<std::int64_t> mask;
    if (file.find("attention_mask")) {
        mask = file.tensor<std::int64_t>("attention_mask");
        SMOLVLM_CHECK(mask.shape() == ids.shape(), FormatError, file.path(), ": \"attention_mask\" is ", mask.shape(),
                      ", expected the shape of input_ids, ", ids.shape());
    }
    for (Index b = 0; b < batch.sequences; ++b) {
        Index length = 0, last = -1;
        for (Index t = 0; t < batch.columns; ++t) {
            const Index place = b * batch.columns + t;
            const std::int64_t id = ids.data()[place], on = mask.empty() ? 1 : mask.data()[place];
            SMOLVLM_CHECK(on == 0 || on == 1, FormatError, file.path(), ": \"attention_mask\" holds ", on, " at [", b,
                          ", ", t, "], expected 0 or 1");
            if (on == 0) continue;
            SMOLVLM_CHECK(length == 0 || last == t - 1, ValueError, file.path(), ": \"attention_mask\" has a hole at [",
                          b, ", ", t - 1, "]; only padding on the left or the right can be left out");
            SMOLVLM_CHECK(id >= 0 && id < config.text.vocab_size, ValueError, file.path(), ": \"input_ids\" holds ", id,
                          " at [", b, ", ", t, "], expected a token id from 0 to ", config.text.vocab_size - 1);
            batch.ids.push_back(static_cast<std::int32_t>(id));
            batch.places.push_back(place);
            last = t;
            ++length;
        }
        SMOLVLM_CHECK(length <= config.text.max_position_embeddings, ValueError, file.path(), ": sequence ", b,
                      " of \"input_ids\" has ", length, " tokens, the model's context holds ",
                      config.text.max_position_embeddings);
        if (length > 0) batch.lengths.push_back(length);
    }
    SMOLVLM_CHECK(!batch.ids.empty(), ValueError, file.path(), ": \"attention_mask\" leaves no token");
}

/// Finds the frames that count as transformers does: those with any value other than zero. Where there is none, the
/// SmolVLM classes keep the first frame of all, the Idefics3 classes keep nothing.
void read_frames(const TensorFile& file, const ModelConfig& config, Batch& batch) {
    batch.has_pixels = file.find("pixel_values");
    if (!batch.has_pixels) return;
    SMOLVLM_CHECK(config.has_vision, ValueError, file.path(), ": has \"pixel_values\", but this model reads text only");
    const HostWeight pixels = file.host_weight("pixel_values");
    const Shape& shape = pixels.shape();
    SMOLVLM_CHECK(is_floating(pixels.dtype) && shape.rank() == 5 && shape[0] == batch.sequences &&
                      shape[2] == config.vision.num_channels,
                  FormatError, file.path(), ": \"pixel_values\" is ", pixels.dtype, " ", shape, ", expected floats [",
                  batch.sequences, ", I, ", config.vision.num_channels, ", H, W]");
    batch.channels = shape[2];
    batch.height = shape[3];
    batch.width = shape[4];
    std::vector<double> row(static_cast<std::size_t>(batch.width));
    const Index rows = batch.channels * batch.height;
    for (Index frame = 0; frame < shape[0] * shape[1]; ++frame) {
        bool real = false;
        for (Index i = 0; i < rows && !real; ++i) {
            pixels.row(frame * rows + i, row.data());
            real = std::any_of(row.begin(), row.end(), [](double value) { return value != 0; });
        }
        if (real) batch.frames.push_back(frame);
    }
    if (batch.frames.empty() && shape[0] * shape[1] > 0 && config.model_type != "idefics3") batch.frames.push_back(0);

    const Index size = batch.height * batch.width;
    batch.pixel_mask = HostTensor<std::int64_t>({static_cast<Index>(batch.frames.size()), batch.height, batch.width});
    std::fill_n(batch.pixel_mask.data(), batch.pixel_mask.numel(), std::int64_t(1));
    if (!file.find("pixel_attention_mask")) return;
    const HostTensor<std::int64_t> mask = file.tensor<std::int64_t>("pixel_attention_mask");
    SMOLVLM_CHECK(mask.shape() == (Shape{shape[0], shape[1], shape[3], shape[4]}), FormatError, file.path(),
                  ": \"pixel_attention_mask\" is ", mask.shape(), ", expected ",
                  Shape{shape[0], shape[1], shape[3], shape[4]});
    std::int64_t* to = batch.pixel_mask.data();
    for (const Index frame : batch.frames) to = std::copy_n(mask.data() + frame * size, size, to);
}

}  // namespace

Batch read_batch(const TensorFile& file, const ModelConfig& config) {
    Batch batch;
    read_tokens(file, config, batch);
    read_frames(file, config, batch);
    return batch;
}

TraceShapes trace_shapes(const Batch& batch, const ModelConfig& config) {
    TraceShapes shapes;
    const auto R = static_cast<Index>(batch.frames.size());
    if (R > 0) {
        const VisionConfig& vision = config.vision;
        const Index P = (batch.height / vision.patch_size) * (batch.width / vision.patch_size);
        const Shape hidden{R, P, vision.hidden_size};
        shapes.emplace_back("vision.position_ids", Shape{R, P});
        shapes.emplace_back("vision.embeddings", hidden);
        for (Index i = 0; i < vision.num_hidden_layers; ++i) shapes.emplace_back(join("vision.layer.", i), hidden);
        shapes.emplace_back("vision.post_layernorm", hidden);
        shapes.emplace_back("connector",
                            Shape{R, P / (config.scale_factor * config.scale_factor), config.text.hidden_size});
    }
    const Shape hidden{batch.sequences, batch.columns, config.text.hidden_size};
    shapes.emplace_back("text.inputs_embeds", hidden);
    for (Index i = 0; i < config.text.num_hidden_layers; ++i) shapes.emplace_back(join("text.layer.", i), hidden);
    shapes.emplace_back("text.norm", hidden);
    shapes.emplace_back("logits", Shape{batch.sequences, batch.columns, config.text.vocab_size});
    return shapes;
}

}  // namespace cli
