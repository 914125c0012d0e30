#pragma once
/// What the finished runs say: results.csv (every evaluation), summary.md (tables and tests), figure.svg.

#include <set>

#include "figure.hpp"

namespace finding {

namespace detail {

inline std::string format(const char* pattern, auto... values) {
    char text[300];
    std::snprintf(text, sizeof text, pattern, values...);
    return text;
}
/// "0.67 (0.51 to 0.88)": mean, lowest, highest.
inline std::string spread(const std::vector<double>& values) {
    const auto [least, most] = std::ranges::minmax(values);
    return format("%.2f (%.2f to %.2f)", mean(values), least, most);
}
/// "642, 871, -"
inline std::string list(const std::vector<double>& values) {
    std::string text;
    for (const double v : values) text += (text.empty() ? "" : ", ") + (v > 0 ? format("%.0f", v) : std::string("-"));
    return text;
}
inline void write_file(const std::string& path, const std::string& text) {
    smolvlm::AtomicFile file(path);
    file.write(text);
    file.commit();
}

}  // namespace detail

/// Finished runs by size, arm and seed.
using Finished = std::map<std::string, std::map<std::string, std::map<Index, std::vector<Point>>>>;

/// One arm against another, seed by seed: how often it is ahead, by how much, and the p of the sign-flip test.
inline std::string compare(const Finished& finished, const std::string& a, const std::string& b) {
    using detail::format;
    std::string rows;
    std::vector<double> all_means, all_ends;
    const auto row = [&](const std::string& size, const std::vector<double>& means, const std::vector<double>& ends) {
        const auto ahead = std::ranges::count_if(means, [](double d) { return d > 0; });
        rows += format("| %s - %s | %s | %d of %zu | %+.3f | %.4f | %+.3f | %.4f |\n", a.c_str(), b.c_str(),
                       size.c_str(), static_cast<int>(ahead), means.size(), mean(means), sign_flip_p(means), mean(ends),
                       sign_flip_p(ends));
    };
    for (const auto& [size, by_arm] : finished) {
        const auto of_a = by_arm.find(a), of_b = by_arm.find(b);
        if (of_a == by_arm.end() || of_b == by_arm.end()) continue;
        std::vector<double> means, ends;
        for (const auto& [seed, points] : of_a->second)
            if (const auto other = of_b->second.find(seed); other != of_b->second.end()) {
                means.push_back(mean_exact(points) - mean_exact(other->second));
                ends.push_back(points.back().exact - other->second.back().exact);
            }
        if (means.empty()) continue;
        row(size, means, ends);
        all_means.insert(all_means.end(), means.begin(), means.end());
        all_ends.insert(all_ends.end(), ends.begin(), ends.end());
    }
    if (finished.size() > 1 && !all_means.empty()) row("both", all_means, all_ends);
    return rows;
}

/// As the figure wants them.
inline std::vector<std::pair<std::string, std::map<std::string, Runs>>> by_title(const Finished& finished) {
    std::vector<std::pair<std::string, std::map<std::string, Runs>>> out;
    for (const auto& [size, by_arm] : finished) {
        out.emplace_back(size_named(size).title, std::map<std::string, Runs>());
        for (const auto& [arm, by_seed] : by_arm)
            for (const auto& [seed, points] : by_seed) out.back().second[arm].push_back(points);
    }
    return out;
}

/// The row of one arm: its runs by seed, and those of "learned", whose time is the measure.
inline std::string table_row(const Arm& arm, const std::map<Index, std::vector<Point>>& runs,
                             const std::map<Index, std::vector<Point>>& learned, const Settings& settings) {
    using detail::format, detail::list, detail::spread;
    std::vector<double> halfway, later, ends, means, halves, plateaus, wrong, speed, same_time;
    for (const auto& [seed, points] : runs) {
        halfway.push_back(exact_at(points, settings.steps / 2));
        later.push_back(exact_at(points, settings.steps * 3 / 4));
        ends.push_back(points.back().exact);
        means.push_back(mean_exact(points));
        halves.push_back(step_of_half(points));
        plateaus.push_back(plateau(points));
        wrong.push_back(std::ranges::max(points, {}, &Point::elsewhere).elsewhere);
        speed.push_back(1000 * points.back().seconds / static_cast<double>(points.back().step));
        if (const auto same = learned.find(seed); same != learned.end())
            same_time.push_back(exact_within(points, same->second.back().seconds));
    }
    return smolvlm::join("| ", arm.name, " | ", arm.tokens, " | ", ends.size(), " | ", spread(halfway), " | ",
                         spread(later), " | ", spread(ends), " | ", spread(means), " | ", list(halves), " | ",
                         list(plateaus), " | ", spread(wrong), " | ", format("%.0f", mean(speed)), " | ",
                         same_time.empty() ? "-" : format("%.2f", mean(same_time)), " |\n");
}

/// summary.md
inline std::string summarize(const Finished& finished, const Settings& wanted) {
    std::string text = R"(Shares of exact answers on held-out pictures: mean over seeds (lowest to highest).

* half: the step at which half of the answers are exact, seed by seed (-: never).
* plateau: steps from knowing what is in the picture (0.9 of the first characters are those of some tile) to half of the
  answers exact, seed by seed.
* wrong place: the largest share of answers that begin with the character of another tile.
* same time: exact answers within the training time that "learned" takes in all.
)";
    for (const auto& [size, by_arm] : finished) {
        const Settings settings = wanted.of(size_named(size));
        text += smolvlm::join("\n## ", size, ": ", size_named(size).title, "\n\nSettings: ", settings.line().substr(2),
                              "\n| arm | tokens before a tile | seeds | exact @", settings.steps / 2, " | @",
                              settings.steps * 3 / 4, " | @", settings.steps,
                              " | mean over all evaluations | half | plateau | wrong place | ms/step | same time |\n",
                              "|---|---|---|---|---|---|---|---|---|---|---|---|\n");
        const auto learned = by_arm.find("learned");
        for (const Arm& arm : arms)
            if (const auto found = by_arm.find(std::string(arm.name)); found != by_arm.end())
                text +=
                    table_row(arm, found->second, learned == by_arm.end() ? found->second : learned->second, settings);
    }
    text += R"(
## Seed by seed

The same pictures and the same start, one arm less another. p: exact sign-flip permutation test, two-sided; with 5 pairs
it cannot be below 0.0625, with 10 not below 0.002.

| difference | size | ahead | mean over all evaluations | p | at the end | p |
|---|---|---|---|---|---|---|
)";
    for (const char* other : {"string", "none", "filler", "learned-all"}) text += compare(finished, "learned", other);
    return text + compare(finished, "filler", "string") + compare(finished, "string", "string-all") +
           compare(finished, "learned-all", "string-all");
}

inline void write_report(const std::vector<RunName>& runs, const Settings& settings, const Files& files, bool quick) {
    const std::string mark =
        quick ? "quick: machinery only. These models learn nothing; the numbers mean nothing.\n" : "";
    std::string csv;
    Finished finished;
    double seconds = 0;
    std::size_t count = 0;
    for (const RunName& run : runs) {
        const std::vector<Point> points = read_scores(run, settings, files);
        if (points.empty()) continue;
        for (const Point& p : points) csv += smolvlm::join(run.arm, ',', run.size, ',', run.seed, ',', csv_line(p));
        seconds += points.back().seconds;
        ++count;
        if (run.arm != "single") finished[run.size][run.arm][run.seed] = points;
    }
    SMOLVLM_CHECK(!finished.empty(), ValueError, files.output, ": no run is finished yet");
    const std::string done = smolvlm::join(count, " of ", runs.size(), " runs");
    const std::string title = quick ? "quick: machinery only" : "Learned position tokens against strings";
    const std::string subtitle =
        smolvlm::join("Held-out pictures of 2 to ", settings.most_side, " rows and columns of tiles; the loss counts ",
                      "answers alone unless said; ", done);
    std::string head = quick ? "# " + mark : "";
    for (const auto& [size, by_arm] : finished)
        head += smolvlm::join("# ", size, ": ", settings.of(size_named(size)).line().substr(2));
    detail::write_file(files.output + "/results.csv", head + "arm,size,seed," + std::string(point_header) + '\n' + csv);
    detail::write_file(files.output + "/summary.md",
                       smolvlm::join("# Results\n\n", mark, done, ", ", detail::format("%.2f", seconds / 3600),
                                     " processor hours of training.\n\n", summarize(finished, settings)));
    detail::write_file(files.output + "/figure.svg", draw_figure(title, subtitle, by_title(finished)));
}

}  // namespace finding
