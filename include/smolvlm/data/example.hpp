#pragma once
/// One conversation ready for training: ids, the id to be predicted at each of them, and the frames of its pictures.

#include <numeric>

#include <smolvlm/data/labels.hpp>
#include <smolvlm/data/random_tiles.hpp>
#include <smolvlm/processor.hpp>

namespace smolvlm {

struct ExampleOptions {
    Labels labels = Labels::completions;
    std::string system_prompt;  // for conversations without a system message; empty: none
    MediaText media;            // around pictures; empty: none
    TileOptions tiles;
    bool random_tiles = false;
    int threads = default_threads();
};

/// Rows [begin, end) of a text.
struct RowRange {
    Index begin = 0, end = 0;
};

struct Example {
    std::vector<std::int32_t> ids;
    std::vector<std::int32_t> targets;  // targets[n] follows ids[n]; ignore_index: not learned
    std::vector<RowRange> answers;      // whose targets are an answer of the assistant and its end token
    std::vector<ProcessedImage> images;

    Index tokens() const { return static_cast<Index>(ids.size()); }
    Index counted() const { return tokens() - std::ranges::count(targets, ignore_index); }
};

/// The conversation with system prompt and media texts put in, cut into stretches, image tokens written out.
/// texts: one for each of its pictures.
inline LabelledText labelled_text(const Processor& processor, const Conversation& chat,
                                  std::span<const std::string> texts) {
    const std::string& turn_end = processor.chat_template.turn_end;
    LabelledText out;
    std::string before;  // what the template makes of the messages so far
    for (std::size_t m = 0; m < chat.size(); ++m) {
        const bool answer = chat[m].role == "assistant";
        const Conversation so_far(chat.begin(), chat.begin() + static_cast<std::ptrdiff_t>(m) + 1);
        const std::string rendered = processor.chat_template.render(so_far, false);
        std::size_t body = 0;
        for (const ContentPart& part : chat[m].content)
            body += part.is_picture() ? std::string_view("<image>").size() : part.value.size();
        const std::size_t end = rendered.size() - turn_end.size() - 1;  // the body ends here, then turn_end and \n
        std::string_view header = std::string_view(rendered).substr(before.size(), end - body - before.size());
        const bool own_space =
            answer && header.ends_with(' ');  // which the model writes: it is asked with "Assistant:"
        if (own_space) header.remove_suffix(1);
        out.append(header, answer ? TextPart::answer_header : TextPart::prompt_header);
        if (own_space) out.append(" ", TextPart::answer);
        for (const ContentPart& part : chat[m].content) {
            if (part.kind == ContentPart::text) {
                SMOLVLM_CHECK(
                    part.value.find(processor.token_names.image) == std::string::npos || !processor.has_images(),
                    ValueError, "message ", m + 1, ": a text holds \"", processor.token_names.image,
                    "\", which stands for a picture; give pictures as items of type \"image\"");
                out.append(part.value, answer ? TextPart::answer : TextPart::prompt);
            } else {
                SMOLVLM_CHECK(!texts.empty(), ValueError, "message ", m + 1, ": more image parts than pictures");
                out.append(texts.front(), TextPart::picture);
                texts = texts.subspan(1);
            }
        }
        out.append(turn_end, answer ? TextPart::answer_end : TextPart::prompt_end);
        out.append("\n", m + 1 == chat.size() ? TextPart::last_gap : TextPart::gap);
        before = rendered;
    }
    return out;
}

/// pictures: one for each image or frame, in order. random: decides random tile counts, if those are asked for.
/// texts: what stands for each of them (SampleSource); empty: image_text of its tiles.
/// Throws ValueError when there is nothing to learn: all labels are masked.
inline Example make_example(const Processor& processor, Conversation chat, std::span<const Image> pictures,
                            const ExampleOptions& options, Random& random, std::span<const std::string> texts = {}) {
    SMOLVLM_CHECK(processor.has_images() || pictures.empty(), ValueError,
                  "this model reads text only, but the sample has ", pictures.size(), " picture(s)");
    if (!options.system_prompt.empty() && !chat.empty() && chat.front().role != "system")
        chat.insert(chat.begin(), Message("system", options.system_prompt));
    chat = with_media_text(std::move(chat), options.media);

    Example example;
    SMOLVLM_CHECK(texts.empty() || texts.size() == pictures.size(), ValueError, "the sample has ", pictures.size(),
                  " picture(s) and ", texts.size(), " texts for them");
    const std::vector<ContentPart> places = pictures_of(chat);
    SMOLVLM_CHECK(places.size() == pictures.size(), ValueError, "the sample has ", places.size(),
                  " places for pictures and ", pictures.size(), " pictures");
    std::vector<std::string> written(texts.begin(), texts.end());
    for (std::size_t i = 0; i < pictures.size(); ++i) {
        const ContentPart::Kind kind = places[i].kind;
        example.images.push_back(
            options.random_tiles && kind == ContentPart::image
                ? process_image_with_random_tiles(pictures[i], processor.image, random, options.threads)
                : process_image(pictures[i], processor.image, processor.tiles_of(kind, options.tiles), options.threads));
        const ImageLayout layout{example.images.back().rows, example.images.back().cols};
        if (texts.empty()) written.push_back(image_text(layout, processor.image_seq_len, processor.token_names));
    }
    const LabelledText text = labelled_text(processor, chat, written);
    EncodeReport report;
    example.ids = processor.tokenizer.encode(text.text, &report);
    const Tokenizer& tokenizer = processor.tokenizer;
    const auto image_id = processor.has_images() ? tokenizer.id_of(processor.token_names.image) : std::nullopt;
    const auto targets = [&](Labels labels) {
        std::vector<std::int32_t> result =
            make_labels(tokenizer, text, example.ids, report.dropped, labels, image_id.value_or(-1));
        // Row n predicts what comes after it; after the last row comes nothing.
        std::rotate(result.begin(), result.begin() + 1, result.end());
        result.back() = ignore_index;
        return result;
    };
    example.targets = targets(options.labels);
    const std::vector<std::int32_t> spoken = targets(Labels::completions);
    for (Index n = 0; n < example.tokens(); ++n)
        if (spoken[static_cast<std::size_t>(n)] != ignore_index) {
            if (example.answers.empty() || example.answers.back().end < n) example.answers.push_back({n, n});
            example.answers.back().end = n + 1;
        }
    SMOLVLM_CHECK(example.counted() > 0, ValueError, "all ", example.tokens(),
                  " labels are masked by the convention \"", label_names[static_cast<std::size_t>(options.labels)],
                  "\", so there is nothing to learn; expected an assistant message that is not empty");
    return example;
}

}  // namespace smolvlm
