#pragma once
/// Ragged batches. Several sequences are one matrix [N, D] with no padding inside; Segments say which rows belong together
/// and which keys each row may see. Linear maps and norms look at all rows at once, only attention and RoPE look at segments.
///
///     prompt of 3 tokens, prompt of 2 tokens        rows 0 1 2 | 3 4      {q0 0, n 3, k0 0, keys 3}, {q0 3, n 2, k0 3, keys 2}
///     one new token each, caches of capacity 8      rows 0 | 1            {q0 0, n 1, k0 0, keys 4}, {q0 1, n 1, k0 8, keys 3}
///
/// The same two lines of layer code thus serve prefill, decoding, ragged decoding, packed training and vision tiles.

#include <algorithm>
#include <memory>
#include <span>
#include <vector>

#include <smolvlm/core/shape.hpp>

namespace smolvlm {

/// Token ids or row numbers.
using Ids = std::span<const std::int32_t>;

/// Targets of this value count for nothing in a loss: prompts, padding and image tokens.
inline constexpr std::int32_t ignore_index = -100;

/// H query heads share G key/value heads (H is a multiple of G); query head h reads key/value head h / (H / G).
struct Heads {
    Index query = 1;  // H
    Index kv = 1;     // G
};

/// n new rows of one sequence, starting at row q0; its keys are rows k0 .. k0 + keys - 1 of the key matrix.
/// In a causal segment the new tokens are the last n of the keys.
struct Segment {
    Index q0 = 0;
    Index n = 0;
    Index k0 = 0;
    Index keys = 0;

    Index past() const { return keys - n; }  // tokens before the new ones
};

/// An immutable list of segments; copies share it, so a tape may keep one per op.
class Segments {
public:
    enum class Mask { causal, full };

    Segments() : Segments(Mask::full, {}) {}
    Segments(Mask mask, std::vector<Segment> list)
        : list_(std::make_shared<const std::vector<Segment>>(std::move(list))), mask_(mask) {
        for (const Segment& s : *list_) {
            SMOLVLM_CHECK(s.q0 == rows_ && s.n >= 0 && s.k0 >= 0 && s.keys >= 0, ShapeError, "segments: segment at row ",
                          s.q0, " with ", s.n, " rows and ", s.keys, " keys does not follow ", rows_, " rows");
            SMOLVLM_CHECK(!causal() || s.keys >= s.n, ShapeError, "segments: ", s.n, " new causal tokens among ", s.keys,
                          " keys");
            rows_ += s.n;
            key_rows_ = std::max(key_rows_, s.k0 + s.keys);
        }
    }
    /// Sequences of these lengths, one after the other, each seeing only itself.
    static Segments packed(Mask mask, std::span<const Index> lengths) {
        std::vector<Segment> list;
        Index row = 0;
        for (Index n : lengths) {
            list.push_back({row, n, row, n});
            row += n;
        }
        return Segments(mask, std::move(list));
    }

    /// Causality is always said, never inferred from shapes: a chunk of many tokens on a warm cache is causal too.
    bool causal() const { return mask_ == Mask::causal; }
    /// How many of the segment's keys its row t may see: a prefix of them.
    Index visible(const Segment& s, Index t) const { return causal() ? s.past() + t + 1 : s.keys; }

    auto begin() const { return list_->begin(); }
    auto end() const { return list_->end(); }
    Index size() const { return static_cast<Index>(list_->size()); }
    const Segment& operator[](Index i) const { return (*list_)[static_cast<std::size_t>(i)]; }
    Index rows() const { return rows_; }          // N: new rows of all segments
    Index key_rows() const { return key_rows_; }  // the key matrix needs at least so many rows

private:
    std::shared_ptr<const std::vector<Segment>> list_;
    Mask mask_;
    Index rows_ = 0;
    Index key_rows_ = 0;
};

}  // namespace smolvlm
