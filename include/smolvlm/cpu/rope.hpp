#pragma once
/// Rotary position embedding from tables.                                                definition: ref/rope.hpp

#include <cmath>
#include <vector>

#include <smolvlm/backend/segments.hpp>
#include <smolvlm/core/parallel.hpp>
#include <smolvlm/core/view.hpp>
#include <smolvlm/cpu/dispatch.hpp>

namespace smolvlm::cpu {

/// Cosines and sines of every position so far asked for, for one theta and one head width K; computed in double.
template <class T>
class RopeTable {
public:
    RopeTable(double theta, Index head_width) : theta_(theta), half_(head_width / 2) {}

    bool is_for(double theta, Index head_width) const { return theta_ == theta && half_ == head_width / 2; }

    void reserve(Index positions) {
        if (positions <= positions_) return;
        const Index first = positions_;
        positions_ = std::max({positions, 2 * positions_, Index(2048)});
        table_.resize(static_cast<std::size_t>(positions_ * 2 * half_));
        for (Index i = 0; i < half_; ++i) {
            const double frequency = std::pow(theta_, -static_cast<double>(i) / static_cast<double>(half_));
            for (Index p = first; p < positions_; ++p) {
                const double angle = static_cast<double>(p) * frequency;
                table_[static_cast<std::size_t>(p * 2 * half_ + i)] = static_cast<T>(std::cos(angle));
                table_[static_cast<std::size_t>(p * 2 * half_ + half_ + i)] = static_cast<T>(std::sin(angle));
            }
        }
    }
    /// cos [K/2], then sin [K/2]
    const T* at(Index position) const { return table_.data() + position * 2 * half_; }

private:
    double theta_;
    Index half_, positions_ = 0;
    std::vector<T> table_;
};

/// One row of heads; y may be x.
struct RotateRow {
    template <int Bytes, class T>
    SMOLVLM_INLINE static void run(const T* x, const T* table, Index heads, Index half, T* y) {
        using V = Vec<T, lanes<T, Bytes>>;
        constexpr Index L = V::lanes;
        for (Index h = 0; h < heads; ++h, x += 2 * half, y += 2 * half) {
            Index i = 0;
            for (; i + L <= half; i += L) {
                const V a = V::load(x + i), b = V::load(x + half + i);
                const V c = V::load(table + i), s = V::load(table + half + i);
                (a * c - b * s).store(y + i);
                (b * c + a * s).store(y + half + i);
            }
            for (; i < half; ++i) {
                const T a = x[i], b = x[half + i], c = table[i], s = table[half + i];
                y[i] = a * c - b * s;
                y[half + i] = b * c + a * s;
            }
        }
    }
};

/// x [N, heads*K]   ->   y [N, heads*K]; y may be x.
template <class T>
void rope(In<T> x, Index heads, RopeTable<T>& table, const Segments& segments, View<T> y, CpuPath path, int threads) {
    const Index width = x.dim(1);
    for (const Segment& s : segments) {
        table.reserve(s.keys);
        parallel_for(threads, s.n, Index(32), [&](Index begin, Index end) {
            for (Index t = begin; t < end; ++t) {
                const Index row = (s.q0 + t) * width;
                const T* const turns = table.at(s.past() + t);
                dispatch<RotateRow>(path, x.data() + row, turns, heads, width / heads / 2, y.data() + row);
            }
        });
    }
}

}  // namespace smolvlm::cpu
