// bf16 weights as 16-bit integers (cpu/word_tiles.hpp): exact where nothing is rounded, within the rounding of their operands
// elsewhere, and never as far off as bf16 activations would be.
#include "support.hpp"

#include <smolvlm/core/panel_weight.hpp>

using namespace smolvlm;
using namespace smolvlm::test;

namespace {

HostWeight in_bf16(const HostTensor<double>& values) { return HostWeight::from_tensor(as<float>(values)).converted(DType::bf16); }

/// As processors pack it that are fast in words; all others can multiply it too.
cpu::PackedWeight<float> in_words(const HostWeight& w) {
    cpu::PackedWeight<float> packed(w, 1, Precision::native, CpuPath::avx512vnni);
    REQUIRE(packed.integers().format == (cpu::has_fast_words(CpuPath::avx512vnni) ? IntegerFormat::int16 : IntegerFormat::none));
    return packed;
}

/// f(backend) on every path, with one thread and with three.
template <class F>
void on_every_word_path(F f) {
    for (CpuPath path : paths(CpuPath::avx512vnni))
        for (int threads : {1, 3}) {
            CAPTURE(join(path));
            CAPTURE(threads);
            Cpu<float> be(threads, path, Precision::native);
            be.share_small_work();
            f(be);
        }
}

}  // namespace

TEST_CASE("cpu words: whole numbers times signs are exact, the largest too, for sizes around all edges") {
    const auto check = [](Index N, Index M, Index K, bool largest) {
        CAPTURE(N);
        CAPTURE(M);
        CAPTURE(K);
        auto x = whole_numbers({N, K}, 4095, 128, 1), w = whole_numbers({M, K}, 1, K, 2);
        if (largest) {
            for (Index n = 0; n < N; ++n) std::fill_n(x.data() + n * K, K, n % 2 ? -4095.0 : 4095.0);
            for (Index m = 0; m < M; ++m) std::fill_n(w.data() + m * K, K, m % 2 ? -1.0 : 1.0);
        }
        const HostWeight weight = in_bf16(w);
        const auto bias = random_tensor({M}, 3), expected = Ref<double>().linear(x, weight, bias);
        const auto packed = in_words(weight);
        on_every_word_path([&](Cpu<float>& be) {
            check_close(be.linear(as<float>(x), packed, as<float>(bias)), expected,
                        tolerance<float>(4095.0 * static_cast<double>(K)));
        });
    };
    for (Index N : {1, 2, 3, 4, 5, 8, 9, 13, 140})
        for (Index K : {1, 2, 127, 128, 129, 258, 576}) check(N, 53, K, false);
    for (Index M : {1, 47, 48, 97}) check(11, M, 96, false);
    for (Index N : {1, 9}) check(N, 50, 384, true);
}

TEST_CASE("cpu words: a product is off by the rounding of its operands and no more, the largest x costs its block alone") {
    constexpr Index N = 10, M = 60, K = 352;
    auto x = random_tensor({N, K}, 5);
    for (Index n = 0; n < N; ++n) x.data()[n * K + 7] *= 1000;
    const HostWeight w = in_bf16(random_tensor({M, K}, 6));
    const auto wide = w.to_tensor<double>(), expected = Ref<double>().linear(x, w, {});
    const auto packed = in_words(w);
    const auto largest_in = [](const double* from, Index n) {
        return std::abs(*std::max_element(from, from + n, [](double a, double b) { return std::abs(a) < std::abs(b); }));
    };
    on_every_word_path([&](Cpu<float>& be) {
        const auto found = be.linear(as<float>(x), packed, {});
        for (Index n = 0; n < N; ++n)
            for (Index m = 0; m < M; ++m) {
                const double *const xs = x.data() + n * K, *const ws = wide.data() + m * K;
                const double w_step = largest_in(ws, K) / 4095;
                double most = 1e-3;  // of the float sums
                for (Index k = 0; k < K; ++k) {
                    const Index block = k / 128 * 128;
                    const double x_step = largest_in(xs + block, std::min<Index>(128, K - block)) / 4095;
                    most += (std::abs(ws[k]) * x_step + std::abs(xs[k]) * w_step) / 2 + x_step * w_step / 4;
                }
                const double off = std::abs(static_cast<double>(found.data()[n * M + m]) - expected.data()[n * M + m]);
                if (!(off <= most)) FAIL_CHECK("row " << n << ", column " << m << " is off by " << off);
            }
    });
}

TEST_CASE("cpu words: nearer to the truth than activations in bf16") {
    const auto x = random_tensor({40, 768}, 1);
    const HostWeight w = in_bf16(random_tensor({96, 768}, 2));
    const auto expected = Ref<double>().linear(x, w, {}), rounded = Ref<double>().linear(in_bf16(x).to_tensor<double>(), w, {});
    const auto off = [&](const auto& y) {
        double sum = 0;
        for (Index i = 0; i < y.numel(); ++i) sum += std::pow(static_cast<double>(y.data()[i]) - expected.data()[i], 2);
        return std::sqrt(sum);
    };
    const auto packed = in_words(w);
    on_every_word_path([&](Cpu<float>& be) { CHECK(off(be.linear(as<float>(x), packed, {})) < 0.2 * off(rounded)); });
}

TEST_CASE("cpu words: rows read together or one by one, by one thread or three, give the same numbers") {
    const auto x = as<float>(random_tensor({21, 200}, 2)), bias = as<float>(random_tensor({100}, 3));
    const auto w = in_words(in_bf16(random_tensor({100, 200}, 1)));
    const auto together = Cpu<float>(1, cpu_path(), Precision::native).linear(x, w, bias);
    on_every_word_path([&](Cpu<float>& be) {
        const auto again = be.linear(x, w, bias);
        for (std::int32_t n = 0; n < 21; ++n)
            check_close(be.linear(be.gather_rows(x, {&n, 1}), w, bias), as<double>(be.gather_rows(again, {&n, 1})), 0);
        check_close(again, as<double>(together), 4e-3);  // where a tie was rounded otherwise: one step of an x
    });
}

TEST_CASE("cpu words: a NaN or an infinity spoils its own row or column only, zeros are zero") {
    auto x = as<float>(random_tensor({12, 100}, 2));
    auto w = random_tensor({50, 100}, 1);
    std::fill_n(x.data(), 100, 0.0f);
    x.data()[3 * 100 + 40] = NAN;
    x.data()[8 * 100 + 99] = -HUGE_VALF;
    w.data()[5 * 100 + 3] = NAN;
    w.data()[6 * 100 + 98] = HUGE_VAL;
    std::fill_n(w.data() + 7 * 100, 100, 0.0);
    std::fill_n(w.data() + 8 * 100, 100, 3e38);  // whose sums are too large, but not their scale
    const auto packed = in_words(in_bf16(w));
    std::vector<float> row(100);
    packed.row(8, row.data());
    CHECK(std::isfinite(row[50]));
    on_every_word_path([&](Cpu<float>& be) {
        const auto y = be.linear(x, packed, {});
        for (Index n = 0; n < 12; ++n)
            for (Index m = 0; m < 50; ++m) {
                const float value = y.data()[n * 50 + m];
                if (m == 8 && n != 0) continue;
                CHECK(std::isfinite(value) == (n != 3 && n != 8 && m != 5 && m != 6));
                if ((n == 0 || m == 7) && std::isfinite(value)) CHECK(value == 0);
            }
    });
}

TEST_CASE("cpu words: two bytes a number and a scale a row, the same from rows and from panels of pairs") {
    for (Index K : {1, 33, 64, 97}) {
        CAPTURE(K);
        const HostWeight w = in_bf16(random_tensor({53, K}, 4));
        const auto packed = in_words(w);
        if (!packed.in_integers()) continue;  // no processor of this kind is fast in words
        CHECK(packed.bytes() == static_cast<std::size_t>(2 * 48 * ((K + 1) / 2 * 4 + 4)));
        const cpu::PackedWeight<float> pairs(w, 1, Precision::native, CpuPath::avx512bf16);
        const cpu::PackedWeight<float> turned(pairs.panel_weight(), 2, Precision::native, CpuPath::avx512vnni);
        REQUIRE(turned.integers().format == IntegerFormat::int16);
        const auto bytes_of_panels = [](const auto& w16) { return std::span(w16.integer_panel(0), w16.bytes()); };
        CHECK(std::ranges::equal(bytes_of_panels(turned), bytes_of_panels(packed)));
        const auto wide = w.to_tensor<double>();
        std::vector<float> row(static_cast<std::size_t>(K));
        const auto rows = packed.panel_weight().rows().to_tensor<float>();
        for (Index m = 0; m < 53; ++m) {
            packed.row(m, row.data());
            CHECK(std::ranges::equal(row, std::span(rows.data() + m * K, row.size())));
            double most = 0;
            for (Index k = 0; k < K; ++k) most = std::max(most, std::abs(wide.data()[m * K + k]));
            for (Index k = 0; k < K; ++k) {  // half a step, and what the float scale and its product are off by
                const double off = std::abs(static_cast<double>(row[static_cast<std::size_t>(k)]) - wide.data()[m * K + k]);
                if (!(off <= most / 4095 * 0.501)) FAIL_CHECK("w[" << m << ", " << k << "] is off by " << off);
            }
        }
    }
}
