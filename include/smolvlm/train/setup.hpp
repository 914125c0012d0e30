#pragma once
/// What a configuration asks for, opened: the model to start from and the streams of batches.

#include <smolvlm/checkpoint/load.hpp>
#include <smolvlm/data/stream.hpp>
#include <smolvlm/train/communicator.hpp>
#include <smolvlm/train/config.hpp>

namespace smolvlm {

/// A folder or .gguf file; without weights (null) where the configuration wants random ones.
inline Checkpoint open_start(const TrainConfig& config, const std::string& source, bool resumed) {
    if (resumed || config.init.empty()) return open_checkpoint(source, config.path(config.mmproj));
    const ModelConfig shape = read_model_config(source);
    return {.config = shape,
            .generation = read_generation_config(source),
            .processor = read_processor(source, shape.has_vision ? shape.tokens_per_image() : 0),
            .weights = nullptr};
}

/// This rank's share of the data. The checkpoint's processor must outlive the stream.
inline BatchStream make_stream(const TrainConfig& config, const std::vector<DataSource>& sources,
                               const Checkpoint& checkpoint, const SourceOpener& open, const Communicator& ranks) {
    BatchStream::Sources opened;
    std::vector<double> weights;
    for (const DataSource& source : sources) {
        VideoRule videos = checkpoint.processor.video;
        if (source.max_frames > 0) videos.max_frames = source.max_frames;
        opened.push_back(open(config.path(source.path), videos));
        weights.push_back(source.weight);
    }
    const Index context = checkpoint.config.text.max_position_embeddings;
    SMOLVLM_CHECK(config.max_tokens <= context, ValueError, "\"max_tokens\" is ", config.max_tokens,
                  ", more than the model's context of ", context);
    const PackOptions pack{.batch_tokens = config.batch_tokens,
                           .batch_samples = config.batch_samples,
                           .max_tokens = config.max_tokens > 0 ? config.max_tokens : context,
                           .drop_long = config.long_samples == "drop"};
    return BatchStream(std::move(opened), std::move(weights), checkpoint.processor, config.example_options(), pack,
                       static_cast<std::uint64_t>(config.seed), ranks.rank(), ranks.size());
}

}  // namespace smolvlm
