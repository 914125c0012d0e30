// README.md tells the truth: its programs compile and run, its excerpts are in the files they name, its commands exist.
//
//     ```cpp      with a main(): compiled and run on a tiny model and a picture. Without: an excerpt, whose first line is
//                 a comment with the path of the file that holds it.
//     ```sh       commands for the reader to type; scripts and programs they name exist.
//     ```console  "$ command" and its output. "$ build/bin/smolvlm" and "$ ./program", the first ```cpp program, are run,
//                 and print exactly what is shown.

#include <doctest/doctest.h>

#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "blocks.hpp"
#include "support/temp_dir.hpp"

namespace fs = std::filesystem;
using readme::Block;

namespace {

const fs::path source = fs::path(SMOLVLM_TEST_DIR).parent_path();
const fs::path work = fs::path(SMOLVLM_BUILD_DIR) / "readme";

std::vector<Block> blocks(std::string_view language) {
    std::vector<Block> found;
    for (Block& block : readme::blocks_of(testing::read_file(source / "README.md")))
        if (block.language == language) found.push_back(std::move(block));
    return found;
}

struct Outcome {
    int status;
    std::string output;  // stdout
};
Outcome run(const std::string& command) {
    const fs::path output = work / "stdout.txt";
    const int status = std::system(("cd '" + source.string() + "' && " + command + " >'" + output.string() + "'").c_str());
    return {status, testing::read_file(output)};
}

bool is_program(const Block& block) { return block.text.find("int main(") != std::string::npos; }

std::string without_spaces(std::string text) {
    std::erase_if(text, [](char c) { return std::isspace(static_cast<unsigned char>(c)); });
    return text;
}

}  // namespace

TEST_CASE("blocks: fences, languages, line numbers, commands and their output") {
    const auto found = readme::blocks_of("a\n```cpp\nint x;\n```\n```console\n$ one\n1\n2\n$ two \\\n  more\n3\n```\n");
    REQUIRE(found.size() == 2);
    CHECK(found[0].language == "cpp");
    CHECK(found[0].text == "int x;\n");
    CHECK(found[0].line == 2);
    const auto commands = readme::commands_of(found[1]);
    REQUIRE(commands.size() == 2);
    CHECK(commands[0].command == "one");
    CHECK(commands[0].output == "1\n2\n");
    CHECK(commands[1].command == "two \\\n  more");
    CHECK(commands[1].output == "3\n");
}

TEST_CASE("README: every program compiles without a warning and runs") {
    fs::create_directories(work);
    int number = 0;
    for (const Block& block : blocks("cpp")) {
        if (!is_program(block)) continue;
        CAPTURE(block.line);
        const std::string name = number++ == 0 ? "program" : "program" + std::to_string(number);
        const std::string file = (work / (name + ".cpp")).string(), binary = (work / name).string();
        std::ofstream(file) << block.text;
        CHECK(run(SMOLVLM_COMPILE " '" + file + "' -o '" + binary + "'").status == 0);
        const Outcome outcome = run("'" + binary + "' " SMOLVLM_PROGRAM_ARGUMENTS);
        CHECK(outcome.status == 0);
        CHECK(!outcome.output.empty());
    }
    CHECK_MESSAGE(number > 0, "README.md shows no program");
}

TEST_CASE("README: every excerpt stands in the file it names, line for line") {
    for (const Block& block : blocks("cpp")) {
        if (is_program(block)) continue;
        CAPTURE(block.line);
        const auto lines = readme::lines_of(block.text);
        REQUIRE_MESSAGE((!lines.empty() && lines[0].starts_with("// ")), "an excerpt begins with // path/of/its/file");
        const std::string path = lines[0].substr(3, lines[0].find(' ', 3) - 3);
        REQUIRE_MESSAGE(fs::exists(source / path), path);
        const std::string file = without_spaces(testing::read_file(source / path));
        for (std::size_t n = 1; n < lines.size(); ++n)
            CHECK_MESSAGE(file.find(without_spaces(lines[n])) != std::string::npos, path << " has no line " << lines[n]);
    }
}

TEST_CASE("README: scripts named in commands exist, and files it links to do too") {
    const std::string text = testing::read_file(source / "README.md");
    int scripts = 0;
    for (const Block& block : blocks("sh"))
        for (const std::string& line : readme::lines_of(block.text))
            if (line.starts_with("sh ") || line.starts_with("bash ")) {
                const auto begin = line.find(' ') + 1;
                const std::string script = line.substr(begin, line.find(' ', begin) - begin);
                CHECK_MESSAGE(fs::exists(source / script), script);
                ++scripts;
            }
    CHECK(scripts >= 2);
    for (auto at = text.find("]("); at != std::string::npos; at = text.find("](", at + 1)) {
        const std::string link = text.substr(at + 2, text.find_first_of(")#", at + 2) - at - 2);
        if (!link.empty() && link.find("://") == std::string::npos) CHECK_MESSAGE(fs::exists(source / link), link);
    }
}

#ifdef SMOLVLM_CLI
TEST_CASE("README: the program prints what the README shows") {
    fs::create_directories(work);
    const std::string program = "build/bin/smolvlm ", own = "./program ";
    int commands = 0;
    for (const Block& block : blocks("console"))
        for (const auto& [command, output] : readme::commands_of(block)) {
            CAPTURE(command);
            const bool ours = command.starts_with(own);
            REQUIRE((ours || command.starts_with(program)));
            const Outcome outcome = ours ? run("'" + (work / "program").string() + "' " + command.substr(own.size()))
                                         : run(SMOLVLM_CLI " " + command.substr(program.size()));
            ++commands;
            CHECK(outcome.status == 0);
            CHECK(outcome.output == output);
        }
    CHECK(commands >= 3);
}
#endif
