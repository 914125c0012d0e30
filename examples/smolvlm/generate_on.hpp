#pragma once
/// smolvlm generate on one backend.

#include <atomic>
#include <future>

#include <smolvlm/checkpoint/load.hpp>

#include "answers.hpp"
#include "engine.hpp"

namespace cli {

/// Reads how a turn begins, its pictures, while the user types the rest; meanwhile backend and chat are its own.
template <smolvlm::CachingBackend B>
class ReadAhead : smolvlm::AnswerObserver {
public:
    ReadAhead(B& be, smolvlm::Chat<B>& chat) : be_(be), chat_(chat) {}
    ReadAhead(const ReadAhead&) = delete;
    ReadAhead& operator=(const ReadAhead&) = delete;
    ~ReadAhead() { stop(); }

    void start(smolvlm::Prompt beginning) {
        stop();
        stopping_ = false;
        work_ = std::async(std::launch::async,
                           [this, prompt = std::move(beginning)] { chat_.read(be_, prompt, this); });
    }
    /// Waits for the frame at work, or for the text behind the last one. Nothing is lost: the frames are known by then.
    void stop() {
        stopping_ = true;
        if (work_.valid()) work_.wait();  // what it failed at, the turn itself will tell
        work_ = {};
    }

private:
    void on_frame(smolvlm::Index done, smolvlm::Index total) override {
        if (stopping_ && done < total) throw Stopped{};
    }

    B& be_;
    smolvlm::Chat<B>& chat_;
    std::atomic<bool> stopping_ = false;
    std::future<void> work_;
};

/// A chat at the terminal: every turn reads only what is new, the rest is still in the cache.
template <smolvlm::CachingBackend B>
void chat_on(B& be, const smolvlm::Pipeline<B>& pipeline, const GenerateRequest& request) {
    using namespace smolvlm;
    const Processor& processor = pipeline.processor;
    Interrupt interrupt;
    Chat<B> chat(pipeline);
    ReadAhead<B> ahead(be, chat);
    Conversation turns;
    Parts next_parts;                    // for the next turn
    std::vector<ProcessedImage> images;  // of all turns and the next
    const auto prompt_with = [&](const std::string& words) {
        Conversation asked = turns;
        asked.push_back(user_message(next_parts, words));
        return make_prompt(processor, processor.chat_template.render(asked), images);
    };
    const auto begin_anew = [&] {
        ahead.stop();
        turns.clear(), next_parts.clear(), images.clear();
        if (!request.system.empty()) turns.emplace_back("system", request.system);
    };
    const auto add = [&](const std::string& path, bool video) {
        const Parts parts = video ? video_parts(frame_files(path), request.media.fps, request.images.videos(processor))
                                  : Parts{{ContentPart::image, path}};
        const std::vector<ProcessedImage> added =
            request.images.process(pictures_of({{"user", parts}}), processor, request.engine.threads);
        Index frames = 0;
        for (const ProcessedImage& image : added) frames += image.frames();
        images.insert(images.end(), added.begin(), added.end());
        next_parts.insert(next_parts.end(), parts.begin(), parts.end());
        report(join(path, ": ", frames, " frames, ", frames * processor.image_seq_len, " tokens"));
    };
    const auto command = [&](std::string_view line) {
        if (line == "/reset") return begin_anew();
        const bool video = line.starts_with("/video ");
        if (!video && !line.starts_with("/image "))
            return report("/image FILE or /video FOLDER adds to the next turn, /reset begins anew, /quit ends");
        add(std::string(line.substr(7)), video);
        ahead.start(prompt_with(""));
    };
    const auto turn = [&](const std::string& line) {
        const Prompt prompt = prompt_with(line);
        ahead.stop();
        Screen screen(/*stream=*/true, &interrupt);
        const Answer answer = chat.answer(be, prompt, request.options, &screen);
        print("\n");
        report(speed_of({answer}, 0));
        turns.push_back(user_message(next_parts, line));
        turns.push_back(processor.chat_template.reply(answer.text));
        next_parts.clear();
    };

    begin_anew();
    report(
        "/image FILE or /video FOLDER adds to the next turn, /reset begins anew, Ctrl-C stops an answer, /quit or "
        "Ctrl-D ends");
    for (const std::string& path : request.media.images) add(path, false);
    for (const std::string& path : request.media.videos) add(path, true);
    if (!next_parts.empty()) ahead.start(prompt_with(""));
    for (std::string line; read_line("> ", line, interrupt) && line != "/quit";) {
        if (line.empty()) continue;
        try {
            line.starts_with('/') ? command(line) : turn(line);
        } catch (const Error& error) {  // a picture that is none, a context that is full: say so and go on
            report_error(error.what());
        } catch (const Stopped&) {
            report("stopped before the answer; the pictures wait for the next question");
        }
        interrupt.take();
    }
}

template <smolvlm::CachingBackend B>
void generate_on(B& be, const GenerateRequest& request) {
    using namespace smolvlm;
    smolvlm::detail::Stopwatch watch;
    std::optional<ModelBeingLoaded<B>> model;
    Checkpoint checkpoint = request.model.open([&](const ModelConfig& config, auto weights) {
        model.emplace(be, config, std::move(weights), request.engine.weight_dtype());
    });
    double load_s = watch.lap();

    // Pictures and texts while the weights are loaded: a mistake there is told at once.
    const Processor& processor = checkpoint.processor;
    std::vector<Prompt> prompts;
    std::vector<double> preprocess_s;
    for (const Talk& asked : request.talks) {
        const Talk talk = asked.opened(request.images.videos(processor));
        const std::string text = talk.text(processor.chat_template);
        const Parts pictures = talk.pictures();
        processor.expand(text, std::vector<ImageLayout>(pictures.size()));  // throws if the numbers differ
        prompts.push_back(
            make_prompt(processor, text, request.images.process(pictures, processor, request.engine.threads)));
        preprocess_s.push_back(watch.lap());
    }

    const Pipeline<B> pipeline{model->get(), std::move(checkpoint.processor), std::move(checkpoint.generation)};
    load_s += watch.lap();
    if (prompts.empty()) return chat_on(be, pipeline, request);

    Screen screen(/*stream=*/!request.json && prompts.size() == 1);
    Chat<B> chat(pipeline, static_cast<Index>(prompts.size()));
    std::vector<Answer> answers = chat.answer(be, prompts, request.options, &screen);
    for (std::size_t i = 0; i < answers.size(); ++i) answers[i].timings.preprocess_s = preprocess_s[i];

    if (request.json) return print(json_of(answers, load_s) + '\n');
    if (answers.size() == 1)
        print("\n");
    else
        for (std::size_t i = 0; i < answers.size(); ++i) print(join("[", i + 1, "]", answers[i].text, "\n"));
    report(speed_of(answers, load_s));
}

}  // namespace cli
