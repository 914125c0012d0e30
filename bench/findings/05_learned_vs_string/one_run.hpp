#pragma once
/// One training run of the experiment, from its settings to its file of scores.
///
///     single tiles, from random weights  ->  start_SIZE_SEED/       shared by all arms of a seed
///     grids, from those weights          ->  run_ARM_SIZE_SEED.csv

#include <ctime>
#include <smolvlm/train/run.hpp>

#include "../../../examples/smolvlm/training.hpp"
#include "arms.hpp"

namespace finding {

using smolvlm::ValueError;

struct Settings {
    Index steps = 0;  // 0: as many as the size wants
    double lr = 0;    // 0: the size's
    Index batch = 16, eval_every = 50;
    Index single_steps = 800, single_batch = 64;
    Index most_side = 3, questions = 8, held_out = 64;

    Settings of(const Size& size) const {
        Settings settings = *this;
        if (steps == 0) settings.steps = size.steps;
        if (lr == 0) settings.lr = size.lr;
        return settings;
    }
    /// As the first line of every file of scores, so that results of different settings are never mixed.
    std::string line() const {
        return smolvlm::join("# steps ", steps, ", batch ", batch, ", single tiles ", single_steps, " x ", single_batch,
                             ", grids 1 to ", most_side, ", questions ", questions, ", held out ", held_out, ", lr ",
                             lr, '\n');
    }
};

/// Scores on held-out pictures after so many steps. Shares are of all questions.
struct Point {
    Index step = 0;
    double train_loss = 0;  // mean since the point before
    double eval_loss = 0;
    double exact = 0;       // both characters and the end
    double elsewhere = 0;   // the first character is that of another tile: right characters, wrong place
    double in_picture = 0;  // the first character is that of some tile
    double seconds = 0;     // processor time so far, of training alone
};

inline constexpr std::string_view point_header = "step,train_loss,eval_loss,exact,elsewhere,in_picture,seconds";

inline std::string csv_line(const Point& p) {
    char line[200];
    std::snprintf(line, sizeof line, "%ld,%.5f,%.5f,%.5f,%.5f,%.5f,%.2f\n", static_cast<long>(p.step), p.train_loss,
                  p.eval_loss, p.exact, p.elsewhere, p.in_picture, p.seconds);
    return line;
}

struct RunName {
    std::string arm, size;
    Index seed = 1;

    std::string text() const { return smolvlm::join(arm, '_', size, '_', seed); }
    friend bool operator==(const RunName&, const RunName&) = default;
};

/// Watches a run and scores every answer.
class Scorer : public smolvlm::RunObserver {
public:
    explicit Scorer(const TiledPictures& held_out) : held_out_(held_out) {}

    const std::vector<Point>& points() const { return points_; }

    bool on_step(const smolvlm::StepReport& report) override {
        loss_ += report.loss;
        ++steps_;
        seconds_ += processor_seconds() - last_;
        last_ = processor_seconds();
        return true;
    }
    void on_predictions(const smolvlm::Batch& batch, smolvlm::Ids predicted) override {
        const std::vector<std::int32_t> targets = batch.counted_targets();
        const std::size_t questions = batch.answers.size() / batch.lengths.size();
        for (std::size_t n = 0; n < batch.answers.size(); ++n) {
            const auto [begin, end] = batch.answers[n];  // rows of " A", "7", the end
            SMOLVLM_CHECK(end - begin == 3, ValueError, "an answer has ", end - begin, " tokens, expected 3");
            const Grid grid = held_out_.grid(pictures_ + static_cast<Index>(n / questions));
            const bool exact = std::equal(targets.begin() + begin, targets.begin() + end, predicted.begin() + begin);
            const std::int32_t first = predicted[static_cast<std::size_t>(begin)];
            const bool in_picture =
                std::ranges::any_of(grid.codes, [&](const std::string& code) { return first_token(code[0]) == first; });
            exact_ += exact;
            in_picture_ += in_picture;
            elsewhere_ += in_picture && first != targets[static_cast<std::size_t>(begin)];
            ++answers_;
        }
        pictures_ += batch.sequences();
    }
    void on_evaluation(Index step, const smolvlm::EvalReport& report) override {
        const auto share = [&](Index count) { return static_cast<double>(count) / static_cast<double>(answers_); };
        points_.push_back({step, steps_ > 0 ? loss_ / static_cast<double>(steps_) : 0, report.loss, share(exact_),
                           share(elsewhere_), share(in_picture_), seconds_});
        pictures_ = answers_ = exact_ = elsewhere_ = in_picture_ = steps_ = 0;
        loss_ = 0;
        last_ = processor_seconds();
    }

private:
    static double processor_seconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

    const TiledPictures& held_out_;
    std::vector<Point> points_;
    Index pictures_ = 0, answers_ = 0, exact_ = 0, elsewhere_ = 0, in_picture_ = 0, steps_ = 0;
    double loss_ = 0, seconds_ = 0, last_ = processor_seconds();
};

/// Where an experiment lies.
struct Files {
    std::string output;

    std::string start(const RunName& run) const { return smolvlm::join(output, "/start_", run.size, '_', run.seed); }
    std::string scores(const RunName& run) const { return output + "/run_" + run.text() + ".csv"; }
    std::string work(const RunName& run) const { return output + "/work_" + run.text(); }
};

/// The name of the run that all arms of a seed start from.
inline RunName single_run(const RunName& run) { return {"single", run.size, run.seed}; }

/// Trains and writes the file of scores. False: interrupted, and nothing was written.
inline bool train_run(const RunName& run, const Settings& wanted, const Files& files) {
    const Size& size = size_named(run.size);
    const Settings settings = wanted.of(size);
    const bool single = run.arm == "single";
    const Arm& arm = single ? arms.front() : by_name(arms, run.arm, "arm");
    const auto seed = static_cast<std::uint64_t>(run.seed);
    std::filesystem::remove_all(files.work(run));
    smolvlm::make_folder(files.work(run));

    // Held-out pictures are the same for all, and have two rows and columns at least; those of training are the same
    // for all arms of a seed, and small grids among them make the beginning easier.
    TiledPictures::Options options;
    options.most = single ? 1 : settings.most_side;
    options.questions = single ? 1 : settings.questions;
    if (!single) options.position = arm.position();
    const auto pictures = [&](std::uint64_t picture_seed, Index count, Index least) {
        TiledPictures::Options these = options;
        these.least = least;
        these.seed = picture_seed;
        these.pictures = count;
        return std::make_shared<const TiledPictures>(these);
    };
    const auto train = pictures(2 * seed + (single ? 1 : 0), 0, 1);
    const auto held_out = pictures(0, settings.held_out, single ? 1 : 2);

    smolvlm::TrainConfig config;
    {
        smolvlm::AtomicFolder model(files.work(run) + "/model");
        write_model_files(model, size, arm.tags != Arm::string);
        if (!single) model.copy("model.safetensors", files.start(run) + "/model.safetensors");
        model.commit();
    }
    (single ? config.init : config.model) = files.work(run) + "/model";
    config.output = files.work(run) + "/run";
    config.data = {{"train", 1}};
    config.eval_data = "held-out";
    config.steps = single ? settings.single_steps : settings.steps;
    config.batch_samples = single ? settings.single_batch : settings.batch;
    config.batch_tokens = 1 << 20;
    config.labels = arm.all_text ? "notebook" : "completions";
    config.lr = settings.lr;
    config.schedule = "constant";
    config.warmup_steps = std::min<Index>(100, config.steps / 5);
    config.beta2 = 0.98;
    config.weight_decay = 0.01;
    config.eval_every = settings.eval_every;
    config.log_every = config.steps;
    config.seed = run.seed;
    config.threads = 1;

    Scorer scorer(*held_out);
    const auto open = [&](const std::string& name, const smolvlm::VideoRule&) {
        return name.ends_with("train") ? train : held_out;
    };
    cli::train_model(config, open, false, &scorer);
    if (cli::training_was_interrupted()) {
        std::filesystem::remove_all(files.work(run));
        return false;
    }
    if (single) {
        std::filesystem::remove_all(files.start(run));
        smolvlm::AtomicFolder start(files.start(run));
        start.copy("model.safetensors", smolvlm::checkpoint_path(config.output, config.steps) + "/model.safetensors");
        start.commit();
    }
    std::filesystem::remove_all(files.work(run));
    std::string text = settings.line() + std::string(point_header) + '\n';
    for (const Point& p : scorer.points()) text += csv_line(p);
    smolvlm::AtomicFile file(files.scores(run));
    file.write(text);
    file.commit();
    return true;
}

/// The points of a finished run; nothing when it is not finished. Throws ValueError when it was made otherwise.
inline std::vector<Point> read_scores(const RunName& run, const Settings& wanted, const Files& files) {
    const Settings settings = wanted.of(size_named(run.size));
    const std::string path = files.scores(run);
    if (!std::filesystem::exists(path)) return {};
    const std::string text = smolvlm::read_text_file(path, 1 << 20), head = settings.line() + std::string(point_header);
    SMOLVLM_CHECK(text.starts_with(head), ValueError, path, ": was made with other settings (",
                  text.substr(0, text.find('\n')), ") than those asked for (",
                  settings.line().substr(0, settings.line().size() - 1), "); choose another --output");
    std::vector<Point> points;
    for (std::size_t begin = head.size() + 1; begin < text.size(); begin = text.find('\n', begin) + 1) {
        Point p;
        long step = 0;
        SMOLVLM_CHECK(std::sscanf(text.c_str() + begin, "%ld,%lf,%lf,%lf,%lf,%lf,%lf", &step, &p.train_loss,
                                  &p.eval_loss, &p.exact, &p.elsewhere, &p.in_picture, &p.seconds) == 7 &&
                          text.find('\n', begin) != text.npos,
                      ValueError, path, ": is no file of scores");
        p.step = step;
        points.push_back(p);
    }
    return points;
}

}  // namespace finding
