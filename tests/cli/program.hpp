#pragma once
/// Runs the built program as a script would, and small files for it to chew on.

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <smolvlm/io/safetensors.hpp>

#include "support/temp_dir.hpp"

namespace cli_test {

using Words = std::vector<std::string>;

/// A file below tests/golden.
inline std::string golden(std::string_view name) {
    return std::string(SMOLVLM_TEST_DIR "/golden/") + std::string(name);
}
inline const std::string model = golden("models/gqa_untied_r2");
inline const std::string processor = golden("processor_learned");

struct Result {
    int code = -1;  // the exit code; 128 + signal when one ended it
    std::string out, err;
};

/// smolvlm WORDS..., with these bytes on standard input; `out` names a file or device for standard output.
inline Result run(const Words& words, std::string_view input = "", const std::string& out = "") {
    const testing::TempDir dir;
    const std::string in_path = dir.write("in", input);
    const std::string out_path = out.empty() ? dir / "out" : out, err_path = dir / "err";
    std::vector<char*> arguments;
    Words copy = words;
    copy.insert(copy.begin(), SMOLVLM_CLI);
    for (std::string& word : copy) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    const pid_t child = ::fork();
    if (child == 0) {
        ::dup2(::open(in_path.c_str(), O_RDONLY), 0);
        ::dup2(::open(out_path.c_str(), O_WRONLY | O_CREAT, 0600), 1);
        ::dup2(::open(err_path.c_str(), O_WRONLY | O_CREAT, 0600), 2);
        ::execv(SMOLVLM_CLI, arguments.data());
        ::_exit(127);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    Result result{WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status), "", testing::read_file(err_path)};
    if (out.empty()) result.out = testing::read_file(out_path);
    return result;
}

/// The words of two lists.
inline Words operator+(Words a, const Words& b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
}

/// Empty when the program answered with exit code 2 and one line that holds `part`; else what it did.
inline std::string not_refused(const Result& result, std::string_view part) {
    std::string_view line = result.err;
    const bool one_line = line.starts_with("smolvlm: ") && line.find('\n') == line.size() - 1 && line.size() < 2000;
    if (result.code == 2 && one_line && line.find(part) != line.npos && result.out.empty()) return "";
    return smolvlm::join("exit code ", result.code, ", standard error: ", result.err,
                         ", standard output: ", result.out.substr(0, 200));
}

/// A copy of the tiny model in which one file is another.
class Variant {
public:
    Variant(const std::string& file, std::string_view bytes) {
        for (const auto& entry : std::filesystem::directory_iterator(model))
            if (entry.path().filename() != file)
                std::filesystem::create_symlink(std::filesystem::absolute(entry.path()),
                                                dir_.path() / entry.path().filename());
        dir_.write(file, bytes);
    }
    std::string path() const { return dir_.path().string(); }

private:
    testing::TempDir dir_;
};

/// The tiny model's config.json with one thing changed.
inline std::string changed_config(std::string_view from, std::string_view to) {
    std::string text = testing::read_file(model + "/config.json");
    const std::size_t at = text.find(from);
    return at == std::string::npos ? "" : text.replace(at, from.size(), to);
}

inline smolvlm::Json json(const std::string& text) { return smolvlm::parse_json(text, "output"); }
inline smolvlm::Json golden_json(std::string_view name) {
    return smolvlm::parse_json(testing::read_file(golden(name)), name);
}

/// A chat file whose pictures are found below tests/golden.
inline std::string write_chat(const testing::TempDir& dir, std::string_view name, smolvlm::Json messages) {
    for (smolvlm::Json& message : messages)
        for (smolvlm::Json& item : message["content"])
            if (item["type"] == "image") item["path"] = golden(item["path"].get<std::string>());
    return dir.write(name, smolvlm::Json{{"messages", messages}}.dump());
}

/// The flags that say what a golden case's processor options say.
inline Words image_flags(const smolvlm::Json& options) {
    Words words;
    if (options.contains("do_image_splitting")) words = words + Words{"--no-split"};
    if (options.contains("size"))
        words = words + Words{"--longest-edge", std::to_string(options["size"]["longest_edge"].get<int>())};
    return words;
}

}  // namespace cli_test
