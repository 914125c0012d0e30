// Training on two ranks, started as people start it.

#include <doctest/doctest.h>

#include <cstdlib>

#include <smolvlm/ref/ref.hpp>
#include <smolvlm/train/run.hpp>

#include "support/temp_dir.hpp"

using namespace smolvlm;

namespace {

struct Run {
    testing::TempDir dir;
    std::string config;

    Run(int batch_samples, int steps) {
        std::string lines;
        for (int i = 0; i < 30; ++i)
            lines += Json{{"messages",
                           {{{"role", "user"}, {"content", join(i, "+1")}},
                            {{"role", "assistant"},
                             {"content", join(i + 1, std::string(static_cast<std::size_t>(i % 4), '!'))}}}}}
                         .dump() +
                     "\n";
        dir.write("data.jsonl", lines);
        const Json settings{{"model", SMOLVLM_TEST_DIR "/golden/models/gqa_untied_r2"},
                            {"output", "run"},
                            {"data", "data.jsonl"},
                            {"eval_data", "data.jsonl"},
                            {"steps", steps},
                            {"batch_samples", batch_samples},
                            {"lr", 1e-3},
                            {"warmup_steps", 3},
                            {"threads", 1},
                            {"keep_checkpoints", 9},
                            {"freeze", {"model.vision_model.*"}}};
        config = dir.write("run.json", settings.dump());
    }
    /// The exit status; what was said on standard error is in `said`.
    int start(int ranks, const std::string& more = "") {
        const std::string command = join(
            "OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1 "
            "OMPI_MCA_btl_vader_single_copy_mechanism=none " SMOLVLM_MPIEXEC " -n ",
            ranks, " " SMOLVLM_MPI_RANKS " ", config, " ", more, " 2> ", dir / "said");
        const int status = std::system(command.c_str());
        said = testing::read_file(dir / "said");
        return status;
    }
    std::vector<double> values(const char* key) const {
        std::vector<double> all;
        MetricsFile::for_each_line(dir / "run/metrics.jsonl", [&](const Json& line) {
            if (line.contains(key)) all.push_back(line[key].get<double>());
        });
        return all;
    }
    std::string said;
};

}  // namespace

TEST_CASE("Two ranks have the loss curve of one process with the doubled batch, to 1e-5 over 50 steps") {
    Run one(4, 50), two(2, 50);
    REQUIRE_MESSAGE(one.start(1) == 0, one.said);
    REQUIRE_MESSAGE(two.start(2) == 0, two.said);
    for (const char* key : {"loss", "eval_loss", "grad_norm"}) {
        const std::vector<double> a = one.values(key), b = two.values(key);
        REQUIRE(a.size() == b.size());
        REQUIRE(a.size() == (std::string(key) == "eval_loss" ? 1u : 50u));
        double worst = 0;
        for (std::size_t i = 0; i < a.size(); ++i) worst = std::max(worst, std::abs(a[i] - b[i]) / std::abs(a[i]));
        MESSAGE(key << ": " << worst);
        CHECK(worst < (std::string(key) == "grad_norm" ? 1e-3 : 1e-5));
    }
    CHECK(one.values("counted_tokens") == two.values("counted_tokens"));
}

TEST_CASE("A rank that is lost or meets an error ends the job with a message, and its checkpoints stay good") {
    for (const char* trouble : {"lose 3", "throw 3"}) {
        Run run(2, 50);
        CHECK(run.start(2, trouble) != 0);
        CHECK(run.said.find(trouble[0] == 'l' ? "signal 9" : "rank 1: trouble at step 3") != run.said.npos);
        const auto found = list_checkpoints(run.dir / "run");
        REQUIRE(found.size() == 2);
        Ref<float> be;
        CHECK(load(be, found.rbegin()->second).model.config.text.hidden_size == 48);
        const TrainConfig config = read_train_config(run.config);
        CHECK(read_run_state(found.rbegin()->second, config, 2).step == 2);
    }
}
