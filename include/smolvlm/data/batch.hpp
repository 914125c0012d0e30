#pragma once
/// Several examples as one batch without padding: their rows one after the other, Segments that keep each among itself
/// (no attention across documents), the frames of all pictures in one tensor.

#include <smolvlm/data/example.hpp>

namespace smolvlm {

struct Batch {
    std::vector<std::int32_t> ids, targets;  // [N]
    std::vector<Index> lengths;              // of the sequences
    HostTensor<std::uint8_t> frames;         // [I, 3, T, T], or empty
    std::vector<std::int32_t> counted;       // the rows whose target is learned
    std::vector<RowRange> answers;           // within those

    Index tokens() const { return static_cast<Index>(ids.size()); }
    Index sequences() const { return static_cast<Index>(lengths.size()); }
    Segments segments() const { return Segments::packed(Segments::Mask::causal, lengths); }
    /// The targets of the counted rows alone.
    std::vector<std::int32_t> counted_targets() const {
        std::vector<std::int32_t> out;
        for (const std::int32_t row : counted) out.push_back(targets[static_cast<std::size_t>(row)]);
        return out;
    }
};

inline Batch make_batch(std::span<const Example> examples) {
    Batch batch;
    std::vector<ProcessedImage> images;
    for (const Example& example : examples) {
        batch.ids.insert(batch.ids.end(), example.ids.begin(), example.ids.end());
        batch.targets.insert(batch.targets.end(), example.targets.begin(), example.targets.end());
        batch.lengths.push_back(example.tokens());
        images.insert(images.end(), example.images.begin(), example.images.end());
    }
    for (std::size_t n = 0; n < batch.targets.size(); ++n)
        if (batch.targets[n] != ignore_index) batch.counted.push_back(static_cast<std::int32_t>(n));
    const auto place = [&batch](Index row) {  // every convention learns the answers
        return std::ranges::lower_bound(batch.counted, row) - batch.counted.begin();
    };
    Index first = 0;
    for (const Example& example : examples) {
        for (const RowRange& answer : example.answers)
            batch.answers.push_back({place(first + answer.begin), place(first + answer.end)});
        first += example.tokens();
    }
    if (!images.empty()) batch.frames = stack_frames(images);
    return batch;
}

}  // namespace smolvlm
