#pragma once
/// What kernels need to know of a ragged batch, brought to the device once for all layers of a step: where each row
/// stands, and the tiles that attention is made in. And the table of RoPE's angles.

#include <cmath>
#include <list>
#include <memory>

#include <smolvlm/backend/segments.hpp>
#include <smolvlm/cuda/attention.cuh>
#include <smolvlm/cuda/rope.cuh>
#include <smolvlm/cuda/runtime.cuh>

namespace smolvlm::cuda {

/// One list of segments on the device. The list is kept, so its address names it as long as the plan lives.
class SegmentPlan {
public:
    explicit SegmentPlan(const Segments& segments) : segments_(segments) {}

    bool is_for(const Segments& segments) const {
        return std::to_address(segments.begin()) == std::to_address(segments_.begin()) &&
               segments.causal() == segments_.causal();
    }
    /// Of each row its position and its row in a cache.
    const RowPlace* rows(Runtime& on) {
        if (rows_) return static_cast<const RowPlace*>(rows_.data());
        std::vector<RowPlace> all;
        for (const Segment& s : segments_)
            for (Index t = 0; t < s.n; ++t)
                all.push_back({static_cast<std::int32_t>(s.past() + t), static_cast<std::int32_t>(s.k0 + s.past() + t)});
        rows_ = on.upload(all.data(), all.size() * sizeof(RowPlace));
        return static_cast<const RowPlace*>(rows_.data());
    }
    struct Tiles {
        Index group, size, count;
        Memory memory;

        const PairTile* data() const { return static_cast<const PairTile*>(memory.data()); }
    };
    /// The tiles of `size` pairs for query heads that share key/value heads by groups of `group`.
    const Tiles& tiles(Runtime& on, Index group, Index size = 16) {
        for (const Tiles& known : tiles_)
            if (known.group == group && known.size == size) return known;
        std::vector<PairTile> all;
        const auto number = [](Index i) { return static_cast<std::int32_t>(i); };
        for (const Segment& s : segments_)
            for (Index first = 0; first < s.n * group; first += size)
                all.push_back({number(s.q0), number(first), number(s.n * group), number(s.k0), number(s.past()),
                               number(s.keys), segments_.causal()});
        return tiles_.emplace_back(Tiles{group, size, static_cast<Index>(all.size()),
                                         on.upload(all.data(), all.size() * sizeof(PairTile))});
    }
    Index last_position() const {
        Index last = 0;
        for (const Segment& s : segments_) last = std::max(last, s.keys);
        return last;
    }

private:
    Segments segments_;
    Memory rows_;
    std::list<Tiles> tiles_;
};

/// Cosines and sines of all angles up to some position, made in double; grows by doubling.
class TurnTable {
public:
    TurnTable(double theta, Index head_width) : theta_(theta), width_(head_width) {}

    bool is_for(double theta, Index head_width) const { return theta == theta_ && head_width == width_; }
    const Turn* upto(Runtime& on, Index positions) {
        if (positions <= positions_) return static_cast<const Turn*>(table_.data());
        while (positions_ < positions) positions_ = positions_ > 0 ? 2 * positions_ : 256;
        std::vector<Turn> all;
        all.reserve(static_cast<std::size_t>(positions_ * (width_ / 2)));
        std::vector<double> speeds;
        for (Index i = 0; i < width_ / 2; ++i)
            speeds.push_back(std::pow(theta_, -2.0 * static_cast<double>(i) / static_cast<double>(width_)));
        for (Index position = 0; position < positions_; ++position)
            for (const double speed : speeds) {
                const double angle = static_cast<double>(position) * speed;
                all.push_back({static_cast<float>(std::cos(angle)), static_cast<float>(std::sin(angle))});
            }
        table_ = on.upload(all.data(), all.size() * sizeof(Turn));
        return static_cast<const Turn*>(table_.data());
    }

private:
    double theta_;
    Index width_, positions_ = 0;
    Memory table_;
};

}  // namespace smolvlm::cuda
