#pragma once
/// Curves of a run as an SVG picture: panels under one another with a common horizontal axis. A curve has its raw points
/// (drawn faintly) and itself, its name and last value beside its end.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include <smolvlm/core/error.hpp>

namespace smolvlm {

struct Curve {
    std::string name, colour;
    std::vector<std::pair<double, double>> points, raw = {};  // by x
};

struct Panel {
    std::string title;
    std::vector<Curve> curves;
    double low = 0, high = 0;  // of the vertical axis; low == high: as the curves need
};

/// The mean of y over about `span` neighbours, as many before as after; fewer at both ends.
inline std::vector<std::pair<double, double>> smoothed(const std::vector<std::pair<double, double>>& points,
                                                       double span) {
    std::vector<double> sums{0};
    for (const auto& point : points) sums.push_back(sums.back() + point.second);
    std::vector<std::pair<double, double>> out;
    for (std::size_t i = 0; i < points.size(); ++i) {
        const std::size_t reach = std::min({static_cast<std::size_t>(span / 2), i, points.size() - 1 - i});
        const double sum = sums[i + reach + 1] - sums[i - reach];
        out.emplace_back(points[i].first, sum / static_cast<double>(2 * reach + 1));
    }
    return out;
}

namespace detail {

inline std::string number(double value, int digits = 3) {
    char text[32];
    std::snprintf(text, sizeof text, "%.*g", digits, value);
    return text;
}
inline std::string coordinate(double value) {
    char text[32];
    std::snprintf(text, sizeof text, "%.1f", value);
    return text;
}
inline std::string escaped(const std::string& text) {
    std::string out;
    for (const char c : text) {
        if (c == '&')
            out += "&amp;";
        else if (c == '<')
            out += "&lt;";
        else if (c == '>')
            out += "&gt;";
        else
            out += c;
    }
    return out;
}

/// Distance of round ticks (1, 2 or 5 times a power of ten), about `count` of them.
inline double tick_step(double range, double count) {
    const double rough = std::max(range, 1e-12) / count, power = std::pow(10.0, std::floor(std::log10(rough)));
    return power * (rough / power < 1.5 ? 1 : rough / power < 3.5 ? 2 : rough / power < 7.5 ? 5 : 10);
}

/// A linear map of [from, to] to pixels [a, b].
struct Axis {
    double from, to, a, b;
    double operator()(double value) const { return a + (value - from) / (to - from) * (b - a); }
};

/// At most about 1500 points: neighbours are averaged.
inline std::string path_data(const std::vector<std::pair<double, double>>& points, const Axis& x, const Axis& y) {
    std::string data;
    const std::size_t group = points.size() / 1500 + 1;
    for (std::size_t i = 0; i < points.size(); i += group) {
        double px = 0, py = 0;
        const std::size_t end = std::min(points.size(), i + group);
        for (std::size_t k = i; k < end; ++k) px += points[k].first, py += points[k].second;
        const auto n = static_cast<double>(end - i);
        const double shown = std::clamp(y(py / n), std::min(y.a, y.b), std::max(y.a, y.b));
        data += (data.empty() ? 'M' : 'L') + coordinate(x(px / n)) + ' ' + coordinate(shown);
    }
    return data;
}

}  // namespace detail

/// The picture as text. Points that are not finite are left out.
inline std::string plot_svg(const std::string& title, const std::string& subtitle, std::vector<Panel> panels,
                            const std::string& x_title = "step") {
    using detail::coordinate, detail::number, detail::escaped;
    constexpr double width = 920, left = 72, right = 176, top = 108, panel_height = 230, gap = 68, bottom = 56;
    const double height = top + static_cast<double>(panels.size()) * (panel_height + gap) - gap + bottom;
    double last_x = 1, first_x = 1e300;
    for (Panel& panel : panels)
        for (Curve& curve : panel.curves)
            for (auto* points : {&curve.points, &curve.raw}) {
                std::erase_if(*points,
                              [](const auto& p) { return !std::isfinite(p.first) || !std::isfinite(p.second); });
                for (const auto& p : *points) last_x = std::max(last_x, p.first), first_x = std::min(first_x, p.first);
            }
    first_x = std::min(first_x, last_x - 1);
    const detail::Axis x{first_x, last_x, left, width - right};

    const auto text = [](double tx, double ty, const char* style, const std::string& words) {
        return join("<text x=\"", coordinate(tx), "\" y=\"", coordinate(ty), "\" class=\"", style, "\">",
                    escaped(words), "</text>\n");
    };
    const auto line = [](double x1, double y1, double x2, double y2, const char* style) {
        return join("<line x1=\"", coordinate(x1), "\" y1=\"", coordinate(y1), "\" x2=\"", coordinate(x2), "\" y2=\"",
                    coordinate(y2), "\" class=\"", style, "\"/>\n");
    };
    std::string svg =
        join("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"", number(width), "\" height=\"", number(height, 5),
             "\" viewBox=\"0 0 ", number(width), ' ', number(height, 5), "\">\n<style>\n",
             "text { font-family: 'Helvetica Neue', Helvetica, Arial, 'DejaVu Sans', sans-serif; fill: #3c4350; }\n"
             ".title { font-size: 19px; font-weight: 600; fill: #171a21; }\n"
             ".subtitle { font-size: 13px; fill: #6b7280; }\n"
             ".panel { font-size: 14px; font-weight: 600; }\n"
             ".tick { font-size: 12px; fill: #6b7280; text-anchor: end; }\n"
             ".below { font-size: 12px; fill: #6b7280; text-anchor: middle; }\n"
             ".grid { stroke: #e7e9ee; stroke-width: 1; }\n"
             ".axis { stroke: #9aa1ad; stroke-width: 1; }\n"
             ".raw { fill: none; stroke-width: 1; stroke-opacity: 0.3; stroke-linejoin: round; }\n"
             ".curve { fill: none; stroke-width: 2.25; stroke-linejoin: round; stroke-linecap: round; }\n"
             ".name { font-size: 13px; font-weight: 600; }\n</style>\n"
             "<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n") +
        text(left - 40, 34, "title", title) + text(left - 40, 56, "subtitle", subtitle);

    for (std::size_t i = 0; i < panels.size(); ++i) {
        const Panel& panel = panels[i];
        const double above = top + static_cast<double>(i) * (panel_height + gap), below = above + panel_height;
        double low = panel.low, high = panel.high;
        if (low == high) {
            low = 0, high = 1e-9;
            for (const Curve& curve : panel.curves)
                for (const auto& p : curve.points) low = std::min(low, p.second), high = std::max(high, p.second);
        }
        const double step = detail::tick_step(high - low, 5);
        if (panel.low == panel.high) high = std::ceil(high / step - 1e-9) * step;
        const detail::Axis y{low, high, below, above};
        svg += text(left - 40, above - 12, "panel", panel.title);
        for (double tick = std::ceil(low / step - 1e-9) * step; tick <= high + step * 1e-6; tick += step) {
            svg += line(left, y(tick), width - right, y(tick), "grid");
            svg += text(left - 9, y(tick) + 4, "tick", number(std::abs(tick) < step * 1e-6 ? 0 : tick));
        }
        svg += line(left, below, width - right, below, "axis");
        const double x_step = std::max(1.0, detail::tick_step(last_x - first_x, 7));
        for (double tick = std::ceil(first_x / x_step) * x_step; tick <= last_x; tick += x_step) {
            svg += line(x(tick), below, x(tick), below + 5, "axis");
            svg += text(x(tick), below + 19, "below", number(tick, 7));
        }
        // Names beside the ends of the curves, moved apart where they would overlap.
        std::vector<std::pair<double, const Curve*>> names;
        for (const Curve& curve : panel.curves) {
            if (!curve.raw.empty())
                svg += join("<path class=\"raw\" stroke=\"", curve.colour, "\" d=\"",
                            detail::path_data(curve.raw, x, y), "\"/>\n");
            if (curve.points.empty()) continue;
            svg += join("<path class=\"curve\" stroke=\"", curve.colour, "\" d=\"",
                        detail::path_data(curve.points, x, y), "\"/>\n");
            const double end = std::clamp(y(curve.points.back().second), above, below);
            svg += join("<circle cx=\"", coordinate(x(curve.points.back().first)), "\" cy=\"", coordinate(end),
                        "\" r=\"3.5\" fill=\"", curve.colour, "\"/>\n");
            names.emplace_back(end, &curve);
        }
        std::ranges::sort(names);
        for (std::size_t n = 1; n < names.size(); ++n)
            names[n].first = std::max(names[n].first, names[n - 1].first + 18);
        for (std::size_t n = names.size(); n-- > 0;) {
            const double most = n + 1 < names.size() ? names[n + 1].first - 18 : below;
            names[n].first = std::min(names[n].first, most);
            const Curve& curve = *names[n].second;
            svg += join("<text x=\"", coordinate(width - right + 14), "\" y=\"", coordinate(names[n].first + 4),
                        "\" class=\"name\" style=\"fill:", curve.colour, "\">", escaped(curve.name), ' ',
                        number(curve.points.back().second), "</text>\n");
        }
    }
    return svg + text((left + width - right) / 2, height - 16, "below", x_title) + "</svg>\n";
}

}  // namespace smolvlm
