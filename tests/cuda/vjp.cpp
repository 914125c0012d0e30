// Vector-Jacobian products of Cuda<T> against the definitions: added to what is there or made where nothing is, each
// wanted alone as with the others. And the loss, the sampler, the optimiser, pictures of bytes, and weights read back.
#define SMOLVLM_TEST_BACKENDS smolvlm::Cuda<float>

#include <doctest/doctest.h>

#include <smolvlm/cuda/cuda.cuh>
#include <smolvlm/model/sampler.hpp>
#include <smolvlm/train/adamw.hpp>

#include "support/backends.hpp"
#include "support/random_pixels.hpp"

using namespace smolvlm;
using namespace testing;
using Int32s = std::vector<std::int32_t>;
using Mask = Segments::Mask;

namespace {

/// What vjp(be, sinks) leaves in gradients of these shapes; `wanted`: one of them, or -1 for all.
template <class B, class Vjp>
std::vector<HostTensor<double>> gradients(Vjp vjp, const std::vector<Shape>& shapes, bool fresh, int wanted) {
    B be;
    std::vector<Tensor<B>> d(shapes.size());
    std::vector<Tensor<B>*> sinks(shapes.size(), nullptr);
    for (std::size_t i = 0; i < shapes.size(); ++i) {
        if (!fresh) d[i] = random(be, shapes[i], 70 + i);
        if (wanted < 0 || static_cast<std::size_t>(wanted) == i) sinks[i] = &d[i];
    }
    vjp(be, sinks);
    std::vector<HostTensor<double>> found;
    for (std::size_t i = 0; i < shapes.size(); ++i)
        found.push_back(sinks[i] ? host(be, d[i]) : HostTensor<double>());
    return found;
}

/// Empty when B's gradients are those of Ref<double> within tolerance; else which is not, and how far.
template <class B, class Vjp>
std::string vjp_departs(Vjp vjp, const std::vector<Shape>& shapes, double tolerance, bool may_be_fresh = true) {
    for (const bool fresh : {false, true}) {
        if (fresh && !may_be_fresh) continue;
        const auto expected = gradients<Ref<double>>(vjp, shapes, fresh, -1), found = gradients<B>(vjp, shapes, fresh, -1);
        for (std::size_t i = 0; i < shapes.size(); ++i) {
            const std::string gap = departure(found[i], expected[i], tolerance);
            if (!gap.empty()) return join("gradient ", i, fresh ? ", fresh: " : ": ", gap);
            const auto alone = gradients<B>(vjp, shapes, fresh, static_cast<int>(i));
            const std::string other = inequality(alone[i], found[i]);
            if (!other.empty()) return join("gradient ", i, " wanted alone: ", other);
        }
    }
    return "";
}

}  // namespace

TEST_CASE_TEMPLATE("vjp on the device: linear, norms, activations", B, Cuda<float>) {
    for (const auto& [N, K, M] : {std::array<Index, 3>{1, 3, 2}, {5, 8, 70}, {70, 65, 9}}) {
        const Index rows = N;
        CAPTURE(rows);
        const auto linear = [&, N = N, K = K, M = M](auto& be, const auto& d) {
            be.linear_vjp(random(be, {N, K}, 1), random_weight(be, {M, K}, 2), random(be, {N, M}, 3), d[0], d[1], d[2]);
        };
        CHECK(vjp_departs<B>(linear, {{N, K}, {M, K}, {M}}, rounding<B>(N + K + M)) == "");
        const auto rms = [&, N = N, K = K](auto& be, const auto& d) {
            be.rms_norm_vjp(random(be, {N, K}, 1), random(be, {K}, 2), 1e-5, random(be, {N, K}, 3), d[0], d[1]);
        };
        CHECK(vjp_departs<B>(rms, {{N, K}, {K}}, rounding<B>(N + K)) == "");
        const auto layer = [&, N = N, K = K](auto& be, const auto& d) {
            be.layer_norm_vjp(random(be, {N, K}, 1), random(be, {K}, 2), 1e-5, random(be, {N, K}, 3), d[0], d[1], d[2]);
        };
        CHECK(vjp_departs<B>(layer, {{N, K}, {K}, {K}}, rounding<B>(N + K)) == "");
        const auto gelu = [&, N = N, K = K](auto& be, const auto& d) {
            be.gelu_tanh_vjp(random(be, {N, K}, 1, 2), random(be, {N, K}, 2), d[0]);
        };
        CHECK(vjp_departs<B>(gelu, {{N, K}}, rounding<B>(8)) == "");
        const auto silu = [&, N = N, K = K](auto& be, const auto& d) {
            be.silu_mul_vjp(random(be, {N, K}, 1, 2), random(be, {N, K}, 4), random(be, {N, K}, 2), d[0], d[1]);
        };
        CHECK(vjp_departs<B>(silu, {{N, K}, {N, K}}, rounding<B>(8)) == "");
    }
}

TEST_CASE_TEMPLATE("vjp on the device: rows, pictures, rope, loss", B, Cuda<float>) {
    const Int32s ids{4, 0, 4, 4, 2};
    const auto gather = [&](auto& be, const auto& d) { be.gather_rows_vjp(ids, random(be, {5, 3}, 1), d[0]); };
    CHECK(vjp_departs<B>(gather, {{6, 3}}, rounding<B>(3), false) == "");
    const auto embedding = [&](auto& be, const auto& d) { be.embedding_vjp(ids, random(be, {5, 3}, 1), d[0]); };
    CHECK(vjp_departs<B>(embedding, {{6, 3}}, rounding<B>(3), false) == "");
    const auto scatter = [&](auto& be, const auto& d) { be.scatter_rows_vjp(ids, random(be, {6, 3}, 1), d[0], d[1]); };
    CHECK(vjp_departs<B>(scatter, {{6, 3}, {5, 3}}, rounding<B>(1)) == "");
    const auto patches = [&](auto& be, const auto& d) { be.patchify_vjp(2, random(be, {2 * 6, 3 * 4}, 1), d[0]); };
    CHECK(vjp_departs<B>(patches, {{2, 3, 5, 6}}, rounding<B>(1), false) == "");
    const auto shuffle = [&](auto& be, const auto& d) {
        be.pixel_shuffle_vjp(4, 6, 2, random(be, {2 * 6, 4 * 3}, 1), d[0]);
    };
    CHECK(vjp_departs<B>(shuffle, {{48, 3}}, rounding<B>(1)) == "");
    const Segments segments(Mask::causal, {{0, 3, 0, 40}, {3, 2, 50, 2}});
    const auto rope = [&](auto& be, const auto& d) { be.rope_vjp(3, 1e4, segments, random(be, {5, 3 * 8}, 1), d[0]); };
    CHECK(vjp_departs<B>(rope, {{5, 24}}, rounding<B>(2)) == "");
    const Int32s targets{3, ignore_index, 0, 299, ignore_index};
    const auto loss = [&](auto& be, const auto& d) {
        be.cross_entropy_vjp(random(be, {5, 300}, 1, 3), targets, tensor(be, {1}, {0.7}), d[0]);
    };
    CHECK(vjp_departs<B>(loss, {{5, 300}}, rounding<B>(300)) == "");
    CHECK(departs_from_definition<B>([&](auto& be) { return be.cross_entropy(random(be, {5, 300}, 1, 3), targets); },
                                     rounding<B>(300)) == "");
    const Int32s none(5, ignore_index);
    CHECK(departs_from_definition<B>([&](auto& be) { return be.cross_entropy(random(be, {5, 300}, 1, 3), none); }, 0) ==
          "");
}

TEST_CASE_TEMPLATE("vjp on the device: attention over ragged segments, warm caches, groups and widths", B, Cuda<float>) {
    for (const Mask mask : {Mask::causal, Mask::full})
        for (const Heads heads : {Heads{1, 1}, Heads{6, 2}})
            for (const Index K : {3, 40, 64}) {
                CAPTURE(K);
                // keys 45 .. 49 belong to nobody, keys 50 .. 69 to two segments
                const Segments segments(mask, {{0, 5, 0, 45}, {5, 18, 50, 20}, {23, 2, 50, 20}});
                const auto vjp = [&](auto& be, const auto& d) {
                    be.attention_vjp(random(be, {25, heads.query * K}, 1), random(be, {70, heads.kv * K}, 2),
                                     random(be, {70, heads.kv * K}, 3), heads, segments,
                                     random(be, {25, heads.query * K}, 4), d[0], d[1], d[2]);
                };
                CHECK(vjp_departs<B>(vjp, {{25, heads.query * K}, {70, heads.kv * K}, {70, heads.kv * K}},
                                     rounding<B>(70 + K)) == "");
            }
}

TEST_CASE("sampling on the device: arg_max takes the first of equals, and draws are those of the host's sampler") {
    using B = Cuda<float>;
    B be;
    CHECK(be.arg_max(tensor(be, {3, 4}, {0, 2, 2, 1, -5, -7, -9, -8, 1, 1, 1, 1})) == Int32s{1, 0, 0});
    const Index V = 700;
    const auto logits = random_tensor<float>({1, V}, 5, 2);
    for (const auto& [top_k, top_p] : {std::pair<Index, double>{1, 1.0}, {5, 1.0}, {40, 0.7}, {128, 0.9}}) {
        const Index candidates = top_k;
        CAPTURE(candidates);
        SamplingOptions options;
        options.temperature = 0.8;
        options.top_k = top_k;
        options.top_p = top_p;
        options.seed = 11;
        Sampler sampler(options);
        Random random(options.seed);
        for (int i = 0; i < 8; ++i) {
            const auto uniform = static_cast<float>(random.uniform());
            const auto found = be.sample(be.from_host(logits), std::span(&uniform, 1), top_k, 0.8, top_p);
            CHECK(found == Int32s{sampler.next(std::as_const(logits).flat(), {})});
        }
    }
    const float half_way = 0.5f;
    CHECK(contains(error_of([&] { be.sample(be.from_host(logits), std::span(&half_way, 1), 129, 1); }), "top-k is 129"));
    CHECK(contains(error_of([&] { be.sample(be.from_host(logits), std::span(&half_way, 1), 5, 0); }), "temperature is 0"));
}

TEST_CASE("AdamW on the device: three steps are the host's, and the model's copy is the rounded master") {
    Cuda<bfloat16> be;
    Cuda<float> wide;
    const Index n = 300;
    const auto start = random_tensor<float>({n}, 1), g = converted<float>(converted<bfloat16>(random_tensor<float>({n}, 2)));
    HostTensor<float> w({n}), m = HostTensor<float>::zeros({n}), v = HostTensor<float>::zeros({n});
    std::ranges::copy(start.flat(), w.data());
    auto dw = wide.from_host(w), dm = wide.zeros({n}), dv = wide.zeros({n});
    auto model = be.from_host(w);
    const auto held = model;
    be.wait_for(wide);  // two objects, two streams
    for (Index step = 1; step <= 3; ++step) {
        AdamW().update<float>(w.flat(), g.flat(), m.flat(), v.flat(), step, 1e-2, 0.1, 0.5);
        be.adamw(dw, be.from_host(g), dm, dv, &model, cuda::AdamWStep(0.9, 0.999, 1e-8, step, 1e-2, 0.1, 0.5));
    }
    wide.wait_for(be);
    CHECK(departure(wide.to_host(dw), w, 1e-6) == "");
    CHECK(departure(wide.to_host(dm), m, 1e-6) == "");
    CHECK(departure(wide.to_host(dv), v, 1e-6) == "");
    CHECK(inequality(be.to_host(model), converted<float>(converted<bfloat16>(wide.to_host(dw)))) == "");
    CHECK(inequality(be.to_host(held), converted<float>(converted<bfloat16>(start))) == "");
}

#if defined(SMOLVLM_CUDA_EMULATION)
TEST_CASE_TEMPLATE("an op that fails on the device: says what, leaves its operands as they were, and works the next time", T,
                   float, bfloat16) {
    Cuda<T> be;
    cuda::emulation::Machine& machine = cuda::emulation::machine();
    const auto w = random_weight(be, {40, 40}, 1);
    const auto h = random(be, {12, 40}, 2), none = decltype(h){};
    auto x = random(be, {12, 40}, 3);
    const auto before = be.to_host(x);
    const auto op = [&] { be.add_gelu_mlp(x, h, w, none, w, none); };
    machine.failing_call = "launch";
    machine.failing_code = "cudaErrorLaunchOutOfResources";
    CHECK(contains(error_of(op), "launch failed: cudaErrorLaunchOutOfResources"));
    CHECK(inequality(be.to_host(x), before) == "");
    const std::size_t memory = std::exchange(machine.memory, machine.used());
    be.runtime().trim();  // what was downloaded with
    const std::string error = error_of([&] { be.zeros({1000, 1000}); });
    machine.memory = memory;
    CHECK(contains(error, "bytes were asked for, "));
    CHECK(contains(error, "--max-tiles"));
    op();
    Ref<double> definition;
    auto expected = converted<double>(before);
    const auto a = definition.linear(host(be, h), HostWeight::from_tensor(random_tensor<float>({40, 40}, 1)), {});
    definition.add_to(expected, definition.linear(definition.gelu_tanh(a),
                                                  HostWeight::from_tensor(random_tensor<float>({40, 40}, 1)), {}));
    CHECK(departure(host(be, x), expected, std::is_same_v<T, float> ? 2e-6 : 3 * 0x1p-8) == "");
}
#endif

TEST_CASE_TEMPLATE("patchify of bytes on the device: is patchify of what they stand for, bit for bit", T, float, half) {
    Cuda<T> be;
    const auto bytes = random_bytes({2, 3, 7, 10}, 1);
    const BytePixels pixels = byte_pixels(bytes, 2);
    for (const Index patch : {1, 3, 8}) {
        const auto expected = be.patchify(be.from_host(in_numbers<float>(pixels)), patch);
        CHECK(inequality(host(be, be.patchify_bytes(pixels, patch)), host(be, expected)) == "");
    }
    CHECK(contains(error_of([&] { be.patchify_bytes(pixels, 0); }), "patch edge 0"));
}

TEST_CASE_TEMPLATE("weights on the device: rows come back as they went", T, float, bfloat16) {
    Cuda<T> be;
    const auto w = HostWeight::from_tensor(random_tensor<float>({3, 64}, 1));
    for (const DType dtype : {DType::f32, DType::f16, DType::bf16, DType::q8_0, DType::q4_0}) {
        if (std::is_same_v<T, bfloat16> && (dtype == DType::f32 || dtype == DType::f16)) continue;  // rounded on the way
        const HostWeight held = w.converted(dtype);
        const auto weight = be.make_weight(held);
        HostTensor<float> rows({3, 64});
        for (Index r = 0; r < 3; ++r) weight.row(r, rows.data() + r * 64);
        CHECK(inequality(rows, held.to_tensor<float>()) == "");
    }
}
