// Finding 5 of the SmolVLM paper, again: learned position tokens against strings. README.md tells what came out.
//
//     05_learned_vs_string run --output FOLDER --jobs 2      the whole experiment, or what is left of it
//     05_learned_vs_string draw FOLDER                       some of its pictures, to look at

#include <sys/wait.h>

#include <csignal>
#include <deque>
#include <smolvlm/image/save_png.hpp>

#include "../../../examples/smolvlm/args.hpp"
#include "../../../examples/smolvlm/program.hpp"
#include "one_run.hpp"
#include "report.hpp"

namespace {

using namespace finding;
using cli::Arguments;
using cli::Words;
using smolvlm::join;

volatile std::sig_atomic_t asked_to_stop = 0;
void on_interrupt(int) { asked_to_stop = 1; }

struct Experiment {
    Settings settings;
    Files files;
    Words arm_names, size_names;
    Index seeds = 5;
    bool quick = false;

    /// All arms of the first seed, then of the second: whatever is done can be compared.
    std::vector<RunName> runs() const {
        std::vector<RunName> all;
        for (Index seed = 1; seed <= seeds; ++seed)
            for (const std::string& size : size_names) {
                all.push_back({"single", size, seed});
                for (const std::string& arm : arm_names) all.push_back({arm, size, seed});
            }
        return all;
    }
    bool finished(const RunName& run) const {
        return !read_scores(run, settings, files).empty() &&
               (run.arm != "single" || std::filesystem::exists(files.start(run) + "/model.safetensors"));
    }
};

/// In a process of its own: 0 done, 2 failed, 3 interrupted.
int run_in_child(const Experiment& experiment, const RunName& run) {
    try {
        return train_run(run, experiment.settings, experiment.files) ? 0 : 3;
    } catch (const std::exception& error) {
        cli::report_error(run.text() + ": " + error.what());
        return 2;
    }
}

/// Runs what is not finished, `jobs` processes side by side, each on one thread.
void run_all(const Experiment& experiment, Index jobs) {
    std::deque<RunName> waiting;
    for (const RunName& run : experiment.runs())
        if (!experiment.finished(run)) waiting.push_back(run);
    const std::size_t all = experiment.runs().size();
    std::size_t done = all - waiting.size();
    cli::print(join(done, " of ", all, " runs are finished\n"));

    struct sigaction action {};
    action.sa_handler = on_interrupt;
    sigaction(SIGINT, &action, nullptr);
    sigaction(SIGTERM, &action, nullptr);
    std::map<pid_t, RunName> running;
    bool failed = false, told = false;
    const auto ready = [&] {  // what does not wait for its single tiles
        return std::ranges::find_if(
            waiting, [&](const RunName& run) { return run.arm == "single" || experiment.finished(single_run(run)); });
    };
    while (!running.empty() || (!waiting.empty() && !asked_to_stop && !failed)) {
        while (!asked_to_stop && !failed && static_cast<Index>(running.size()) < jobs && ready() != waiting.end()) {
            const auto next = ready();
            const pid_t child = ::fork();
            if (child == 0) {
                ::setpgid(0, 0);  // Ctrl-C reaches it through its parent alone, and once
                ::_exit(run_in_child(experiment, *next));
            }
            SMOLVLM_CHECK(child > 0, Error, "no process could be started: ", std::strerror(errno));
            running.emplace(child, *next);
            waiting.erase(next);
        }
        if (asked_to_stop && !std::exchange(told, true))
            for (const auto& [child, run] : running) ::kill(child, SIGINT);
        int status = 0;
        const pid_t child = ::waitpid(-1, &status, 0);
        if (child < 0) continue;  // a signal
        const RunName run = running.at(child);
        running.erase(child);
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
            const Point last = read_scores(run, experiment.settings, experiment.files).back();
            char text[200];
            std::snprintf(text, sizeof text, "%zu/%zu  %s: exact %.3f, elsewhere %.3f, loss %.3f, %.0f s\n", ++done,
                          all, run.text().c_str(), last.exact, last.elsewhere, last.train_loss, last.seconds);
            cli::print(text);
        } else if ((WIFEXITED(status) && WEXITSTATUS(status) == 3) || (WIFSIGNALED(status) && asked_to_stop)) {
            asked_to_stop = 1;
        } else {
            failed = true;
        }
    }
    SMOLVLM_CHECK(!failed, ValueError, "a run failed; those that are finished are kept");
    SMOLVLM_CHECK(!asked_to_stop, ValueError, "interrupted with ", done, " of ", all,
                  " runs finished; the same command goes on");
}

int run(const Words& words) {
    Experiment experiment;
    Settings& settings = experiment.settings;
    Index jobs = 1;
    bool report_only = false;
    Arguments arguments(
        "run",
        "Trains every arm, size and seed that is not finished in the output folder, each on one thread, and writes\n"
        "results.csv, summary.md and figure.svg. An interrupted experiment goes on with the same command.");
    arguments.text("--output", "FOLDER", experiment.files.output, "where everything goes");
    arguments.integer("--jobs", jobs, Index(1), Index(1024), "runs side by side; default 1");
    arguments.integer("--seeds", experiment.seeds, Index(1), Index(12), "default 5");
    std::string arm_list, size_list;
    for (const Arm& arm : arms) arm_list += (arm_list.empty() ? "" : ", ") + std::string(arm.name);
    for (const Size& size : sizes) size_list += (size_list.empty() ? "" : ", ") + std::string(size.name);
    arguments.list("--arm", "NAME", experiment.arm_names, "only this one (may be repeated): " + arm_list);
    arguments.list("--size", "NAME", experiment.size_names, "only this one (may be repeated): " + size_list);
    arguments.toggle("--report", report_only, "train nothing, report what is finished");
    arguments.toggle("--quick", experiment.quick, "tiny models that learn nothing, in seconds: machinery only");
    arguments.section("Training");
    arguments.integer("--steps", settings.steps, Index(1), Index(1000000), "on grids; default 1000, small: 2000");
    arguments.integer("--single-steps", settings.single_steps, Index(1), Index(1000000),
                      join("on single tiles before; default ", settings.single_steps));
    arguments.integer("--grid", settings.most_side, Index(2), Index(4),
                      "most rows and columns; default 3; held-out pictures have 2 at least");
    arguments.integer("--questions", settings.questions, Index(1), Index(100), "a picture; default 8");
    arguments.integer("--batch", settings.batch, Index(1), Index(4096), "pictures a step; default 16");
    arguments.real("--lr", settings.lr, 0, 1, true, "learning rate; default 0.001, small: 0.002");
    if (!arguments.parse(words)) return cli::print(arguments.help()), 0;
    SMOLVLM_CHECK(!experiment.files.output.empty(), ValueError,
                  "--output is missing, expected a folder for the results");
    for (const std::string& name : experiment.arm_names) by_name(arms, name, "--arm");
    for (const std::string& name : experiment.size_names) by_name(sizes, name, "--size");
    if (experiment.arm_names.empty())
        for (const Arm& arm : arms) experiment.arm_names.emplace_back(arm.name);
    if (experiment.size_names.empty())
        for (const Size& size : sizes) experiment.size_names.emplace_back(size.name);
    SMOLVLM_CHECK(!experiment.quick || !arguments.given("--size"), ValueError,
                  "--quick has a size of its own; leave --size out");
    if (experiment.quick) {
        experiment.size_names = {std::string(quick_size.name)};
        if (!arguments.given("--seeds")) experiment.seeds = 2;
        if (!arguments.given("--single-steps")) settings.single_steps = 6;
        if (!arguments.given("--batch")) settings.batch = 2;
        settings.single_batch = 4;
        settings.held_out = 8;
        settings.eval_every = 4;
    }
    smolvlm::make_folder(experiment.files.output);
    if (!report_only) run_all(experiment, jobs);
    write_report(experiment.runs(), settings, experiment.files, experiment.quick);
    cli::print(join("results.csv, summary.md and figure.svg are in ", experiment.files.output, '\n'));
    return 0;
}

int draw(const Words& words) {
    std::string folder;
    Index count = 6, most = 3;
    Arguments arguments("draw", "Draws pictures of the experiment; their questions and answers go to standard output.");
    arguments.positional("FOLDER", folder, "where the pictures go");
    arguments.integer("--count", count, Index(1), Index(100000), "default 6");
    arguments.integer("--grid", most, Index(2), Index(4), "most rows and columns; default 3");
    if (!arguments.parse(words)) return cli::print(arguments.help()), 0;
    smolvlm::make_folder(folder);
    const TiledPictures pictures({.most = most});
    for (Index i = 0; i < count; ++i) {
        const smolvlm::Sample sample = pictures.sample(i);
        smolvlm::save_png(join(folder, "/picture_", i, ".png"), sample.pictures.front());
        std::string line = join("picture_", i, ".png");
        for (const smolvlm::Message& message : sample.chat) line += "  " + message.content.back().value;
        cli::print(line + '\n');
    }
    return 0;
}

}  // namespace

constexpr cli::Command commands[] = {
    {"run", "the experiment, or what is left of it", run},
    {"draw", "some of its pictures", draw},
};

int main(int count, char** arguments) { return cli::run_program("05_learned_vs_string", commands, count, arguments); }
