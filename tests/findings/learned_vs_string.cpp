// bench/findings/05_learned_vs_string: what it trains on is right, and its program keeps what it has done.

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <map>
#include <thread>

#include "../../bench/findings/05_learned_vs_string/report.hpp"
#include "support/temp_dir.hpp"

using namespace finding;

namespace {

struct Result {
    int code = -1;
    std::string out, err;
};

/// The program, as a shell would start it.
Result run(const std::string& words) {
    const testing::TempDir dir;
    const std::string out = dir / "out", err = dir / "err";
    const int status = std::system((LEARNED_VS_STRING " " + words + " >" + out + " 2>" + err).c_str());
    return {WEXITSTATUS(status), testing::read_file(out), testing::read_file(err)};
}

/// The two characters that look most like what a tile shows: ink where they have ink, paper elsewhere.
std::string look_at(const Image& picture, Index left, Index top) {
    static const Glyphs glyphs;
    const auto score = [&](char c, double x0, double y0, double dot) {
        double ink = 0, paper = 0;
        int inked = 0, blank = 0;
        for (Index v = 0; v < Glyphs::rows; ++v)
            for (Index u = 0; u < Glyphs::columns; ++u) {
                const double x = x0 + (static_cast<double>(u) + 0.5) * dot,
                             y = y0 + (static_cast<double>(v) + 0.5) * dot;
                const double value = picture.row(0, top + static_cast<Index>(y))[left + static_cast<Index>(x)];
                if (glyphs.ink(c, static_cast<double>(u) + 0.5, static_cast<double>(v) + 0.5))
                    ink += value, ++inked;
                else
                    paper += value, ++blank;
            }
        return ink / inked - paper / blank;
    };
    std::string best_code;
    double best = -1e9;
    for (double dot = 1.7; dot < 2.11; dot += 0.1)
        for (double x0 = 16 - 5.5 * dot - 3; x0 <= 16 - 5.5 * dot + 3; x0 += 0.5)
            for (double y0 = 16 - 3.5 * dot - 4; y0 <= 16 - 3.5 * dot + 4; y0 += 0.5) {
                std::string code(2, ' ');
                double sum = 0;
                for (int place = 0; place < 2; ++place) {
                    double most = -1e9;
                    for (const char c : alphabet)
                        if (const double s = score(c, x0 + 6 * dot * place, y0, dot); s > most)
                            most = s, code[static_cast<std::size_t>(place)] = c;
                    sum += most;
                }
                if (sum > best) best = sum, best_code = code;
            }
    return best_code;
}

/// Results without the processor times.
std::string scores(const std::string& csv) {
    std::string out;
    for (std::size_t begin = 0, end; (end = csv.find('\n', begin)) != csv.npos; begin = end + 1) {
        const std::string line = csv.substr(begin, end - begin);
        out += line.substr(0, line.starts_with('#') ? line.size() : line.rfind(',')) + '\n';
    }
    return out;
}

}  // namespace

TEST_CASE("finding 5: a picture follows from seed and number alone, and its answers are what its tiles show") {
    const TiledPictures pictures({.seed = 3}), again({.seed = 3}), other({.seed = 4});
    CHECK((pictures.sample(5).pictures.front() == again.sample(5).pictures.front()));
    CHECK_FALSE((pictures.sample(5).pictures.front() == other.sample(5).pictures.front()));
    CHECK_FALSE((pictures.sample(5).pictures.front() == pictures.sample(6).pictures.front()));
    Index shown = 0, tiles = 0;
    for (Index i = 0; i < 4; ++i) {
        const Grid grid = pictures.grid(i);
        const smolvlm::Sample sample = pictures.sample(i);
        REQUIRE(sample.chat.size() == 16);
        for (std::size_t m = 0; m < 16; m += 2) {
            int row = 0, col = 0;
            REQUIRE(std::sscanf(sample.chat[m].content.back().value.c_str(), "r%dc%d", &row, &col) == 2);
            CHECK(sample.chat[m + 1].content.back().value ==
                  grid.codes[static_cast<std::size_t>((row - 1) * grid.cols + col - 1)]);
        }
        for (Index tile = 0; tile < grid.tiles(); ++tile, ++tiles)
            shown += look_at(sample.pictures.front(), tile % grid.cols * tile_edge, tile / grid.cols * tile_edge) ==
                     grid.codes[static_cast<std::size_t>(tile)];
    }
    CHECK(tiles > 16);
    CHECK(shown >= tiles * 9 / 10);  // a template matcher is no reader: noise may cost it a tile
}

TEST_CASE("finding 5: no two tiles of a picture begin alike, and sides are those asked for") {
    const TiledPictures pictures({.seed = 1, .least = 2, .most = 4});
    std::map<Index, int> rows;
    for (Index i = 0; i < 60; ++i) {
        const Grid grid = pictures.grid(i);
        std::set<char> first;
        for (const std::string& code : grid.codes) first.insert(code[0]);
        CHECK(static_cast<Index>(first.size()) == grid.tiles());
        ++rows[grid.rows];
    }
    CHECK(rows.size() == 3);
    CHECK(rows.begin()->first == 2);
    CHECK_THROWS_AS(TiledPictures({.most = 5}), smolvlm::ValueError);
}

TEST_CASE(
    "finding 5: arms differ in the words before a tile's image tokens, by 1, 13, 0 and 13 tokens, in nothing else") {
    const testing::TempDir dir;
    std::map<std::string_view, std::vector<std::int32_t>> ids;
    std::map<std::string_view, Index> counted;
    Index tiles = 0;
    for (const Arm& arm : arms) {
        const std::string path = dir / arm.name;
        smolvlm::AtomicFolder folder(path);
        write_model_files(folder, sizes[0], arm.tags != Arm::string);
        folder.commit();
        const smolvlm::Processor processor = smolvlm::read_processor(path);
        const TiledPictures pictures({.position = arm.position()});
        const smolvlm::Sample sample = pictures.sample(2);
        tiles = pictures.grid(2).tiles();
        smolvlm::ExampleOptions options;
        options.labels = arm.all_text ? smolvlm::Labels::notebook : smolvlm::Labels::completions;
        Random random(1);
        const smolvlm::Example example =
            smolvlm::make_example(processor, sample.chat, sample.pictures, options, random, sample.picture_texts);
        CHECK(example.images.front().frames() == tiles + 1);
        CHECK(std::ranges::count(example.ids, image_id) == (tiles + 1) * tokens_per_frame);
        CHECK(example.answers.size() == 8);
        ids[arm.name] = example.ids;
        const smolvlm::Sample one = TiledPictures({.least = 1, .most = 1, .position = arm.position()}).sample(0);
        const smolvlm::Example single =
            smolvlm::make_example(processor, one.chat, one.pictures, options, random, one.picture_texts);
        CHECK(single.images.front().frames() == 1);
        CHECK(std::ranges::count(single.ids, image_id) == tokens_per_frame);
        counted[arm.name] = example.counted();
        CHECK(smolvlm::read_model_config(path).text.vocab_size >=
              std::ssize(special_tokens) + std::ssize(ordinary_tokens()) + 16);
    }
    const auto more_than_none = [&](std::string_view arm) {
        return static_cast<Index>(ids[arm].size() - ids["none"].size());
    };
    CHECK(more_than_none("learned") == tiles);
    CHECK(more_than_none("string") == 13 * tiles);
    CHECK(more_than_none("filler") == 13 * tiles);
    CHECK((ids["learned"] == ids["learned-all"]));
    CHECK((ids["string"] == ids["string-all"]));
    CHECK(counted["learned"] == 24);
    CHECK(counted["string"] == 24);
    CHECK(counted["string-all"] == static_cast<Index>(ids["string"].size()) - (tiles + 1) * tokens_per_frame - 1);
    // What is not a position is the same: the last tokens, and all of them without those that only one arm has.
    CHECK(std::equal(ids["none"].rbegin(), ids["none"].rbegin() + 60, ids["string"].rbegin()));
}

TEST_CASE("finding 5: the sign-flip test counts signs") {
    CHECK(sign_flip_p({0.1, 0.2, 0.3, 0.1, 0.2}) == doctest::Approx(2.0 / 32));
    CHECK(sign_flip_p({0.5, -0.5}) == 1.0);
    CHECK(sign_flip_p({1, 1, 1, -0.5}) == doctest::Approx(4.0 / 16));  // +++-, ++++ and their mirrors
}

TEST_CASE("finding 5: --quick writes scores, a summary and the figure, all of them marked") {
    const testing::TempDir dir;
    const Result result = run("run --quick --jobs 2 --output " + dir / "out");
    CHECK(result.code == 0);
    CHECK(result.err == "");
    const std::string csv = testing::read_file(dir / "out/results.csv");
    CHECK(std::ranges::count(csv, '\n') == 3 + 2 * (2 + 6 * 3));
    for (const Arm& arm : arms) CHECK(csv.find('\n' + std::string(arm.name) + ",quick,2,12,") != csv.npos);
    CHECK(csv.find("quick: machinery only") != csv.npos);
    CHECK(testing::read_file(dir / "out/summary.md").find("quick: machinery only") != std::string::npos);
    const std::string svg = testing::read_file(dir / "out/figure.svg");
    CHECK(svg.starts_with("<svg "));
    CHECK(svg.find("quick: machinery only") != svg.npos);
    CHECK(run("run --quick --output " + dir / "out").out.starts_with("14 of 14 runs are finished\n"));
    CHECK(testing::read_file(dir / "out/results.csv") == csv);
    CHECK(run("run --quick --steps 8 --output " + dir / "out").err.find("was made with other settings") !=
          std::string::npos);
}

TEST_CASE("finding 5: an interrupted experiment keeps its finished runs and ends with the same scores") {
    const testing::TempDir dir;
    const std::string flags = "run --quick --seeds 1 --steps 40 --output ";
    const std::string cut = dir / "cut", whole = dir / "whole";
    CHECK(run(flags + whole).code == 0);
    const pid_t child = ::fork();
    if (child == 0) {
        std::freopen("/dev/null", "w", stdout);
        std::freopen((dir / "err").c_str(), "w", stderr);
        ::execl(LEARNED_VS_STRING, LEARNED_VS_STRING, "run", "--quick", "--seeds", "1", "--steps", "40", "--output",
                cut.c_str(), nullptr);
        ::_exit(127);
    }
    for (int i = 0; i < 6000 && !std::filesystem::exists(cut + "/work_learned_quick_1"); ++i)
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    ::kill(child, SIGINT);
    int status = 0;
    ::waitpid(child, &status, 0);
    CHECK(WEXITSTATUS(status) == 2);
    CHECK(testing::read_file(dir / "err").find("the same command goes on") != std::string::npos);
    CHECK(std::filesystem::exists(cut + "/run_single_quick_1.csv"));
    CHECK_FALSE(std::filesystem::exists(cut + "/results.csv"));
    const Result rest = run(flags + cut);
    CHECK(rest.code == 0);
    CHECK_FALSE(rest.out.starts_with("0 of"));
    CHECK((scores(testing::read_file(cut + "/results.csv")) == scores(testing::read_file(whole + "/results.csv"))));
}

TEST_CASE("finding 5: wrong options are errors that list the right ones") {
    const testing::TempDir dir;
    const auto refused = [&](const std::string& words, const std::string& part) {
        const Result result = run(words);
        return result.code == 2 && std::ranges::count(result.err, '\n') == 1 && result.err.find(part) != result.err.npos
                   ? ""
                   : result.err;
    };
    CHECK(refused("run", "--output is missing") == "");
    CHECK(refused("run --output " + dir / "x" + " --arm spring",
                  "--arm is \"spring\", expected one of learned, string, none, filler, learned-all, string-all") == "");
    CHECK(refused("run --output " + dir / "x" + " --size huge", "--size is \"huge\", expected one of large, small") ==
          "");
    CHECK(refused("run --output " + dir / "x" + " --grid 5", "expected a whole number from 2 to 4") == "");
    CHECK(refused("run --outptu x", "did you mean --output?") == "");
    CHECK(refused("runn", "did you mean run?") == "");
    CHECK(refused("run --report --output " + dir / "x", "no run is finished yet") == "");
    CHECK(run("run --help").out.find("learned-all") != std::string::npos);
}
