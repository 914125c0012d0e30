#pragma once
/// In which order samples of one or several sets are read: a pure function of the seed and of the number of samples
/// read before, so that a run can go on anywhere.
///
/// Every set is shuffled anew in each of its epochs. With several, the next sample comes from the set that is furthest
/// behind its share, so that after n samples each set has given its weight times n, to within one:
///
///     weights 3 1      A A B A | A A B A | ...

#include <numeric>
#include <string>
#include <vector>

#include <smolvlm/core/random.hpp>
#include <smolvlm/core/shape.hpp>

namespace smolvlm {

class SampleOrder {
public:
    struct Set {
        Index size = 0;  // 0: without end, and not shuffled
        double weight = 1;
    };
    struct Pick {
        std::size_t set = 0;
        Index sample = 0, epoch = 0;
    };

    SampleOrder(std::vector<Set> sets, std::uint64_t seed) : sets_(std::move(sets)), seed_(seed) {
        SMOLVLM_CHECK(!sets_.empty(), ValueError, "data: no set of samples");
        for (std::size_t i = 0; i < sets_.size(); ++i) {
            SMOLVLM_CHECK(sets_[i].size >= 0 && sets_[i].size < Index(1) << 32, ValueError, "data: set ", i + 1, " has ",
                          sets_[i].size, " samples; expected 1 to 2^32 - 1, or 0 for one without end");
            SMOLVLM_CHECK(sets_[i].weight > 0, ValueError, "data: set ", i + 1, " has the weight ", sets_[i].weight,
                          "; expected a positive number");
            total_weight_ += sets_[i].weight;
        }
        seek(0);
    }

    /// Samples picked so far, in all.
    Index position() const { return position_; }
    /// Picked so far from set i.
    Index taken(std::size_t i) const { return taken_[i]; }

    Pick next() {
        const std::size_t set = next_set();
        const Index size = sets_[set].size, n = taken_[set]++;
        ++position_;
        if (size == 0) return {set, n, 0};
        return {set, shuffled(set, n / size)[static_cast<std::size_t>(n % size)], n / size};
    }
    /// Passes over the next sample: cheaper than next(), whose order it keeps.
    void skip() {
        ++taken_[next_set()];
        ++position_;
    }
    /// Goes to where `position` samples have been picked.
    void seek(Index position) {
        position_ = 0;
        taken_.assign(sets_.size(), 0);
        orders_.resize(sets_.size());
        if (sets_.size() == 1) taken_[0] = position_ = position;
        while (position_ < position) skip();
    }

private:
    struct Order {
        Index epoch = -1;
        std::vector<Index> samples;
    };

    /// The set whose share of the samples so far, this one included, is furthest below its weight; the first of equals.
    std::size_t next_set() const {
        std::size_t best = 0;
        double most = -1e300;
        for (std::size_t i = 0; i < sets_.size(); ++i) {
            const double share = sets_[i].weight / total_weight_;
            const double behind = share * static_cast<double>(position_ + 1) - static_cast<double>(taken_[i]);
            if (behind > most) most = behind, best = i;
        }
        return best;
    }
    /// Fisher-Yates, from a random sequence of its own for every set and epoch.
    const std::vector<Index>& shuffled(std::size_t set, Index epoch) {
        Order& order = orders_[set];
        if (order.epoch == epoch) return order.samples;
        order.epoch = epoch;
        order.samples.resize(static_cast<std::size_t>(sets_[set].size));
        std::iota(order.samples.begin(), order.samples.end(), Index(0));
        Random random(seed_ + set * 0x9E3779B97F4A7C15ull + static_cast<std::uint64_t>(epoch) * 0xD1B54A32D192ED03ull);
        for (std::size_t i = order.samples.size(); i > 1; --i)
            std::swap(order.samples[i - 1], order.samples[random.below(static_cast<std::uint32_t>(i))]);
        return order.samples;
    }

    std::vector<Set> sets_;
    std::uint64_t seed_;
    double total_weight_ = 0;
    Index position_ = 0;
    std::vector<Index> taken_;
    std::vector<Order> orders_;
};

}  // namespace smolvlm
