// Keys and values that Cpu<T> keeps as bytes with scales: what is left of the numbers, and how they move about.
#include <numeric>

#include <smolvlm/nn/kv_cache.hpp>

#include "support.hpp"

using namespace smolvlm;
using namespace smolvlm::test;

namespace {

template <class T>
Cpu<T> with_bytes(CpuPath path, int threads = 1) {
    return Cpu<T>(threads, path, Precision::exact, CacheFormat::int8);
}

Segments rows_from(Index first, Index count) {
    return Segments(Segments::Mask::causal, {{0, count, 0, first + count}});
}

template <class T>
HostTensor<T> read_back(Cpu<T>& be, const typename Cpu<T>::Slab& slab, Index rows) {
    std::vector<std::int32_t> ids(static_cast<std::size_t>(rows));
    std::iota(ids.begin(), ids.end(), 0);
    return be.gather_rows(slab, ids);
}

template <class T>
typename Cpu<T>::Slab slab_of(Cpu<T>& be, const HostTensor<T>& rows, Index heads) {
    auto slab = be.make_slabs(1, rows.shape(), heads)[0];
    be.write_rows(slab, rows_from(0, rows.dim(0)), rows);
    return slab;
}

template <class T>
bool same(const HostTensor<T>& a, const HostTensor<T>& b) {
    return a.shape() == b.shape() && std::ranges::equal(a.flat(), b.flat());
}

}  // namespace

TEST_CASE_TEMPLATE("cpu bytes: a number is off by half a step of its head, 127 steps are the largest", T, float, double) {
    for (CpuPath path : paths())
        for (Index K : {1, 2, 5, 8, 16, 17, 33, 64, 80, 130})
            for (Index heads : {1, 3}) {
                CAPTURE(join(path));
                CAPTURE(K);
                auto be = with_bytes<T>(path);
                auto x = random_tensor({6, heads * K}, 7);
                for (Index i = 0; i < 2 * heads * K; ++i) x.data()[i] *= i < K ? 1e30 : 1e-30;  // each head has its own scale
                const auto slab = slab_of(be, as<T>(x), heads);
                REQUIRE(std::holds_alternative<cpu::ByteRows>(slab));
                const auto left = read_back(be, slab, 6);
                for (Index head = 0; head < 6 * heads; ++head) {
                    const double* const given = x.data() + head * K;
                    double most = 0, worst = 0;
                    for (Index d = 0; d < K; ++d) {
                        most = std::max(most, std::abs(given[d]));
                        worst = std::max(worst, std::abs(static_cast<double>(left.data()[head * K + d]) - given[d]));
                    }
                    CHECK(worst <= most / 127 * 0.5001);
                }
            }
}

TEST_CASE_TEMPLATE("cpu bytes: what is read and written again stays as it is", T, float, double) {
    for (CpuPath path : paths()) {
        auto be = with_bytes<T>(path);
        const auto once = read_back(be, slab_of(be, as<T>(random_tensor({3000, 10}, 1)), 2), 3000);
        CHECK(same(read_back(be, slab_of(be, once, 2), 3000), once));
    }
}

TEST_CASE("cpu bytes: zeros stay zeros, and a NaN or an infinity makes its head NaN and no other") {
    constexpr float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
    for (CpuPath path : paths())
        for (Index K : {3, 16, 21})
            for (float bad : {nan, inf, -inf}) {
                CAPTURE(join(path));
                CAPTURE(K);
                auto be = with_bytes<float>(path);
                auto x = as<float>(random_tensor({2, 3 * K}, 3));
                std::fill_n(x.data(), K, 0.0f);
                x.data()[2 * K - 1] = bad;
                const auto left = read_back(be, slab_of(be, x, 3), 2);
                for (Index d = 0; d < 6 * K; ++d) {
                    const float number = std::as_const(left).data()[d];
                    CHECK((d < K ? number == 0 : d < 2 * K ? std::isnan(number) : std::isfinite(number)));
                }
                // Attention carries it to the query heads that look at it, few rows or many, and to no other.
                for (Index n : {1, 9}) {
                    const Segments segments(Segments::Mask::full, {{0, n, 0, 2}});
                    const auto slab = slab_of(be, x, 3);
                    const auto y = be.attention(as<float>(random_tensor({n, 3 * K}, 4)), slab, slab, {3, 3}, segments);
                    for (Index i = 0; i < y.numel(); ++i) CHECK(std::isnan(y.data()[i]) == (i / K % 3 == 1));
                }
            }
    auto be = with_bytes<float>(cpu_path());
    const auto fresh = read_back(be, be.make_slabs(2, {4, 6}, 2)[1], 4);
    CHECK(std::ranges::all_of(fresh.flat(), [](float number) { return number == 0; }));
}

TEST_CASE("cpu bytes: a cache filled token by token, and grown on the way, is the one that is filled at once") {
    const Heads heads{6, 3};
    const Index K = 20, total = 70;
    const auto x = as<float>(random_tensor({total, heads.kv * K}, 1)), q = as<float>(random_tensor({total, heads.query * K}, 2));
    const auto row = [](const HostTensor<float>& from, Index i) {
        const auto numbers = from.view().row(i);
        return HostTensor<float>({1, from.dim(1)}, std::vector<float>(numbers.begin(), numbers.end()));
    };
    for (CpuPath path : paths()) {
        CAPTURE(join(path));
        auto be = with_bytes<float>(path, 2);
        be.share_small_work();
        KvCache<Cpu<float>> at_once(1, heads.kv * K, 1, 256, heads.kv), by_token(1, heads.kv * K, 1, 256, heads.kv);
        const Segments all = at_once.next(be, total);
        be.write_rows(at_once.layer(0).keys, all, x);
        be.write_rows(at_once.layer(0).values, all, x);
        at_once.commit(all);
        const auto expected =
            as<double>(be.attention(q, at_once.layer(0).keys, at_once.layer(0).values, heads, all));
        for (Index i = 0; i < total; ++i) {
            const Segments one = by_token.next(be, 1);
            auto& layer = by_token.layer(0);
            be.write_rows(layer.keys, one, row(x, i));
            be.write_rows(layer.values, one, row(x, i));
            by_token.commit(one);
            check_close(be.attention(row(q, i), layer.keys, layer.values, heads, one),
                        as<double>(row(as<float>(expected), i)), tolerance<float>(8));
        }
        CHECK(same(read_back(be, at_once.layer(0).keys, total), read_back(be, by_token.layer(0).keys, total)));
        // A common beginning stays; other tokens take the place of the rest.
        by_token.truncate(0, 40);
        const Segments rest = by_token.next(be, 1);
        be.write_rows(by_token.layer(0).keys, rest, row(x, 0));
        const auto kept = read_back(be, by_token.layer(0).keys, 41), before = read_back(be, at_once.layer(0).keys, 41);
        CHECK(std::equal(kept.data(), kept.data() + 40 * heads.kv * K, before.data()));
        CHECK(same(row(kept, 40), row(before, 0)));
    }
}

TEST_CASE("cpu bytes: a slab that somebody else holds is copied before it is written") {
    auto be = with_bytes<float>(cpu_path());
    const auto held = slab_of(be, as<float>(random_tensor({3, 4}, 1)), 2);
    const auto before = read_back(be, held, 3);
    auto slab = held;
    be.write_rows(slab, rows_from(1, 1), as<float>(random_tensor({1, 4}, 2)));
    CHECK(same(read_back(be, held, 3), before));
    CHECK(!same(read_back(be, slab, 3), before));
}

TEST_CASE("cpu bytes: several heads may share a scale; what does not fit is refused") {
    auto be = with_bytes<float>(cpu_path());
    const auto q = as<float>(random_tensor({2, 24}, 1)), x = as<float>(random_tensor({9, 24}, 2));
    const Segments segments(Segments::Mask::full, {{0, 2, 0, 9}});
    for (Index scales : {1, 2, 4}) {
        const auto slab = slab_of(be, x, scales);
        const auto left = as<double>(read_back(be, slab, 9));
        check_close(be.attention(q, slab, slab, {4, 4}, segments),
                    Ref<double>().attention(as<double>(q), left, left, {4, 4}, segments), tolerance<float>(8));
    }
    const auto slab = slab_of(be, x, 3);
    CHECK_THROWS_WITH_AS(be.attention(q, slab, slab, {4, 4}, segments),
                         "attention: k and v are bytes with 3 scales a row, expected one scale for each of 4 key/value heads, "
                         "or for several",
                         ShapeError);
    CHECK_THROWS_WITH_AS(be.make_slabs(1, {9, 24}, 5),
                         "make_slabs: the shape is [9, 24], expected rows of 5 heads of equal width", ShapeError);
}
