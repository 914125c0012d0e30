#pragma once
/// Picks the next token from logits. Filters and their order are those of transformers' generate: repetition penalty,
/// temperature, top-k, top-p, min-p; then one uniform number decides. All in double, so a seed gives the same tokens on every
/// platform whose logits agree.

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <span>
#include <vector>

#include <smolvlm/backend/segments.hpp>
#include <smolvlm/core/random.hpp>

namespace smolvlm {

struct SamplingOptions {
    double temperature = 0;         // 0: greedy, the most likely token (the first of equals)
    Index top_k = 0;                // keep the k most likely; 0: all
    double top_p = 1;               // keep the most likely tokens that together reach this probability
    double min_p = 0;               // drop tokens below this fraction of the most likely one's probability
    double repetition_penalty = 1;  // > 1: tokens already in the text become less likely (arXiv:1909.05858)
    std::uint64_t seed = 0;

    /// Throws ValueError naming the option that is out of range.
    void check() const {
        SMOLVLM_CHECK(std::isfinite(temperature) && temperature >= 0, ValueError, "temperature is ", temperature,
                      "; 0 (greedy) or a positive number is needed");
        SMOLVLM_CHECK(top_k >= 0, ValueError, "top-k is ", top_k, "; 0 (off) or a positive count is needed");
        SMOLVLM_CHECK(top_p > 0 && top_p <= 1, ValueError, "top-p is ", top_p, "; a probability in (0, 1] is needed");
        SMOLVLM_CHECK(min_p >= 0 && min_p <= 1, ValueError, "min-p is ", min_p, "; a fraction in [0, 1] is needed");
        SMOLVLM_CHECK(std::isfinite(repetition_penalty) && repetition_penalty > 0, ValueError, "repetition-penalty is ",
                      repetition_penalty, "; a positive number is needed (1: off)");
    }
};

class Sampler {
public:
    /// `stream` sets sequences of one batch apart: sequence b of a batch draws what a Sampler(options, b) draws alone.
    explicit Sampler(const SamplingOptions& options, std::uint64_t stream = 0)
        : options_(options), random_(options.seed + stream * 0x9E3779B97F4A7C15ull) {
        options_.check();
    }

    /// logits [V]; seen: every token of prompt and answer so far. Throws ValueError when a logit is NaN or infinite.
    template <class T>
    std::int32_t next(std::span<const T> logits, Ids seen) {
        load(logits, seen);
        if (options_.temperature == 0)
            return static_cast<std::int32_t>(std::max_element(scores_.begin(), scores_.end()) - scores_.begin());
        filter();
        double mark = random_.uniform() * std::accumulate(weights_.begin(), weights_.end(), 0.0);
        for (std::size_t i = 0; i + 1 < weights_.size(); ++i) {
            mark -= weights_[i];
            if (mark < 0) return order_[i];
        }
        return order_[weights_.size() - 1];
    }

    /// The probability that next() draws each token [V], for looking at; draws nothing. Greedy: 1 for the one it takes.
    template <class T>
    std::vector<double> probabilities(std::span<const T> logits, Ids seen) {
        std::vector<double> result(logits.size(), 0.0);
        if (options_.temperature == 0) {
            result[static_cast<std::size_t>(next(logits, seen))] = 1;
            return result;
        }
        load(logits, seen);
        filter();
        const double total = std::accumulate(weights_.begin(), weights_.end(), 0.0);
        for (std::size_t i = 0; i < weights_.size(); ++i) result[static_cast<std::size_t>(order_[i])] = weights_[i] / total;
        return result;
    }

private:
    template <class T>
    void load(std::span<const T> logits, Ids seen) {
        scores_.assign(logits.begin(), logits.end());
        SMOLVLM_CHECK(!scores_.empty(), ValueError, "sampler: there are no logits to choose from");
        for (std::size_t i = 0; i < scores_.size(); ++i)
            SMOLVLM_CHECK(scores_[i] < std::numeric_limits<double>::infinity(), ValueError, "sampler: logit ", i, " is ",
                          scores_[i], "; the weights or the inputs hold NaN or infinity");
        penalise(seen);
    }

    void penalise(Ids seen) {
        if (options_.repetition_penalty == 1) return;
        std::vector<bool> done(scores_.size(), false);
        for (std::int32_t id : seen) {
            const auto i = static_cast<std::size_t>(id);
            if (i >= done.size() || done[i]) continue;
            done[i] = true;
            scores_[i] *= scores_[i] < 0 ? options_.repetition_penalty : 1 / options_.repetition_penalty;
        }
    }

    /// order_: the tokens that may be drawn, from most to least likely, equal ones by id, so that the order is the same
    /// everywhere; weights_: their probabilities relative to the first's.
    void filter() {
        order_.resize(scores_.size());
        std::iota(order_.begin(), order_.end(), 0);
        const auto likelier = [this](std::int32_t a, std::int32_t b) {
            const double x = score(a), y = score(b);
            return x > y || (x == y && a < b);
        };
        if (options_.top_k > 0 && options_.top_k < static_cast<Index>(order_.size())) {
            std::partial_sort(order_.begin(), order_.begin() + options_.top_k, order_.end(), likelier);
            order_.resize(static_cast<std::size_t>(options_.top_k));
        } else {
            std::sort(order_.begin(), order_.end(), likelier);
        }
        const double largest = score(order_[0]);
        weights_.clear();
        for (std::int32_t id : order_) weights_.push_back(std::exp((score(id) - largest) / options_.temperature));
        keep_top_p();
        keep_min_p();
    }

    /// Keeps the shortest run of most likely tokens that reaches probability top_p.
    void keep_top_p() {
        if (options_.top_p >= 1) return;
        const double total = std::accumulate(weights_.begin(), weights_.end(), 0.0);
        double reached = 0;
        std::size_t kept = 0;
        while (kept < weights_.size() && reached < options_.top_p * total) reached += weights_[kept++];
        weights_.resize(std::max<std::size_t>(kept, 1));
    }
    /// weights_[0] is the largest and equals 1.
    void keep_min_p() {
        while (weights_.size() > 1 && weights_.back() < options_.min_p) weights_.pop_back();
    }
    double score(std::int32_t id) const { return scores_[static_cast<std::size_t>(id)]; }

    SamplingOptions options_;
    Random random_;
    std::vector<double> scores_, weights_;
    std::vector<std::int32_t> order_;
};

}  // namespace smolvlm
