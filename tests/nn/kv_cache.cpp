#include <doctest/doctest.h>

#include <smolvlm/nn/kv_cache.hpp>

#include "support/backends.hpp"

using namespace smolvlm;
using namespace testing;

namespace {

/// Writes rows numbered from `first` into every layer as a step of the model would, and commits them.
template <class B>
void step(B& be, KvCache<B>& cache, const std::vector<Index>& counts, double first) {
    const Segments segments = cache.next(be, counts);
    std::vector<double> numbers(static_cast<std::size_t>(segments.rows()));
    for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = first + double(i);
    for (Index layer : {0, 1}) {
        be.write_rows(cache.layer(layer).keys, segments, tensor(be, {segments.rows(), 1}, numbers));
        be.write_rows(cache.layer(layer).values, segments, tensor(be, {segments.rows(), 1}, numbers));
    }
    cache.commit(segments);
}

/// What layer `layer` holds of a sequence.
template <class B>
std::vector<double> kept(B& be, KvCache<B>& cache, Index sequence, Index layer = 1) {
    const auto slab = first_rows(be, cache.layer(layer).values, cache.sequences() * cache.capacity());
    const double* first = slab.data() + sequence * cache.capacity();
    return {first, first + cache.length(sequence)};
}

}  // namespace

TEST_CASE_TEMPLATE("kv cache: sequences of their own lengths keep their tokens while the cache grows", B,
                   SMOLVLM_TEST_BACKENDS) {
    B be;
    KvCache<B> cache(2, 1, 3, 100);
    CHECK(cache.capacity() == 0);
    step(be, cache, {2, 0, 1}, 10);
    CHECK(cache.capacity() == 2);
    step(be, cache, {1, 3, 0}, 20);
    step(be, cache, {9, 1, 1}, 30);
    CHECK(cache.capacity() >= 12);
    CHECK(kept(be, cache, 0) == std::vector<double>{10, 11, 20, 30, 31, 32, 33, 34, 35, 36, 37, 38});
    CHECK(kept(be, cache, 1) == std::vector<double>{21, 22, 23, 39});
    CHECK(kept(be, cache, 2, 0) == std::vector<double>{12, 40});
}

TEST_CASE_TEMPLATE("kv cache: segments tell rows, places and pasts; sequences without new tokens drop out", B,
                   SMOLVLM_TEST_BACKENDS) {
    B be;
    KvCache<B> cache(2, 1, 3, 100);
    cache.reserve(be, 8);
    step(be, cache, {2, 5, 1}, 0);
    const Segments next = cache.next(be, std::vector<Index>{1, 0, 2});
    REQUIRE(next.size() == 2);
    CHECK(next.causal());
    CHECK(next[0].q0 == 0);
    CHECK(next[0].k0 == 0);
    CHECK(next[0].past() == 2);
    CHECK(next[1].q0 == 1);
    CHECK(next[1].n == 2);
    CHECK(next[1].k0 == 16);
    CHECK(next[1].past() == 1);
    CHECK(cache.length(0) == 2);  // nothing counts before commit
}

TEST_CASE_TEMPLATE("kv cache: reserve makes room at once and keeps what is there", B, SMOLVLM_TEST_BACKENDS) {
    B be;
    KvCache<B> cache(2, 1, 2, 64);
    step(be, cache, {2, 1}, 5);
    cache.reserve(be, 40);
    CHECK(cache.capacity() == 40);
    cache.reserve(be, 3);
    CHECK(cache.capacity() == 40);
    step(be, cache, {30, 1}, 50);
    CHECK(cache.capacity() == 40);
    CHECK(kept(be, cache, 1) == std::vector<double>{7, 80});
}

TEST_CASE_TEMPLATE("kv cache: truncate forgets the end; what is read next takes its place", B, SMOLVLM_TEST_BACKENDS) {
    B be;
    KvCache<B> cache(2, 1, 2, 64);
    step(be, cache, {4, 2}, 10);
    cache.truncate(0, 1);
    CHECK(cache.length(0) == 1);
    CHECK(cache.length(1) == 2);
    step(be, cache, {2, 1}, 20);
    CHECK(kept(be, cache, 0) == std::vector<double>{10, 20, 21});
    CHECK(kept(be, cache, 1) == std::vector<double>{14, 15, 22});
    cache.truncate(0, 99);  // no longer than it is
    CHECK(cache.length(0) == 3);
    cache.truncate(0, -1);
    CHECK(cache.length(0) == 0);
}

TEST_CASE_TEMPLATE("kv cache: grows to the context and no further", B, SMOLVLM_TEST_BACKENDS) {
    B be;
    KvCache<B> cache(2, 1, 1, 10);
    step(be, cache, {7}, 0);
    step(be, cache, {1}, 7);
    CHECK(cache.capacity() == 10);  // doubling would be 14
    step(be, cache, {2}, 8);
    CHECK(error_of([&] { cache.next(be, 1); }) == "context: 11 tokens are asked for, the model's context holds 10");
    CHECK(error_of([&] { cache.reserve(be, 11); }) == "context: 11 tokens are asked for, the model's context holds 10");
    CHECK(cache.length() == 10);
    CHECK(error_of([&] {
              cache.next(be, std::vector<Index>{1, 1});
          }) == "kv cache: new tokens for 2 sequences, the cache has 1");
}
