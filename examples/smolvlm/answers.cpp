#include "answers.hpp"

#include <sys/resource.h>

#include <csignal>

namespace cli {

using namespace smolvlm;

namespace {

volatile std::sig_atomic_t interrupt_pressed = 0;

void on_interrupt(int) {
    // Nobody took the first one: the program is busy where it cannot stop, and the user wants it to.
    if (interrupt_pressed) std::signal(SIGINT, SIG_DFL), std::raise(SIGINT);
    interrupt_pressed = 1;
}

/// The most memory that this program has held so far.
Index peak_memory_bytes() {
    // Linux says so of the program itself; what getrusage says may still be the peak of the shell that started it.
    if (std::FILE* const status = std::fopen("/proc/self/status", "r")) {
        long kibibytes = 0;
        for (char line[256]; kibibytes == 0 && std::fgets(line, sizeof line, status);)
            if (std::sscanf(line, "VmHWM: %ld kB", &kibibytes) != 1) kibibytes = 0;
        std::fclose(status);
        if (kibibytes > 0) return Index(kibibytes) * 1024;
    }
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    return static_cast<Index>(usage.ru_maxrss) * 1024;
}

std::string fixed(double value, int digits) {
    char text[40];
    std::snprintf(text, sizeof text, "%.*f", digits, value);
    return text;
}

}  // namespace

Interrupt::Interrupt() {
    struct sigaction action {};
    action.sa_handler = on_interrupt;  // without SA_RESTART: a waiting read returns
    ::sigaction(SIGINT, &action, nullptr);
}
Interrupt::~Interrupt() { std::signal(SIGINT, SIG_DFL); }
bool Interrupt::pressed() const { return interrupt_pressed != 0; }
bool Interrupt::take() {
    const bool was_pressed = pressed();
    interrupt_pressed = 0;
    return was_pressed;
}

void Screen::on_frame(Index done, Index total) {
    if (done < total)
        progress_.show(join("looking at the pictures: frame ", done, " of ", total));
    else
        progress_.clear();
}

bool Screen::on_text(Index, std::string_view piece) {
    if (stream_) print(piece);
    return !interrupt_ || !interrupt_->pressed();
}

std::string json_of(const std::vector<Answer>& answers, double load_s) {
    std::string list;
    for (const Answer& answer : answers) {
        const AnswerTimings& t = answer.timings;
        list += join(list.empty() ? "" : ",\n ", "{\"text\": ", json_string(answer.text),
                     ", \"ids\": ", json_array(answer.ids), ", \"prompt_tokens\": ", answer.prompt_tokens,
                     ", \"image_tokens\": ", answer.image_tokens, ", \"timings\": {\"load_s\": ", fixed(load_s, 6),
                     ", \"preprocess_s\": ", fixed(t.preprocess_s, 6), ", \"vision_s\": ", fixed(t.vision_s, 6),
                     ", \"prefill_s\": ", fixed(t.prefill_s, 6), ", \"decode_s\": ", fixed(t.decode_s, 6),
                     "}, \"peak_memory_bytes\": ", peak_memory_bytes(), '}');
    }
    return answers.size() == 1 ? list : '[' + list + ']';
}

std::string speed_of(const std::vector<Answer>& answers, double load_s) {
    // The times of a batch are those of all its conversations together.
    Index prompt = 0, image = 0, fresh = 0, later = 0, total = 0;
    double preprocess_s = 0;
    for (const Answer& answer : answers) {
        const auto n = static_cast<Index>(answer.ids.size());
        prompt += answer.prompt_tokens;
        image += answer.image_tokens;
        fresh += answer.prompt_tokens - answer.reused_tokens;
        total += n;
        later += std::max<Index>(n - 1, 0);
        preprocess_s += answer.timings.preprocess_s;
    }
    const AnswerTimings& t = answers.front().timings;
    const auto rate = [](Index tokens, double seconds) {
        return seconds > 0 ? " (" + fixed(static_cast<double>(tokens) / seconds, 1) + " tokens/s)" : std::string();
    };
    std::string text = join("[", prompt, " prompt tokens");
    if (image > 0) text += join(", ", image, " of them image");
    if (fresh < prompt) text += join(", ", prompt - fresh, " known before");
    text += join("; ", total, " new; ");
    if (load_s > 0) text += "load " + fixed(load_s, 2) + " s, ";
    if (image > 0) text += "preprocess " + fixed(preprocess_s, 2) + " s, vision " + fixed(t.vision_s, 2) + " s, ";
    text += "prefill " + fixed(t.prefill_s, 2) + " s" + rate(fresh, t.prefill_s);
    if (later > 0) text += ", decode " + fixed(t.decode_s, 2) + " s" + rate(later, t.decode_s);
    return text + "; peak memory " + fixed(static_cast<double>(peak_memory_bytes()) / (1 << 20), 0) + " MiB]";
}

Prompt make_prompt(const Processor& processor, std::string_view text, std::vector<ProcessedImage> images) {
    Prompt prompt = processor.prepare(text, std::move(images));
    if (!prompt.dropped.empty())
        report(join("note: ", prompt.dropped.size(),
                    " byte(s) of the prompt have no token and were left out, the first at ", prompt.dropped[0]));
    return prompt;
}

bool read_line(std::string_view prompt, std::string& line, Interrupt& interrupt) {
    for (;;) {
        print(prompt);
        line.clear();
        int c = 0;
        errno = 0;
        while ((c = std::getc(stdin)) != EOF && c != '\n') line += static_cast<char>(c);
        if (c == '\n') return true;
        if (!interrupt.take()) {
            if (line.empty()) print("\n");  // after Ctrl-D the terminal's next words begin a line of their own
            return !line.empty();
        }
        std::clearerr(stdin);
        print("\n");
    }
}

}  // namespace cli
