#pragma once
/// The figure as an SVG picture: a row of three panels for every model size, as in Figure 5 of the paper. Thin lines
/// and dots are seeds, thick lines and bars their means.

#include <map>
#include <smolvlm/train/plot.hpp>

#include "statistics.hpp"

namespace finding {

using Runs = std::vector<std::vector<Point>>;  // by seed, those that are finished

namespace drawing {

using smolvlm::join;
using smolvlm::detail::Axis;
using smolvlm::detail::coordinate;
using smolvlm::detail::escaped;
using smolvlm::detail::number;
using smolvlm::detail::tick_step;

inline constexpr double panel_width = 300, panel_height = 210, gap = 76, left = 70, top = 150, row_gap = 84;

inline std::string text(double x, double y, std::string_view style, const std::string& words) {
    return join("<text x=\"", coordinate(x), "\" y=\"", coordinate(y), "\" class=\"", style, "\">", escaped(words),
                "</text>\n");
}
inline std::string line(double x1, double y1, double x2, double y2, std::string_view style,
                        std::string_view more = "") {
    return join("<line x1=\"", coordinate(x1), "\" y1=\"", coordinate(y1), "\" x2=\"", coordinate(x2), "\" y2=\"",
                coordinate(y2), "\" class=\"", style, "\" ", more, "/>\n");
}

/// One value of every point of a run as a path.
inline std::string path(const std::vector<Point>& points, double Point::*value, const Axis& x, const Axis& y,
                        std::string_view style, std::string_view colour) {
    std::string data;
    for (const Point& p : points)
        data += join(data.empty() ? "M" : "L", coordinate(x(static_cast<double>(p.step))), ' ',
                     coordinate(std::clamp(y(p.*value), std::min(y.a, y.b), std::max(y.a, y.b))));
    return join("<path class=\"", style, "\" stroke=\"", colour, "\" d=\"", data, "\"/>\n");
}

/// The mean over seeds, at the steps that all have.
inline std::vector<Point> mean_run(const Runs& runs) {
    std::vector<Point> out;
    for (std::size_t n = 0; n < (runs.empty() ? 0 : runs.front().size()); ++n) {
        Point sum = runs.front()[n];
        sum.train_loss = sum.exact = sum.elsewhere = 0;
        for (const auto& run : runs) {
            const double share = 1 / static_cast<double>(runs.size());
            sum.train_loss += share * run[n].train_loss;
            sum.exact += share * run[n].exact;
            sum.elsewhere += share * run[n].elsewhere;
        }
        out.push_back(sum);
    }
    return out;
}

/// Title, axes and grid lines of a panel whose upper left corner is (x, y).
inline std::string frame(const std::string& title, const Axis& x, const Axis& y, bool steps) {
    std::string svg = text(x.a - 36, y.b - 14, "panel", title);
    const double step = tick_step(y.to - y.from, 5);
    for (double tick = std::ceil(y.from / step - 1e-9) * step; tick <= y.to + step * 1e-6; tick += step) {
        svg += line(x.a, y(tick), x.b, y(tick), "grid");
        svg += text(x.a - 7, y(tick) + 4, "tick", number(std::abs(tick) < 1e-9 ? 0 : tick));
    }
    svg += line(x.a, y.a, x.b, y.a, "axis");
    if (!steps) return svg;
    const double between = tick_step(x.to, 5);
    for (double tick = 0; tick <= x.to; tick += between) svg += text(x(tick), y.a + 17, "below", number(tick, 6));
    return svg + text((x.a + x.b) / 2, y.a + 33, "below", "step");
}

}  // namespace drawing

/// runs: of every size (its title) and arm.
inline std::string draw_figure(const std::string& title, const std::string& subtitle,
                               const std::vector<std::pair<std::string, std::map<std::string, Runs>>>& runs) {
    using namespace drawing;
    const double width = left + 3 * panel_width + 2 * gap + 36;
    const double height = top + static_cast<double>(runs.size()) * (panel_height + row_gap) - 20;
    std::string svg =
        join("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"", number(width, 5), "\" height=\"", number(height, 5),
             "\" viewBox=\"0 0 ", number(width, 5), ' ', number(height, 5), "\">\n<style>\n",
             "text { font-family: 'Helvetica Neue', Helvetica, Arial, 'DejaVu Sans', sans-serif; fill: #3c4350; }\n"
             ".title { font-size: 19px; font-weight: 600; fill: #171a21; }\n"
             ".subtitle { font-size: 13px; fill: #6b7280; }\n"
             ".panel { font-size: 12.5px; font-weight: 600; }\n.key { font-size: 12.5px; }\n"
             ".tick { font-size: 11px; fill: #6b7280; text-anchor: end; }\n"
             ".below { font-size: 11px; fill: #6b7280; text-anchor: middle; }\n"
             ".grid { stroke: #e7e9ee; }\n.axis { stroke: #9aa1ad; }\n"
             "path { fill: none; stroke-linejoin: round; }\n"
             ".seed { stroke-width: 1; stroke-opacity: 0.25; }\n.mean { stroke-width: 2.25; }\n"
             ".wrong { stroke-width: 1.75; stroke-dasharray: 2 4; stroke-linecap: round; }\n</style>\n"
             "<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n") +
        text(34, 34, "title", title) + text(34, 56, "subtitle", subtitle);
    for (std::size_t i = 0; i < arms.size(); ++i) {  // the key
        const double x = 34 + static_cast<double>(i % 3) * 300, y = 80 + static_cast<double>(i / 3) * 20;
        svg += line(x, y - 4, x + 22, y - 4, "key", join("stroke=\"", arms[i].colour, "\" stroke-width=\"3\""));
        svg += text(x + 30, y, "key", std::string(arms[i].title));
    }
    double above = top;
    for (const auto& [size, by_arm] : runs) {
        double last = 1, most_loss = 0.1;
        for (const auto& [arm, seeds] : by_arm)
            for (const auto& run : seeds)
                for (const Point& p : run)
                    last = std::max(last, static_cast<double>(p.step)), most_loss = std::max(most_loss, p.train_loss);
        const double below = above + panel_height;
        const auto across = [&](int panel, double from, double to) {
            const double a = left + panel * (panel_width + gap);
            return Axis{from, to, a, a + panel_width};
        };
        const Axis loss{0, std::ceil(most_loss * 2) / 2, below, above}, share{0, 1, below, above};
        const Axis x_a = across(0, 0, last), x_b = across(1, 0, last);
        const Axis x_c = across(2, 0, static_cast<double>(arms.size()));
        svg += frame(size + ": training loss", x_a, loss, true);
        svg += frame("exact answers; dots: wrong place", x_b, share, true);
        svg += frame("exact answers at the end, by seed", x_c, share, false);
        for (std::size_t i = 0; i < arms.size(); ++i) {
            const auto found = by_arm.find(std::string(arms[i].name));
            if (found == by_arm.end() || found->second.empty()) continue;
            const Runs& seeds = found->second;
            const std::vector<Point> middle = mean_run(seeds);
            const std::string_view colour = arms[i].colour;
            for (const auto& run : seeds) {
                svg += path(run, &Point::train_loss, x_a, loss, "seed", colour);
                svg += path(run, &Point::exact, x_b, share, "seed", colour);
            }
            svg += path(middle, &Point::train_loss, x_a, loss, "mean", colour);
            svg += path(middle, &Point::elsewhere, x_b, share, "wrong", colour);
            svg += path(middle, &Point::exact, x_b, share, "mean", colour);
            const double at = x_c(static_cast<double>(i) + 0.5);
            svg += line(at - 17, share(middle.back().exact), at + 17, share(middle.back().exact), "mean",
                        join("stroke=\"", colour, "\""));
            for (std::size_t n = 0; n < seeds.size(); ++n)
                svg += join("<circle cx=\"",
                            coordinate(at + 5 * (static_cast<double>(n) - static_cast<double>(seeds.size() - 1) / 2)),
                            "\" cy=\"", coordinate(share(seeds[n].back().exact)), "\" r=\"3\" fill=\"", colour,
                            "\" fill-opacity=\"0.75\"/>\n");
            svg += text(at, below + (i % 2 ? 31 : 17), "below", std::string(arms[i].name));
        }
        above = below + row_gap;
    }
    return svg + "</svg>\n";
}

}  // namespace finding
