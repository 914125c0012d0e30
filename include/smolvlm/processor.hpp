#pragma once
/// From a conversation and its pictures to what the model reads: ids and tiles. transformers' SmolVLMProcessor and
/// Idefics3Processor, which treat still pictures alike; videos are SmolVLM2's.

#include <smolvlm/image/processor.hpp>
#include <smolvlm/tokenizer/chat_template.hpp>
#include <smolvlm/tokenizer/image_prompt.hpp>
#include <smolvlm/tokenizer/stream_decoder.hpp>
#include <smolvlm/tokenizer/tokenizer.hpp>
#include <smolvlm/tokenizer/video_prompt.hpp>

namespace smolvlm {

/// Everything one sequence is made of.
struct Prompt {
    std::string text;                    // image tokens written out
    std::vector<std::int32_t> ids;
    std::vector<ProcessedImage> images;  // in the order of their places in the text
    std::vector<std::size_t> dropped;    // places in the text of bytes that the vocabulary lacks
};

struct Processor {
    Tokenizer tokenizer;
    ChatTemplate chat_template;
    ImageProcessorConfig image;
    VideoRule video = {};
    Index image_seq_len = 0;  // tokens per frame; 0: a model without pictures
    ImageTokenNames token_names;

    bool has_images() const { return image_seq_len > 0; }
    PositionScheme positions() const { return position_scheme(tokenizer); }

    /// What is done to a picture of this kind: an image as `images` says; a frame of a video is never cut.
    TileOptions tiles_of(ContentPart::Kind kind, const TileOptions& images) const {
        if (kind != ContentPart::frame) return images;
        return {.no_split = true, .longest_edge = video.longest_edge > 0 ? video.longest_edge : image.tile};
    }

    /// The text that the model reads for these image layouts. Throws ValueError when layouts and `<image>` places differ in
    /// number, or when there are pictures for a model without any.
    std::string expand(std::string_view text, std::span<const ImageLayout> layouts) const {
        SMOLVLM_CHECK(has_images() || layouts.empty(), ValueError, "this model reads text only, but ", layouts.size(),
                      " image(s) were given");
        return has_images() ? expand_image_tokens(text, layouts, image_seq_len, token_names) : std::string(text);
    }

    /// text: rendered by the chat template or written by hand, one `<image>` for each image. The pictures themselves may
    /// be gone by now: whoever has many decodes, processes and drops one after the other.
    Prompt prepare(std::string_view text, std::vector<ProcessedImage> images) const {
        std::vector<ImageLayout> layouts;
        for (const ProcessedImage& one : images) layouts.push_back({one.rows, one.cols});
        Prompt prompt;
        prompt.text = expand(text, layouts);
        EncodeReport report;
        prompt.ids = tokenizer.encode(prompt.text, &report);
        prompt.dropped = std::move(report.dropped);
        prompt.images = std::move(images);
        return prompt;
    }
    /// The same from the pictures.
    Prompt prepare(std::string_view text, std::span<const Image> pictures, const TileOptions& options = {},
                   int threads = default_threads()) const {
        SMOLVLM_CHECK(has_images() || pictures.empty(), ValueError, "this model reads text only, but ", pictures.size(),
                      " image(s) were given");
        expand(text, std::vector<ImageLayout>(pictures.size()));  // a wrong number should not cost the resizing of all
        std::vector<ProcessedImage> images;
        for (const Image& picture : pictures) images.push_back(process_image(picture, image, options, threads));
        return prepare(text, std::move(images));
    }
    /// pictures: one for each image or frame of the conversation, in which with_frames has replaced videos.
    Prompt prepare(const Conversation& conversation, std::span<const Image> pictures, const TileOptions& options = {},
                   int threads = default_threads()) const {
        const std::string text = chat_template.render(conversation);
        const std::vector<ContentPart> places = pictures_of(conversation);
        if (std::ranges::count(places, ContentPart::frame, &ContentPart::kind) == 0 || places.size() != pictures.size())
            return prepare(text, pictures, options, threads);
        std::vector<ProcessedImage> images;
        for (std::size_t i = 0; i < places.size(); ++i)
            images.push_back(process_image(pictures[i], image, tiles_of(places[i].kind, options), threads));
        return prepare(text, std::move(images));
    }
};

}  // namespace smolvlm
