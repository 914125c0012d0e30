// Metrics and curves.

#include <doctest/doctest.h>

#include <smolvlm/ref/ref.hpp>
#include <smolvlm/train/run.hpp>

#include "support/temp_dir.hpp"

using namespace smolvlm;

TEST_CASE("Metrics: a run that goes on keeps the lines up to its checkpoint and drops the rest and a cut one") {
    const testing::TempDir dir;
    const std::string path = dir / "metrics.jsonl";
    {
        MetricsFile metrics(path, 0);
        for (Index step = 1; step <= 5; ++step)
            metrics.write(StepReport{step, 1.0 / static_cast<double>(step), 0.5, 0.1, 2, 10, 5, 1, 0.1, 0.5});
        metrics.write(5, EvalReport{0.25, 0.75, 0.5, 9, 2});
    }
    dir.write("metrics.jsonl", testing::read_file(path) + "{\"step\": 6, \"lo");
    { MetricsFile metrics(path, 4); }
    std::vector<double> losses;
    MetricsFile::for_each_line(path, [&](const Json& line) { losses.push_back(line["loss"].get<double>()); });
    CHECK(losses == std::vector<double>{1.0, 0.5, 1.0 / 3, 0.25});
}

TEST_CASE("Smoothing: a straight line stays, ends are not pulled, noise shrinks") {
    std::vector<std::pair<double, double>> line, noise;
    Random random(1);
    for (int i = 0; i < 200; ++i) {
        line.emplace_back(i, 3.0 - 0.01 * i);
        noise.emplace_back(i, random.normal());
    }
    const auto same = smoothed(line, 21);
    for (std::size_t i = 0; i < line.size(); ++i) CHECK(same[i].second == doctest::Approx(line[i].second));
    double before = 0, after = 0;
    const auto calm = smoothed(noise, 21);
    for (std::size_t i = 20; i < 180; ++i)
        before += noise[i].second * noise[i].second, after += calm[i].second * calm[i].second;
    CHECK(after < before / 10);
    CHECK(smoothed({}, 5).empty());
}

TEST_CASE("Curves: text is escaped, what is not finite is left out, one point and no point are drawn too") {
    const double nan = std::numeric_limits<double>::quiet_NaN();
    const std::string svg = plot_svg("a<b & c", "", {{"Loss", {{"x", "#000000", {{1, 2}, {2, nan}, {3, 1}}}}}});
    CHECK(svg.find("a&lt;b &amp; c") != svg.npos);
    CHECK(svg.find("nan") == svg.npos);
    CHECK(svg.ends_with("</svg>\n"));
    for (const auto& points : {std::vector<std::pair<double, double>>{}, {{1.0, 5.0}}}) {
        const std::string small = plot_svg("t", "s", {{"Loss", {{"x", "#000000", points}}}});
        CHECK(small.find("nan") == small.npos);
        CHECK(small.find("inf") == small.npos);
    }
}

TEST_CASE("Ticks are round and about as many as wanted") {
    for (double range = 1e-6; range < 1e9; range *= 1.7) {
        const double step = detail::tick_step(range, 5),
                     mantissa = step / std::pow(10.0, std::floor(std::log10(step) + 1e-9));
        CHECK(range / step > 2.5);
        CHECK(range / step < 10);
        CHECK((doctest::Approx(mantissa) == 1 || doctest::Approx(mantissa) == 2 || doctest::Approx(mantissa) == 5));
    }
}

TEST_CASE("The shipped example's configurations are valid, and so is every line and picture of its data") {
    const std::string folder = SMOLVLM_TEST_DIR "/../examples/05_finetune/";
    for (const char* name : {"shapes.json", "dates_lora.json"}) {
        const TrainConfig config = read_train_config(folder + name);
        for (const DataSource& source : config.data) CHECK(ChatFile::open(config.path(source.path))->size() > 30);
        CHECK(ChatFile::open(config.path(config.eval_data))->size() > 30);
    }
}
