// The MLP in one piece (cpu/mlp.hpp): bit for bit what its ops give one by one.
#include "support.hpp"

using namespace smolvlm;
using namespace smolvlm::test;

namespace {

template <class T>
void check_mlp(Cpu<T>& be, Index N, Index D, Index F, DType dtype) {
    CAPTURE(N);
    CAPTURE(D);
    CAPTURE(F);
    CAPTURE(join(dtype));
    std::uint64_t seed = 1;
    const auto weight = [&](Index rows, Index cols) {
        return be.make_weight(HostWeight::from_tensor(as<float>(random_tensor({rows, cols}, seed++))).converted(dtype));
    };
    const auto w1 = weight(F, D), w2 = weight(D, F), up = weight(F, D);
    const auto h = as<T>(random_tensor({N, D}, 7)), x = as<T>(random_tensor({N, D}, 8));
    const auto b1 = as<T>(random_tensor({F}, 9)), b2 = as<T>(random_tensor({D}, 10));

    // Eigen, the portable path's, sums in an order that depends on the number of rows.
    const bool as_eigen_likes = be.path() == CpuPath::portable && !w1.in_integers();
    const double off = as_eigen_likes ? tolerance<T>(static_cast<double>(D * F)) : 0;
    auto apart = x, together = x;
    be.add_to(apart, be.linear(be.gelu_tanh(be.linear(h, w1, b1)), w2, b2));
    be.add_gelu_mlp(together, h, w1, b1, w2, b2);
    check_close(together, as<double>(apart), off);

    apart = x, together = x;
    be.add_to(apart, be.linear(be.silu_mul(be.linear(h, w1, {}), be.linear(h, up, {})), w2, {}));
    be.add_gated_mlp(together, h, w1, up, w2);
    check_close(together, as<double>(apart), off);
    CHECK(std::ranges::equal(x.flat(), as<T>(random_tensor({N, D}, 8)).flat()));  // who shares x still has it
}

}  // namespace

TEST_CASE_TEMPLATE("cpu mlp: in one piece as apart, floats of every width", T, float, double) {
    on_every_path<T>([](Cpu<T>& be) {
        for (Index N : {1, 15, 16, 17, 130})
            for (DType dtype : {DType::f32, DType::bf16}) check_mlp(be, N, 33, 100, dtype);
        check_mlp(be, 40, 96, 900, DType::f32);   // more than a strip between the maps
        check_mlp(be, 20, 1024, 50, DType::f32);  // rows that meet in the same sets of the cache
        check_mlp(be, 33, 800, 64, DType::q4_1);  // rows of the file, and columns of h in two pieces
    });
}

TEST_CASE("cpu mlp: in one piece as apart, narrow numbers") {
    for (CpuPath path : narrow_paths(CpuPath::avx512bf16))
        for (int threads : {1, 3})
            for (DType dtype : {DType::f32, DType::q8_0, DType::q4_0, DType::bf16}) {
                CAPTURE(join(path));
                Cpu<float> be(threads, path, dtype == DType::bf16 ? Precision::native : Precision::int8);
                be.share_small_work();
                for (Index N : {4, 16, 50, 131}) check_mlp(be, N, 96, 160, dtype);
            }
}

TEST_CASE("cpu mlp: maps that are multiplied in different ways") {
    const HostWeight w = HostWeight::from_tensor(as<float>(random_tensor({64, 64}, 1)));
    Cpu<float> be(1, cpu_path(), Precision::native);
    const auto mixed = [&](DType a, DType b, DType c) {
        const auto gate = be.make_weight(w.converted(a)), up = be.make_weight(w.converted(b)), down = be.make_weight(w.converted(c));
        const auto h = as<float>(random_tensor({20, 64}, 7));
        auto apart = h, together = h;
        be.add_to(apart, be.linear(be.silu_mul(be.linear(h, gate, {}), be.linear(h, up, {})), down, {}));
        be.add_gated_mlp(together, h, gate, up, down);
        check_close(together, as<double>(apart), 0);
    };
    mixed(DType::q8_0, DType::q4_0, DType::q8_0);
    mixed(DType::q8_0, DType::q8_0, DType::f32);
    mixed(DType::f32, DType::f32, DType::q4_0);
}

TEST_CASE("cpu mlp: narrow rows too wide for the second cache go through its maps one by one") {
    const Index inner = second_cache_bytes() / 256;  // 32 rows of as many floats are half of it
    for (Index more : {-64, 64}) {
        Cpu<float> be(1, cpu_path(), Precision::int8);
        const auto weight = [&](Index rows, Index cols) {
            return be.make_weight(HostWeight::from_tensor(as<float>(random_tensor({rows, cols}, 1))));
        };
        const auto w1 = weight(inner + more, 8), w2 = weight(8, inner + more);
        const cpu::Mlp<float> mlp{w1, {}, nullptr, w2, {}};
        CHECK(mlp.in_one_piece(100) == (more < 0));
        CHECK(mlp.in_one_piece(1));
        check_mlp(be, 40, 8, inner + more, DType::f32);
    }
}

TEST_CASE("cpu mlp: wrong shapes are refused") {
    Cpu<float> be(1);
    const auto w = [&](Index rows, Index cols) {
        return be.make_weight(HostWeight::from_tensor(as<float>(random_tensor({rows, cols}, 1))));
    };
    auto x = as<float>(random_tensor({4, 8}, 2));
    const auto h = x;
    CHECK_THROWS_AS(be.add_gated_mlp(x, h, w(16, 8), w(15, 8), w(8, 16)), ShapeError);
    CHECK_THROWS_AS(be.add_gated_mlp(x, h, w(16, 8), w(16, 8), w(9, 16)), ShapeError);
    CHECK_THROWS_AS(be.add_gelu_mlp(x, h, w(16, 7), {}, w(8, 16), {}), ShapeError);
    CHECK_THROWS_AS(be.add_gelu_mlp(x, h, w(16, 8), as<float>(random_tensor({5}, 3)), w(8, 16), {}), ShapeError);
}
