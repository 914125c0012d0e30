// smolvlm train: a model learns from conversations, as a configuration file says.

#include <unistd.h>

#include <atomic>
#include <csignal>
#include <deque>
#include <smolvlm/cpu/cpu.hpp>
#ifdef SMOLVLM_MPI
#include <smolvlm/train/mpi.hpp>
#endif
#include <smolvlm/train/run.hpp>

#include "commands.hpp"
#include "console.hpp"
#include "inputs.hpp"
#include "training.hpp"

namespace cli {
namespace {

using namespace smolvlm;

std::atomic<bool> interrupted = false;

/// The first Ctrl-C asks for an orderly end, the second one ends at once.
void on_interrupt(int signal) {
    interrupted = true;
    std::signal(signal, SIG_DFL);
}

std::string format(const char* pattern, auto... values) {
    char text[120];
    std::snprintf(text, sizeof text, pattern, values...);
    return text;
}

/// 3723 s as "1:02:03".
std::string clock_time(double seconds) {
    const auto s = static_cast<long>(seconds + 0.5);
    return s >= 3600 ? format("%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60) : format("%ld:%02ld", s / 60, s % 60);
}

/// At a terminal one line that changes, elsewhere a line a logged step.
class Watcher : public RunObserver {
public:
    Watcher(Index steps, Index log_every) : steps_(steps), log_every_(log_every) {}

    bool on_step(const StepReport& report) override {
        times_.push_back(report.seconds);
        if (times_.size() > 20) times_.pop_front();
        double mean = 0;
        for (const double t : times_) mean += t / static_cast<double>(times_.size());
        const std::string left = clock_time(mean * static_cast<double>(steps_ - report.step));
        const double speed = static_cast<double>(report.tokens) / std::max(report.seconds, 1e-9);
        if (terminal_) {
            constexpr Index cells = 24;
            std::string bar;
            for (Index cell = 0; cell < cells; ++cell) bar += cell * steps_ < report.step * cells ? "█" : "░";
            progress_.show(
                join(bar,
                     format(" %ld/%ld  loss %.4f  right %.1f %%  %.0f tokens/s  ", static_cast<long>(report.step),
                            static_cast<long>(steps_), report.loss, 100 * report.accuracy, speed),
                     left, " left"));
        } else if (report.step % log_every_ == 0 || report.step == steps_) {
            print(format("step %ld/%ld  loss %.5f  accuracy %.4f  lr %.3g  norm %.3g  %.0f tokens/s  ",
                         static_cast<long>(report.step), static_cast<long>(steps_), report.loss, report.accuracy,
                         report.lr, report.grad_norm, speed) +
                  left + " left\n");
        }
        return true;
    }
    void on_evaluation(Index step, const EvalReport& report) override {
        progress_.clear();
        print(format("step %ld  evaluation: loss %.5f  accuracy %.4f  exact answers %.4f\n",
                     static_cast<long>(step), report.loss, report.accuracy, report.exact));
    }
    void on_checkpoint(const std::string& path) override {
        progress_.clear();
        print(join("saved ", path, '\n'));
    }

private:
    Index steps_, log_every_;
    bool terminal_ = ::isatty(STDERR_FILENO) == 1;
    Progress progress_;
    std::deque<double> times_;
};

/// Somebody else who watches, and Ctrl-C.
class Interruptible : public RunObserver {
public:
    explicit Interruptible(RunObserver& observer) : observer_(observer) {}
    bool on_step(const StepReport& report) override { return observer_.on_step(report) && !interrupted; }
    void on_predictions(const Batch& batch, Ids predicted) override { observer_.on_predictions(batch, predicted); }
    void on_evaluation(Index step, const EvalReport& report) override { observer_.on_evaluation(step, report); }
    void on_checkpoint(const std::string& path) override { observer_.on_checkpoint(path); }

private:
    RunObserver& observer_;
};

void train_on(const TrainConfig& config, const SourceOpener& open, bool resume, RunObserver* observer,
              std::shared_ptr<Communicator> ranks) {
    const bool speaks = ranks->rank() == 0 && !observer;
    Trainer<Cpu<float>> trainer(Cpu<float>(config.thread_count()), config, open, resume, std::move(ranks));
    if (speaks)
        print(format("%ld of %ld parameters are trained\n", static_cast<long>(trainer.parameters().count()),
                     static_cast<long>(count_parameters(trainer.model()))));
    std::signal(SIGINT, on_interrupt);
    std::signal(SIGTERM, on_interrupt);
    Watcher watcher(config.steps, config.log_every);
    Interruptible interruptible(observer ? *observer : watcher);
    run(trainer, interruptible);
    if (speaks) print(join("curves in ", trainer.output(), "/curves.svg\n"));
}

}  // namespace

void train_model(const TrainConfig& config, const SourceOpener& open, bool resume, RunObserver* observer) {
#ifdef SMOLVLM_MPI
    const auto ranks = std::make_shared<Mpi>();
    try {
        train_on(config, open, resume, observer, ranks);
    } catch (const std::exception& error) {
        if (ranks->size() == 1) throw;
        report_error(join("rank ", ranks->rank(), ": ", error.what()));
        ranks->end_job(2);  // the others would wait for this one for ever
    }
#else
    train_on(config, open, resume, observer, std::make_shared<Communicator>());
#endif
}

bool training_was_interrupted() { return interrupted; }

int train(const Words& words) {
    std::string config_path;
    bool resume = false;
    Arguments arguments(
        "train",
        "Trains a model on conversations. Everything is said by a JSON file of the keys below; Ctrl-C ends the\n"
        "run after the current step, saved and drawn, and --resume goes on with it, bit for bit.");
    arguments.text("--config", "F.json", config_path, "the configuration");
    arguments.toggle("--resume", resume, "go on from the newest checkpoint in the output folder");
    if (!arguments.parse(words)) {
        print(arguments.help() + "\nKeys of the configuration, with their defaults\n" + describe_train_config());
        return 0;
    }
    SMOLVLM_CHECK(!config_path.empty(), ValueError,
                  "--config is missing, expected the .json file that describes the run");

    const auto load_picture = [](const std::string& path) { return ImageFlags{}.load(path); };
    train_model(read_train_config(config_path), chat_files(load_picture), resume);
    return 0;
}

}  // namespace cli
