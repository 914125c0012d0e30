#pragma once
/// The whole way: a conversation and its pictures in, a streamed answer out.
///
///     Processor: text, tiles  ->  encode: features, tile by tile  ->  generate: ids  ->  text, as it comes

#include <smolvlm/model/feature_cache.hpp>
#include <smolvlm/model/generate.hpp>
#include <smolvlm/processor.hpp>

namespace smolvlm {

struct AnswerOptions {
    Index max_new_tokens = 256;
    SamplingOptions sampling;
    bool ignore_eos = false;
    TileOptions images;
};

struct AnswerTimings {
    double preprocess_s = 0, vision_s = 0, prefill_s = 0, decode_s = 0;  // decode: all tokens after the first
};

struct Answer {
    std::string text;
    std::vector<std::int32_t> ids;  // the new ones, the end token included
    FinishReason reason = FinishReason::max_new_tokens;
    Index prompt_tokens = 0;
    Index image_tokens = 0;   // of the prompt
    Index reused_tokens = 0;  // of the prompt: already in the cache
    AnswerTimings timings;
};

/// Whoever watches an answer grow; every member may stay empty.
struct AnswerObserver {
    virtual ~AnswerObserver() = default;
    /// After each encoded frame. What it throws ends the answer before its first token; the chat stays usable, and what was
    /// encoded so far stays known.
    virtual void on_frame(Index /*done*/, Index /*total*/) {}
    /// After each token, false: stop. The piece is empty while a character lacks bytes and when the token stands for no text.
    virtual bool on_text(Index /*sequence*/, std::string_view /*piece*/) { return true; }
};

/// A model with everything that belongs to it. Read-only after loading: several threads may share one, each with its own
/// backend.
template <CachingBackend B>
struct Pipeline {
    SmolVLM<B> model;
    Processor processor;
    GenerationConfig generation;

    /// Answers one conversation. pictures: one for each image in it, in order.
    Answer answer(B& be, const Conversation& conversation, std::span<const Image> pictures,
                  const AnswerOptions& options = {}, AnswerObserver* observer = nullptr) const;

    /// Features of the frames of all images from frame `first` on -> [frames * image_seq_len, D]; empty when there are none.
    /// One frame at a time, so memory does not grow with their number. What `cache` holds is not encoded again.
    Tensor<B> encode(B& be, std::span<const ProcessedImage> images, Index first = 0, AnswerObserver* observer = nullptr,
                     FeatureCache<B>* cache = nullptr) const {
        Index frames = 0;
        for (const ProcessedImage& image : images) frames += image.frames();
        if (frames <= first) return {};
        Tensor<B> features = be.zeros({(frames - first) * processor.image_seq_len, model.config.text.hidden_size});
        Index frame = 0;
        for (const ProcessedImage& image : images)
            for (Index f = 0; f < image.frames(); ++f, ++frame) {
                if (frame < first) continue;
                const FrameKey key = cache ? key_of(image, f) : FrameKey{};
                const Tensor<B>* const known = cache ? cache->find(key) : nullptr;
                const Tensor<B> rows = known ? *known : encode_frame(be, image, f);
                if (cache && !known) cache->insert(key, rows);
                std::vector<std::int32_t> places(static_cast<std::size_t>(processor.image_seq_len));
                std::iota(places.begin(), places.end(),
                          static_cast<std::int32_t>((frame - first) * processor.image_seq_len));
                be.scatter_rows(features, places, rows);
                if (observer) observer->on_frame(frame - first + 1, frames - first);
            }
        return features;
    }

    /// Frame f -> [image_seq_len, D]
    Tensor<B> encode_frame(B& be, const ProcessedImage& image, Index f) const {
        const BytePixels pixels(image.frame(f), processor.image.scaling().table());
        const Index height = pixels.shape()[2], width = pixels.shape()[3];
        Tensor<B> rows = model.encode_images(be, pixels, make_patch_grid(model.config.vision, 1, height, width));
        SMOLVLM_CHECK(rows.shape()[0] == processor.image_seq_len, ValueError, "image frame of ", height, "x", width,
                      " gives ", rows.shape()[0], " features, but the processor writes ", processor.image_seq_len,
                      " <image> tokens per frame");
        return rows;
    }

    /// What frame f's features follow from: its pixels, its size and how they are scaled.
    FrameKey key_of(const ProcessedImage& image, Index f) const {
        const PixelScaling s = processor.image.scaling();
        const double settings[] = {static_cast<double>(image.plan.tile), s.do_rescale ? s.rescale_factor : 0.0,
                                   s.do_normalize ? 1.0 : 0.0, s.mean[0], s.mean[1], s.mean[2],
                                   s.std[0], s.std[1], s.std[2]};
        const View<const std::uint8_t> pixels = image.frame(f);
        const std::span bytes(pixels.data(), static_cast<std::size_t>(pixels.numel()));
        return frame_key(std::as_bytes(bytes), frame_key(std::as_bytes(std::span(settings))));
    }

    GenerateOptions generate_options(const AnswerOptions& options) const {
        GenerateOptions generate;
        generate.max_new_tokens = options.max_new_tokens;
        generate.sampling = options.sampling;
        if (!options.ignore_eos) generate.eos = generation.eos;
        return generate;
    }
};

namespace detail {

class Stopwatch {
public:
    /// Seconds since the last lap.
    double lap() {
        const auto now = std::chrono::steady_clock::now();
        return std::chrono::duration<double>(now - std::exchange(start_, now)).count();
    }

private:
    std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace detail

/// Several conversations answered as one batch, or one conversation over many turns: what the cache holds of a sequence is
/// not read again. Call answer() with the whole conversation each time; the longest common beginning with what was read before
/// (same tokens, same pictures) is found and kept, so the answer is the one that a fresh model would give. Pictures that are
/// new to a sequence but were seen lately cost no vision time: a FeatureCache, which several chats may share, has their
/// features.
template <CachingBackend B>
class Chat {
public:
    /// features: outlives the chat; none: the chat has its own.
    explicit Chat(const Pipeline<B>& pipeline, Index sequences = 1, FeatureCache<B>* features = nullptr)
        : pipeline_(&pipeline), cache_(make_cache(pipeline.model, sequences)), read_(static_cast<std::size_t>(sequences)),
          shared_features_(features) {}
    Chat(const Chat&) = delete;
    Chat& operator=(const Chat&) = delete;

    std::vector<Answer> answer(B& be, std::span<const Prompt> prompts, const AnswerOptions& options,
                               AnswerObserver* observer = nullptr) {
        SMOLVLM_CHECK(prompts.size() == read_.size(), ValueError, "chat: ", prompts.size(), " prompts for ", read_.size(),
                      " conversations");
        const Pipeline<B>& p = *pipeline_;
        check_lengths(prompts);
        std::vector<Answer> answers(prompts.size());
        std::vector<PromptInput<B>> inputs;
        Index vision_frames = 0;
        detail::Stopwatch watch;
        for (std::size_t b = 0; b < prompts.size(); ++b) {
            const Prompt& prompt = prompts[b];
            Read now{prompt.ids, frame_keys(prompt.images)};
            const std::size_t kept = common_beginning(read_[b], now);
            cache_.truncate(static_cast<Index>(b), static_cast<Index>(kept));
            answers[b].prompt_tokens = static_cast<Index>(prompt.ids.size());
            answers[b].image_tokens = image_tokens(prompt.ids, prompt.ids.size());
            answers[b].reused_tokens = static_cast<Index>(kept);
            const Index kept_frames = frames_in(prompt.ids, kept);
            vision_frames += static_cast<Index>(now.frames.size()) - kept_frames;
            read_[b] = std::move(now);
            read_[b].ids.resize(kept);  // until the rest has really been read
            inputs.push_back({{prompt.ids.begin() + static_cast<std::ptrdiff_t>(kept), prompt.ids.end()},
                              p.encode(be, prompt.images, kept_frames, observer, &features()),
                              read_[b].ids});
        }
        const double vision_s = watch.lap();
        // What frames were computed in is of other sizes than what follows, and more than the rest of the answer needs.
        if constexpr (requires { be.pool().trim(); })
            if (vision_frames > 0) be.pool().trim();

        std::vector<StreamDecoder> decoders(prompts.size(), StreamDecoder(p.processor.tokenizer, /*skip_special=*/true));
        const auto on_token = [&](Index sequence, std::int32_t id) {
            const auto b = static_cast<std::size_t>(sequence);
            const std::string piece = decoders[b].push(id);
            answers[b].text += piece;
            return !observer || observer->on_text(sequence, piece);
        };
        GenerateTimings timings;
        const auto sequences = generate(be, p.model, std::span<const PromptInput<B>>(inputs), p.generate_options(options),
                                        cache_, on_token, &timings);
        for (std::size_t b = 0; b < prompts.size(); ++b) {
            const std::string rest = decoders[b].flush();
            if (observer && !rest.empty()) observer->on_text(static_cast<Index>(b), rest);
            answers[b].text += rest;
            answers[b].ids = sequences[b].ids;
            answers[b].reason = sequences[b].reason;
            answers[b].timings = {0, vision_s, timings.prefill_s, timings.decode_s};
            read_[b].ids = prompts[b].ids;
            read_[b].ids.insert(read_[b].ids.end(), sequences[b].ids.begin(), sequences[b].ids.end());
            read_[b].ids.resize(static_cast<std::size_t>(cache_.length(static_cast<Index>(b))));
        }
        return answers;
    }
    Answer answer(B& be, const Prompt& prompt, const AnswerOptions& options, AnswerObserver* observer = nullptr) {
        return answer(be, std::span<const Prompt>(&prompt, 1), options, observer)[0];
    }

    /// Reads without answering: the pictures, say, while their question is still being typed. The answer to a prompt that
    /// begins alike then starts where they differ. to_come: how many tokens of question and answer to keep room for, so that
    /// nothing has to move between them.
    void read(B& be, const Prompt& beginning, AnswerObserver* observer = nullptr, Index to_come = 512) {
        const auto length = static_cast<Index>(beginning.ids.size());
        check_lengths({&beginning, 1});
        cache_.reserve(be, std::min(length + to_come, pipeline_->model.config.text.max_position_embeddings));
        AnswerOptions none;
        none.max_new_tokens = 0;
        answer(be, beginning, none, observer);
    }

    /// Of frames seen lately.
    FeatureCache<B>& features() { return shared_features_ ? *shared_features_ : own_features_; }

private:
    struct Read {
        std::vector<std::int32_t> ids;
        std::vector<FrameKey> frames;
    };

    /// All prompts are measured before any picture is encoded: a prompt that cannot fit should fail at once.
    void check_lengths(std::span<const Prompt> prompts) const {
        const Index context = pipeline_->model.config.text.max_position_embeddings;
        for (const Prompt& prompt : prompts)
            SMOLVLM_CHECK(static_cast<Index>(prompt.ids.size()) <= context, ValueError, "prompt of ", prompt.ids.size(),
                          " tokens is longer than the model's context of ", context,
                          "; shorten the text, use fewer pictures or fewer tiles (max_tiles, longest_edge)");
    }

    std::vector<FrameKey> frame_keys(std::span<const ProcessedImage> images) const {
        std::vector<FrameKey> keys;
        for (const ProcessedImage& image : images)
            for (Index f = 0; f < image.frames(); ++f) keys.push_back(pipeline_->key_of(image, f));
        return keys;
    }

    Index image_tokens(std::span<const std::int32_t> ids, std::size_t end) const {
        if (!pipeline_->model.config.has_vision) return 0;
        return std::count(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(end),
                          static_cast<std::int32_t>(pipeline_->model.config.image_token_id));
    }
    Index frames_in(std::span<const std::int32_t> ids, std::size_t end) const {
        return pipeline_->processor.has_images() ? image_tokens(ids, end) / pipeline_->processor.image_seq_len : 0;
    }

    /// How many tokens of `now` are already in the cache: never all (the last one must be read to know what follows), never
    /// a part of a frame.
    std::size_t common_beginning(const Read& before, const Read& now) const {
        const auto image_id = static_cast<std::int32_t>(pipeline_->model.config.image_token_id);
        const auto per_frame = static_cast<std::size_t>(std::max<Index>(pipeline_->processor.image_seq_len, 1));
        std::size_t n = 0, images = 0;
        while (n + 1 < now.ids.size() && n < before.ids.size() && before.ids[n] == now.ids[n]) {
            if (pipeline_->model.config.has_vision && now.ids[n] == image_id) {
                const std::size_t frame = images / per_frame;
                if (frame >= before.frames.size() || frame >= now.frames.size() || before.frames[frame] != now.frames[frame])
                    break;
                ++images;
            }
            ++n;
        }
        return n - images % per_frame;
    }

    const Pipeline<B>* pipeline_;
    KvCache<B> cache_;
    std::vector<Read> read_;
    FeatureCache<B> own_features_;
    FeatureCache<B>* shared_features_;
};

template <CachingBackend B>
Answer Pipeline<B>::answer(B& be, const Conversation& conversation, std::span<const Image> pictures,
                           const AnswerOptions& options, AnswerObserver* observer) const {
    detail::Stopwatch watch;
    const Prompt prompt = processor.prepare(conversation, pictures, options.images);
    const double preprocess_s = watch.lap();
    Answer answer = Chat<B>(*this).answer(be, prompt, options, observer);
    answer.timings.preprocess_s = preprocess_s;
    return answer;
}

}  // namespace smolvlm
