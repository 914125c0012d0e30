#pragma once
/// The rules of the house, as tables, and the function that reads a header's text against them.

#include <algorithm>
#include <cctype>
#include <string>
#include <string_view>
#include <vector>

namespace house {

using Names = std::vector<std::string>;

/// Floors: what a header may include from include/smolvlm. An entry names a folder ("core/") or one header; the entry of a
/// header wins over its folder's. Arrows point down only: a header that needs more stands on the wrong floor.
struct Floor {
    std::string place;
    Names may_include;
};
inline const std::vector<Floor>& floors() {
    static const std::vector<Floor> table{
        {"core/", {"core/"}},
        {"backend/", {"core/", "backend/"}},
        {"ref/", {"core/", "backend/", "ref/"}},
        {"cpu/", {"core/", "backend/", "ref/", "cpu/"}},
        {"cuda/", {"core/", "backend/", "ref/", "cuda/"}},
        // Three wings that a researcher can take alone.
        {"io/", {"core/", "io/"}},
        {"tokenizer/", {"core/", "tokenizer/"}},
        {"image/", {"core/", "image/"}},
        // The model: layers know the Backend concept, never a backend.
        {"nn/", {"core/", "backend/", "nn/"}},
        {"vision/", {"core/", "backend/", "nn/", "vision/"}},
        {"text/", {"core/", "backend/", "nn/", "text/"}},
        {"model/", {"core/", "backend/", "nn/", "vision/", "text/", "model/"}},
        {"autograd/", {"core/", "backend/", "nn/", "autograd/"}},
        // Where the wings and the model meet.
        {"processor.hpp", {"core/", "tokenizer/", "image/", "model/"}},
        {"pipeline.hpp",
         {"core/", "backend/", "nn/", "vision/", "text/", "model/", "tokenizer/", "image/", "processor.hpp"}},
        {"checkpoint/",
         {"core/", "backend/", "nn/", "vision/", "text/", "model/", "io/", "tokenizer/", "image/", "processor.hpp",
          "pipeline.hpp", "checkpoint/"}},
        // Training: what is learned from, and how.
        {"data/", {"core/", "backend/", "io/", "tokenizer/", "image/", "model/", "vision/", "text/", "processor.hpp", "data/"}},
        {"train/",
         {"core/", "backend/", "nn/", "vision/", "text/", "model/", "autograd/", "io/", "tokenizer/", "image/", "processor.hpp",
          "checkpoint/", "data/", "train/"}},
        {"smolvlm.hpp",
         {"core/", "backend/", "ref/", "cpu/", "nn/", "vision/", "text/", "model/", "io/", "tokenizer/", "image/",
          "processor.hpp", "pipeline.hpp", "checkpoint/", "version.hpp"}},
        {"version.hpp", {}},
        {"fwd.hpp", {"core/", "backend/"}},
    };
    return table;
}

/// Headers that are not the C++ library's, and the only places that may include them.
struct Foreign {
    std::string prefix;
    Names places;
};
inline const std::vector<Foreign>& foreign_headers() {
    static const std::vector<Foreign> table{
        {"Eigen/", {"cpu/eigen.hpp"}},
        {"eigen3/", {"cpu/eigen.hpp"}},
        {"nlohmann/", {"io/json.hpp"}},
        {"stb/", {"image/load_stb.hpp", "image/save_png.hpp"}},
        {"stb_image", {"image/load_stb.hpp", "image/save_png.hpp"}},
        {"omp.h", {"core/parallel.hpp"}},
        {"mpi.h", {"train/mpi.hpp"}},
        {"cuda_runtime.h", {"cuda/platform.cuh", "cuda/calls.cuh"}},
        {"sys/", {"io/", "core/storage.hpp", "image/save_png.hpp", "core/cpu_features.hpp", "cuda/emulation/fiber.cuh"}},
        {"ucontext.h", {"cuda/emulation/fiber.cuh"}},
        {"fcntl.h", {"io/"}},
        {"unistd.h", {"io/", "checkpoint/", "image/save_png.hpp", "core/cpu_features.hpp", "cuda/emulation/fiber.cuh"}},
        {"cpuid.h", {"core/cpu_features.hpp"}},
        {"immintrin.h", {"cpu/", "image/"}},
        // What stb includes, brought in first because stb itself is compiled inside our namespace.
        {"assert.h", {"image/load_stb.hpp", "image/save_png.hpp"}},
        {"errno.h", {"image/load_stb.hpp", "image/save_png.hpp"}},
        {"limits.h", {"image/load_stb.hpp", "image/save_png.hpp"}},
        {"math.h", {"image/save_png.hpp"}},
        {"stdio.h", {"image/save_png.hpp"}},
        {"stdlib.h", {"image/save_png.hpp"}},
        {"string.h", {"image/save_png.hpp"}},
        {"emmintrin.h", {"image/"}},
        {"arm_neon.h", {"image/", "cpu/"}},
    };
    return table;
}

/// Library headers that are most of a small header's compile time, or that invite printing: not in core/.
inline const Names& barred_from_core() {
    static const Names table{"iostream", "sstream", "format", "regex", "filesystem", "functional", "ranges"};
    return table;
}

/// A library reports through exceptions and the caller's callbacks: it neither prints nor ends the process.
inline const Names& barred_words() {
    static const Names table{"cout",  "cerr",    "clog",     "printf", "vprintf",    "fprintf",
                             "puts",  "fputs",   "putchar",  "exit",   "_exit",      "quick_exit",
                             "abort", "perror",  "terminate", "setlocale", "srand"};
    return table;
}

/// A header holds one thing. These are longer than 300 lines for the reason given.
struct LongHeader {
    std::string place;
    int lines;
    std::string reason;
};
inline const std::vector<LongHeader>& long_headers() {
    static const std::vector<LongHeader> table{
        {"tokenizer/unicode_tables.hpp", 400, "the Unicode categories: a table, generated"},
    };
    return table;
}
/// The two that surround every kernel header: they are read again and again, and what one defines the other takes away.
inline const Names& brackets() {
    static const Names table{"cuda/platform.cuh", "cuda/platform_end.cuh"};
    return table;
}
inline constexpr int usual_lines = 300, usual_columns = 132;

inline bool starts_with_any(std::string_view text, const Names& prefixes) {
    return std::any_of(prefixes.begin(), prefixes.end(), [&](const std::string& p) { return text.starts_with(p); });
}

inline std::vector<std::string> lines_of(std::string_view text) {
    std::vector<std::string> lines;
    while (!text.empty()) {
        const auto end = std::min(text.find('\n'), text.size());
        lines.emplace_back(text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return lines;
}

/// The text with comments and literals blanked out, line breaks kept.
inline std::string code_only(std::string_view text) {
    std::string code;
    std::size_t i = 0;
    const auto skip_to = [&](std::size_t end) {
        for (end = std::min(end, text.size()); i < end; ++i) code += text[i] == '\n' ? '\n' : ' ';
    };
    while (i < text.size()) {
        const std::string_view rest = text.substr(i);
        if (rest.starts_with("//")) {
            skip_to(text.find('\n', i));
        } else if (rest.starts_with("/*")) {
            skip_to(std::min(text.find("*/", i + 2), text.size() - 2) + 2);
        } else if (rest.starts_with("R\"")) {
            const std::string close = ")" + std::string(rest.substr(2, rest.find('(') - 2)) + "\"";
            skip_to(std::min(text.find(close, i), text.size() - close.size()) + close.size());
        } else if (rest[0] == '"' || (rest[0] == '\'' && (i == 0 || !std::isalnum(static_cast<unsigned char>(text[i - 1]))))) {
            std::size_t end = i + 1;
            while (end < text.size() && text[end] != rest[0]) end += text[end] == '\\' ? 2u : 1u;
            skip_to(end + 1);
        } else {
            code += text[i++];
        }
    }
    return code;
}

inline bool has_word(std::string_view code, std::string_view word) {
    const auto part_of_name = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; };
    for (auto at = code.find(word); at != std::string_view::npos; at = code.find(word, at + 1)) {
        const auto end = at + word.size();
        if ((at == 0 || !part_of_name(code[at - 1])) && (end == code.size() || !part_of_name(code[end]))) return true;
    }
    return false;
}

inline std::size_t columns_of(std::string_view line) {
    return static_cast<std::size_t>(
        std::count_if(line.begin(), line.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0u) != 0x80u; }));
}

/// The floor of a header given by its path below include/smolvlm; null when nobody gave it one.
inline const Floor* floor_of(std::string_view place) {
    const Floor* found = nullptr;
    for (const Floor& floor : floors()) {
        if (floor.place == place) return &floor;
        if (floor.place.ends_with('/') && place.starts_with(floor.place)) found = &floor;
    }
    return found;
}

inline void check_include(const std::string& place, const Floor& floor, std::string_view line, Names& complaints) {
    const auto open = line.find_first_of("<\"");
    const auto close = open == line.npos ? open : line.find_first_of(">\"", open + 1);
    if (close == line.npos) return complaints.push_back("an include that is neither <...> nor \"...\"");
    const std::string header(line.substr(open + 1, close - open - 1));
    if (line[open] == '"') return complaints.push_back("\"" + header + "\": includes are written <smolvlm/...>");
    if (header.starts_with("smolvlm/")) {
        if (!starts_with_any(header.substr(8), floor.may_include))
            complaints.push_back("an arrow to " + header + ", which " + floor.place + " may not know");
        return;
    }
    for (const Foreign& foreign : foreign_headers())
        if (header.starts_with(foreign.prefix)) {
            if (!starts_with_any(place, foreign.places)) complaints.push_back("<" + header + "> belongs in " + foreign.places[0]);
            return;
        }
    if (header.find_first_of("./") != header.npos) complaints.push_back("<" + header + "> is no header of the C++ library");
    if (place.starts_with("core/") && std::count(barred_from_core().begin(), barred_from_core().end(), header))
        complaints.push_back("<" + header + "> is too heavy for core/");
}

/// Everything wrong with the header at `place` ("core/shape.hpp") that holds `text`.
inline Names complaints_about(const std::string& place, const std::string& text) {
    Names complaints;
    const Floor* floor = floor_of(place);
    if (!floor) return {"no floor: give its folder one in tests/headers/house_rules.hpp"};

    const auto lines = lines_of(text);
    const bool bracket = std::count(brackets().begin(), brackets().end(), place) > 0;
    if (!bracket && (lines.empty() || lines[0] != "#pragma once")) complaints.push_back("the first line is not #pragma once");
    if (text.find("\n///") == text.npos && !text.starts_with("///")) complaints.push_back("no doc comment (///)");
    if (!text.ends_with('\n')) complaints.push_back("no line break at the end");

    int allowed = usual_lines;
    for (const LongHeader& header : long_headers())
        if (header.place == place) allowed = header.lines;
    if (static_cast<int>(lines.size()) > allowed)
        complaints.push_back(std::to_string(lines.size()) + " lines, more than " + std::to_string(allowed));

    for (std::size_t n = 0; n < lines.size(); ++n) {
        const std::string where = "line " + std::to_string(n + 1) + ": ";
        if (columns_of(lines[n]) > usual_columns) complaints.push_back(where + "wider than " + std::to_string(usual_columns) + " columns");
        if (lines[n].find('\t') != std::string::npos) complaints.push_back(where + "a tab");
        if (lines[n].ends_with(' ')) complaints.push_back(where + "a space at the end");
    }

    // Directives are read from the raw lines of code, words from the code without comments and literals.
    const std::string code = code_only(text);
    const auto code_lines = lines_of(code);
    for (std::size_t n = 0; n < code_lines.size(); ++n) {
        std::string directive = code_lines[n];
        directive.erase(std::remove(directive.begin(), directive.end(), ' '), directive.end());
        if (directive.starts_with("#include")) check_include(place, *floor, lines[n], complaints);
        if (code_lines[n].starts_with("using namespace")) complaints.push_back("a using namespace for whoever includes it");
        if (directive.starts_with("#pragmaomp") && place != "core/parallel.hpp")
            complaints.push_back("#pragma omp belongs in core/parallel.hpp");
        if (directive.starts_with("#define") && !directive.starts_with("#defineSMOLVLM_") && !bracket &&
            !(directive.starts_with("#defineSTB") && starts_with_any(place, {"image/load_stb.hpp", "image/save_png.hpp"})))
            complaints.push_back("a macro that is not named SMOLVLM_...: " + lines[n]);
    }
    for (const std::string& word : barred_words())
        if (has_word(code, word)) complaints.push_back("the word " + word);
    return complaints;
}

}  // namespace house
