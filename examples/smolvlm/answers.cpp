#include "answers.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <csignal>

namespace cli {

using namespace smolvlm;

namespace {

volatile std::sig_atomic_t interrupt_pressed = 0;
int wake[2] = {-1, -1};  // a pipe that Ctrl-C writes to: it ends a wait for input even when it comes just before it

void on_interrupt(int) {
    // Nobody took the first one: the program is busy where it cannot stop, and the user wants it to.
    if (interrupt_pressed) std::signal(SIGINT, SIG_DFL), std::raise(SIGINT);
    interrupt_pressed = 1;
    const int before = errno;
    if (::write(wake[1], "", 1) < 0) errno = before;  // full: then there is something to read
}

/// Waits until standard input has something to read, or ended; false when Ctrl-C comes first.
bool wait_for_input(const Interrupt& interrupt) {
    while (!interrupt.pressed()) {
        std::array<pollfd, 2> ends{{{STDIN_FILENO, POLLIN, 0}, {wake[0], POLLIN, 0}}};
        if (::poll(ends.data(), ends.size(), -1) < 0 && errno != EINTR) return true;  // reading will tell
        if (ends[0].revents != 0) return !interrupt.pressed();
    }
    return false;
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
    if (wake[0] < 0 && ::pipe(wake) == 0)
        for (const int end : wake) ::fcntl(end, F_SETFL, O_NONBLOCK);
    struct sigaction action {};
    action.sa_handler = on_interrupt;  // without SA_RESTART: a waiting read returns
    ::sigaction(SIGINT, &action, nullptr);
}
Interrupt::~Interrupt() { std::signal(SIGINT, SIG_DFL); }
bool Interrupt::pressed() const { return interrupt_pressed != 0; }
bool Interrupt::take() {
    const bool was_pressed = pressed();
    interrupt_pressed = 0;
    for (char byte; ::read(wake[0], &byte, 1) > 0;) {}
    return was_pressed;
}

void Screen::on_frame(Index done, Index total) {
    if (done < total)
        progress_.show(join("looking at the pictures: frame ", done, " of ", total));
    else
        progress_.clear();
    if (done < total && interrupt_ && interrupt_->pressed()) throw Stopped{};
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
    static std::string typed;  // what came in one piece but is not asked for yet
    print(prompt);
    for (;;) {
        if (const std::size_t end = typed.find('\n'); end != std::string::npos) {
            line = typed.substr(0, end);
            typed.erase(0, end + 1);
            return true;
        }
        std::array<char, 4096> piece;
        const ssize_t n = wait_for_input(interrupt) ? ::read(STDIN_FILENO, piece.data(), piece.size()) : -1;
        if (n > 0) {
            typed.append(piece.data(), static_cast<std::size_t>(n));
        } else if (interrupt.take()) {  // what was typed so far is dropped
            typed.clear();
            print("\n");
            print(prompt);
        } else if (n == 0 || errno != EINTR) {
            line = std::exchange(typed, {});
            if (line.empty()) print("\n");  // after Ctrl-D the terminal's next words begin a line of their own
            return !line.empty();
        }
    }
}

}  // namespace cli
