#include "program.hpp"

#include <fcntl.h>

#include <csignal>
#include <exception>
#include <new>
#include <smolvlm/version.hpp>

#include "console.hpp"

namespace cli {
namespace {

std::string usage(std::span<const Command> commands) {
    std::string text = "Usage: " + program_name + " COMMAND [flags]\n\nCommands\n";
    for (const Command& command : commands) {
        std::string line = smolvlm::join("  ", command.name);
        line.resize(14, ' ');
        text += line + std::string(command.summary) + "\n";
    }
    return text + "\n" + program_name + " COMMAND --help lists the flags of a command, " + program_name +
           " --version the version.\n";
}

int run(std::span<const Command> commands, const Words& words) {
    if (words.empty()) smolvlm::fail<smolvlm::ValueError>("no command given; ", program_name, " --help lists them");
    const std::string& name = words[0];
    if (name == "help" && words.size() > 1) return run(commands, {words[1], "--help"});
    if (name == "--help" || name == "-h" || name == "help") return print(usage(commands)), 0;
    if (name == "--version")
        return print(smolvlm::join(program_name, " ", SMOLVLM_VERSION_MAJOR, ".", SMOLVLM_VERSION_MINOR, ".",
                                   SMOLVLM_VERSION_PATCH, "\n")),
               0;

    std::vector<std::string_view> names;
    for (const Command& command : commands) {
        if (command.name == name) return command.run({words.begin() + 1, words.end()});
        names.push_back(command.name);
    }
    std::string known;
    for (const std::string_view command : names) known += (known.empty() ? "" : ", ") + std::string(command);
    const std::string_view near = nearest(name, names);
    smolvlm::fail<smolvlm::ValueError>("unknown command ", in_quotes(name),
                                       near.empty() ? std::string() : smolvlm::join("; did you mean ", near, "?"),
                                       " The commands are: ", known);
}

/// Files that we open must not take the places of standard streams that the caller has closed.
void hold_standard_streams() {
    for (int descriptor = 0; descriptor <= 2; ++descriptor)
        if (::fcntl(descriptor, F_GETFD) < 0) (void)!::open("/dev/null", descriptor == 1 ? O_RDONLY : O_RDWR);
}

}  // namespace

int run_program(std::string_view name, std::span<const Command> commands, int count, char** arguments) {
    program_name = name;
    hold_standard_streams();
    std::signal(SIGPIPE, SIG_IGN);
    try {
        return run(commands, Words(arguments + 1, arguments + count));
    } catch (const OutputClosed&) {
        std::signal(SIGPIPE, SIG_DFL);  // all is cleaned up: now end as programs do whose reader has gone
        std::raise(SIGPIPE);
    } catch (const std::bad_alloc&) {
        report_error("not enough memory");
    } catch (const std::exception& error) {
        report_error(error.what());
    }
    return 2;
}

}  // namespace cli
