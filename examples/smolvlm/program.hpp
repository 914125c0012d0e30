#pragma once
/// A program made of commands: help, unknown words, errors as one line, exit codes.

#include <span>

#include "args.hpp"

namespace cli {

struct Command {
    std::string_view name, summary;
    int (*run)(const Words&);  // the words after its name; returns the exit code, throws for what the user did wrong
};

/// The exit code: the command's, or 2 for any error. name: "smolvlm", as messages and --help say it.
int run_program(std::string_view name, std::span<const Command> commands, int count, char** arguments);

}  // namespace cli
