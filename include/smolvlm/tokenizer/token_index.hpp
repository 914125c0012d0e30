#pragma once
/// From a string to its number in a list, by open addressing over numbers: each string is stored once, in the list.

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace smolvlm {

class TokenIndex {
public:
    TokenIndex() = default;
    /// Room for this many strings.
    explicit TokenIndex(std::size_t count) : slots_(std::bit_ceil(2 * count + 2), -1) {}

    /// The number of `text` in the list given to insert(), or -1.
    std::int32_t find(std::string_view text, const std::vector<std::string>& list) const {
        return slots_.empty() ? -1 : slots_[slot_of(text, list)];
    }
    /// Makes list[number] findable. Returns false when an equal string was there already, which stays.
    bool insert(std::int32_t number, const std::vector<std::string>& list) {
        std::int32_t& slot = slots_[slot_of(list[static_cast<std::size_t>(number)], list)];
        if (slot >= 0) return false;
        slot = number;
        return true;
    }

private:
    /// Where `text` is, or the empty slot where it would go; at most half the slots are taken.
    std::size_t slot_of(std::string_view text, const std::vector<std::string>& list) const {
        const std::size_t mask = slots_.size() - 1;
        std::size_t slot = hash(text) & mask;
        while (slots_[slot] >= 0 && list[static_cast<std::size_t>(slots_[slot])] != text) slot = (slot + 1) & mask;
        return slot;
    }
    /// FNV-1a, with its high bits folded in.
    static std::size_t hash(std::string_view text) {
        std::uint64_t h = 0xCBF29CE484222325u;
        for (const char c : text) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
        return static_cast<std::size_t>(h ^ (h >> 32));
    }

    std::vector<std::int32_t> slots_;
};

}  // namespace smolvlm
