#pragma once
/// Where images go in a prompt: every `<image>` becomes as many image tokens as the model has features for that image,
/// with tokens around them that say which tile is which. F = <fake_token_around_image>, I*n = `<image>` n times:
///
///     one frame     F <global-img> I*n F
///     rows x cols   (F <row_r_col_c> I*n) for each column, then \n, for each row; then \n F <global-img> I*n F
///
/// The global frame comes last. Source: transformers, processing_smolvlm.py and processing_idefics3.py (the same text).

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include <smolvlm/core/error.hpp>
#include <smolvlm/core/shape.hpp>
#include <smolvlm/tokenizer/conversation.hpp>

namespace smolvlm {

/// The grid of tiles of one image; 0 x 0 when it is not split.
struct ImageLayout {
    Index rows = 0, cols = 0;

    /// Tiles and the global frame.
    Index frames() const { return rows * cols + 1; }
    friend bool operator==(const ImageLayout&, const ImageLayout&) = default;
};

struct ImageTokenNames {
    std::string image = "<image>";
    std::string around = "<fake_token_around_image>";
    std::string global = "<global-img>";
};

/// What stands for one image in the text.
inline std::string image_text(ImageLayout layout, Index tokens_per_frame, const ImageTokenNames& names = {}) {
    constexpr Index most = 1024;
    const bool split = layout.rows > 0 && layout.rows <= most && layout.cols > 0 && layout.cols <= most;
    SMOLVLM_CHECK(split || layout == ImageLayout{}, ValueError, "image layout: ", layout.rows, " x ", layout.cols,
                  " tiles, expected 0 x 0 (not split) or both from 1 to ", most);
    SMOLVLM_CHECK(tokens_per_frame > 0 && tokens_per_frame <= 65536, ValueError, "image layout: ", tokens_per_frame,
                  " tokens per frame, expected 1 to 65536");
    std::string features;
    for (Index i = 0; i < tokens_per_frame; ++i) features += names.image;
    std::string text;
    for (Index row = 1; row <= layout.rows; ++row) {
        for (Index col = 1; col <= layout.cols; ++col)
            text += names.around + join("<row_", row, "_col_", col, '>') + features;
        text += '\n';
    }
    if (layout.rows > 0) text += '\n';
    return text + names.around + names.global + features + names.around;
}

/// The prompt with every `<image>` in it replaced by the text of its image, in order.
/// Throws ValueError when the prompt does not have one `<image>` for each layout.
inline std::string expand_image_tokens(std::string_view prompt, std::span<const ImageLayout> images,
                                       Index tokens_per_frame, const ImageTokenNames& names = {}) {
    SMOLVLM_CHECK(!names.image.empty(), ValueError, "prompt: the name of the image token is empty");
    std::size_t places = 0;
    for (std::size_t at = 0; (at = prompt.find(names.image, at)) != prompt.npos; at += names.image.size()) ++places;
    SMOLVLM_CHECK(places == images.size(), ValueError, "prompt: has ", places, " times '", names.image,
                  "', but there are ", images.size(), " images; the numbers must be equal");
    std::string expanded;
    std::size_t copied = 0;
    for (const ImageLayout layout : images) {
        const std::size_t at = prompt.find(names.image, copied);
        expanded.append(prompt, copied, at - copied);
        expanded += image_text(layout, tokens_per_frame, names);
        copied = at + names.image.size();
    }
    return expanded.append(prompt, copied);
}

/// Texts around pictures that some training runs used. No chat template adds them; they are for callers who ask.
struct MediaText {
    std::string intro;  // before the first message's first image, where the message begins with it
    std::string outro;  // after the last image of the conversation
};

/// What SmolVLM2's training wrote around the pictures of a conversation (huggingface/smollm, datasets/dataset.py) ...
inline const MediaText training_media_text{"Here are some images: ", "Now answer the following question: "};
/// ... and the system message that it gave to every conversation without one.
inline constexpr std::string_view training_system_message =
    "You are a helpful language and vision assistant. You are able to understand the visual content that the user "
    "provides, and assist the user with a variety of tasks using natural language.";

/// The conversation with these texts put in, as parts of their own; unchanged where it has no images. A video begins with
/// a text of its own, so it gets no intro.
inline Conversation with_media_text(Conversation conversation, const MediaText& media) {
    Message* last_message = nullptr;
    std::size_t last_part = 0;
    for (Message& message : conversation)
        for (std::size_t i = 0; i < message.content.size(); ++i)
            if (message.content[i].is_picture()) last_message = &message, last_part = i;
    if (!last_message) return conversation;

    auto& parts = last_message->content;
    if (parts[last_part].kind == ContentPart::frame && last_part + 1 < parts.size()) ++last_part;  // the video's own end
    if (!media.outro.empty())
        parts.insert(parts.begin() + static_cast<std::ptrdiff_t>(last_part) + 1, {ContentPart::text, media.outro});
    for (Message& message : conversation) {
        if (message.role == "system") continue;
        if (!media.intro.empty() && !message.content.empty() && message.content.front().kind == ContentPart::image)
            message.content.insert(message.content.begin(), {ContentPart::text, media.intro});
        break;
    }
    return conversation;
}

}  // namespace smolvlm
