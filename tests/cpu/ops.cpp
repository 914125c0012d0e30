// The other ops of Cpu<T> against their definitions, exp, and who may write where.
#include <numeric>

#include <smolvlm/model/smolvlm.hpp>

#include "support.hpp"
#include "support/error_text.hpp"
#include "support/random_pixels.hpp"

using namespace smolvlm;
using namespace smolvlm::test;
using testing::byte_pixels, testing::error_of, testing::random_bytes;

static_assert(CachingBackend<Cpu<float>> && CachingBackend<Cpu<double>>);

TEST_CASE_TEMPLATE("cpu norms: every width", T, float, double) {
    on_every_path<T>([](Cpu<T>& be) {
        Ref<double> ref;
        for (Index D = 1; D <= 70; D += D < 34 ? 1 : 9)
            for (Index N : {0, 1, 3, 50}) {
                CAPTURE(D);
                const auto x = random_tensor({N, D}, 1), w = random_tensor({D}, 2), b = random_tensor({D}, 3);
                check_close(be.rms_norm(as<T>(x), as<T>(w), 1e-5), ref.rms_norm(x, w, 1e-5), tolerance<T>(20));
                check_close(be.layer_norm(as<T>(x), as<T>(w), as<T>(b), 1e-5), ref.layer_norm(x, w, b, 1e-5),
                            tolerance<T>(D < 3 ? 300 : 30));
            }
    });
}

TEST_CASE_TEMPLATE("cpu norms: of a sum in one pass, bit for bit as in two; who shares x keeps it", T, float, double) {
    on_every_path<T>([](Cpu<T>& be) {
        for (Index N : {0, 1, 15, 70})
            for (Index D : {1, 17, 64, 800}) {
                CAPTURE(N);
                CAPTURE(D);
                const auto x = as<T>(random_tensor({N, D}, 1)), h = as<T>(random_tensor({N, D}, 2));
                const auto w = as<T>(random_tensor({D}, 3)), b = as<T>(random_tensor({D}, 4));
                auto sum = x, apart = x;
                be.add_to(apart, h);
                check_close(be.add_layer_norm(sum, h, w, b, 1e-5), as<double>(be.layer_norm(apart, w, b, 1e-5)), 0);
                check_close(sum, as<double>(apart), 0);
                sum = x;
                check_close(be.add_rms_norm(sum, h, w, 1e-5), as<double>(be.rms_norm(apart, w, 1e-5)), 0);
                check_close(sum, as<double>(apart), 0);
                check_close(x, random_tensor({N, D}, 1), 0);
            }
        auto x = as<T>(random_tensor({3, 4}, 1));
        CHECK_THROWS_AS(be.add_rms_norm(x, as<T>(random_tensor({3, 5}, 1)), x, 1e-5), ShapeError);
    });
}

TEST_CASE_TEMPLATE("cpu elementwise: every length, every magnitude", T, float, double) {
    on_every_path<T>([](Cpu<T>& be) {
        Ref<double> ref;
        for (Index n : {0, 1, 3, 7, 8, 9, 15, 16, 17, 31, 33, 1000, 30000}) {
            CAPTURE(n);
            auto a = random_tensor({n}, 1), b = random_tensor({n}, 2);
            check_close(be.gelu_tanh(as<T>(a)), ref.gelu_tanh(a), tolerance<T>(2));
            check_close(be.silu_mul(as<T>(a), as<T>(b)), ref.silu_mul(a, b), tolerance<T>(8));
            auto x = as<T>(a);
            be.add_to(x, as<T>(b));
            ref.add_to(a, b);
            check_close(x, a, tolerance<T>(2));
        }
        const HostTensor<double> wide({12}, {-1e30, -1000, -100, -88, -20, -1e-30, 0, 1e-30, 20, 100, 1000, 1e30});
        const auto ones = HostTensor<double>({12}, std::vector<double>(12, 1));
        const auto gelu = be.gelu_tanh(as<T>(wide)), silu = be.silu_mul(as<T>(wide), as<T>(ones));
        for (Index i = 0; i < 12; ++i) {
            const double x = static_cast<double>(static_cast<T>(wide.data()[i]));
            CHECK(static_cast<double>(gelu.data()[i]) == doctest::Approx(gelu_tanh(x)).epsilon(1e-6));
            CHECK(static_cast<double>(silu.data()[i]) == doctest::Approx(smolvlm::silu(x)).epsilon(1e-6));
        }
    });
}

namespace {
struct ExpOf {
    template <class V>
    SMOLVLM_INLINE static V of(const V& a, const V&) {
        return exp(a);
    }
};
struct Exp2Of {
    template <class V>
    SMOLVLM_INLINE static V of(const V& a, const V&) {
        return exp2_below_one(a);
    }
};
}  // namespace

TEST_CASE("cpu exp: within two units in the last place wherever the result is a normal float") {
    std::vector<float> x, y;
    for (float v = -87.33f; v < 88.72f; v += 1.7e-4f) x.push_back(v);
    for (float v : {-0.0f, 0.0f, 1e-30f, -87.336f, 88.722f, 88.6f, 88.4f, 0.34657f, -0.34658f}) x.push_back(v);
    y.resize(x.size());
    for (CpuPath path : paths()) {
        const Shape all{static_cast<Index>(x.size())};
        const View<const float> in(x.data(), all);
        cpu::elementwise<ExpOf>(in, in, View<float>(y.data(), all), path, 1);
        double worst = 0;
        for (std::size_t i = 0; i < x.size(); ++i) {
            const double exact = std::exp(static_cast<double>(x[i]));
            const float near = static_cast<float>(exact);
            const double unit = static_cast<double>(std::nextafter(near, HUGE_VALF)) - static_cast<double>(near);
            worst = std::max(worst, std::abs(static_cast<double>(y[i]) - exact) / unit);
        }
        CHECK(worst <= 2.0);
        const float odd[] = {-HUGE_VALF, -1000, 89, HUGE_VALF, NAN, -88, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
        float out[16];
        const View<const float> odd_view(odd, Shape{16});
        cpu::elementwise<ExpOf>(odd_view, odd_view, View<float>(out, Shape{16}), path, 1);
        CHECK(out[0] == 0);
        CHECK(out[1] == 0);
        CHECK(out[2] == HUGE_VALF);
        CHECK(out[3] == HUGE_VALF);
        CHECK(std::isnan(out[4]));
        CHECK(out[5] == 0);
        CHECK(out[6] == 1);
    }
}

TEST_CASE("cpu exp2: within 1.2 units in the last place for all of -126 to 0, and zero below") {
    std::vector<float> x{-126.0f, -126.00001f, -1e30f, -HUGE_VALF, NAN, -0.0f, 0.0f, -1e-30f, -0.5f, -0.49999997f};
    for (float v = -126; v < 0; v += 1.3e-4f) x.push_back(v);
    std::vector<float> y(x.size());
    for (CpuPath path : paths()) {
        const View<const float> in(x.data(), Shape{static_cast<Index>(x.size())});
        cpu::elementwise<Exp2Of>(in, in, View<float>(y.data(), in.shape()), path, 1);
        double worst = 0;
        for (std::size_t i = 0; i < x.size(); ++i) {
            if (i >= 1 && i <= 4) continue;
            const double exact = std::exp2(static_cast<double>(x[i]));
            const float near = static_cast<float>(exact);
            const double unit = static_cast<double>(std::nextafter(near, HUGE_VALF)) - static_cast<double>(near);
            worst = std::max(worst, std::abs(static_cast<double>(y[i]) - exact) / unit);
        }
        CHECK(worst <= 1.2);  // 0.94 where a * b + c is rounded once
        for (std::size_t i : {1u, 2u, 3u}) CHECK(y[i] == 0);
        CHECK(std::isnan(y[4]));
    }
}

TEST_CASE_TEMPLATE("cpu copies: patches, pixel shuffle and rows are the definition's, exactly", T, float, double) {
    on_every_path<T>([](Cpu<T>& be) {
        Ref<double> ref;
        for (Index p : {1, 3, 14})
            for (Index height : {14, 29}) {
                const auto x = random_tensor({2, 3, height, 43}, 1);
                check_close(be.patchify(as<T>(x), p), ref.patchify(x, p), 0);
                const auto bytes = random_bytes({2, 3, height, 43}, 1);
                const BytePixels pixels = byte_pixels(bytes, 2);
                check_close(be.patchify_bytes(pixels, p), ref.patchify(in_numbers<double>(pixels), p), 0);
            }
        const auto bytes = random_bytes({1, 3, 4, 4}, 1);
        CHECK(error_of([&] { be.patchify_bytes(byte_pixels(bytes, 2), 0); }) ==
              "patchify: x is [1, 3, 4, 4] and the patch edge 0; [I, C, height, width] and a positive edge are needed");
        CHECK(be.patchify_bytes(byte_pixels(bytes, 2), 5).shape() == Shape{0, 75});
        for (Index s : {1, 2, 3, 4}) {
            const auto x = random_tensor({3 * 12 * 24, 5}, 1);
            check_close(be.pixel_shuffle(as<T>(x), 12, 24, s), ref.pixel_shuffle(x, 12, 24, s), 0);
        }
        const std::vector<std::int32_t> ids{4, 0, 2};
        auto x = random_tensor({5, 7}, 1);
        const auto rows = random_tensor({3, 7}, 2);
        check_close(be.gather_rows(as<T>(x), ids), ref.gather_rows(x, ids), 0);
        auto y = as<T>(x);
        const auto kept = y;
        be.scatter_rows(y, ids, as<T>(rows));
        check_close(kept, x, 0);
        ref.scatter_rows(x, ids, rows);
        check_close(y, x, 0);
        auto expected = random_tensor({20, 7}, 3);
        auto slab = be.make_slabs(1, {20, 7})[0];
        be.write_rows(slab, Segments(Segments::Mask::causal, {{0, 20, 0, 20}}), as<T>(expected));
        const Segments segments(Segments::Mask::causal, {{0, 2, 3, 6}, {2, 1, 15, 5}});
        be.write_rows(slab, segments, as<T>(rows));
        ref.write_rows(expected, segments, rows);
        std::vector<std::int32_t> all(20);
        std::iota(all.begin(), all.end(), 0);
        check_close(be.gather_rows(slab, all), expected, 0);
    });
}

TEST_CASE("cpu: an operand is overwritten only when nobody else can see it") {
    Cpu<float> be(2);
    be.share_small_work();
    auto x = be.zeros({100});
    const float* const place = std::as_const(x).data();
    const auto kept = x;
    CHECK(std::as_const(kept).data() == place);
    auto y = be.gelu_tanh(x);
    CHECK(std::as_const(y).data() != place);
    be.add_to(x, y);  // x is shared with `kept`: copied first
    CHECK(std::as_const(x).data() != place);
    const float* const moved = std::as_const(x).data();
    y = be.gelu_tanh(std::move(x));
    CHECK(std::as_const(y).data() == moved);
    std::vector<float> mapped(100, 1.0f);
    HostTensor<float> borrowed({100}, Storage::borrow(reinterpret_cast<const std::byte*>(mapped.data()), 400, nullptr));
    be.add_to(borrowed, kept);
    CHECK(std::as_const(borrowed).data() != mapped.data());
    CHECK(mapped[0] == 1.0f);
}

namespace {

enum class Weights { small, wide, with_outliers };

// A small model in the shape of the released ones, its weights random; or one as wide as three of their heads, in which
// rounding behaves as it does in them: smooth, or with single numbers, rows and channels that stick out.
template <class B>
SmolVLM<B> random_model(B& be, DType dtype, Weights kind = Weights::small) {
    ModelConfig config;
    config.vision = {.hidden_size = 48, .intermediate_size = 100, .num_hidden_layers = 2, .num_attention_heads = 3,
                     .num_channels = 3, .image_size = 32, .patch_size = 8, .layer_norm_eps = 1e-6};
    config.text = {.vocab_size = 120, .hidden_size = 36, .intermediate_size = 100, .num_hidden_layers = 3,
                   .num_attention_heads = 9, .num_key_value_heads = 3, .head_dim = 4, .rms_norm_eps = 1e-5,
                   .rope_theta = 1e5, .max_position_embeddings = 256};
    config.image_token_id = 7;
    if (kind != Weights::small) {
        config.vision = {.hidden_size = 192, .intermediate_size = 384, .num_hidden_layers = 4, .num_attention_heads = 3,
                         .num_channels = 3, .image_size = 32, .patch_size = 8, .layer_norm_eps = 1e-6};
        config.text = {.vocab_size = 500, .hidden_size = 192, .intermediate_size = 384, .num_hidden_layers = 4,
                       .num_attention_heads = 3, .num_key_value_heads = 1, .head_dim = 64, .rms_norm_eps = 1e-5,
                       .rope_theta = 1e5, .max_position_embeddings = 256};
    }
    SmolVLM<B> model(config);
    std::uint64_t seed = 100;
    for_each_parameter(model, [&](const std::string&, auto& slot, const Shape& shape) {
        auto values = random_tensor(as_matrix_shape(shape), ++seed);
        const double size = shape.rank() == 1 ? 1 : 1 / std::sqrt(static_cast<double>(values.dim(1)));
        for (double& value : values.flat()) value *= size;
        if (kind == Weights::with_outliers) {
            const Index columns = values.shape().back();
            for (Index i = 0; i < values.numel(); i += 507) values.data()[i] *= 10;
            for (Index i = 0; shape.rank() > 1 && i < values.numel(); ++i)
                if (i / columns % 61 == 5) values.data()[i] *= 4;
            for (Index i = 0; shape.rank() == 1 && i < columns; i += 50) values.data()[i] *= 5;
        }
        const auto numbers = as<float>(values);
        if constexpr (std::is_same_v<std::remove_cvref_t<decltype(slot)>, Weight<B>>)
            slot = be.make_weight(HostWeight::from_tensor(numbers).converted(dtype));
        else
            slot = be.from_host(as<typename B::Scalar>(as<double>(values)));
    });
    return model;
}

template <class B>
HostTensor<typename B::Scalar> run_model(B& be, const SmolVLM<B>& model, bool with_cache,
                                         Tensor<B>* connector = nullptr) {
    const auto pixels = as<typename B::Scalar>(random_tensor({1, 3, 32, 32}, 1));
    const PatchGrid grid = make_patch_grid(model.config.vision, 1, 32, 32);
    const auto features = model.encode_images(be, be.from_host(pixels), grid);
    if (connector) *connector = features;
    std::vector<std::int32_t> ids{1, 7, 7, 7, 7, 2, 3, 4, 5, 6, 8, 9};
    const TextConfig& text = model.config.text;
    auto cache = KvCache<B>(text.num_hidden_layers, text.num_key_value_heads * text.head_dim, 1, 256,
                            text.num_key_value_heads);
    const Index length = static_cast<Index>(ids.size());
    const Segments seg = with_cache ? cache.next(be, length) : Segments::packed(Segments::Mask::causal, {&length, 1});
    auto hidden = model.forward(be, ids, features, seg, with_cache ? &cache : nullptr);
    if (with_cache) cache.commit(seg);
    return be.to_host(model.logits(be, hidden));
}

}  // namespace

TEST_CASE_TEMPLATE("cpu: the whole model gives the definition's logits, with a cache and without", T, float, double) {
    Ref<double> ref;
    for (DType dtype : {DType::f32, DType::bf16}) {
        const auto expected = run_model(ref, random_model(ref, dtype), false);
        on_every_path<T>([&](Cpu<T>& be) {
            const auto model = random_model(be, dtype);
            for (bool with_cache : {false, true})
                check_close(run_model(be, model, with_cache), expected, tolerance<T>(100));
        });
    }
}

namespace {

/// Mean over rows of KL(softmax(expected) || softmax(found)), in nats.
double divergence(const HostTensor<float>& found, const HostTensor<double>& expected) {
    const Index N = expected.dim(0), V = expected.dim(1);
    double total = 0;
    for (Index n = 0; n < N; ++n) {
        double p_sum = 0, q_sum = 0, gap = 0;
        for (Index v = 0; v < V; ++v) {
            p_sum += std::exp(expected.data()[n * V + v]);
            q_sum += std::exp(static_cast<double>(found.data()[n * V + v]));
        }
        for (Index v = 0; v < V; ++v) {
            const double p = expected.data()[n * V + v], q = static_cast<double>(found.data()[n * V + v]);
            gap += std::exp(p) / p_sum * (p - q);
        }
        total += gap + std::log(q_sum / p_sum);
    }
    return total / static_cast<double>(N);
}

}  // namespace

TEST_CASE("cpu integers: a model's image features stay close to float64, outliers or not, and so do its logits") {
    Ref<double> ref;
    for (Weights kind : {Weights::wide, Weights::with_outliers})
        for (DType dtype : {DType::f32, DType::q8_0, DType::q4_0}) {  // f32 becomes int8; blocks as they are held
            HostTensor<double> expected_features;
            const auto expected = run_model(ref, random_model(ref, dtype, kind), false, &expected_features);
            Cpu<float> be(2, Precision::int8);
            be.share_small_work();
            HostTensor<float> features;
            const auto found = run_model(be, random_model(be, dtype, kind), true, &features);
            CAPTURE(join(dtype));
            CAPTURE(kind == Weights::wide);
            const bool blocks = dtype != DType::f32;
            CHECK(cosine(features, expected_features) >= (blocks ? 0.9998 : 0.999));
            // Outliers make the attention of this decoder all or nothing: a hair's breadth picks another token.
            if (kind == Weights::with_outliers) continue;
            CHECK(cosine(found, expected) >= (blocks ? 0.9995 : 0.998));
            CHECK(divergence(found, expected) <= (blocks ? 3e-4 : 1.2e-3));
        }
}

TEST_CASE("cpu: a model's logits with keys and values kept as bytes stay close to float64") {
    Ref<double> ref;
    const auto expected = run_model(ref, random_model(ref, DType::f32, Weights::wide), false);
    Cpu<float> be(2, Precision::exact, CacheFormat::int8);
    be.share_small_work();
    CHECK(cosine(run_model(be, random_model(be, DType::f32, Weights::wide), true), expected) >= 0.999);
}

TEST_CASE("cpu: after the first tokens a decode step takes no fresh memory") {
    Cpu<float> be(2);
    be.share_small_work();
    const auto model = random_model(be, DType::f32);
    KvCache<Cpu<float>> cache(3, 12, 1, 256);
    cache.reserve(be, 64);
    const auto step = [&] {
        const std::int32_t id = 3;
        const Segments seg = cache.next(be, 1);
        const auto hidden = model.forward(be, {&id, 1}, {}, seg, &cache);
        cache.commit(seg);
        return model.logits(be, hidden);
    };
    for (int i = 0; i < 3; ++i) step();
    const Index before = be.pool().fresh_allocations();
    for (int i = 0; i < 16; ++i) step();
    CHECK(be.pool().fresh_allocations() == before);
}
