// Products in tiles of AMX (cpu/amx_panels.hpp): the emulated tiles against the architecture, the kernel on them against
// sums in 64 bits and in doubles, and, where the processor has tiles, these against the emulation.
#include "support.hpp"

using namespace smolvlm;
using namespace smolvlm::test;

namespace {

using cpu::PlainTiles, cpu::TileConfig;

/// Rows of x in the form in which `w` meets them, times all panels of w in `tiles`: y [N, M rounded up to panels].
template <class Tiles>
std::vector<float> in_tiles(Tiles& tiles, CpuPath path, const HostTensor<float>& x, const cpu::PackedWeight<float>& w,
                            const float* bias) {
    const Index N = x.dim(0), width = IntegerLayout::width, M = w.panels() * width;
    const IntegerLayout at = w.integers();
    std::vector<std::byte> memory(cpu::NarrowRows::bytes(w, N), std::byte{0xff});  // what nobody writes is no number
    // The offset of weights is in the sums of tiles.
    const CpuPath uncentred = cpu::centres_weights(path) ? CpuPath::portable : path;
    const cpu::NarrowRows rows(w, memory.data(), N, uncentred);
    rows.put(x.data(), x.dim(1), 0, N);
    std::vector<float> y(static_cast<std::size_t>(N * M));
    const cpu::TilesInUse in_use(tiles, TileConfig::of_height(cpu::amx_detail::tile_height(N)));
    for (Index p = 0; p < w.panels(); ++p) {
        // A copy, so that a read behind a panel is one behind an allocation, and what is there is no number.
        std::vector<std::byte> panel(static_cast<std::size_t>(at.panel_bytes()) + 4096, std::byte{0xff});
        std::copy_n(w.integer_panel(p), at.panel_bytes(), panel.data());
        const cpu::TileOut<float> out{bias ? bias + p * width : nullptr, 0, y.data() + p * width, M};
        const std::byte* const bytes = panel.data();
        const bool far = p % 2 == 1;
        if (at.is_bf16())
            cpu::dispatch<cpu::amx_detail::Panel<Tiles, IntegerFormat::bf16>>(path, &tiles, N, rows.tile_rows(0), bytes, at,
                                                                              out, far, cpu::Ahead{});
        else
            cpu::dispatch<cpu::amx_detail::Panel<Tiles, IntegerFormat::int8>>(path, &tiles, N, rows.tile_rows(0), bytes, at,
                                                                              out, far, cpu::Ahead{});
    }
    return y;
}

cpu::PackedWeight<float> packed_as(DType dtype, const HostTensor<double>& w) {
    const HostWeight held = HostWeight::from_tensor(as<float>(w)).converted(dtype);
    return cpu::PackedWeight<float>(held, 1, dtype == DType::bf16 ? Precision::native : Precision::int8, CpuPath::amx);
}

void check_whole_numbers(Index N, Index M, Index K, DType dtype) {
    CAPTURE(N);
    CAPTURE(M);
    CAPTURE(K);
    CAPTURE(join(dtype));
    const auto x = whole_numbers({N, K}, 127, K, 2), w = whole_numbers({M, K}, 127, K, 3);
    const auto packed = packed_as(dtype, w);
    const Index padded = packed.panels() * 48;
    std::vector<float> bias(static_cast<std::size_t>(padded));
    for (std::size_t m = 0; m < bias.size(); ++m) bias[m] = static_cast<float>(m) - 20;
    for (CpuPath path : paths()) {
        CAPTURE(join(path));
        PlainTiles tiles;
        const auto y = in_tiles(tiles, path, as<float>(x), packed, N % 2 ? bias.data() : nullptr);
        CHECK(tiles.faults() == 0);
        CHECK(tiles.released());
        Index wrong = 0;
        for (Index n = 0; n < N; ++n)
            for (Index m = 0; m < M; ++m) {
                std::int64_t sum = N % 2 ? m - 20 : 0;
                for (Index k = 0; k < K; ++k)
                    sum += static_cast<std::int64_t>(x.data()[n * K + k]) * static_cast<std::int64_t>(w.data()[m * K + k]);
                wrong += static_cast<double>(y[static_cast<std::size_t>(n * padded + m)]) != static_cast<double>(sum);
            }
        CHECK(wrong == 0);
    }
}

/// Three tiles of 2 rows x 3 groups: c, a [2, K groups], b [K groups, 3].
TileConfig small_config(int groups) {
    TileConfig config;
    const int rows[3] = {2, 2, groups}, bytes[3] = {12, 4 * groups, 12};
    for (int i = 0; i < 3; ++i) {
        config.rows[i] = static_cast<std::uint8_t>(rows[i]);
        config.row_bytes[i] = static_cast<std::uint16_t>(bytes[i]);
    }
    return config;
}

/// c [2, 3] += a [2, 2 K] b, all of bf16 pairs.
void multiply_pairs(int groups, float (&c)[2][3], const bfloat16* a, const bfloat16* b) {
    PlainTiles tiles;
    const cpu::TilesInUse in_use(tiles, small_config(groups));
    tiles.load<0>(c, 12);
    tiles.load<1>(a, 4 * groups);
    tiles.load<2>(b, 12);
    tiles.add_pairs<0, 1, 2>();
    tiles.store<0>(c, 12);
    CHECK(tiles.faults() == 0);
}

}  // namespace

TEST_CASE("cpu amx: emulated tiles hold the rows and bytes they are configured for, and zeros beyond") {
    PlainTiles tiles;
    CHECK(tiles.released());
    tiles.configure(small_config(2));
    std::uint8_t from[16 * 64], to[16 * 64];
    for (std::size_t i = 0; i < sizeof from; ++i) from[i] = static_cast<std::uint8_t>(i % 251);
    std::fill_n(to, sizeof to, std::uint8_t{9});
    tiles.load<0>(from + 5, 100);
    tiles.store<0>(to, 50);
    for (std::size_t i = 0; i < sizeof to; ++i) {
        const bool held = i % 50 < 12 && i / 50 < 2;
        CHECK(to[i] == (held ? from[5 + i / 50 * 100 + i % 50] : 9));
    }
    tiles.zero<0>();
    tiles.store<0>(to, 12);
    CHECK(std::all_of(to, to + 24, [](std::uint8_t byte) { return byte == 0; }));
    CHECK(tiles.faults() == 0);
    tiles.release();
    CHECK(tiles.released());
}

TEST_CASE("cpu amx: emulated tiles refuse what the processor refuses") {
    const auto faults = [](auto f) {
        PlainTiles tiles;
        f(tiles);
        return tiles.faults();
    };
    std::uint8_t memory[1024] = {};
    CHECK(faults([&](auto& t) { t.template zero<0>(); }) == 1);  // nothing is configured
    CHECK(faults([&](auto& t) { t.configure(small_config(2)), t.template zero<3>(); }) == 1);
    CHECK(faults([&](auto& t) { t.configure(small_config(2)), t.release(), t.template store<0>(memory, 64); }) == 1);
    CHECK(faults([&](auto& t) { t.configure(small_config(2)), t.template add_bytes<0, 1, 2>(); }) == 0);
    CHECK(faults([&](auto& t) { t.configure(small_config(2)), t.template add_bytes<0, 2, 1>(); }) == 1);  // shapes
    CHECK(faults([&](auto& t) { t.configure(TileConfig::of_height(16)), t.template add_pairs<0, 1, 1>(); }) == 1);
    const auto refused = [&](auto change) {
        TileConfig config = TileConfig::of_height(5);
        change(config);
        return faults([&](auto& t) { t.configure(config); }) == 1;
    };
    CHECK(!refused([](TileConfig&) {}));
    CHECK(refused([](TileConfig& c) { c.palette = 2; }));
    CHECK(refused([](TileConfig& c) { c.rows[3] = 17; }));
    CHECK(refused([](TileConfig& c) { c.row_bytes[3] = 65; }));
    CHECK(refused([](TileConfig& c) { c.rows[3] = 0; }));
    CHECK(refused([](TileConfig& c) { c.rows[8] = 1, c.row_bytes[8] = 4; }));
    CHECK(refused([](TileConfig& c) { c.reserved[13] = 1; }));
}

TEST_CASE("cpu amx: tdpbf16ps adds even and odd k apart, each step rounded, and knows no subnormal numbers") {
    const auto one = [](std::vector<float> a, std::vector<float> b, float start) {
        const int groups = static_cast<int>(a.size() / 2);
        std::vector<bfloat16> rows(a.size() * 2), lines(b.size() * 3);
        for (std::size_t k = 0; k < a.size(); ++k) rows[k] = bfloat16(a[k]);  // the second row is zero
        for (std::size_t k = 0; k < b.size(); ++k) lines[k / 2 * 6 + k % 2] = bfloat16(b[k]);  // and so are other columns
        float c[2][3] = {{start, 1, 2}, {3, 4, 5}};
        multiply_pairs(groups, c, rows.data(), lines.data());
        if (std::isfinite(a[0])) CHECK(std::equal(c[0] + 1, c[0] + 3, std::vector<float>{1, 2}.data()));
        CHECK(std::equal(c[1], c[1] + 3, std::vector<float>{3, 4, 5}.data()));
        return c[0][0];
    };
    CHECK(one({1, 2, 3, 4}, {5, 6, 7, 8}, 0.5f) == 70.5f);
    // 2^24 + 1 + 1: rounded away one by one when they meet in one chain, but not when 1 + 1 comes first.
    CHECK(one({0x1p24f, 1, 1, 0}, {1, 1, 1, 0}, 0) == 0x1p24f);  // even: 2^24 + 1 = 2^24; + odd: 1
    CHECK(one({0x1p24f, 1, 0, 1}, {1, 1, 0, 1}, 0) == 0x1p24f + 2);  // odd: 1 + 1
    CHECK(one({1, 1, 0, 0}, {1, 1, 0, 0}, 0x1p24f) == 0x1p24f + 2);  // what is there comes last
    CHECK(one({0x1p24f, 3}, {1, 1}, 0) == 0x1p24f + 4);              // a tie goes to the even one
    // A product is not rounded before it is added: beyond the largest float, and back.
    CHECK(one({0x1p127f, 0, 0x1p127f, 0}, {-1, 0, 2, 0}, 0) == 0x1p127f);
    // Subnormal operands, sums and results are zero; the smallest normal number is not.
    CHECK(one({0x1p-127f, 0}, {0x1p100f, 0}, 0) == 0);
    CHECK(one({1, 0}, {0x1p-127f, 0}, 0) == 0);
    CHECK(one({0x1p-63f, 0}, {0x1p-64f, 0}, 0) == 0);
    CHECK(one({0x1p-63f, 0}, {0x1p-63f, 0}, 0) == 0x1p-126f);
    CHECK(one({0x1.8p-126f, 0x1p-126f}, {1, -1}, 0) == 0);
    CHECK(one({0, 0}, {0, 0}, 0x1p-127f) == 0);
    CHECK(std::signbit(one({0x1p-63f, 0}, {-0x1p-64f, -0.0f}, -0.0f)) == false);  // even -0, odd +0
    CHECK(std::isnan(one({NAN, 0}, {1, 0}, 0)));
    CHECK(one({HUGE_VALF, 0}, {1, 0}, 0) == HUGE_VALF);
}

TEST_CASE("cpu amx: tdpbsud multiplies signed bytes of a by unsigned bytes of b") {
    const std::int8_t a[2][4] = {{-128, 127, 0, 1}, {-1, -1, -1, -1}};
    const std::uint8_t b[3][4] = {{255, 255, 255, 255}, {1, 2, 3, 4}, {0, 0, 7, 128}};
    std::int32_t c[2][3] = {{10, 20, 30}, {-10, 2147483647, 0}};
    PlainTiles tiles;
    const cpu::TilesInUse in_use(tiles, small_config(1));
    tiles.load<0>(c, 12), tiles.load<1>(a, 4), tiles.load<2>(b, 12);
    tiles.add_bytes<0, 1, 2>();
    tiles.store<0>(c, 12);
    CHECK(c[0][0] == 10);  // 255 (-128 + 127 + 1)
    CHECK(c[0][1] == 20 - 128 + 254 + 4);
    CHECK(c[0][2] == 30 + 128);
    CHECK(c[1][0] == -10 - 4 * 255);
    CHECK(c[1][1] == 2147483647 - 10);
    CHECK(c[1][2] == -135);
    CHECK(tiles.faults() == 0);
}

TEST_CASE("cpu amx: products of whole numbers in tiles are exact, for sizes around all edges") {
    for (Index N : {1, 2, 5, 15, 16, 17, 31, 32, 33, 47, 48, 49, 63, 64, 65, 70})
        for (DType dtype : {DType::f32, DType::bf16}) {
            for (Index K : {1, 2, 3, 4, 5, 31, 32, 33, 63, 64, 65, 66, 127, 128, 129, 130, 200})
                check_whole_numbers(N, 50, K, dtype);
            for (Index M : {1, 47, 48, 49, 96, 100}) check_whole_numbers(N, M, 100, dtype);
        }
    for (Index K = 1; K <= 200; ++K) check_whole_numbers(19, 7, K, K % 2 ? DType::f32 : DType::bf16);
    for (Index N = 5; N <= 70; ++N) check_whole_numbers(N, 49, 67, N % 2 ? DType::f32 : DType::bf16);
    for (DType dtype : {DType::f32, DType::bf16})
        for (Index N : {7, 33, 70}) check_whole_numbers(N, 100, 768, dtype);
}

TEST_CASE("cpu amx: sums of bf16 in tiles are within float rounding, and those of bytes are what VNNI gives") {
    for (Index N : {1, 4, 5, 16, 31, 40, 70})
        for (Index K : {1, 33, 64, 200, 768}) {
            CAPTURE(N);
            CAPTURE(K);
            const auto bias = random_tensor({96}, 3), w = random_tensor({96, K}, 1);
            const auto rounded = [](const HostTensor<double>& values) {
                return HostWeight::from_tensor(as<float>(values)).converted(DType::bf16);
            };
            const auto x = rounded(random_tensor({N, K}, 2)).to_tensor<double>();
            const auto expected = Ref<double>().linear(x, rounded(w), bias);
            const auto in_bf16 = packed_as(DType::bf16, w), in_bytes = packed_as(DType::f32, w);
            for (CpuPath path : paths()) {
                CAPTURE(join(path));
                PlainTiles tiles;
                const auto y = in_tiles(tiles, path, as<float>(x), in_bf16, as<float>(bias).data());
                check_close(HostTensor<float>({N, 96}, y), expected, tolerance<float>(4 + static_cast<double>(K) / 8));
            }
            if (last_cpu_path(cpu_features()) < CpuPath::avx512vnni) continue;
            PlainTiles tiles;
            const auto y = in_tiles(tiles, CpuPath::avx512vnni, as<float>(x), in_bytes, as<float>(bias).data());
            Cpu<float> vnni(1, CpuPath::avx512vnni, Precision::int8);
            check_close(vnni.linear(as<float>(x), in_bytes, as<float>(bias)), as<double>(HostTensor<float>({N, 96}, y)), 0);
        }
}

TEST_CASE("cpu amx: a backend gives the same numbers whatever the threads and the rows beside") {
    if (last_cpu_path(cpu_features()) < CpuPath::avx512vnni) return;
    for (DType dtype : {DType::f32, DType::bf16, DType::q8_0, DType::q4_0}) {
        CAPTURE(join(dtype));
        const Precision precision = dtype == DType::bf16 ? Precision::native : Precision::int8;
        Cpu<float> one(1, CpuPath::amx, precision), three(3, CpuPath::amx, precision);
        three.share_small_work();
        const auto w = one.make_weight(HostWeight::from_tensor(as<float>(random_tensor({100, 352}, 1))).converted(dtype));
        REQUIRE(w.in_integers());
        const auto x = as<float>(random_tensor({300, 352}, 2)), bias = as<float>(random_tensor({100}, 3));
        const auto together = one.linear(x, w, bias);
        check_close(three.linear(x, w, bias), as<double>(together), 0);
        for (std::int32_t count : {1, 3, 4, 5, 17, 40}) {
            std::vector<std::int32_t> some(static_cast<std::size_t>(count));
            for (std::int32_t i = 0; i < count; ++i) some[static_cast<std::size_t>(i)] = 299 - 7 * i;
            const auto found = three.linear(three.gather_rows(x, some), w, bias);
            check_close(found, as<double>(one.gather_rows(together, some)), 0);
        }
    }
}

#if defined(__x86_64__)
TEST_CASE("cpu amx: the processor's tiles, where it has them, give what the emulated ones give") {
    if (last_cpu_path(cpu_features()) < CpuPath::amx) return;
    for (Index N : {1, 5, 16, 31, 70})
        for (Index K : {1, 33, 64, 200, 768})
            for (DType dtype : {DType::f32, DType::bf16}) {
                CAPTURE(N);
                CAPTURE(K);
                const auto x = as<float>(random_tensor({N, K}, 2));
                const auto w = packed_as(dtype, random_tensor({60, K}, 1));
                PlainTiles plain;
                cpu::AmxTiles tiles;
                const HostTensor<float> found({N, 96}, in_tiles(tiles, CpuPath::amx, x, w, nullptr));
                const HostTensor<float> expected({N, 96}, in_tiles(plain, CpuPath::amx, x, w, nullptr));
                const double off = dtype == DType::bf16 ? tolerance<float>(4 + static_cast<double>(K) / 8) : 0;
                check_close(found, as<double>(expected), off);
            }
}
#endif
