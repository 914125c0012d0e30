// smolvlm: a picture and a question in, an answer out; and the parts of that, one command each.
//
// Exit codes: 0 done, 1 compared tensors differ, 2 any error, told in one line on standard error.

#include <fcntl.h>

#include <csignal>
#include <exception>
#include <new>
#include <smolvlm/version.hpp>

#include "commands.hpp"
#include "console.hpp"

namespace {

struct Command {
    std::string_view name, summary;
    int (*run)(const cli::Words&);
};

constexpr Command commands[] = {
    {"generate", "pictures and a conversation in, the answer out", cli::generate},
    {"tokenize", "text to token ids and back", cli::tokenize},
    {"prompt", "the exact prompt that a conversation becomes", cli::prompt},
    {"preprocess", "pictures to the tiles and numbers that the model sees", cli::preprocess},
    {"trace", "every intermediate tensor of one pass through the model", cli::trace},
    {"compare", "two files of tensors, and where they first depart", cli::compare},
    {"grad", "the loss of a batch and its derivative by every parameter", cli::grad},
    {"train", "a model learns from conversations", cli::train},
    {"info", "what a checkpoint is: architecture, tokens, sizes, memory", cli::info},
};

std::string usage() {
    std::string text = "Usage: smolvlm COMMAND [flags]\n\nCommands\n";
    for (const Command& command : commands) {
        std::string line = smolvlm::join("  ", command.name);
        line.resize(14, ' ');
        text += line + std::string(command.summary) + "\n";
    }
    return text + "\nsmolvlm COMMAND --help lists the flags of a command, smolvlm --version the version.\n";
}

int run(const cli::Words& words) {
    if (words.empty()) smolvlm::fail<smolvlm::ValueError>("no command given; smolvlm --help lists them");
    const std::string& name = words[0];
    if (name == "help" && words.size() > 1) return run({words[1], "--help"});
    if (name == "--help" || name == "-h" || name == "help") return cli::print(usage()), 0;
    if (name == "--version")
        return cli::print(smolvlm::join("smolvlm ", SMOLVLM_VERSION_MAJOR, ".", SMOLVLM_VERSION_MINOR, ".",
                                        SMOLVLM_VERSION_PATCH, "\n")),
               0;

    std::vector<std::string_view> names;
    for (const Command& command : commands) {
        if (command.name == name) return command.run({words.begin() + 1, words.end()});
        names.push_back(command.name);
    }
    std::string known;
    for (const std::string_view command : names) known += (known.empty() ? "" : ", ") + std::string(command);
    const std::string_view near = cli::nearest(name, names);
    smolvlm::fail<smolvlm::ValueError>("unknown command ", cli::in_quotes(name),
                                       near.empty() ? std::string() : smolvlm::join("; did you mean ", near, "?"),
                                       " The commands are: ", known);
}

/// Files that we open must not take the places of standard streams that the caller has closed.
void hold_standard_streams() {
    for (int descriptor = 0; descriptor <= 2; ++descriptor)
        if (::fcntl(descriptor, F_GETFD) < 0) (void)!::open("/dev/null", descriptor == 1 ? O_RDONLY : O_RDWR);
}

}  // namespace

int main(int count, char** arguments) {
    hold_standard_streams();
    std::signal(SIGPIPE, SIG_IGN);
    try {
        return run(cli::Words(arguments + 1, arguments + count));
    } catch (const cli::OutputClosed&) {
        std::signal(SIGPIPE, SIG_DFL);  // all is cleaned up: now end as programs do whose reader has gone
        std::raise(SIGPIPE);
    } catch (const std::bad_alloc&) {
        cli::report_error("not enough memory");
    } catch (const std::exception& error) {
        cli::report_error(error.what());
    }
    return 2;
}
