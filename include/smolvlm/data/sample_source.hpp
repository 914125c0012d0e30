#pragma once
/// Where training samples come from: a file of conversations (jsonl.hpp), or a program that draws them as they are
/// needed.
///
///     struct Sums : SampleSource {                          // 2 + 3 -> 5, without end
///         Index size() const override { return 0; }
///         Sample sample(Index i) const override { ... }     // a pure function of i
///     };

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <smolvlm/image/image.hpp>
#include <smolvlm/tokenizer/video_prompt.hpp>

namespace smolvlm {

struct Sample {
    Conversation chat;
    std::vector<Image> pictures;  // one for each image or frame, in order
    /// What stands for them in the text, one for each; empty: image_text of their tiles, as in every SmolVLM.
    /// Experiments with other prompts write their own, with as many `<image>`.
    std::vector<std::string> picture_texts = {};
};

struct SampleSource {
    virtual ~SampleSource() = default;
    /// 0: there is no end, and sample i is the i-th that is read; otherwise they are shuffled in every epoch.
    virtual Index size() const = 0;
    /// The same for the same i, and safe to call from several threads.
    virtual Sample sample(Index i) const = 0;
    /// "data.jsonl: line 17", for messages about sample i.
    virtual std::string where(Index i) const = 0;
};

/// Opens what a configuration names as data, whose videos are read by that rule.
using SourceOpener = std::function<std::shared_ptr<const SampleSource>(const std::string& path, const VideoRule& videos)>;

}  // namespace smolvlm
