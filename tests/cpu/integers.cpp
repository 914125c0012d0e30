// Products of integers and of bf16 (Precision::int8 and Precision::native): exact where nothing is rounded, within the
// rounding of their operands elsewhere, the same however they are computed.
#include "support.hpp"

using namespace smolvlm;
using namespace smolvlm::test;

namespace {

/// Blocks of 32 random integers each, all of scale 1/4.
HostWeight blocks_of(DType dtype, Index M, Index K, std::uint64_t seed) {
    Random random(seed);
    HostWeight w{dtype, {M, K}, Storage::allocate(static_cast<std::size_t>(bytes_of(dtype, {M, K})))};
    const Index size = info(dtype).block_bytes;
    for (Index b = 0; b < M * K / 32; ++b) {
        std::byte* const block = w.storage.data() + b * size;
        smolvlm::detail::store(block, half(0.25f));
        for (Index i = 2; i < size; ++i) block[i] = static_cast<std::byte>(random.below(256));
    }
    return w;
}

/// f(backend, weight) for int8, Q8_0 and Q4_0 on every path, with one thread and with three.
template <class F>
void in_every_format(Index M, Index K, F f) {
    const HostWeight floats = HostWeight::from_tensor(as<float>(random_tensor({M, K}, 1)));
    for (DType dtype : {DType::f32, DType::q8_0, DType::q4_0})
        for (CpuPath path : integer_paths())
            for (int threads : {1, 3}) {
                CAPTURE(join(dtype));
                CAPTURE(join(path));
                CAPTURE(threads);
                Cpu<float> be(threads, path, Precision::int8);
                be.share_small_work();
                f(be, floats.converted(dtype));
            }
}

double largest_in(const double* x, Index n) {
    double most = 0;
    for (Index i = 0; i < n; ++i) most = std::max(most, std::abs(x[i]));
    return most;
}

}  // namespace

TEST_CASE("cpu integers: int8 products of whole numbers are exact on every path, for sizes around all edges") {
    const auto check = [&](Index N, Index M, Index K) {
        CAPTURE(N);
        CAPTURE(M);
        CAPTURE(K);
        const auto x = whole_numbers({N, K}, 127, K, 2), w = whole_numbers({M, K}, 127, K, 3);
        const auto row = whole_numbers({1, M}, 100, M, 4);
        const HostTensor<double> bias({M}, std::vector<double>(row.data(), row.data() + M));
        const auto expected = Ref<double>().linear(x, HostWeight::from_tensor(w), bias);
        for (CpuPath path : integer_paths()) {
            CAPTURE(join(path));
            Cpu<float> be(2, path, Precision::int8);
            be.share_small_work();
            const auto packed = be.make_weight(HostWeight::from_tensor(as<float>(w)));
            check_close(be.linear(as<float>(x), packed, as<float>(bias)), expected, 0);
        }
    };
    for (Index N : {0, 1, 2, 3, 4, 5, 7, 8, 9, 13, 24, 31})
        for (Index M : {1, 47, 48, 49, 97}) check(N, M, N % 2 ? 33 : 64);
    for (Index K : {1, 2, 3, 4, 5, 63, 576, 1537}) {
        check(1, 50, K);
        check(11, 50, K);
    }
    check(300, 60, 40);
}

TEST_CASE("cpu integers: Q8_0 and Q4_0 products of whole numbers are exact on every path") {
    for (DType dtype : {DType::q8_0, DType::q4_0})
        for (Index N : {1, 2, 3, 4, 5, 8, 9, 19})
            for (Index K : {32, 64, 96, 320}) {
                CAPTURE(join(dtype));
                CAPTURE(N);
                CAPTURE(K);
                const auto x = whole_numbers({N, K}, 127, 32, 2);
                const HostWeight w = blocks_of(dtype, 53, K, 3);
                const auto expected = Ref<double>().linear(x, w, {});
                for (CpuPath path : integer_paths()) {
                    CAPTURE(join(path));
                    Cpu<float> be(2, path, Precision::native);
                    be.share_small_work();
                    check_close(be.linear(as<float>(x), be.make_weight(w), {}), expected, 0);
                }
            }
}

TEST_CASE("cpu integers: the largest weights times the largest activations overflow nowhere") {
    for (DType dtype : {DType::q8_0, DType::q4_0})
        for (int byte : {0x00, 0x7f, 0x80, 0x81, 0xff, 0x0f, 0xf0})
            for (int sign : {1, -1}) {
                const HostTensor<double> x({3, 64}, std::vector<double>(3 * 64, 127.0 * sign));
                const HostTensor<double> row({1, 64}, std::vector<double>(64, 127.0 * sign));
                HostWeight w = blocks_of(dtype, 50, 64, 1);
                for (Index b = 0, size = info(dtype).block_bytes; b < 50 * 2; ++b)
                    std::fill_n(w.storage.data() + b * size + 2, size - 2, static_cast<std::byte>(byte));
                const auto expected = Ref<double>().linear(x, w, {});
                for (CpuPath path : integer_paths()) {
                    CAPTURE(join(dtype));
                    CAPTURE(join(path));
                    CAPTURE(byte);
                    Cpu<float> be(1, path, Precision::native);
                    const auto packed = be.make_weight(w);
                    check_close(be.linear(as<float>(x), packed, {}), expected, 0);
                    check_close(be.linear(as<float>(row), packed, {}), Ref<double>().linear(row, w, {}), 0);
                }
            }
}

TEST_CASE("cpu integers: elsewhere a product is off by the rounding of its operands and no more") {
    constexpr Index N = 6, M = 60, K = 352;
    const auto x = random_tensor({N, K}, 5);
    in_every_format(M, K, [&](Cpu<float>& be, const HostWeight& w) {
        const auto packed = be.make_weight(w);
        const auto wide = w.to_tensor<double>();
        const auto found = be.linear(as<float>(x), packed, {});
        const auto expected = Ref<double>().linear(x, w, {});
        const Index block = is_floating(w.dtype) ? K : 32;
        for (Index n = 0; n < N; ++n)
            for (Index m = 0; m < M; ++m) {
                const double *const xs = x.data() + n * K, *const ws = wide.data() + m * K;
                const double w_step = is_floating(w.dtype) ? largest_in(ws, K) / 127 : 0;
                double most = 1e-4;  // of the float sums
                for (Index k = 0; k < K; ++k) {
                    const double x_step = largest_in(xs + k / block * block, block) / 127;
                    most += (std::abs(ws[k]) * x_step + std::abs(xs[k]) * w_step) / 2 + x_step * w_step / 4;
                }
                const Index i = n * M + m;
                const double error = std::abs(static_cast<double>(found.data()[i]) - expected.data()[i]);
                if (!(error <= most)) FAIL_CHECK("row " << n << ", column " << m << " is off by " << error);
            }
        // Roundings are independent, so that in all the error is far below that bound.
        double off = 0, size = 0;
        for (Index i = 0; i < N * M; ++i) {
            off += std::pow(static_cast<double>(found.data()[i]) - expected.data()[i], 2);
            size += std::pow(expected.data()[i], 2);
        }
        CHECK(std::sqrt(off / size) < 0.012);
    });
}

TEST_CASE("cpu integers: rows read together or one by one, by one thread or three, give the same numbers") {
    const auto x = as<float>(random_tensor({21, 1088}, 2)), bias = as<float>(random_tensor({100}, 3));
    for (CpuPath path : integer_paths())
        for (DType dtype : {DType::f32, DType::q8_0, DType::q4_0}) {
            CAPTURE(join(path));
            CAPTURE(join(dtype));
            Cpu<float> one(1, path, Precision::int8), three(3, path, Precision::int8);
            three.share_small_work();
            const HostWeight floats = HostWeight::from_tensor(as<float>(random_tensor({100, 1088}, 1)));
            const auto w = one.make_weight(floats.converted(dtype));
            const auto together = three.linear(x, w, bias);
            for (std::int32_t n = 0; n < 21; ++n) {
                const auto alone = one.linear(one.gather_rows(x, {&n, 1}), w, bias);
                check_close(alone, as<double>(one.gather_rows(together, {&n, 1})), 0);
            }
            const std::vector<std::int32_t> some{4, 9, 20};
            check_close(one.linear(one.gather_rows(x, some), w, bias), as<double>(one.gather_rows(together, some)), 0);
        }
}

TEST_CASE("cpu integers: a row of zeros is zero, and a NaN or an infinity spoils its own row only") {
    in_every_format(50, 64, [](Cpu<float>& be, const HostWeight& w) {
        auto x = as<float>(random_tensor({12, 64}, 2));
        std::fill_n(x.data(), 64, 0.0f);
        x.data()[3 * 64 + 40] = NAN;
        x.data()[8 * 64 + 63] = -HUGE_VALF;
        const auto y = be.linear(x, be.make_weight(w), {});
        for (Index n = 0; n < 12; ++n)
            for (Index m = 0; m < 50; ++m) {
                const float value = y.data()[n * 50 + m];
                CHECK(std::isfinite(value) == (n != 3 && n != 8));
                if (n == 0) CHECK(value == 0);
            }
    });
}

TEST_CASE("cpu integers: embedding and derivatives see the weights that the products see") {
    in_every_format(53, 96, [](Cpu<float>& be, const HostWeight& w) {
        const auto packed = be.make_weight(w);
        std::vector<std::int32_t> ids(53);
        for (std::int32_t i = 0; i < 53; ++i) ids[static_cast<std::size_t>(i)] = i;
        const auto rows = be.embedding(packed, ids);
        const auto wide = w.to_tensor<double>();
        for (Index m = 0; m < 53; ++m) {
            const double step = is_floating(w.dtype) ? largest_in(wide.data() + m * 96, 96) / 127 : 0;
            for (Index k = 0; k < 96; ++k) {
                const double off = static_cast<double>(rows.data()[m * 96 + k]) - wide.data()[m * 96 + k];
                if (!(std::abs(off) <= step * 0.5001)) FAIL_CHECK("w[" << m << ", " << k << "] is off by " << off);
            }
        }
        const auto dy = random_tensor({9, 53}, 6);
        HostTensor<float> dx;
        be.linear_vjp(as<float>(random_tensor({9, 96}, 2)), packed, as<float>(dy), &dx, nullptr, nullptr);
        HostTensor<double> expected({9, 96});
        for (Index n = 0; n < 9; ++n)
            for (Index k = 0; k < 96; ++k) {
                double sum = 0;
                for (Index m = 0; m < 53; ++m)
                    sum += dy.data()[n * 53 + m] * static_cast<double>(rows.data()[m * 96 + k]);
                expected.data()[n * 96 + k] = sum;
            }
        check_close(dx, expected, tolerance<float>(60));
    });
}

TEST_CASE("cpu integers: a weight takes a byte a number, or what the file takes; and double precision stays exact") {
    Cpu<float> be(1, cpu_path(), Precision::int8);
    const HostWeight w = HostWeight::from_tensor(as<float>(random_tensor({96, 128}, 1)));
    CHECK(be.make_weight(w).bytes() == 96 * 128 + 96 * 4);
    for (DType dtype : {DType::q8_0, DType::q4_0}) {
        const HostWeight q = w.converted(dtype);
        CHECK(be.make_weight(q).bytes() == static_cast<std::size_t>(bytes_of(dtype, {96, 128})));
        CHECK(Cpu<float>(1, cpu_path(), Precision::exact).make_weight(q).in_file_rows());
        CHECK(Cpu<float>(1, cpu_path(), Precision::native).make_weight(q).in_integers());
    }
    CHECK(Cpu<float>(1, cpu_path(), Precision::native).make_weight(w).in_panels());
    CHECK(Cpu<double>(1, cpu_path(), Precision::int8).make_weight(w).in_panels());
    CHECK(be.make_weight(w.converted(DType::q4_1)).in_file_rows());
}

TEST_CASE("cpu bf16: products of bf16 numbers are float sums of exact products, few rows and many") {
    // What stands for the instruction elsewhere runs on every path, the instruction itself where the processor has it.
    for (Index N : {1, 2, 3, 4, 5, 8, 9, 19, 140})
        for (Index K : {1, 2, 33, 576}) {
            CAPTURE(N);
            CAPTURE(K);
            const auto rounded = [](const HostTensor<double>& values) {
                return HostWeight::from_tensor(as<float>(values)).converted(DType::bf16);
            };
            const HostWeight w = rounded(random_tensor({53, K}, 1));
            const auto x = rounded(random_tensor({N, K}, 2)).to_tensor<double>();
            const auto bias = random_tensor({53}, 3);
            const auto expected = Ref<double>().linear(x, w, bias);
            const cpu::PackedWeight<float> packed(w, 1, Precision::native, CpuPath::avx512bf16);
            REQUIRE(packed.integers().is_bf16());
            for (CpuPath path : narrow_paths(CpuPath::avx512bf16))
                for (int threads : {1, 3}) {
                    CAPTURE(join(path));
                    Cpu<float> be(threads, path, Precision::native);
                    be.share_small_work();
                    const auto found = be.linear(as<float>(x), packed, as<float>(bias));
                    check_close(found, expected, tolerance<float>(4 + static_cast<double>(K) / 4));
                    const std::int32_t last = static_cast<std::int32_t>(N - 1);
                    const auto alone = be.linear(be.gather_rows(as<float>(x), {&last, 1}), packed, as<float>(bias));
                    check_close(alone, as<double>(be.gather_rows(found, {&last, 1})), 0);
                }
        }
}

TEST_CASE("cpu bf16: activations are rounded to the nearest bf16, and a weight is what the file holds") {
    const HostWeight w = HostWeight::from_tensor(as<float>(random_tensor({53, 97}, 1))).converted(DType::bf16);
    const cpu::PackedWeight<float> packed(w, 1, Precision::native, CpuPath::avx512bf16);
    std::vector<double> row(97);
    std::vector<float> found(97);
    for (Index m = 0; m < 53; ++m) {
        w.row(m, row.data());
        packed.row(m, found.data());
        CHECK(std::ranges::equal(row, found, [](double a, float b) { return a == static_cast<double>(b); }));
    }
    std::vector<float> x{1.00390625f, 1.01171875f, -1.00390626f, NAN, HUGE_VALF, -HUGE_VALF, 3.4e38f, -0.0f, 1e-40f};
    for (int i = 0; i < 28; ++i) x.push_back(static_cast<float>(i) * 0.37f);
    const Index K = static_cast<Index>(x.size());
    for (CpuPath path : paths()) {
        CAPTURE(join(path));
        std::vector<bfloat16> y(40);
        const float* const from = x.data();
        cpu::dispatch<cpu::bf16_detail::RoundRows>(path, from, K, Index(1), K, y.data(), Index(40));
        for (std::size_t k = 0; k < x.size(); ++k) CHECK(y[k].bits == bfloat16(x[k]).bits);
    }
    CHECK(Cpu<float>(1, CpuPath::avx2, Precision::native).make_weight(w).in_panels());
}
