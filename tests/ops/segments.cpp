#include <doctest/doctest.h>

#include <smolvlm/backend/concept.hpp>

#include "support/backends.hpp"

using namespace smolvlm;
using namespace testing;
using Mask = Segments::Mask;

static_assert(CachingBackend<Ref<double>> && CachingBackend<Ref<float>>);
static_assert(CachingBackend<Cpu<double>> && CachingBackend<Cpu<float>>);
static_assert(!Backend<int>);

TEST_CASE("segments: packed sequences follow each other and see only themselves") {
    const std::vector<Index> lengths{3, 2};
    const Segments segments = Segments::packed(Mask::causal, lengths);
    REQUIRE(segments.size() == 2);
    CHECK(segments.rows() == 5);
    CHECK(segments.key_rows() == 5);
    CHECK(segments[1].q0 == 3);
    CHECK(segments[1].k0 == 3);
    CHECK(segments[1].keys == 2);
}

TEST_CASE("segments: a causal row sees the past and itself, a full row all keys of its segment") {
    const Segment chunk{0, 3, 0, 7};
    const Segments causal(Mask::causal, {chunk}), full(Mask::full, {chunk});
    CHECK(chunk.past() == 4);
    CHECK(causal.visible(chunk, 0) == 5);
    CHECK(causal.visible(chunk, 2) == 7);
    CHECK(full.visible(chunk, 0) == 7);
    CHECK(Segments().rows() == 0);
    CHECK_FALSE(Segments().causal());
}

TEST_CASE("segments: rows out of order, negative counts and causal rows beyond the keys are refused") {
    CHECK(error_of([] {
              Segments(Mask::full, {{1, 2, 0, 2}});
          }) == "segments: segment at row 1 with 2 rows and 2 keys does not follow 0 rows");
    CHECK(error_of([] {
              Segments(Mask::full, {{0, 2, 0, 2}, {0, 2, 0, 2}});
          }) == "segments: segment at row 0 with 2 rows and 2 keys does not follow 2 rows");
    CHECK(error_of([] {
              Segments(Mask::full, {{0, -1, 0, 2}});
          }) == "segments: segment at row 0 with -1 rows and 2 keys does not follow 0 rows");
    CHECK(error_of([] { Segments(Mask::causal, {{0, 3, 0, 2}}); }) == "segments: 3 new causal tokens among 2 keys");
    CHECK(error_of([] { Segments(Mask::full, {{0, 3, 0, 2}}); }) == "");
}
