#pragma once
/// FeatureCache: what the vision tower and the connector made of frames that they have seen, so that a picture asked
/// about again costs no vision time. Keyed by content, bounded in bytes; what was used longest ago goes first.

#include <cstring>
#include <list>
#include <map>
#include <span>

#include <smolvlm/backend/concept.hpp>

namespace smolvlm {

/// 128 bits of what a frame is made of; frames that differ share one with probability 2^-128.
struct FrameKey {
    std::uint64_t a = 0, b = 0;
    friend auto operator<=>(const FrameKey&, const FrameKey&) = default;
    friend bool operator==(const FrameKey&, const FrameKey&) = default;  // nvcc 13 does not find it in the line above
};

/// The key of some bytes, continuing from `key`: two chains of multiply and fold (each step is a bijection of the chain),
/// with a finish that mixes every bit into every other (MurmurHash3's fmix64, Appleby 2011).
inline FrameKey frame_key(std::span<const std::byte> bytes, FrameKey key = {0x9E3779B97F4A7C15u, 0xC2B2AE3D27D4EB4Fu}) {
    const auto finished = [](std::uint64_t h) {
        h = (h ^ (h >> 33)) * 0xFF51AFD7ED558CCDu;
        h = (h ^ (h >> 33)) * 0xC4CEB9FE1A85EC53u;
        return h ^ (h >> 33);
    };
    const auto take = [&key](std::uint64_t word) {
        key.a = (key.a ^ word) * 0x9FB21C651E98DF25u;
        key.a ^= key.a >> 32;
        key.b = (key.b + word) * 0xD6E8FEB86659FD93u;
        key.b ^= key.b >> 29;
    };
    take(bytes.size());
    std::size_t at = 0;
    for (std::uint64_t word; at + 8 <= bytes.size(); at += 8) {
        std::memcpy(&word, bytes.data() + at, 8);
        take(word);
    }
    std::uint64_t last = 0;
    if (at < bytes.size()) std::memcpy(&last, bytes.data() + at, bytes.size() - at);
    take(last);
    return {finished(key.a), finished(key.b + key.a)};
}

/// For one model and one thread at a time.
template <Backend B>
class FeatureCache {
public:
    /// max_bytes: of features; 0 keeps nothing.
    explicit FeatureCache(Index max_bytes = Index(64) << 20) : max_bytes_(max_bytes) {}

    /// The features of that frame, or null. Valid until the next call.
    const Tensor<B>* find(const FrameKey& key) {
        const auto found = places_.find(key);
        if (found == places_.end()) return nullptr;
        entries_.splice(entries_.begin(), entries_, found->second);
        ++hits_;
        return &entries_.front().features;
    }
    /// Keeps features [tokens, D] that were just made, and lets others go when they are too many.
    void insert(const FrameKey& key, const Tensor<B>& features) {
        ++misses_;
        const Index size = size_of(features);
        if (size > max_bytes_ || places_.count(key)) return;
        entries_.push_front({key, features});
        places_[key] = entries_.begin();
        bytes_ += size;
        while (bytes_ > max_bytes_) {
            bytes_ -= size_of(entries_.back().features);
            places_.erase(entries_.back().key);
            entries_.pop_back();
        }
    }

    Index bytes() const { return bytes_; }
    Index frames() const { return static_cast<Index>(entries_.size()); }
    Index hits() const { return hits_; }
    /// How often a frame had to be encoded.
    Index misses() const { return misses_; }

private:
    struct Entry {
        FrameKey key;
        Tensor<B> features;
    };
    static Index size_of(const Tensor<B>& features) {
        return features.shape().numel() * static_cast<Index>(sizeof(typename B::Scalar));
    }

    Index max_bytes_, bytes_ = 0, hits_ = 0, misses_ = 0;
    std::list<Entry> entries_;  // used last comes first
    std::map<FrameKey, typename std::list<Entry>::iterator> places_;
};

}  // namespace smolvlm
