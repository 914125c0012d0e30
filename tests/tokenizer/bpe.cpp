#include <doctest/doctest.h>

#include <smolvlm/tokenizer/bpe.hpp>

#include "tokenizer/support.hpp"

using namespace smolvlm;
using testing::Ids;

namespace {

template <class Merger>
Ids merged(const MergeTable& merges, Ids tokens) {
    Merger{}(merges, tokens);
    return tokens;
}

}  // namespace

TEST_CASE("bpe: the merge that comes first in the list is applied first, the leftmost among equals") {
    //            a b c = 0 1 2      merges: b c -> 3, a b -> 4, a a -> 5
    MergeTable merges(3);
    merges.insert(1, 2, {0, 3});
    merges.insert(0, 1, {1, 4});
    merges.insert(0, 0, {2, 5});
    CHECK(merged<MergeByScan>(merges, {0, 1, 2}) == Ids{0, 3});
    CHECK(merged<MergeByScan>(merges, {0, 1, 0, 1, 2}) == Ids{4, 0, 3});
    CHECK(merged<MergeByScan>(merges, {0, 0, 0}) == Ids{5, 0});
    CHECK(merged<MergeByScan>(merges, {}).empty());
    CHECK(merged<MergeByScan>(merges, {2}) == Ids{2});
}

TEST_CASE("bpe: the queue for long words merges exactly as the definition does") {
    Random random(5);
    for (int round = 0; round < 300; ++round) {
        // Random merges in the order in which their sides come to be; strings keep equal results equal.
        std::vector<std::string> tokens{"a", "b", "c"};
        MergeTable merges(60);
        std::uint32_t rank = 0;
        for (int i = 0; i < 40; ++i) {
            const auto left = random.below(static_cast<std::uint32_t>(tokens.size()));
            const auto right = random.below(static_cast<std::uint32_t>(tokens.size()));
            const std::string both = tokens[left] + tokens[right];
            auto result = static_cast<std::size_t>(std::find(tokens.begin(), tokens.end(), both) - tokens.begin());
            if (result == tokens.size()) tokens.push_back(both);
            merges.insert(static_cast<std::int32_t>(left), static_cast<std::int32_t>(right),
                          {rank++, static_cast<std::int32_t>(result)});
        }
        Ids word;
        for (std::uint32_t n = random.below(80); n > 0; --n) word.push_back(static_cast<std::int32_t>(random.below(3)));
        CHECK(merged<MergeByQueue>(merges, word) == merged<MergeByScan>(merges, word));
    }
}

TEST_CASE("bpe: a byte without a token is dropped, its place told, and its neighbours merge") {
    std::array<std::int32_t, 256> byte_tokens;
    byte_tokens.fill(-1);
    byte_tokens['t'] = 0;
    byte_tokens['h'] = 1;
    MergeTable merges(1);
    merges.insert(0, 1, {0, 2});
    const Bpe bpe(byte_tokens, merges);
    Bpe::Work work;
    std::vector<std::size_t> dropped;
    bpe.encode("t\x04\x05h!", work, [&](std::size_t i) { dropped.push_back(i); });
    CHECK(work.tokens == Ids{2});
    CHECK(dropped == std::vector<std::size_t>{1, 2, 4});
}

TEST_CASE("bpe: a pair entered twice keeps its last merge") {
    MergeTable merges(2);
    merges.insert(0, 1, {0, 7});
    merges.insert(0, 1, {5, 8});
    CHECK(merges.find(0, 1).rank == 5);
    CHECK(merges.find(0, 1).token == 8);
    CHECK(merges.find(1, 0).rank == Merge::never);
}
