#pragma once
/// Byte-pair encoding: Sennrich et al. 2016 (arXiv:1508.07909), on bytes as in GPT-2.
///
/// A word starts as one token per byte. As long as some neighbours are the two sides of a merge, the merge that comes
/// first in the list is applied; among equal ones the leftmost. The result is the tokens that are left.

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <queue>
#include <string_view>
#include <utility>
#include <vector>

namespace smolvlm {

/// What two neighbouring tokens become, and how early. No merge has rank Merge::never.
struct Merge {
    static constexpr std::uint32_t never = 0xFFFFFFFF;
    std::uint32_t rank = never;
    std::int32_t token = -1;
};

/// (left, right) -> Merge, by open addressing.
class MergeTable {
public:
    explicit MergeTable(std::size_t count) : slots_(std::bit_ceil(2 * count + 2)) {}

    /// A pair that is entered twice keeps its last merge, as in HF tokenizers.
    void insert(std::int32_t left, std::int32_t right, Merge merge) {
        Slot& slot = slots_[slot_of(key_of(left, right))];
        slot = {key_of(left, right), merge};
    }
    Merge find(std::int32_t left, std::int32_t right) const { return slots_[slot_of(key_of(left, right))].merge; }

private:
    static constexpr std::uint64_t empty = ~std::uint64_t{0};
    struct Slot {
        std::uint64_t key = empty;
        Merge merge;
    };

    static std::uint64_t key_of(std::int32_t left, std::int32_t right) {
        return (static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32) | static_cast<std::uint32_t>(right);
    }
    std::size_t slot_of(std::uint64_t key) const {
        const std::size_t mask = slots_.size() - 1;
        std::size_t slot = static_cast<std::size_t>((key * 0x9E3779B97F4A7C15u) >> 32) & mask;
        while (slots_[slot].key != key && slots_[slot].key != empty) slot = (slot + 1) & mask;
        return slot;
    }

    std::vector<Slot> slots_;
};

/// Merges the tokens of one word in place, by the definition above: look for the best pair, merge, look again.
/// Quadratic, and the quicker way for a word of ordinary length.
class MergeByScan {
public:
    void operator()(const MergeTable& merges, std::vector<std::int32_t>& tokens) {
        pairs_.clear();
        for (std::size_t i = 0; i + 1 < tokens.size(); ++i) pairs_.push_back(merges.find(tokens[i], tokens[i + 1]));
        while (!pairs_.empty()) {
            std::size_t best = 0;
            for (std::size_t i = 1; i < pairs_.size(); ++i)
                if (pairs_[i].rank < pairs_[best].rank) best = i;
            if (pairs_[best].rank == Merge::never) return;
            tokens[best] = pairs_[best].token;
            tokens.erase(tokens.begin() + static_cast<std::ptrdiff_t>(best) + 1);
            pairs_.erase(pairs_.begin() + static_cast<std::ptrdiff_t>(best));
            if (best > 0) pairs_[best - 1] = merges.find(tokens[best - 1], tokens[best]);
            if (best < pairs_.size()) pairs_[best] = merges.find(tokens[best], tokens[best + 1]);
        }
    }

private:
    std::vector<Merge> pairs_;  // pairs_[i]: the merge of tokens i and i + 1
};

/// The same result in n log n, for words of any length: a queue of possible merges over a linked list of tokens.
class MergeByQueue {
public:
    void operator()(const MergeTable& merges, std::vector<std::int32_t>& tokens) {
        const auto count = static_cast<std::int64_t>(tokens.size());
        links_.resize(tokens.size());
        for (std::int64_t i = 0; i < count; ++i) {
            links_[static_cast<std::size_t>(i)] = {i - 1, i + 1};
            propose(merges, tokens, i, i + 1);
        }
        while (!queue_.empty()) {
            const Candidate best = queue_.top();
            queue_.pop();
            const auto left = static_cast<std::size_t>(best.left), right = static_cast<std::size_t>(best.right);
            // One of the two may have been merged since: then it is another token, or none (-1).
            if (tokens[left] != best.left_token || tokens[right] != best.right_token) continue;
            tokens[left] = best.merge.token;
            tokens[right] = -1;
            const std::int64_t after = links_[left].next = links_[right].next;
            if (after < count) links_[static_cast<std::size_t>(after)].previous = best.left;
            propose(merges, tokens, links_[left].previous, best.left);
            propose(merges, tokens, best.left, after);
        }
        std::erase(tokens, -1);
    }

private:
    struct Candidate {
        Merge merge;
        std::int64_t left, right;              // places in the word
        std::int32_t left_token, right_token;  // what stood there

        /// Reversed, since std::priority_queue puts the largest on top.
        bool operator<(const Candidate& other) const {
            return merge.rank != other.merge.rank ? merge.rank > other.merge.rank : left > other.left;
        }
    };
    struct Links {
        std::int64_t previous, next;
    };

    void propose(const MergeTable& merges, const std::vector<std::int32_t>& tokens, std::int64_t left,
                 std::int64_t right) {
        if (left < 0 || right >= static_cast<std::int64_t>(tokens.size())) return;
        const std::int32_t a = tokens[static_cast<std::size_t>(left)], b = tokens[static_cast<std::size_t>(right)];
        const Merge merge = merges.find(a, b);
        if (merge.rank != Merge::never) queue_.push({merge, left, right, a, b});
    }

    std::priority_queue<Candidate> queue_;
    std::vector<Links> links_;
};

/// The tokens of words. `Work` is the memory of one caller: calls with their own may run at the same time.
class Bpe {
public:
    struct Work {
        std::vector<std::int32_t> tokens;  // of the last word
        MergeByScan by_scan;
        MergeByQueue by_queue;
    };

    /// byte_tokens: the token of each byte, -1 for a byte that has none.
    Bpe(const std::array<std::int32_t, 256>& byte_tokens, MergeTable merges)
        : byte_tokens_(byte_tokens), merges_(std::move(merges)) {}

    /// Leaves the tokens of `word` in work.tokens. A byte without a token is dropped and its neighbours become
    /// neighbours, as in HF tokenizers; dropped(i) is called with its place.
    template <class F>
    void encode(std::string_view word, Work& work, F&& dropped) const {
        work.tokens.clear();
        for (std::size_t i = 0; i < word.size(); ++i) {
            const std::int32_t token = byte_tokens_[static_cast<unsigned char>(word[i])];
            if (token >= 0)
                work.tokens.push_back(token);
            else
                dropped(i);
        }
        constexpr std::size_t long_word = 48;
        if (work.tokens.size() < long_word)
            work.by_scan(merges_, work.tokens);
        else
            work.by_queue(merges_, work.tokens);
    }

private:
    std::array<std::int32_t, 256> byte_tokens_;
    MergeTable merges_;
};

}  // namespace smolvlm
