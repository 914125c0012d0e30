#pragma once
/// The fenced code blocks of a Markdown text.

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

namespace readme {

struct Block {
    std::string language;  // what follows the opening fence: cpp, sh, console, ...
    std::string text;
    int line = 0;  // of the opening fence, from 1
};

/// A command of a console block ("$ command") and the output shown below it.
struct Command {
    std::string command, output;
};

inline std::vector<std::string> lines_of(std::string_view text) {
    std::vector<std::string> lines;
    while (!text.empty()) {
        const auto end = std::min(text.find('\n'), text.size());
        lines.emplace_back(text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return lines;
}

inline std::vector<Block> blocks_of(std::string_view markdown) {
    std::vector<Block> blocks;
    bool inside = false;
    int line = 0;
    for (const std::string& text : lines_of(markdown)) {
        ++line;
        if (text.starts_with("```")) {
            inside = !inside;
            if (inside) blocks.push_back({text.substr(3), "", line});
        } else if (inside) {
            blocks.back().text += text + "\n";
        }
    }
    return blocks;
}

inline std::vector<Command> commands_of(const Block& console) {
    std::vector<Command> commands;
    for (const std::string& line : lines_of(console.text)) {
        if (line.starts_with("$ "))
            commands.push_back({line.substr(2), ""});
        else if (!commands.empty() && commands.back().command.ends_with("\\"))
            commands.back().command += "\n" + line;
        else if (!commands.empty())
            commands.back().output += line + "\n";
    }
    return commands;
}

}  // namespace readme
