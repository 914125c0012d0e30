#pragma once
/// metrics.jsonl: one line a logged step and one an evaluation, written at once, so that a run can be watched.
///
///     {"step": 20, "loss": 1.234567, "accuracy": 0.61, "lr": 0.0001, "grad_norm": 0.8, "tokens": 4010,
///      "counted_tokens": 220, "samples": 8, "epochs": 0.4, "tokens_per_s": 1805}
///     {"step": 20, "eval_loss": 1.5, "eval_accuracy": 0.55, "eval_exact": 0.25, "eval_tokens": 900, "eval_answers": 90}

#include <smolvlm/io/atomic_file.hpp>
#include <smolvlm/io/json.hpp>
#include <smolvlm/train/trainer.hpp>

namespace smolvlm {

class MetricsFile {
public:
    /// Goes on after the lines of steps up to `step`; later ones, of a run that ended without a checkpoint, are removed.
    /// Throws ValueError when the file cannot be written.
    MetricsFile(const std::string& path, Index step) : path_(path) {
        std::string kept;
        if (::access(path.c_str(), F_OK) == 0)
            for_each_line(path, [&](const Json& line) {
                if (get_or<Index>(line, "step", path, 0) <= step) kept += line.dump() + '\n';
            });
        AtomicFile file(path);
        file.write(kept);
        file.commit();
        file_.reset(std::fopen(path.c_str(), "ab"));
        SMOLVLM_CHECK(file_, ValueError, path, ": cannot be written: ", std::strerror(errno));
    }

    void write(const StepReport& report) {
        write(Json{{"step", report.step},
                   {"loss", report.loss},
                   {"accuracy", report.accuracy},
                   {"lr", report.lr},
                   {"grad_norm", report.grad_norm},
                   {"tokens", report.tokens},
                   {"counted_tokens", report.counted},
                   {"samples", report.samples},
                   {"epochs", report.epochs},
                   {"tokens_per_s", static_cast<double>(report.tokens) / std::max(report.seconds, 1e-9)}});
    }
    void write(Index step, const EvalReport& report) {
        write(Json{{"step", step},
                   {"eval_loss", report.loss},
                   {"eval_accuracy", report.accuracy},
                   {"eval_exact", report.exact},
                   {"eval_tokens", report.counted},
                   {"eval_answers", report.answers}});
    }

    /// f(line) for every line of such a file that is whole: a crash may have cut the last one.
    template <class F>
    static void for_each_line(const std::string& path, F&& f) {
        const std::string text = read_text_file(path, Index(1) << 32);
        for (std::size_t begin = 0, end; (end = text.find('\n', begin)) != text.npos; begin = end + 1)
            if (const Json line = Json::parse(text.begin() + static_cast<std::ptrdiff_t>(begin),
                                              text.begin() + static_cast<std::ptrdiff_t>(end), nullptr, false);
                line.is_object())
                f(line);
    }

private:
    struct Closer {
        void operator()(std::FILE* file) const { std::fclose(file); }
    };

    void write(const Json& line) {
        const std::string text = line.dump() + '\n';
        SMOLVLM_CHECK(
            std::fwrite(text.data(), 1, text.size(), file_.get()) == text.size() && std::fflush(file_.get()) == 0,
            ValueError, path_, ": cannot be written: ", std::strerror(errno));
    }

    std::string path_;
    std::unique_ptr<std::FILE, Closer> file_;
};

}  // namespace smolvlm
