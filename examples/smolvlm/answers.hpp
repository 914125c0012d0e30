#pragma once
/// How answers are shown: as they grow, as JSON, and with their speed.

#include <smolvlm/pipeline.hpp>

#include "console.hpp"

namespace cli {

/// True once Ctrl-C was pressed, until it is taken. Where nobody asks a second Ctrl-C ends the program.
class Interrupt {
public:
    Interrupt();
    ~Interrupt();
    bool pressed() const;
    bool take();
};

/// Thrown between two frames: nobody wants the answer any more.
struct Stopped {};

/// Writes the answer while it grows, and how far the pictures are. Ctrl-C throws Stopped between frames and ends a text.
class Screen : public smolvlm::AnswerObserver {
public:
    explicit Screen(bool stream, const Interrupt* interrupt = nullptr) : stream_(stream), interrupt_(interrupt) {}

    void on_frame(smolvlm::Index done, smolvlm::Index total) override;
    bool on_text(smolvlm::Index sequence, std::string_view piece) override;
    Progress& progress() { return progress_; }

private:
    Progress progress_;
    bool stream_;
    const Interrupt* interrupt_;
};

/// The object, or with several answers the array, that --json prints.
std::string json_of(const std::vector<smolvlm::Answer>& answers, double load_s);

/// "1204 prompt tokens (1088 image tokens) ..., 48 new tokens in 0.95 s (49.5 tokens/s), ..."
std::string speed_of(const std::vector<smolvlm::Answer>& answers, double load_s);

/// The prompt of pictures that were processed before. Reports bytes that the vocabulary lacks.
smolvlm::Prompt make_prompt(const smolvlm::Processor& processor, std::string_view text,
                            std::vector<smolvlm::ProcessedImage> images);

/// One line from the terminal; false at its end (Ctrl-D). Ctrl-C begins the line anew.
bool read_line(std::string_view prompt, std::string& line, Interrupt& interrupt);

}  // namespace cli
