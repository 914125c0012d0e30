// attention and rope of Cpu<T> against the definition.
#include <numeric>

#include "support.hpp"

using namespace smolvlm;
using namespace smolvlm::test;

namespace {

/// x as a cache keeps it, and what that leaves of its numbers.
template <class T>
std::pair<typename Cpu<T>::Slab, HostTensor<double>> kept_as(CacheFormat format, const HostTensor<double>& x, Index heads) {
    Cpu<T> be(1, Precision::exact, format);
    auto slab = be.make_slabs(1, x.shape(), heads)[0];
    const Index R = x.dim(0);
    be.write_rows(slab, Segments(Segments::Mask::causal, {{0, R, 0, R}}), as<T>(x));
    std::vector<std::int32_t> rows(static_cast<std::size_t>(R));
    std::iota(rows.begin(), rows.end(), 0);
    return {std::move(slab), as<double>(be.gather_rows(slab, rows))};
}

template <class T>
void check_attention(Cpu<T>& be, Heads heads, Index K, const Segments& segments, Index extra_keys = 0) {
    CAPTURE(heads.query);
    CAPTURE(heads.kv);
    CAPTURE(K);
    CAPTURE(segments.causal());
    const auto q = random_tensor({segments.rows(), heads.query * K}, 1);
    const auto k = random_tensor({segments.key_rows() + extra_keys, heads.kv * K}, 2);
    const auto v = random_tensor({segments.key_rows() + extra_keys, heads.kv * K}, 3);
    // Scores are about sqrt(K) wide before scaling; an error of a score is a relative error of its weight.
    const auto expected = Ref<double>().attention(q, k, v, heads, segments);
    check_close(be.attention(as<T>(q), as<T>(k), as<T>(v), heads, segments), expected, tolerance<T>(8));

    // The same with keys and values kept in fewer bits: exact on what the rounding left.
    for (CacheFormat format : {CacheFormat::bf16, CacheFormat::int8}) {
        CAPTURE(static_cast<int>(format));
        const auto [kept_k, left_k] = kept_as<T>(format, k, heads.kv);
        const auto [kept_v, left_v] = kept_as<T>(format, v, heads.kv);
        check_close(be.attention(as<T>(q), kept_k, kept_v, heads, segments),
                    Ref<double>().attention(q, left_k, left_v, heads, segments), tolerance<T>(8));
    }
}

using enum Segments::Mask;

}  // namespace

TEST_CASE_TEMPLATE("cpu attention: causal and full, shared and own heads, any length and width", T, float, double) {
    on_every_path<T>([](Cpu<T>& be) {
        for (Heads heads : {Heads{3, 3}, Heads{9, 3}, Heads{15, 5}, Heads{4, 1}})
            for (Index n : {1, 2, 4, 5, 7, 8, 9, 25, 63, 64, 65, 70}) {
                CAPTURE(n);
                check_attention(be, heads, 8, Segments(causal, {{0, n, 0, n}}));
                check_attention(be, heads, 8, Segments(full, {{0, n, 0, n}}));
            }
        for (Index K : {1, 2, 3, 5, 15, 16, 17, 31, 33, 64, 72, 80, 130}) {
            check_attention(be, {2, 1}, K, Segments(causal, {{0, 30, 0, 30}}));
            check_attention(be, {2, 2}, K, Segments(full, {{0, 2, 0, 90}}));
        }
    });
}

TEST_CASE_TEMPLATE("cpu attention: longer than a block of keys, so that maxima move between blocks", T, float, double) {
    on_every_path<T>([](Cpu<T>& be) {
        check_attention(be, {2, 2}, 16, Segments(full, {{0, 30, 0, 1100}}));
        check_attention(be, {6, 2}, 16, Segments(causal, {{0, 40, 0, 1050}}));
        check_attention(be, {6, 2}, 16, Segments(causal, {{0, 1, 0, 1050}}));
        check_attention(be, {6, 2}, 16, Segments(causal, {{0, 3, 0, 257}}));
    });
}

TEST_CASE_TEMPLATE("cpu attention: ragged segments with caches, gaps and more keys than rows", T, float, double) {
    on_every_path<T>([](Cpu<T>& be) {
        const Segments chunks(causal, {{0, 3, 5, 9}, {3, 20, 40, 20}, {23, 1, 100, 77}, {24, 6, 0, 6}});
        check_attention(be, {4, 2}, 12, chunks, 9);
        check_attention(be, {4, 4}, 12, Segments(full, {{0, 7, 0, 3}, {7, 0, 0, 0}, {7, 9, 10, 65}, {16, 2, 3, 1}}), 4);
    });
}

TEST_CASE_TEMPLATE("cpu attention: a row without keys is zero", T, float, double) {
    on_every_path<T>([](Cpu<T>& be) {
        for (Index n : {2, 9}) check_attention(be, {2, 1}, 8, Segments(full, {{0, n, 0, 0}}), 3);
    });
}

TEST_CASE("cpu attention: a cache in bf16 rounds to 8 bits, and attention to one in bytes stays close to the exact one") {
    const auto x = random_tensor({50, 24}, 1);
    const auto left = kept_as<float>(CacheFormat::bf16, x, 3).second;
    for (Index i = 0; i < x.numel(); ++i) CHECK(std::abs(left.data()[i] / x.data()[i] - 1) <= 0x1p-8);
    for (Heads heads : {Heads{9, 3}, Heads{4, 4}})
        for (Index K : {8, 64, 80})
            for (Index n : {1, 40}) {
                CAPTURE(heads.query);
                CAPTURE(K);
                CAPTURE(n);
                const auto q = random_tensor({n, heads.query * K}, 1);
                const auto k = random_tensor({700, heads.kv * K}, 2), v = random_tensor({700, heads.kv * K}, 3);
                const Segments segments(causal, {{0, n, 0, 700}});
                const auto exact = Ref<double>().attention(q, k, v, heads, segments);
                Cpu<float> be(2);
                const auto found = be.attention(as<float>(q), kept_as<float>(CacheFormat::int8, k, heads.kv).first,
                                                kept_as<float>(CacheFormat::int8, v, heads.kv).first, heads, segments);
                CHECK(cosine(found, exact) >= 0.9999);
            }
}

TEST_CASE("cpu attention: scores of any size neither overflow nor vanish") {
    on_every_path<float>([](Cpu<float>& be) {
        auto q = random_tensor({12, 8}, 1), k = random_tensor({700, 8}, 2), v = random_tensor({700, 8}, 3);
        for (double& value : q.flat()) value *= 1000;
        for (Index n : {1, 12}) {
            const Segments segments(Segments::Mask::full, {{0, n, 0, 700}});
            const auto some = HostTensor<double>({n, 8}, std::vector<double>(q.data(), q.data() + n * 8));
            // Scores reach thousands; their float error moves weights, so only sanity is asked for beyond the largest
            // key.
            const auto y = be.attention(as<float>(some), as<float>(k), as<float>(v), {1, 1}, segments);
            check_close(y, Ref<double>().attention(some, k, v, {1, 1}, segments), 5e-3);
        }
    });
}

TEST_CASE("cpu attention: the result does not depend on the threads") {
    const auto q = as<float>(random_tensor({200, 90}, 1)), k = as<float>(random_tensor({900, 30}, 2));
    for (CpuPath path : paths()) {
        Cpu<float> one(1, path), four(4, path);
        four.share_small_work();
        const Segments whole(causal, {{0, 200, 0, 900}}), ragged(causal, {{0, 1, 0, 900}, {1, 199, 0, 300}});
        const auto bytes = kept_as<float>(CacheFormat::int8, as<double>(k), 3).first;
        for (const Segments& s : {whole, ragged}) {
            const auto a = one.attention(q, k, k, {9, 3}, s), b = four.attention(q, k, k, {9, 3}, s);
            check_close(b, as<double>(a), 0);
            const auto c = one.attention(q, bytes, bytes, {9, 3}, s), d = four.attention(q, bytes, bytes, {9, 3}, s);
            check_close(d, as<double>(c), 0);
        }
    }
}

namespace {

using enum cpu::AttentionNumbers;

HostTensor<float> attention_in(cpu::AttentionNumbers numbers, const HostTensor<double>& q, const HostTensor<double>& k,
                               const HostTensor<double>& v, Heads heads, const Segments& segments, CpuPath path, int threads) {
    Pool pool;
    HostTensor<float> y(q.shape());
    cpu::attention<float, float>(as<float>(q).view(), as<float>(k).view(), as<float>(v).view(), heads, segments, y.view(), numbers,
                                 path, {threads, &pool});
    return y;
}

/// Attention in words or with scores of bytes on every path, with one thread and with three, within `tolerance` of the
/// definition.
void check_integers(cpu::AttentionNumbers numbers, const HostTensor<double>& q, const HostTensor<double>& k,
                    const HostTensor<double>& v, Heads heads, const Segments& segments, double tolerance) {
    const auto expected = Ref<double>().attention(q, k, v, heads, segments);
    const auto few_q = as<float>(q);
    const auto [bytes_k, left_k] = kept_as<float>(CacheFormat::int8, k, heads.kv);
    const auto [bytes_v, left_v] = kept_as<float>(CacheFormat::int8, v, heads.kv);
    const auto expected_of_bytes = Ref<double>().attention(q, left_k, left_v, heads, segments);
    HostTensor<float> first;
    for (CpuPath path : integer_paths())
        for (int threads : {1, 3}) {
            CAPTURE(join(path));
            CAPTURE(threads);
            Pool pool;
            HostTensor<float> of_bytes(q.shape());
            const auto y = attention_in(numbers, q, k, v, heads, segments, path, threads);
            check_close(y, expected, tolerance);
            if (first.empty()) first = y;
            check_close(y, as<double>(first), 5e-4);  // a last bit of an exponential may move a weight by 1/8191
            cpu::attention<float, std::int8_t>(few_q.view(), cpu::kept(std::get<cpu::ByteRows>(bytes_k), heads),
                                               cpu::kept(std::get<cpu::ByteRows>(bytes_v), heads), heads, segments,
                                               of_bytes.view(), numbers, path, {threads, &pool});
            check_close(of_bytes, expected_of_bytes, tolerance);
        }
}

}  // namespace

TEST_CASE("cpu attention in integers: any heads, length and width, ragged, with gaps") {
    const auto check = [](Heads heads, Index K, const Segments& segments) {
        CAPTURE(heads.query);
        CAPTURE(K);
        const Shape kv{segments.key_rows() + 2, heads.kv * K};
        const auto q = random_tensor({segments.rows(), heads.query * K}, 1), k = random_tensor(kv, 2), v = random_tensor(kv, 3);
        // Weights are rounded to 1/8192 of a row's largest, values (up to 4 or so) to 1/2047.
        check_integers(words, q, k, v, heads, segments, 6e-3);
        // Queries and keys of up to 4 to 1/127: scores are off by a few hundredths, and so are weights.
        check_integers(bytes, q, k, v, heads, segments, 0.2);
    };
    for (Index n : {5, 8, 31, 64, 65, 127, 128, 129, 300})
        for (Heads heads : {Heads{3, 3}, Heads{9, 3}}) {
            check(heads, 8, Segments(causal, {{0, n, 0, n}}));
            check(heads, 8, Segments(full, {{0, n, 0, n}}));
        }
    for (Index K : {1, 2, 3, 5, 15, 16, 17, 64, 72, 130}) check({2, 1}, K, Segments(causal, {{0, 30, 0, 200}}));
    check({2, 2}, 16, Segments(full, {{0, 30, 0, 1100}}));
    check({6, 2}, 16, Segments(causal, {{0, 40, 0, 1050}}));
    check({4, 2}, 12, Segments(causal, {{0, 7, 5, 9}, {7, 20, 40, 20}, {27, 1, 100, 77}, {28, 6, 0, 6}}));
    check({2, 1}, 8, Segments(full, {{0, 9, 0, 0}}));
}

TEST_CASE("cpu attention in bytes: exact where queries and keys are bytes, whatever the keys have in common") {
    // Whole numbers up to 127, with 127 in every row: rounding leaves them alone. Keys come in pairs k, -k, so the mean of all
    // sixteen is zero; what is added to all of them is that mean, and is taken off again before they are rounded.
    constexpr Index keys = 16, K = 24;
    auto q = HostTensor<double>::zeros({20, K}), k = HostTensor<double>::zeros({keys, K});
    const auto whole = [](Index i) { return static_cast<double>(i * i * 31 % 255 - 127); };
    for (Index r = 0; r < 20; ++r)
        for (Index d = 0; d < K; ++d) q.data()[r * K + d] = (d == 5 ? 127 : whole(r * K + d)) / 256;
    for (Index j = 0; j < keys; ++j)
        for (Index d = 0; d < K; ++d)
            k.data()[j * K + d] = (d == 3 ? 127 : whole(j / 2 * K + d)) * (j % 2 ? -1 : 1) / 256;
    const auto v = random_tensor({keys, K}, 3);
    const Segments segments(full, {{0, 20, 0, keys}});
    check_integers(bytes, q, k, v, {1, 1}, segments, 2e-3);
    auto shifted = k;
    for (Index j = 0; j < keys; ++j)
        for (Index d = 0; d < K; ++d) shifted.data()[j * K + d] += d % 7 == 0 ? 64 : -8;  // no rounding in float
    check_integers(bytes, q, shifted, v, {1, 1}, segments, 2e-3);
}

TEST_CASE("cpu attention in integers: equal scores give the mean, one large score its value, and a NaN does not vanish") {
    const Segments segments(full, {{0, 9, 0, 400}});
    for (const auto numbers : {words, bytes}) {
        auto q = HostTensor<double>::zeros({9, 8}), k = random_tensor({400, 8}, 2), v = random_tensor({400, 8}, 3);
        check_integers(numbers, q, k, v, {1, 1}, segments, 1e-3);  // all weights are 1: only values are rounded
        for (double& value : q.flat()) value = 300;
        for (Index d = 0; d < 8; ++d) k.data()[123 * 8 + d] = 4;  // a score thousands above the others
        check_integers(numbers, q, k, v, {1, 1}, segments, 1e-3);
        k.data()[7] = std::numeric_limits<double>::quiet_NaN();
        for (CpuPath path : integer_paths()) {
            const auto y = attention_in(numbers, q, k, v, {1, 1}, segments, path, 1);
            for (const float number : y.flat()) CHECK(std::isnan(number));
        }
    }
}

TEST_CASE("cpu attention in integers: a key that is no number spoils no row that does not see it") {
    auto q = random_tensor({40, 8}, 1), k = random_tensor({40, 8}, 2), v = random_tensor({40, 8}, 3);
    const Segments segments(causal, {{0, 40, 0, 40}});
    k.data()[37 * 8 + 2] = std::numeric_limits<double>::infinity();
    for (const auto numbers : {words, bytes})
        for (CpuPath path : integer_paths()) {
            const auto y = attention_in(numbers, q, k, v, {1, 1}, segments, path, 1);
            for (Index i = 0; i < 40 * 8; ++i) CHECK(std::isnan(y.data()[i]) == (i >= 37 * 8));
        }
}

TEST_CASE_TEMPLATE("cpu rope: every width, position and segment; in place or not", T, float, double) {
    on_every_path<T>([](Cpu<T>& be) {
        for (Index K : {2, 4, 6, 30, 32, 34, 64, 66})
            for (Index heads : {1, 3}) {
                const Segments segments(causal, {{0, 5, 0, 5}, {5, 40, 0, 3000}, {45, 1, 0, 5000}});
                const auto x = random_tensor({46, heads * K}, 4);
                const auto expected = Ref<double>().rope(x, heads, 273768.0, segments);
                const auto shared = as<T>(x), before = as<T>(x);
                check_close(be.rope(shared, heads, 273768.0, segments), expected, tolerance<T>(4));
                CHECK(std::ranges::equal(shared.flat(), before.flat()));
                check_close(be.rope(as<T>(x), heads, 273768.0, segments), expected, tolerance<T>(4));
                const auto other = Ref<double>().rope(x, heads, 1e5, segments);
                check_close(be.rope(as<T>(x), heads, 1e5, segments), other, tolerance<T>(4));
            }
    });
}
