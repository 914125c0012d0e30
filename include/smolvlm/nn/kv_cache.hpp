#pragma once
#include <algorithm>
#include <numeric>

#include <smolvlm/nn/module.hpp>

namespace smolvlm {

/// Keys and values of one layer: sequence b owns the rows b * capacity .. (b + 1) * capacity - 1.
template <CachingBackend B>
struct LayerCache {
    Slab<B> keys, values;  // [sequences * capacity, G*K]
};

/// The keys and values that every layer keeps of the tokens already read, for one or several sequences of their own lengths.
///
///     const Segments seg = cache.next(be, new_tokens);     // once per step, not per layer
///     hidden = model.forward(be, ids, seg, &cache);
///     cache.commit(seg);                                    // now the new tokens count as past
///
/// Room for `capacity` tokens a sequence; grows by doubling up to `limit` (the model's context), where next() throws.
template <CachingBackend B>
class KvCache {
public:
    KvCache() = default;
    /// row_width: G*K, of `heads` heads = G. (A backend that holds rows as bytes gives each head a scale.)
    KvCache(Index layers, Index row_width, Index sequences, Index limit, Index heads = 1)
        : layers_(static_cast<std::size_t>(layers)), lengths_(static_cast<std::size_t>(sequences), 0), width_(row_width),
          heads_(heads), limit_(limit) {}

    Index length(Index sequence = 0) const { return lengths_[static_cast<std::size_t>(sequence)]; }
    Index sequences() const { return static_cast<Index>(lengths_.size()); }
    Index capacity() const { return capacity_; }
    LayerCache<B>& layer(Index i) { return layers_[static_cast<std::size_t>(i)]; }

    /// The segments of a step that gives sequence b new_tokens[b] tokens; sequences with none drop out.
    Segments next(B& be, std::span<const Index> new_tokens) {
        SMOLVLM_CHECK(static_cast<Index>(new_tokens.size()) == sequences(), ValueError, "kv cache: new tokens for ",
                      new_tokens.size(), " sequences, the cache has ", sequences());
        Index longest = 0;
        for (std::size_t b = 0; b < lengths_.size(); ++b) longest = std::max(longest, lengths_[b] + new_tokens[b]);
        reserve(be, longest);
        std::vector<Segment> list;
        Index row = 0;
        for (std::size_t b = 0; b < lengths_.size(); ++b) {
            const Index n = new_tokens[b];
            if (n > 0) list.push_back({row, n, static_cast<Index>(b) * capacity_, lengths_[b] + n});
            row += n;
        }
        return Segments(Segments::Mask::causal, std::move(list));
    }
    Segments next(B& be, Index new_tokens) { return next(be, std::span<const Index>(&new_tokens, 1)); }

    void commit(const Segments& segments) {
        for (const Segment& s : segments) lengths_[static_cast<std::size_t>(s.k0 / capacity_)] = s.keys;
    }

    /// Forgets all but the first `length` tokens of a sequence.
    void truncate(Index sequence, Index length) {
        Index& current = lengths_[static_cast<std::size_t>(sequence)];
        current = std::clamp<Index>(length, 0, current);
    }

    /// Makes room for `tokens` tokens a sequence, keeping what is there.
    void reserve(B& be, Index tokens) {
        SMOLVLM_CHECK(tokens <= limit_, ValueError, "context: ", tokens, " tokens are asked for, the model's context holds ",
                      limit_);
        if (tokens <= capacity_) return;
        const Index grown = std::min(limit_, std::max(tokens, 2 * capacity_));
        std::vector<std::int32_t> kept;
        std::vector<Segment> moves;
        for (std::size_t b = 0; b < lengths_.size(); ++b) {
            const Index n = lengths_[b], row = static_cast<Index>(kept.size());
            if (n > 0) moves.push_back({row, n, static_cast<Index>(b) * grown, n});
            for (Index t = 0; t < n; ++t)
                kept.push_back(static_cast<std::int32_t>(static_cast<Index>(b) * capacity_ + t));
        }
        const Segments destination(Segments::Mask::causal, std::move(moves));
        std::vector<Slab<B>> larger =
            be.make_slabs(2 * static_cast<Index>(layers_.size()), {sequences() * grown, width_}, heads_);
        for (std::size_t i = 0; i < larger.size(); ++i) {
            Slab<B>& slab = i % 2 == 0 ? layers_[i / 2].keys : layers_[i / 2].values;
            if (!kept.empty()) be.write_rows(larger[i], destination, be.gather_rows(slab, kept));
            slab = std::move(larger[i]);
        }
        capacity_ = grown;
    }

private:
    std::vector<LayerCache<B>> layers_;
    std::vector<Index> lengths_;  // tokens of each sequence
    Index width_ = 0;             // G*K
    Index heads_ = 1;             // G
    Index limit_ = 0;
    Index capacity_ = 0;
};

}  // namespace smolvlm
