// smolvlm train as scripts see it: a run, its files, an interruption, going on, refusals.

#include <doctest/doctest.h>

#include <csignal>

#include <filesystem>
#include <thread>

#include "program.hpp"

using namespace cli_test;
using smolvlm::Json;

namespace {

/// A folder with data and a configuration for a tiny model.
struct Run {
    testing::TempDir dir;
    std::string config;

    explicit Run(int steps, const Json& changes = Json::object()) {
        std::string lines;
        for (int i = 0; i < 8; ++i)
            lines += Json{{"messages",
                           {{{"role", "user"}, {"content", std::to_string(i) + "+1"}},
                            {{"role", "assistant"}, {"content", std::to_string(i + 1)}}}}}
                         .dump() +
                     "\n";
        dir.write("data.jsonl", lines);
        Json settings{{"model", model}, {"output", "run"},       {"data", "data.jsonl"},
                      {"steps", steps}, {"batch_samples", 4},    {"lr", 1e-3},
                      {"threads", 1},   {"checkpoint_every", 5}, {"eval_data", "data.jsonl"}};
        settings.update(changes);
        config = dir.write("run.json", settings.dump());
    }
    std::string file(const std::string& name) const { return testing::read_file(dir / ("run/" + name)); }
    bool has(const std::string& name) const { return std::filesystem::exists(dir / ("run/" + name)); }
};

long lines(const std::string& text) { return std::count(text.begin(), text.end(), '\n'); }

}  // namespace

TEST_CASE("train: a run prints plain lines, writes metrics, checkpoints that answer, and curves") {
    const Run run(12);
    const Result result = cli_test::run({"train", "--config", run.config});
    CHECK(result.code == 0);
    CHECK(result.err.empty());
    CHECK(result.out.find("step 12/12  loss ") != result.out.npos);
    CHECK(result.out.find("step 12  evaluation: loss ") != result.out.npos);
    CHECK(result.out.find("\r") == result.out.npos);
    CHECK(lines(run.file("metrics.jsonl")) == 13);
    CHECK(run.file("curves.svg").starts_with("<svg "));
    CHECK_FALSE(run.has("checkpoint-000005"));
    CHECK(run.has("checkpoint-000010"));
    const Result answer =
        cli_test::run({"generate", "--model", run.dir / "run/checkpoint-000012", "--prompt", "1+1", "--json"});
    CHECK(answer.code == 0);
    CHECK(json(answer.out)["prompt_tokens"].get<int>() > 5);
}

TEST_CASE(
    "train: Ctrl-C finishes the step, saves and draws; --resume then ends where an uninterrupted run ends, bit for "
    "bit") {
    const Run whole(40), cut(40);
    CHECK(cli_test::run({"train", "--config", whole.config}).code == 0);
    const pid_t child = ::fork();
    if (child == 0) {
        ::dup2(::open("/dev/null", O_WRONLY), 1);
        ::execl(SMOLVLM_CLI, SMOLVLM_CLI, "train", "--config", cut.config.c_str(), nullptr);
        ::_exit(127);
    }
    for (int i = 0; i < 2000 && (!cut.has("metrics.jsonl") || lines(cut.file("metrics.jsonl")) < 3); ++i)
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    ::kill(child, SIGINT);
    int status = 0;
    ::waitpid(child, &status, 0);
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 0);
    CHECK(cut.has("curves.svg"));
    CHECK(cli_test::run({"train", "--config", cut.config, "--resume"}).code == 0);
    CHECK((cut.file("checkpoint-000040/model.safetensors") == whole.file("checkpoint-000040/model.safetensors")));
    CHECK(
        (cut.file("checkpoint-000040/optimizer.safetensors") == whole.file("checkpoint-000040/optimizer.safetensors")));
}

TEST_CASE("train: refusals are one sentence") {
    const Run run(2);
    CHECK(not_refused(cli_test::run({"train"}), "--config is missing") == "");
    CHECK(not_refused(cli_test::run({"train", "--config", run.dir / "none.json"}), "none.json: cannot be opened") ==
          "");
    CHECK(not_refused(cli_test::run({"train", "--config", Run(2, {{"stepz", 1}}).config}), "did you mean \"steps\"?") ==
          "");
    CHECK(not_refused(cli_test::run({"train", "--config", Run(2, {{"data", "none.jsonl"}}).config}),
                      "none.jsonl: cannot be opened") == "");
    CHECK(not_refused(cli_test::run({"train", "--config", run.config, "--resume"}),
                      "holds no checkpoint to go on from") == "");
    CHECK(cli_test::run({"train", "--config", run.config}).code == 0);
    CHECK(not_refused(cli_test::run({"train", "--config", run.config}), "holds the checkpoints of a run already") ==
          "");
}

TEST_CASE("train: --help explains every key") {
    const Result result = cli_test::run({"train", "--help"});
    CHECK(result.code == 0);
    for (const char* key : {"labels", "neftune_alpha", "freeze", "weights", "lr_embeddings", "eval_every"})
        CHECK(result.out.find(std::string("\n  ") + key + " ") != std::string::npos);
}
