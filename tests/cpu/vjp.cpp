// Every vector-Jacobian product of Cpu<T> against the definition.
#include "support.hpp"

using namespace smolvlm;
using namespace smolvlm::test;

namespace {

using Doubles = std::vector<HostTensor<double>>;

/// What is checked of one op, given as vjp(be, gradients), on every path and with one and three threads:
/// gradients that start empty are the definition's, gradients that start with something are added to, a gradient wanted
/// alone is the same, and threads change nothing. `shapes`: of the gradients; with `starts` false they cannot start
/// empty.
template <class T, class Vjp>
void check_vjp(const std::vector<Shape>& shapes, double size, Vjp vjp, bool starts = true) {
    const auto run = [&](auto& be, std::size_t only, bool empty) {
        using Scalar = typename std::remove_cvref_t<decltype(be)>::Scalar;
        std::vector<HostTensor<Scalar>> slots;
        std::vector<HostTensor<Scalar>*> wanted;
        for (std::size_t i = 0; i < shapes.size(); ++i) {
            auto before = as<Scalar>(random_tensor(shapes[i], 70 + i));
            if (empty) before = starts ? HostTensor<Scalar>{} : HostTensor<Scalar>::zeros(shapes[i]);
            slots.push_back(before);
        }
        for (std::size_t i = 0; i < shapes.size(); ++i)
            wanted.push_back(only == shapes.size() || only == i ? &slots[i] : nullptr);
        vjp(be, wanted);
        return slots;
    };
    for (bool empty : {false, true}) {
        CAPTURE(empty);
        Ref<double> definition;
        const Doubles expected = run(definition, shapes.size(), empty);
        for (CpuPath path : paths()) {
            CAPTURE(join(path));
            Cpu<T> one(1, path), three(3, path);
            const auto found = run(one, shapes.size(), empty), shared = run(three, shapes.size(), empty);
            for (std::size_t i = 0; i < shapes.size(); ++i) {
                CAPTURE(i);
                check_close(found[i], expected[i], tolerance<T>(size));
                check_close(shared[i], as<double>(found[i]), 0);
                if (shapes.size() > 1) check_close(run(one, i, empty)[i], as<double>(found[i]), 0);
            }
        }
    }
}

/// An operand of any backend: the same numbers in its own type.
template <class B>
auto random(B&, const Shape& shape, std::uint64_t seed) {
    return as<typename B::Scalar>(random_tensor(shape, seed));
}

}  // namespace

TEST_CASE_TEMPLATE("cpu linear_vjp: sizes around the edges of tiles, panels and chunks", T, float, double) {
    const auto check = [](Index N, Index M, Index K) {
        CAPTURE(N);
        CAPTURE(M);
        CAPTURE(K);
        const auto w = HostWeight::from_tensor(as<float>(random_tensor({M, K}, 1)));
        check_vjp<T>({{N, K}, {M, K}, {M}}, 10 + static_cast<double>(std::max(N, M)) / 2, [&](auto& be, auto d) {
            be.linear_vjp(random(be, {N, K}, 2), be.make_weight(w), random(be, {N, M}, 3), d[0], d[1], d[2]);
        });
    };
    for (Index N : {0, 1, 3, 17})
        for (Index M : {1, 48, 97})
            for (Index K : {1, 24, 49}) check(N, M, K);
    check(9, 769, 50);
    check(777, 30, 31);
    check(30, 560, 100);
}

TEST_CASE_TEMPLATE("cpu linear_vjp: gradients pass through a weight of every dtype", T, float, double) {
    for (DType dtype : {DType::f64, DType::f32, DType::f16, DType::bf16, DType::q8_0, DType::q4_0, DType::q4_1}) {
        CAPTURE(join(dtype));
        const auto w = HostWeight::from_tensor(as<float>(random_tensor({53, 160}, 1))).converted(dtype);
        check_vjp<T>({{7, 160}}, 30, [&](auto& be, auto d) {
            using Tensor = typename std::remove_cvref_t<decltype(be)>::Tensor;
            be.linear_vjp(Tensor(), be.make_weight(w), random(be, {7, 53}, 3), d[0], nullptr, nullptr);
        });
    }
    HostWeight w{DType::q6_k, {50, 512}, Storage::allocate(50 * 2 * 210)};
    Random random_bytes(5);
    for (std::size_t i = 0; i < 50 * 2 * 210; ++i)
        w.storage.data()[i] = static_cast<std::byte>(random_bytes.below(256));
    for (Index block = 0; block < 100; ++block) detail::store(w.storage.data() + block * 210 + 208, half(0.001f));
    check_vjp<T>({{5, 512}}, 100, [&](auto& be, auto d) {
        using Tensor = typename std::remove_cvref_t<decltype(be)>::Tensor;
        be.linear_vjp(Tensor(), be.make_weight(w), random(be, {5, 50}, 3), d[0], nullptr, nullptr);
    });
}

TEST_CASE_TEMPLATE("cpu norm vjps: rows of every width, enough of them for several blocks", T, float, double) {
    for (Index N : {0, 1, 64, 201})
        for (Index D : {1, 7, 35}) {
            CAPTURE(N);
            CAPTURE(D);
            // A row of one or two numbers may be nearly constant, and then 1/s is large.
            const double size = D < 8 ? 4000 : 100;
            check_vjp<T>({{N, D}, {D}}, size, [&](auto& be, auto d) {
                be.rms_norm_vjp(random(be, {N, D}, 1), random(be, {D}, 2), 1e-2, random(be, {N, D}, 3), d[0], d[1]);
            });
            check_vjp<T>({{N, D}, {D}, {D}}, size, [&](auto& be, auto d) {
                be.layer_norm_vjp(random(be, {N, D}, 1), random(be, {D}, 2), 1e-2, random(be, {N, D}, 3), d[0], d[1],
                                  d[2]);
            });
        }
}

TEST_CASE_TEMPLATE("cpu attention_vjp: grouped heads, ragged, causal and full segments, keys of their own", T, float,
                   double) {
    const auto check = [](Heads heads, Index K, const Segments& segments, Index keys) {
        const Index N = segments.rows();
        CAPTURE(N);
        CAPTURE(K);
        const Shape of_q{N, heads.query * K}, of_k{keys, heads.kv * K};
        check_vjp<T>({of_q, of_k, of_k}, 60, [&](auto& be, auto d) {
            be.attention_vjp(random(be, of_q, 1), random(be, of_k, 2), random(be, of_k, 3), heads, segments,
                             random(be, of_q, 4), d[0], d[1], d[2]);
        });
    };
    constexpr auto causal = Segments::Mask::causal, full = Segments::Mask::full;
    const std::vector<Index> lengths{1, 5, 0, 70, 2}, one{300}, pictures{30, 30};
    check({6, 2}, 8, Segments::packed(causal, lengths), 78);
    check({3, 3}, 5, Segments::packed(full, lengths), 80);
    check({4, 1}, 20, Segments::packed(causal, one), 300);
    check({2, 2}, 72, Segments::packed(full, pictures), 60);
    check({60, 1}, 2, Segments::packed(causal, std::vector<Index>{9}), 9);
    // A warm cache, no keys at all, and two segments that look at the same keys.
    check({2, 1}, 6, Segments(causal, {{0, 3, 2, 7}, {3, 1, 9, 4}}), 14);
    check({2, 1}, 6, Segments(full, {{0, 3, 0, 0}, {3, 4, 1, 5}, {7, 2, 3, 6}}), 10);
}

TEST_CASE_TEMPLATE("cpu elementwise vjps, and those that move rows", T, float, double) {
    for (Index n : {1, 16, 33, 9000}) {
        check_vjp<T>({{1, n}}, 10, [&](auto& be, auto d) {
            be.gelu_tanh_vjp(random(be, {1, n}, 1), random(be, {1, n}, 2), d[0]);
        });
        check_vjp<T>({{1, n}, {1, n}}, 20, [&](auto& be, auto d) {
            be.silu_mul_vjp(random(be, {1, n}, 1), random(be, {1, n}, 2), random(be, {1, n}, 3), d[0], d[1]);
        });
    }
    const std::vector<std::int32_t> ids{3, 0, 3, 6, 1};
    for (Index D : {1, 17, 300}) {
        check_vjp<T>(
            {{7, D}}, 8,
            [&](auto& be, auto d) {
                be.gather_rows_vjp(ids, random(be, {5, D}, 1), d[0]);
            },
            false);
        check_vjp<T>(
            {{7, D}}, 8,
            [&](auto& be, auto d) {
                be.embedding_vjp(ids, random(be, {5, D}, 1), d[0]);
            },
            false);
        check_vjp<T>({{7, D}, {5, D}}, 8, [&](auto& be, auto d) {
            be.scatter_rows_vjp(ids, random(be, {7, D}, 1), d[0], d[1]);
        });
        check_vjp<T>({{2 * 12, D}}, 4, [&](auto& be, auto d) {
            be.pixel_shuffle_vjp(6, 2, 2, random(be, {6, 4 * D}, 1), d[0]);
        });
    }
    check_vjp<T>(
        {{2, 3, 9, 8}}, 4,
        [&](auto& be, auto d) {
            be.patchify_vjp(4, random(be, {8, 48}, 1), d[0]);
        },
        false);
    for (Index K : {2, 6, 40, 64})
        check_vjp<T>({{9, 3 * K}}, 8, [&](auto& be, auto d) {
            be.rope_vjp(3, 1e4, Segments(Segments::Mask::causal, {{0, 4, 0, 4}, {4, 5, 9, 30}}),
                        random(be, {9, 3 * K}, 1), d[0]);
        });
}

TEST_CASE_TEMPLATE("cpu cross_entropy: the loss and its gradient over vocabularies small and large", T, float, double) {
    for (Index V : {1, 5, 16, 100, 5011}) {
        CAPTURE(V);
        const std::vector<std::int32_t> targets{0, ignore_index, static_cast<std::int32_t>(V - 1),
                                                static_cast<std::int32_t>(V / 2)};
        auto logits = random_tensor({4, V}, 1);
        for (double& x : logits.view().row(2)) x += 500;  // more than exp can hold
        const auto expected = Ref<double>().cross_entropy(as<double>(as<float>(logits)), targets);
        for (CpuPath path : paths()) {
            Cpu<T> one(1, path), three(3, path);
            const auto found = one.cross_entropy(as<T>(as<float>(logits)), targets);
            check_close(found, expected, tolerance<T>(40));
            check_close(three.cross_entropy(as<T>(as<float>(logits)), targets), as<double>(found), 0);
        }
        check_vjp<T>({{4, V}}, 8, [&](auto& be, auto d) {
            using Scalar = typename std::remove_cvref_t<decltype(be)>::Scalar;
            be.cross_entropy_vjp(as<Scalar>(as<float>(logits)), targets, HostTensor<Scalar>({1}, {Scalar(2)}), d[0]);
        });
    }
    const std::vector<std::int32_t> nothing{ignore_index, ignore_index};
    Cpu<T> be(2);
    CHECK(be.cross_entropy(as<T>(random_tensor({2, 9}, 1)), nothing).data()[0] == 0);
}
