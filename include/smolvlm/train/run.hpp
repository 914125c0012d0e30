#pragma once
/// A whole training run: steps, evaluations, checkpoints, metrics.jsonl, and at the end curves.svg.
///
///     output/metrics.jsonl    output/curves.svg    output/checkpoint-001000/
///
/// Whoever watches may stop it after any step; it then saves and draws like a run that is done. When a step fails, the
/// error goes on to the caller after the curves are drawn, and the last checkpoint stays as it is.

#include <filesystem>

#include <smolvlm/train/metrics.hpp>
#include <smolvlm/train/plot.hpp>

namespace smolvlm {

struct RunObserver {
    virtual ~RunObserver() = default;
    virtual bool on_step(const StepReport&) { return true; }  // false: stop here
    /// During an evaluation; predicted: the most likely token of every counted row.
    virtual void on_predictions(const Batch&, Ids /*predicted*/) {}
    virtual void on_evaluation(Index /*step*/, const EvalReport&) {}
    virtual void on_checkpoint(const std::string& /*path*/) {}
};

/// Loss and accuracy of a metrics file as a picture; nothing when it has no line. Throws ValueError.
inline void draw_curves(const std::string& metrics, const std::string& svg, const std::string& title) {
    using Points = std::vector<std::pair<double, double>>;
    Points loss, accuracy, eval_loss, eval_accuracy;
    Index tokens = 0;
    MetricsFile::for_each_line(metrics, [&](const Json& line) {
        const auto step = static_cast<double>(get_or<Index>(line, "step", metrics, 0));
        const auto add = [&](const char* key, Points& points) {
            if (find(line, key, metrics)) points.emplace_back(step, get<double>(line, key, metrics));
        };
        add("loss", loss);
        add("accuracy", accuracy);
        add("eval_loss", eval_loss);
        add("eval_accuracy", eval_accuracy);
        tokens += get_or<Index>(line, "tokens", metrics, 0);
    });
    if (loss.empty() && eval_loss.empty()) return;
    const double span = static_cast<double>(loss.size()) / 40;
    constexpr const char *blue = "#2563eb", *orange = "#d9620f";
    const double last = loss.empty() ? eval_loss.back().first : loss.back().first;
    AtomicFile file(svg);
    file.write(
        plot_svg(title, join(static_cast<Index>(last), " steps, ", tokens, " tokens in the steps logged"),
                 {{"Loss", {{"training", blue, smoothed(loss, span), loss}, {"evaluation", orange, eval_loss}}},
                  {"Accuracy: how often the right token is the most likely one",
                   {{"training", blue, smoothed(accuracy, span), accuracy}, {"evaluation", orange, eval_accuracy}},
                   0,
                   1}}));
    file.commit();
}

/// Runs until the last step of the configuration, or until the observer stops it. Returns the last checkpoint's path.
template <DifferentiableBackend B>
std::string run(Trainer<B>& trainer, RunObserver& observer) {
    const TrainConfig& config = trainer.config();
    const bool writes = trainer.ranks().rank() == 0;
    const std::string metrics_path = trainer.output() + "/metrics.jsonl", svg_path = trainer.output() + "/curves.svg";
    std::optional<MetricsFile> metrics;
    if (writes) {
        make_folder(trainer.output());
        metrics.emplace(metrics_path, trainer.step_count());
    }
    const auto draw = [&] {
        const auto folder = (std::filesystem::path(trainer.output()) / "").parent_path();
        if (writes) draw_curves(metrics_path, svg_path, folder.filename().string());
    };
    const auto evaluate = [&] {
        const EvalReport report = trainer.evaluate(
            [&](const Batch& batch, Ids predicted) { observer.on_predictions(batch, predicted); });
        if (!writes) return;
        metrics->write(trainer.step_count(), report);
        observer.on_evaluation(trainer.step_count(), report);
    };
    std::string saved;
    const auto save = [&] {
        const std::string path = trainer.save();
        if (writes && path != saved) observer.on_checkpoint(path);
        saved = path;
    };
    const auto due = [&](Index every) { return every > 0 && trainer.step_count() % every == 0; };

    Index evaluated = -1;
    bool wanted = true;
    try {
        while (wanted && !trainer.finished()) {
            const StepReport report = trainer.step();
            if (writes && (due(config.log_every) || trainer.finished())) metrics->write(report);
            std::array<double, 1> stops{writes && !observer.on_step(report) ? 1.0 : 0.0};
            trainer.ranks().sum(stops);  // one rank's wish stops all
            wanted = stops[0] == 0;
            if (trainer.has_eval_data() && due(config.eval_every)) evaluate(), evaluated = trainer.step_count();
            if (due(config.checkpoint_every)) save();
        }
    } catch (const Error&) {
        draw();
        throw;
    }
    if (trainer.has_eval_data() && evaluated != trainer.step_count()) evaluate();
    save();
    if (config.with_adapters() && config.lora_merge && writes) observer.on_checkpoint(trainer.save_merged());
    draw();
    return saved;
}

}  // namespace smolvlm
