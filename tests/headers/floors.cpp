// The house stands: every header keeps to its floor and to the rules in house_rules.hpp, and each rule can fail.

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>

#include "house_rules.hpp"

namespace fs = std::filesystem;

namespace {

const fs::path root = fs::path(SMOLVLM_TEST_DIR) / ".." / "include" / "smolvlm";

std::string read(const fs::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

// Paths of all headers below include/smolvlm.
std::set<std::string> headers() {
    std::set<std::string> places;
    for (const auto& entry : fs::recursive_directory_iterator(root))
        if (entry.is_regular_file()) places.insert(fs::relative(entry.path(), root).generic_string());
    return places;
}

}  // namespace

TEST_CASE("floors: every header includes only what lies below it, and keeps the rules of the house") {
    const auto places = headers();
    REQUIRE(places.count("core/shape.hpp") == 1);
    for (const auto& place : places) {
        CAPTURE(place);
        for (const auto& complaint : house::complaints_about(place, read(root / place))) FAIL_CHECK(place << ": " << complaint);
    }
}

TEST_CASE("floors: the table itself has no circle") {
    // A folder may include itself; apart from that, whoever may include a place may not be included by it.
    for (const auto& upper : house::floors())
        for (const auto& lower : house::floors()) {
            if (upper.place == lower.place) continue;
            const bool down = house::starts_with_any(lower.place, upper.may_include);
            const bool up = house::starts_with_any(upper.place, lower.may_include);
            CHECK_MESSAGE(!(down && up), upper.place << " and " << lower.place << " include each other");
        }
}

TEST_CASE("floors: a header named in a table exists") {
    const auto places = headers();
    for (const auto& header : house::long_headers()) {
        CHECK_MESSAGE(places.count(header.place) == 1, header.place);
        CHECK_MESSAGE(header.lines > house::usual_lines, header.place << " needs no exception");
        CHECK_MESSAGE(!header.reason.empty(), header.place << " is long without a reason");
    }
}

TEST_CASE("floors: the project defines at most six macros, all of them guarded by its name") {
    std::set<std::string> macros;
    for (const auto& place : headers())
        for (const auto& line : house::lines_of(read(root / place)))
            if (line.starts_with("#define SMOLVLM_")) macros.insert(line.substr(8, line.find_first_of(" (", 8) - 8));
    CHECK(macros.count("SMOLVLM_CHECK") == 1);
    CHECK(macros.size() <= 6);
}

TEST_CASE("floors: each rule can fail") {
    const std::string head = "#pragma once\n/// A header.\n";
    const auto complaint = [&](const std::string& place, const std::string& text) {
        std::string joined;
        for (const auto& c : house::complaints_about(place, text)) joined += c + "; ";
        return joined;
    };
    const auto says = [&](const std::string& place, const std::string& body, const std::string& expected) {
        const std::string found = complaint(place, head + body);
        CHECK_MESSAGE(found.find(expected) != std::string::npos, place << " holding " << body << " said: " << found);
    };

    CHECK(complaint("core/x.hpp", head + "#include <smolvlm/core/shape.hpp>\n#include <vector>\n") == "");

    SUBCASE("arrows") {
        says("core/x.hpp", "#include <smolvlm/backend/concept.hpp>\n", "an arrow to smolvlm/backend/concept.hpp");
        says("nn/x.hpp", "#include <smolvlm/cpu/cpu.hpp>\n", "an arrow to smolvlm/cpu/cpu.hpp");
        says("nn/x.hpp", "#  include  <smolvlm/text/llama.hpp>\n", "an arrow to smolvlm/text/llama.hpp");
        says("tokenizer/x.hpp", "#include <smolvlm/io/json.hpp>\n", "an arrow to smolvlm/io/json.hpp");
        says("vision/x.hpp", "#include <smolvlm/text/llama.hpp>\n", "an arrow to smolvlm/text/llama.hpp");
        says("model/x.hpp", "#include <smolvlm/smolvlm.hpp>\n", "an arrow to smolvlm/smolvlm.hpp");
        says("io/x.hpp", "#include \"mapped_file.hpp\"\n", "includes are written <smolvlm/...>");
        says("newfolder/x.hpp", "", "no floor");
    }
    SUBCASE("other people's headers") {
        says("cpu/x.hpp", "#include <Eigen/Core>\n", "belongs in cpu/eigen.hpp");
        says("io/x.hpp", "#include <nlohmann/json.hpp>\n", "belongs in io/json.hpp");
        says("image/x.hpp", "#include <stb/stb_image.h>\n", "belongs in image/load_stb.hpp");
        says("cpu/x.hpp", "#include <omp.h>\n", "belongs in core/parallel.hpp");
        says("model/x.hpp", "#include <boost/any.hpp>\n", "no header of the C++ library");
        says("core/x.hpp", "#include <iostream>\n", "too heavy for core/");
        CHECK(complaint("io/x.hpp", head + "#include <functional>\n") == "");
    }
    SUBCASE("printing and ending the process") {
        says("io/x.hpp", "inline void f() { std::cout << 1; }\n", "the word cout");
        says("io/x.hpp", "inline void f() { std::printf(\"\"); }\n", "the word printf");
        says("io/x.hpp", "inline void f() { exit(1); }\n", "the word exit");
        says("io/x.hpp", "inline void f() { std::abort(); }\n", "the word abort");
        says("io/x.hpp", "using namespace std;\n", "a using namespace");
        CHECK(complaint("io/x.hpp", head + "// exit(1), std::cout\n/* abort() */ const char* s = \"exit\";\n") == "");
        CHECK(complaint("io/x.hpp", head + "const char* s = R\"(exit \" abort)\"; int big = 1'000;\n") == "");
        CHECK(complaint("io/x.hpp", head + "inline int g() { return snprintf_exit_abort; }\n") == "");
        says("io/x.hpp", "char c = '\"'; inline void f() { exit(1); } char d = '\"';\n", "the word exit");
    }
    SUBCASE("preprocessor") {
        says("cpu/x.hpp", "#pragma omp parallel for\n", "belongs in core/parallel.hpp");
        says("io/x.hpp", "#define LIMIT 3\n", "a macro that is not named SMOLVLM_");
        says("io/x.hpp", "#define STB_IMAGE_STATIC\n", "a macro that is not named SMOLVLM_");
        CHECK(complaint("image/load_stb.hpp", head + "#define STB_IMAGE_STATIC\n") == "");
    }
    SUBCASE("form") {
        CHECK(complaint("io/x.hpp", "#include <vector>\n").find("not #pragma once") != std::string::npos);
        CHECK(complaint("io/x.hpp", "#pragma once\nint x;  // number\n").find("no doc comment") != std::string::npos);
        says("io/x.hpp", std::string(301, '\n'), "303 lines, more than 300");
        says("io/x.hpp", std::string(house::usual_columns + 1, '/') + "\n", "wider than");
        says("io/x.hpp", "int x;  \n", "a space at the end");
        says("io/x.hpp", "\tint x;\n", "a tab");
        says("io/x.hpp", "int x;", "no line break at the end");
    }
}
