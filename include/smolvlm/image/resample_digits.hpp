#pragma once
/// The weights of a resampling as resize_vnni.hpp multiplies them: four at a time, each as three signed bytes.

#include <array>
#include <optional>

#include <smolvlm/image/resample_weights.hpp>

namespace smolvlm::detail {

/// The digits of a weight; none above 127 * 65536 (a normalised kernel never comes near).
struct WeightDigits {
    std::int8_t digit[3];

    explicit WeightDigits(std::int32_t w) {
        for (std::int8_t& d : digit) {
            d = static_cast<std::int8_t>(w & 255);
            w = (w - d) >> 8;
        }
    }
    static bool fit(const ResampleWeights& axis) {
        constexpr std::int32_t most = 127 << 16;
        return std::ranges::all_of(axis.weights, [](std::int32_t w) { return -most < w && w < most; });
    }
};

/// Along rows: sixteen outputs are one block, whose inputs lie within 64 or 128 bytes from `base` on. For every four
/// taps of a block: which byte each lane takes, and the three digits of its weights.
struct RowGather {
    struct Step {
        std::uint8_t place[64];
        std::int8_t digit[3][64];
    };
    struct Block {
        Index base;
        std::size_t begin, end;  // of its steps
    };
    Index in, out, window = 64;
    std::vector<Block> blocks;
    std::vector<Step> steps;

    /// Nothing when a block does not fit (shrinking by more than about six) or the row is shorter than the window.
    static std::optional<RowGather> of(const ResampleWeights& axis, Index in) {
        RowGather gather{in, static_cast<Index>(axis.first.size()), 64, {}, {}};
        Index reach = 0;
        gather.each_block([&](std::size_t from, std::size_t to) {
            reach = std::max(reach, axis.first[to - 1] + axis.count[to - 1] - axis.first[from]);
        });
        if (reach > gather.window) gather.window = 128;
        if (reach > gather.window || in < gather.window || !WeightDigits::fit(axis)) return std::nullopt;
        gather.each_block([&](std::size_t from, std::size_t to) { gather.add_block(axis, from, to); });
        return gather;
    }

private:
    template <class F>
    void each_block(F f) const {
        for (Index i = 0; i < out; i += 16)
            f(static_cast<std::size_t>(i), static_cast<std::size_t>(std::min(i + 16, out)));
    }
    void add_block(const ResampleWeights& axis, std::size_t from, std::size_t to) {
        const Index base = std::min(axis.first[from], in - window);
        const Index taps = *std::max_element(axis.count.begin() + static_cast<std::ptrdiff_t>(from),
                                             axis.count.begin() + static_cast<std::ptrdiff_t>(to));
        const std::size_t begin = steps.size();
        steps.resize(begin + static_cast<std::size_t>((taps + 3) / 4));
        blocks.push_back({base, begin, steps.size()});
        for (std::size_t i = from; i < to; ++i)
            for (Index tap = 0; tap < axis.count[i]; ++tap) {
                Step& step = steps[begin + static_cast<std::size_t>(tap / 4)];
                const std::size_t lane = (i - from) * 4 + static_cast<std::size_t>(tap % 4);
                const WeightDigits w(axis.weight(i, tap));
                step.place[lane] = static_cast<std::uint8_t>(axis.first[i] - base + tap);
                for (std::size_t k = 0; k < 3; ++k) step.digit[k][lane] = w.digit[k];
            }
    }
};

/// Along columns: the quads under each output row, and for every quad the digits of its four weights.
struct QuadSums {
    struct Row {
        Index first, count;  // quads
        std::size_t digits;  // where its digits begin
    };
    Index most = 0;  // quads under one row
    std::vector<Row> rows;
    std::vector<std::array<std::array<std::int8_t, 4>, 3>> digits;

    explicit QuadSums(const ResampleWeights& axis) {
        for (std::size_t i = 0; i < axis.first.size(); ++i) {
            const Index first = axis.first[i] / 4, end = (axis.first[i] + axis.count[i] + 3) / 4;
            rows.push_back({first, end - first, digits.size()});
            most = std::max(most, end - first);
            digits.resize(digits.size() + static_cast<std::size_t>(end - first));
            for (Index tap = 0; tap < axis.count[i]; ++tap) {
                const auto at = static_cast<std::size_t>(axis.first[i] - 4 * first + tap);
                const WeightDigits w(axis.weight(i, tap));
                for (std::size_t k = 0; k < 3; ++k) digits[rows.back().digits + at / 4][k][at % 4] = w.digit[k];
            }
        }
    }
};

}  // namespace smolvlm::detail
