#include <smolvlm/core/quant.hpp>

#include <smolvlm/core/random.hpp>
#include <smolvlm/io/gguf.hpp>
#include <smolvlm/io/safetensors.hpp>

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace smolvlm;

namespace {

std::vector<float> dequantized(DType dtype, const std::vector<std::byte>& bytes, Index n) {
    std::vector<float> x(static_cast<std::size_t>(n));
    dequantize_row(dtype, bytes.data(), n, x.data());
    return x;
}

std::vector<std::byte> quantized(DType dtype, const std::vector<float>& x) {
    const auto n = static_cast<Index>(x.size());
    std::vector<std::byte> bytes(static_cast<std::size_t>(bytes_of(dtype, Shape{n})));
    quantize_row(dtype, x.data(), n, bytes.data());
    return bytes;
}

/// A block whose 16-bit fields are given halves and whose other bytes are `fill(i)`.
std::vector<std::byte> block(DType dtype, std::initializer_list<float> halves, Index halves_at, auto fill) {
    std::vector<std::byte> bytes(static_cast<std::size_t>(info(dtype).block_bytes));
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(fill(i));
    for (Index i = halves_at; float value : halves) {
        detail::store(bytes.data() + i, half(value));
        i += 2;
    }
    return bytes;
}

std::vector<float> random_row(Index n, std::uint64_t seed) {
    Random random(seed);
    std::vector<float> x(static_cast<std::size_t>(n));
    for (float& value : x) value = static_cast<float>(random.normal());
    return x;
}

}  // namespace

TEST_CASE("quant: a Q8_0 block is d times each signed byte") {
    const auto x = dequantized(DType::q8_0, block(DType::q8_0, {0.5f}, 0, [](auto i) { return i + 100; }), 32);
    for (int j = 0; j < 32; ++j) CHECK(x[std::size_t(j)] == 0.5f * float(std::int8_t(j + 102)));
}

TEST_CASE("quant: nibbles give the first half of a block from their low and the second from their high bits") {
    // Byte j of the nibbles is j + 16 (15 - j): low j, high 15 - j.
    const auto nibbles = [](std::size_t first) {
        return [first](std::size_t i) { return (i - first) + 16 * (15 - (i - first)); };
    };
    const auto q4_0 = dequantized(DType::q4_0, block(DType::q4_0, {2.f}, 0, nibbles(2)), 32);
    const auto q4_1 = dequantized(DType::q4_1, block(DType::q4_1, {2.f, -3.f}, 0, nibbles(4)), 32);
    for (int j = 0; j < 16; ++j) {
        CHECK(q4_0[std::size_t(j)] == float(2 * (j - 8)));
        CHECK(q4_0[std::size_t(j + 16)] == float(2 * (15 - j - 8)));
        CHECK(q4_1[std::size_t(j)] == float(2 * j - 3));
        CHECK(q4_1[std::size_t(j + 16)] == float(2 * (15 - j) - 3));
    }
}

TEST_CASE("quant: bit j of the 32 fifth bits adds 16 to value j") {
    for (int j = 0; j < 32; ++j) {
        auto q5_0 = block(DType::q5_0, {1.f}, 0, [](auto) { return 0; });
        detail::store(q5_0.data() + 2, std::uint32_t{1} << j);
        auto q5_1 = block(DType::q5_1, {1.f, 0.25f}, 0, [](auto) { return 0; });
        detail::store(q5_1.data() + 4, std::uint32_t{1} << j);
        const auto x = dequantized(DType::q5_0, q5_0, 32), y = dequantized(DType::q5_1, q5_1, 32);
        for (int i = 0; i < 32; ++i) {
            CHECK(x[std::size_t(i)] == (i == j ? 0.f : -16.f));
            CHECK(y[std::size_t(i)] == (i == j ? 16.25f : 0.25f));
        }
    }
}

TEST_CASE("quant: every value of a Q6_K block has four low bits, two high bits and a scale of its own") {
    // Each stored bit in turn must reach exactly one value, and each scale exactly its 16.
    const auto zero = block(DType::q6_k, {1.f}, 208, [](std::size_t i) { return i >= 192 ? 1 : 0; });
    std::vector<int> low(256, 0), high(256, 0);
    for (std::size_t bit = 0; bit < 192 * 8; ++bit) {
        auto bytes = zero;
        bytes[bit / 8] |= static_cast<std::byte>(1 << bit % 8);
        const auto x = dequantized(DType::q6_k, bytes, 256);
        int touched = 0;
        for (std::size_t i = 0; i < 256; ++i) {
            const int q = int(x[i]) + 32;
            if (q == 0) continue;
            ++touched;
            (q < 16 ? low : high)[i] |= q;
            CHECK((bit < 128 * 8 ? q < 16 : q >= 16));
        }
        CHECK(touched == 1);
    }
    for (std::size_t i = 0; i < 256; ++i) {
        CHECK(low[i] == 15);
        CHECK(high[i] == 48);
    }
    for (std::size_t scale = 0; scale < 16; ++scale) {
        auto bytes = zero;
        bytes[192 + scale] = std::byte{0xfd};  // -3
        const auto x = dequantized(DType::q6_k, bytes, 256);
        for (std::size_t i = 0; i < 256; ++i) CHECK(x[i] == (i / 16 == scale ? 96.f : -32.f));
    }
}

TEST_CASE("quant: every format gives the values that the reference package reads in it, bit for bit") {
    const auto golden = Safetensors::open(SMOLVLM_TEST_DIR "/golden/quant.safetensors");
    const auto source = golden.tensor<float>("source");
    for (DType dtype : {DType::q8_0, DType::q4_0, DType::q4_1, DType::q5_0, DType::q5_1, DType::iq4_nl, DType::q2_k,
                        DType::q3_k, DType::q4_k, DType::q5_k, DType::q6_k}) {
        const std::string name(info(dtype).name);
        CAPTURE(name);
        const HostWeight bytes = golden.host_weight(name + ".bytes");
        const auto expected = golden.tensor<float>(name + ".values");
        std::vector<std::byte> stored(bytes.bytes(), bytes.bytes() + bytes.shape().numel());
        const auto values = dequantized(dtype, stored, expected.numel());
        CHECK(std::equal(values.begin(), values.end(), expected.data(), expected.data() + expected.numel()));
        if (dtype == DType::q8_0 || dtype == DType::q4_0 || dtype == DType::q4_1)
            CHECK(quantized(dtype, {source.flat().begin(), source.flat().end()}) == stored);
    }
}

TEST_CASE("quant: the reference package's GGUF file has every format under the number that we read it by") {
    const auto golden = Safetensors::open(SMOLVLM_TEST_DIR "/golden/quant.safetensors");
    const auto file = Gguf::open(SMOLVLM_TEST_DIR "/golden/quant.gguf");
    CHECK(file.tensors().size() == 11);
    for (const auto& tensor : file.tensors()) {
        const std::string& name = tensor.first;
        CAPTURE(name);
        CHECK(info(tensor.second.dtype).name == name);
        const auto expected = golden.tensor<float>(name + ".values");
        std::vector<float> row(static_cast<std::size_t>(expected.numel()));
        file.host_weight(name).row(0, row.data());
        CHECK(std::equal(row.begin(), row.end(), expected.data()));
    }
}

TEST_CASE("quant: quantising departs by at most one half step (one for the clipped end), and zero stays zero") {
    for (DType dtype : {DType::q8_0, DType::q4_0, DType::q4_1}) {
        CAPTURE(info(dtype).name);
        const auto x = random_row(32 * 50, 7);
        const auto y = dequantized(dtype, quantized(dtype, x), 32 * 50);
        for (std::size_t b = 0; b < 50; ++b) {
            float low = 0, high = 0;
            for (std::size_t j = 0; j < 32; ++j) {
                low = std::min(low, x[32 * b + j]);
                high = std::max(high, x[32 * b + j]);
            }
            const float largest = std::max(-low, high);
            const float step = dtype == DType::q8_0   ? largest / 127
                               : dtype == DType::q4_0 ? largest / 8
                                                      : (high - low) / 15;
            // The scales are halves (2^-11 of up to 15 steps), and Q4_0 has no +8.
            const float bound = step * (dtype == DType::q4_0 ? 1.01f : 0.5f) + 0.002f * largest;
            for (std::size_t j = 0; j < 32; ++j) CHECK(std::abs(x[32 * b + j] - y[32 * b + j]) <= bound);
        }
        for (float value : dequantized(dtype, quantized(dtype, std::vector<float>(32, 0.f)), 32)) CHECK(value == 0);
        for (float value : dequantized(dtype, quantized(dtype, std::vector<float>(32, 1e-42f)), 32))
            CHECK(std::abs(value) < 1e-6f);
    }
}

TEST_CASE("quant: quantising what was dequantised gives the same values again") {
    for (DType dtype : {DType::q8_0, DType::q4_0}) {
        const auto once = dequantized(dtype, quantized(dtype, random_row(320, 3)), 320);
        const auto twice = dequantized(dtype, quantized(dtype, once), 320);
        for (std::size_t i = 0; i < once.size(); ++i) CHECK(twice[i] == doctest::Approx(once[i]).epsilon(1e-3));
    }
}

TEST_CASE("quant: float rows convert exactly where the target can hold the value, at any address") {
    const std::vector<float> x{0.f, -0.f, 1.f, -2.5f, 0.0078125f, 1024.f};
    for (DType dtype : {DType::f64, DType::f32, DType::f16, DType::bf16}) {
        const auto bytes = quantized(dtype, x);
        std::vector<std::byte> shifted(bytes.size() + 1);
        std::copy(bytes.begin(), bytes.end(), shifted.begin() + 1);
        std::vector<double> y(x.size());
        std::vector<bfloat16> z(x.size());
        dequantize_row(dtype, shifted.data() + 1, Index(x.size()), y.data());
        dequantize_row(dtype, shifted.data() + 1, Index(x.size()), z.data());
        for (std::size_t i = 0; i < x.size(); ++i) {
            CHECK(y[i] == double(x[i]));
            CHECK(z[i] == x[i]);
        }
    }
}

TEST_CASE("quant: integer types hold no weights") {
    std::byte byte{};
    float value = 0;
    CHECK_THROWS_AS(dequantize_row(DType::i64, &byte, 0, &value), ValueError);
    CHECK_THROWS_AS(quantize_row(DType::q6_k, &value, 0, &byte), ValueError);
}
