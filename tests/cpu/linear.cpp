// linear and embedding of Cpu<T> against the definition.
#include "support.hpp"

using namespace smolvlm;
using namespace smolvlm::test;

namespace {

HostWeight weight_of(Index M, Index K, DType dtype, std::uint64_t seed) {
    return HostWeight::from_tensor(as<float>(random_tensor({M, K}, seed))).converted(dtype);
}

template <class T>
void check_linear(Cpu<T>& be, Index N, Index M, Index K, DType dtype, bool with_bias) {
    CAPTURE(N);
    CAPTURE(M);
    CAPTURE(K);
    CAPTURE(join(dtype));
    const HostWeight w = weight_of(M, K, dtype, 1);
    const auto x = random_tensor({N, K}, 2), bias = with_bias ? random_tensor({M}, 3) : HostTensor<double>{};
    const auto expected = Ref<double>().linear(x, w, bias);
    const auto found = be.linear(as<T>(x), be.make_weight(w), as<T>(bias));
    check_close(found, expected, tolerance<T>(4 + static_cast<double>(K) / 2));
}

}  // namespace

TEST_CASE_TEMPLATE("cpu linear: x w^T + b for sizes around the edges of tiles, panels and chunks", T, float, double) {
    on_every_path<T>([](Cpu<T>& be) {
        for (Index N : {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 16, 17})
            for (Index M : {1, 23, 48, 49, 97})
                check_linear(be, N, M, N % 2 ? 33 : 64, DType::f32, N % 3 == 0);
        for (Index K : {1, 2, 383, 384, 385, 767, 768, 769, 1024, 1537}) {
            check_linear(be, 9, 50, K, DType::f32, true);
            check_linear(be, 2, 50, K, DType::f32, true);
        }
        check_linear(be, 131, 145, 70, DType::f32, true);
        check_linear(be, 515, 30, 40, DType::f32, false);
    });
}

TEST_CASE_TEMPLATE("cpu linear: every dtype of a weight, few rows and many", T, float, double) {
    on_every_path<T>([](Cpu<T>& be) {
        for (DType dtype : {DType::f64, DType::f32, DType::f16, DType::bf16, DType::q8_0, DType::q4_0, DType::q4_1})
            for (Index N : {1, 3, 5, 20})
                for (Index M : {48, 53}) {
                    check_linear(be, N, M, 96, dtype, true);
                    if (N != 3) check_linear(be, N, M, 416, dtype, false);
                }
    });
}

TEST_CASE("cpu linear: a q6_k weight, whose blocks are 256 wide") {
    HostWeight w{DType::q6_k, {50, 1024}, Storage::allocate(50 * 4 * 210)};
    Random random(5);
    for (std::size_t i = 0; i < 50 * 4 * 210; ++i) w.storage.data()[i] = static_cast<std::byte>(random.below(256));
    for (Index block = 0; block < 200; ++block) detail::store(w.storage.data() + block * 210 + 208, half(0.01f));
    on_every_path<float>([&](Cpu<float>& be) {
        for (Index N : {1, 7}) {
            const auto x = random_tensor({N, 1024}, 2);
            const auto expected = Ref<double>().linear(x, w, {});
            check_close(be.linear(as<float>(x), be.make_weight(w), {}), expected, tolerance<float>(2e4));
        }
    });
}

TEST_CASE("cpu linear: an element does not depend on the threads, nor a block on the rows after it") {
    const HostWeight w = weight_of(100, 900, DType::bf16, 1);
    const auto x = as<float>(random_tensor({300, 900}, 2));
    for (CpuPath path : paths()) {
        Cpu<float> one(1, path), four(4, path);
        four.share_small_work();
        const auto a = one.linear(x, one.make_weight(w), {}), b = four.linear(x, four.make_weight(w), {});
        CAPTURE(join(path));
        check_close(b, as<double>(a), 0);
    }
}

TEST_CASE("cpu linear: rows read together or one by one give the same numbers") {
    for (DType dtype : {DType::f32, DType::bf16}) {
        const HostWeight w = weight_of(100, 1700, dtype, 1);
        const auto x = as<float>(random_tensor({30, 1700}, 2)), bias = as<float>(random_tensor({100}, 3));
        for (CpuPath path : paths()) {
            if (path == CpuPath::portable) continue;  // Eigen adds up in an order of its own
            Cpu<float> be(2, path);
            be.share_small_work();
            const auto packed = be.make_weight(w);
            const auto together = be.linear(x, packed, bias);
            for (std::int32_t n = 0; n < 30; ++n) {
                const auto alone = be.linear(be.gather_rows(x, {&n, 1}), packed, bias);
                check_close(alone, as<double>(be.gather_rows(together, {&n, 1})), 0);
            }
        }
    }
}

TEST_CASE_TEMPLATE("cpu embedding: rows of a packed weight, bit for bit, in every dtype", T, float, double) {
    const std::vector<std::int32_t> ids{0, 52, 47, 48, 52};
    on_every_path<T>([&](Cpu<T>& be) {
        for (DType dtype : {DType::f64, DType::f32, DType::f16, DType::bf16, DType::q8_0, DType::q4_0, DType::q4_1})
            for (Index K : {32, 160}) {
                const HostWeight w = weight_of(53, K, dtype, 7);
                check_close(be.embedding(be.make_weight(w), ids), Ref<double>().embedding(w, ids), 0);
            }
    });
}

TEST_CASE("cpu embedding: a table that stays in its file has the rows of the weight that would be made of it, bit for bit") {
    const std::vector<std::int32_t> ids{0, 52, 47, 48, 52};
    const auto x = as<float>(random_tensor({3, 320}, 2));
    for (DType dtype : {DType::f64, DType::f32, DType::f16, DType::bf16, DType::q8_0, DType::q4_1})
        for (const auto held : {std::optional<DType>(), std::optional(DType::q8_0), std::optional(DType::q4_0),
                                std::optional(DType::q4_1), std::optional(DType::bf16), std::optional(DType::f16)})
            for (Precision precision : {Precision::exact, Precision::native, Precision::int8}) {
                CAPTURE(join(dtype));
                CAPTURE(held ? join(*held) : "as it is");
                CAPTURE(static_cast<int>(precision));
                Cpu<float> be(1, precision);
                const HostWeight w = weight_of(53, 320, dtype, 7);
                const HostWeight converted = held && is_floating(dtype) ? w.converted(*held) : w;
                const auto table = be.make_table(w, held);
                check_close(be.embedding(table, ids), as<double>(be.embedding(be.make_weight(converted), ids)), 0);
                const auto product = Ref<double>().linear(as<double>(x), converted, {});
                check_close(be.linear(x, table, {}), product, precision == Precision::exact && !held ? 1e-3 : 4);
            }
}

TEST_CASE("cpu weight: rows of bf16 become the words that panels of bf16 become, whatever their width") {
    constexpr CpuPath vnni = CpuPath::avx512vnni;
    if (!cpu::has_fast_words(vnni)) return;  // not for this processor, or not by this compiler: no weight becomes words
    Cpu<float> pairs(1, CpuPath::avx512bf16, Precision::native), words(2, vnni, Precision::native);
    for (Index K : {1, 2, 30, 31, 32, 34, 62, 64, 70, 576}) {
        CAPTURE(K);
        const HostWeight w = weight_of(101, K, DType::bf16, 7);
        auto* const numbers = reinterpret_cast<bfloat16*>(w.storage.data());
        std::fill_n(numbers + 3 * K, K, bfloat16(0.0f));
        numbers[5 * K + K / 2] = bfloat16(-100.0f);
        numbers[7 * K] = bfloat16(std::numeric_limits<float>::infinity());
        const auto from_rows = words.make_weight(w), from_panels = words.make_weight(pairs.make_weight(w).panel_weight(), false);
        REQUIRE(from_rows.integers().format == IntegerFormat::int16);
        std::vector<float> a(static_cast<std::size_t>(K)), b(a);
        for (Index m = 0; m < 101; ++m) {
            from_rows.row(m, a.data());
            from_panels.row(m, b.data());
            if (m == 7)
                CHECK((std::isnan(a[0]) && std::isnan(b[0])));
            else
                CHECK(a == b);
            CHECK((m == 3) == (std::ranges::count(a, 0.0f) == K));
        }
    }
}

TEST_CASE("cpu weight: panels are taken as they are where they are multiplied, in place or into huge pages") {
    const HostWeight w = weight_of(100, 320, DType::q8_0, 7);
    Cpu<float> be(1, Precision::native);
    const auto packed = be.make_weight(w);
    const PanelWeight panels = packed.panel_weight();
    const auto bytes_of_panels = [](const auto& weight) { return weight.panel_weight().storage.data(); };
    CHECK(panels.bytes() == static_cast<Index>(packed.bytes()));
    const auto moved = be.make_weight(panels, false), kept = be.make_weight(panels, true);
    CHECK(bytes_of_panels(kept) == panels.storage.data());
    CHECK(bytes_of_panels(moved) != panels.storage.data());
    CHECK(std::memcmp(bytes_of_panels(moved), panels.storage.data(), packed.bytes()) == 0);
    CHECK(Cpu<float>(1).make_weight(panels, true).in_file_rows());
    CHECK(Cpu<double>(1).make_weight(panels, false).in_file_rows());
    CHECK(std::memcmp(panels.rows().bytes(), w.bytes(), static_cast<std::size_t>(bytes_of(w.dtype, w.shape()))) == 0);
}

TEST_CASE("cpu weight: two bytes stay two, quantised bytes stay as they are, and anything else is refused") {
    Cpu<float> be(1);
    CHECK(be.make_weight(weight_of(96, 64, DType::bf16, 1)).bytes() == 96 * 64 * 2);
    CHECK(be.make_weight(weight_of(96, 64, DType::f16, 1)).bytes() == 96 * 64 * 2);
    CHECK(be.make_weight(weight_of(96, 64, DType::f32, 1)).bytes() == 96 * 64 * 4);
    CHECK(Cpu<double>(1).make_weight(weight_of(96, 64, DType::f32, 1)).bytes() == 96 * 64 * 4);
    const HostWeight q = weight_of(96, 64, DType::q4_0, 1);
    CHECK(be.make_weight(q).bytes() == q.storage.capacity());
    CHECK_THROWS_AS(be.make_weight(HostWeight{DType::i32, {2, 2}, Storage::allocate(16)}), ValueError);
    CHECK_THROWS_AS(be.make_weight(HostWeight{DType::f32, {4}, Storage::allocate(16)}), ShapeError);
}

TEST_CASE("cpu weight: half floats widen exactly, the subnormal, the infinite and the zero ones too") {
    HostWeight w{DType::f16, {48, 1366}, Storage::allocate(48 * 1366 * 2)};
    for (int i = 0; i < 48 * 1366; ++i)
        detail::store(w.storage.data() + 2 * i, static_cast<std::uint16_t>(std::min(i, 0xffff)));
    for (CpuPath path : paths()) {
        Cpu<float> be(1, path);
        const auto packed = be.make_weight(w);
        std::vector<float> widened(48 * 1366);
        packed.with_panels([&](const auto* panels) {
            cpu::dispatch<cpu::linear_detail::Widen<float>>(path, panels, widened.data(), Index(48 * 1366));
        });
        bool same = true;
        for (Index m = 0; m < 48; ++m)
            for (Index k = 0; k < 1366; ++k) {
                const float expected = detail::load<half>(w.storage.data() + 2 * (m * 1366 + k));
                const float found = widened[static_cast<std::size_t>(k * 48 + m)];
                same = same && (found == expected || (std::isnan(found) && std::isnan(expected))) &&
                       std::signbit(found) == std::signbit(expected);
            }
        CHECK(same);
    }
}
