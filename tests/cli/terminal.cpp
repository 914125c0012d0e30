// The program at a terminal: chats, Ctrl-C, Ctrl-D.

#include <doctest/doctest.h>
#include <poll.h>
#include <sys/ioctl.h>

#include <csignal>
#include <cstdlib>

#include "cli/program.hpp"

using namespace cli_test;

namespace {

/// The program with a terminal of its own (a pseudo-terminal), typed at as a person would.
class Terminal {
public:
    explicit Terminal(const Words& words) : screen_(::posix_openpt(O_RDWR | O_NOCTTY)) {
        if (screen_ < 0 || ::grantpt(screen_) != 0 || ::unlockpt(screen_) != 0) return;
        const std::string name = ::ptsname(screen_);
        Words copy = words;
        copy.insert(copy.begin(), SMOLVLM_CLI);
        std::vector<char*> arguments;
        for (std::string& word : copy) arguments.push_back(word.data());
        arguments.push_back(nullptr);
        child_ = ::fork();
        if (child_ == 0) {
            ::setsid();
            const int keyboard = ::open(name.c_str(), O_RDWR);
            ::ioctl(keyboard, TIOCSCTTY, 0);
            for (int stream : {0, 1, 2}) ::dup2(keyboard, stream);
            ::close(screen_);
            ::execv(SMOLVLM_CLI, arguments.data());
            ::_exit(127);
        }
    }
    Terminal(const Terminal&) = delete;
    Terminal& operator=(const Terminal&) = delete;
    ~Terminal() {
        if (child_ > 0) ::kill(child_, SIGKILL), ::waitpid(child_, nullptr, 0);
        ::close(screen_);
    }

    bool works() const { return child_ > 0; }
    void type(std::string_view keys) { (void)!::write(screen_, keys.data(), keys.size()); }

    /// What appears until `end` does, or until nothing comes for a minute.
    std::string read_until(std::string_view end) {
        std::string seen;
        while (seen.find(end) == seen.npos) {
            const std::string more = read_some();
            if (more.empty()) break;
            seen += more;
        }
        return seen;
    }
    /// What appears next; nothing at the end, or when nothing came for a minute.
    std::string read_some() {
        pollfd wait{screen_, POLLIN, 0};
        char bytes[1024];
        if (::poll(&wait, 1, 60000) <= 0) return "";
        const ssize_t n = ::read(screen_, bytes, sizeof bytes);
        return n > 0 ? std::string(bytes, static_cast<std::size_t>(n)) : "";
    }

    /// The exit code, or 128 + signal.
    int end() {
        while (!read_some().empty()) continue;
        int status = 0;
        ::waitpid(std::exchange(child_, -1), &status, 0);
        return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    }

private:
    int screen_ = -1;
    pid_t child_ = -1;
};

constexpr const char *ctrl_c = "\x03", *ctrl_d = "\x04";

/// The tiny model with room for an answer that nobody waits for.
const Variant& talkative() {
    static const Variant variant("config.json", changed_config("\"max_position_embeddings\": 2048",
                                                               "\"max_position_embeddings\": 200000"));
    return variant;
}

}  // namespace

#define REQUIRE_TERMINAL(terminal)                                              \
    if (!terminal.works()) {                                                    \
        MESSAGE("skipped: this machine gives no pseudo-terminal (/dev/ptmx)"); \
        return;                                                                 \
    }

TEST_CASE("cli: a chat knows earlier turns, takes pictures, and says what is wrong without ending") {
    Terminal terminal({"generate", "--model", model, "--max-new-tokens", "4", "--ignore-eos", "--no-split"});
    REQUIRE_TERMINAL(terminal);
    CHECK(terminal.read_until("> ").find("Ctrl-D ends") != std::string::npos);
    terminal.type("Hello\n");
    CHECK(terminal.read_until("MiB]\r\n> ").find("; 4 new;") != std::string::npos);
    terminal.type("And again?\n");
    CHECK(terminal.read_until("MiB]\r\n> ").find(" known before; 4 new;") != std::string::npos);
    terminal.type("/image /no/such.png\n");
    CHECK(terminal.read_until("\r\n> ").find("smolvlm: /no/such.png: ") != std::string::npos);
    terminal.type("/image " + golden("images/rgb.png") + "\n");
    CHECK(terminal.read_until(" tokens\r\n> ").find("1 frames, 16 tokens") != std::string::npos);
    terminal.type("What is it?\n");
    CHECK(terminal.read_until("MiB]\r\n> ").find(", 16 of them image") != std::string::npos);
    terminal.type("/nonsense\n");
    CHECK(terminal.read_until("\r\n> ").find("/reset begins anew") != std::string::npos);
    terminal.type("/quit\n");
    CHECK(terminal.end() == 0);
}

TEST_CASE("cli: a chat reads pictures before their question is asked") {
    Terminal terminal({"generate", "--model", model, "--max-new-tokens", "4", "--ignore-eos", "--no-split"});
    REQUIRE_TERMINAL(terminal);
    const auto known = [&](const std::string& question) {  // tokens of the prompt that were read before it
        terminal.type(question + "\n");
        const std::string said = terminal.read_until("MiB]\r\n> "), before = " known before;";
        const std::size_t end = said.find(before), begin = said.rfind(' ', end - 1);
        return end == said.npos ? 0 : std::stoi(said.substr(begin + 1, end - begin));
    };
    terminal.read_until("> ");
    terminal.type("/image " + golden("images/rgb.png") + "\n");
    terminal.read_until(" tokens\r\n> ");
    CHECK(known("What is it?") >= 16);
    terminal.type("/reset\n");
    terminal.read_until("> ");
    for (const char* name : {"images/rgb.png", "images/grey.png"}) {  // the second one stops or follows the first
        terminal.type("/image " + golden(name) + "\n");
        terminal.read_until(" tokens\r\n> ");
    }
    CHECK(known("Which is grey?") >= 32);
    terminal.type("/quit\n");
    CHECK(terminal.end() == 0);
}

TEST_CASE("cli: a chat may begin with a picture on the command line; one that is none ends it") {
    const auto begin = [](const std::string& name) {
        return Words{"generate", "--model", model, "--max-new-tokens", "4", "--no-split", "--image", golden(name)};
    };
    Terminal terminal(begin("images/rgb.png")), wrong(begin("no such picture"));
    REQUIRE_TERMINAL(terminal);
    CHECK(terminal.read_until("> ").find("1 frames, 16 tokens") != std::string::npos);
    terminal.type("What is it?\n");
    CHECK(terminal.read_until("MiB]\r\n> ").find(", 16 of them image, ") != std::string::npos);
    terminal.type(ctrl_d);
    CHECK(terminal.end() == 0);
    CHECK(wrong.end() == 2);
}

TEST_CASE("cli: Ctrl-C ends an answer but not the chat, at the prompt it begins the line anew; Ctrl-D ends the chat") {
    Terminal terminal({"generate", "--model", talkative().path(), "--max-new-tokens", "100000", "--ignore-eos"});
    REQUIRE_TERMINAL(terminal);
    terminal.read_until("> ");
    terminal.type("Tell me everything\n");
    terminal.read_until("everything\r\n");
    terminal.read_some();  // the answer has begun
    terminal.type(ctrl_c);
    const std::string said = terminal.read_until("MiB]\r\n> ");
    CHECK(said.find(" new; ") != std::string::npos);
    CHECK(said.find("100000 new; ") == std::string::npos);
    terminal.type("half a li");
    terminal.read_until("half a li");
    ::usleep(300000);  // people type slower than the program comes to wait for them
    terminal.type(ctrl_c);
    CHECK(terminal.read_until("> ").find("smolvlm") == std::string::npos);
    terminal.type(ctrl_d);
    terminal.type(ctrl_d);
    CHECK(terminal.end() == 0);
}

TEST_CASE("cli: Ctrl-C ends a single answer as it ends any program, without a message") {
    const testing::TempDir dir;
    const std::string out = dir.write("out", ""), err = dir.write("err", "");
    const pid_t child = ::fork();
    if (child == 0) {
        ::dup2(::open(out.c_str(), O_WRONLY), 1);
        ::dup2(::open(err.c_str(), O_WRONLY), 2);
        ::execl(SMOLVLM_CLI, SMOLVLM_CLI, "generate", "--model", talkative().path().c_str(), "--prompt", "Hello",
                "--max-new-tokens", "100000", "--ignore-eos", nullptr);
        ::_exit(127);
    }
    while (testing::read_file(out).empty() && ::waitpid(child, nullptr, WNOHANG) == 0) ::usleep(10000);
    ::kill(child, SIGINT);
    int status = 0;
    ::waitpid(child, &status, 0);
    CHECK(WIFSIGNALED(status));
    CHECK(WTERMSIG(status) == SIGINT);
    CHECK(testing::read_file(err) == "");
}
