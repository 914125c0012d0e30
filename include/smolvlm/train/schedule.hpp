#pragma once
/// How the learning rate changes over a run: a factor between 0 and 1 for every step, counted from 0.
///
///     warm-up    step / warmup                                    while step < warmup
///     then       p = (step - warmup) / (total - warmup)           from 0 to 1
///     constant   1          linear   1 - p          cosine   (1 + cos(pi p)) / 2
///
/// linear and cosine end at `final` instead of 0: f -> final + (1 - final) f. With final = 0 these are transformers'
/// get_{constant,linear,cosine}_schedule_with_warmup (optimization.py), whose very first step has rate 0 when there is
/// a warm-up.

#include <algorithm>
#include <cmath>
#include <numbers>

#include <smolvlm/core/shape.hpp>

namespace smolvlm {

struct Schedule {
    enum class Kind { constant, linear, cosine };

    Kind kind = Kind::constant;
    Index warmup = 0, total = 1;  // steps
    double final = 0;             // the last factor, of linear and cosine

    double operator()(Index step) const {
        const auto real = [](Index n) { return static_cast<double>(n); };
        if (step < warmup) return real(step) / real(warmup);
        if (kind == Kind::constant) return 1;
        const double p = std::min(1.0, real(step - warmup) / real(std::max<Index>(1, total - warmup)));
        const double f = kind == Kind::linear ? 1 - p : 0.5 * (1 + std::cos(std::numbers::pi * p));
        return final + (1 - final) * f;
    }
};

}  // namespace smolvlm
