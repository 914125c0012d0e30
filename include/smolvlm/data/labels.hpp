#pragma once
/// Which tokens of a conversation are learned. The text is a row of stretches, each with a part to play; a convention
/// is a choice of parts, and a token belongs to the stretch in which its last byte lies:
///
///     <|im_start|>User:|PICTURE|What is this?|<end_of_utterance>|\n |Assistant:   | A cat.|<end_of_utterance>|\n
///     prompt_header     picture prompt        prompt_end         gap  answer_header answer  answer_end        last_gap
///
/// The space before an answer is part of it: the model is asked with "Assistant:". Image tokens are never learned.

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include <smolvlm/backend/segments.hpp>
#include <smolvlm/tokenizer/tokenizer.hpp>

namespace smolvlm {

enum class TextPart { prompt_header, prompt, picture, prompt_end, answer_header, answer, answer_end, gap, last_gap };

/// Conventions by the names that a configuration uses. Sources: huggingface/smollm at a041759, vision/m4 (v1) and
/// vision/smolvlm2 (v2); the fine-tuning notebooks Smol_VLM_FT and SmolVLM2_Video_FT.
enum class Labels {
    completions,  // what the assistant says and its end token: the default
    smolvlm_v1,   // the same and the last line break; with an odd number of end tokens everything but image tokens
    smolvlm2,     // also every "Assistant:", every end token and line break: all but prompts and pictures
    notebook,     // everything but image tokens: prompts and the tokens around tiles too
    all_text,     // everything but pictures
};
inline constexpr std::array<const char*, 5> label_names{"completions", "smolvlm-v1", "smolvlm2", "notebook",
                                                        "all-text"};

/// A text with the parts it is made of.
struct LabelledText {
    struct Stretch {
        std::size_t end;  // one past its last byte; it begins where the one before ends
        TextPart part;
    };
    std::string text;
    std::vector<Stretch> stretches;
    int ends = 0;  // number of end tokens

    void append(std::string_view piece, TextPart part) {
        text += piece;
        stretches.push_back({text.size(), part});
        ends += part == TextPart::prompt_end || part == TextPart::answer_end;
    }
};

/// Is a token that ends in this part learned?
inline bool is_learned(Labels labels, TextPart part, int ends) {
    using P = TextPart;
    switch (labels) {
        case Labels::smolvlm_v1:
            if (ends % 2 == 1) return true;
            return part == P::answer || part == P::answer_end || part == P::last_gap;
        case Labels::smolvlm2:
            return part != P::prompt_header && part != P::prompt && part != P::picture;
        case Labels::notebook:
            return true;
        case Labels::all_text:
            return part != P::picture;
        case Labels::completions:
            break;
    }
    return part == P::answer || part == P::answer_end;
}

/// One label for each id, the id itself or ignore_index. dropped: places of bytes that have no token (EncodeReport).
/// image_id is never learned; -1: there is none.
inline std::vector<std::int32_t> make_labels(const Tokenizer& tokenizer, const LabelledText& text, Ids ids,
                                             std::span<const std::size_t> dropped, Labels labels, Index image_id) {
    std::vector<std::int32_t> result(ids.size(), ignore_index);
    std::size_t place = 0, next_dropped = 0, stretch = 0;
    for (std::size_t i = 0; i < ids.size(); ++i) {
        for (std::size_t byte = 0; byte < tokenizer.bytes_of(ids[i]).size(); ++byte, ++place)
            while (next_dropped < dropped.size() && dropped[next_dropped] == place) ++place, ++next_dropped;
        while (stretch + 1 < text.stretches.size() && text.stretches[stretch].end < place) ++stretch;
        if (ids[i] != image_id && is_learned(labels, text.stretches[stretch].part, text.ends)) result[i] = ids[i];
    }
    SMOLVLM_CHECK(place + (dropped.size() - next_dropped) == text.text.size(), ValueError,
                  "labels: the tokens stand for ", place, " bytes, the text has ", text.text.size());
    return result;
}

}  // namespace smolvlm
