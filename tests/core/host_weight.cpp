#include <smolvlm/core/host_weight.hpp>

#include <smolvlm/core/random.hpp>

#include <doctest/doctest.h>

using namespace smolvlm;

namespace {

HostTensor<float> random_tensor(Shape shape) {
    HostTensor<float> x(shape);
    Random random(5);
    for (float& value : x.flat()) value = static_cast<float>(random.normal());
    return x;
}

}  // namespace

TEST_CASE("host_weight: a weight made from a tensor shares its bytes and gives its rows") {
    const auto x = random_tensor(Shape{3, 64});
    const auto weight = HostWeight::from_tensor(x);
    CHECK(weight.bytes() == reinterpret_cast<const std::byte*>(x.data()));
    CHECK(weight.rows() == 3);
    CHECK(weight.cols() == 64);
    CHECK(weight.row_bytes() == 256);
    std::vector<double> row(64);
    weight.row(2, row.data());
    for (Index j = 0; j < 64; ++j) CHECK(row[std::size_t(j)] == double(x.view()(2, j)));
}

TEST_CASE("host_weight: converting to a wider type and back changes nothing, with any number of threads") {
    const auto weight = HostWeight::from_tensor(random_tensor(Shape{5, 2, 32})).converted(DType::bf16);
    CHECK(weight.rows() == 10);
    for (DType wide : {DType::f32, DType::f64}) {
        const auto back = weight.converted(wide, 3).converted(DType::bf16, 2);
        CHECK(back.shape() == weight.shape());
        CHECK(std::equal(back.bytes(), back.bytes() + 640, weight.bytes()));
    }
    CHECK(weight.converted(DType::bf16).bytes() == weight.bytes());
}

TEST_CASE("host_weight: quantised rows are whole blocks, and a shape that cuts one is refused") {
    const auto weight = HostWeight::from_tensor(random_tensor(Shape{4, 64}));
    const auto quantized = weight.converted(DType::q8_0);
    CHECK(quantized.row_bytes() == 68);
    const auto x = weight.to_tensor<float>(), y = quantized.to_tensor<float>();
    for (Index i = 0; i < 256; ++i) CHECK(std::abs(x.data()[i] - y.data()[i]) < 0.02f);
    CHECK(quantized.reshaped(Shape{8, 32}).rows() == 8);
    CHECK_THROWS_AS(quantized.reshaped(Shape{16, 16}), ShapeError);
    CHECK_THROWS_AS(quantized.reshaped(Shape{4, 32}), ShapeError);
    CHECK_THROWS_AS(weight.reshaped(Shape{16, 16}).converted(DType::q4_0), ShapeError);
    CHECK_THROWS_AS(weight.converted(DType::q6_k), ValueError);
    CHECK_THROWS_AS(HostWeight::from_tensor(HostTensor<std::int64_t>(Shape{2})).converted(DType::f32), ValueError);
}
