#include <doctest/doctest.h>

#include "support/backends.hpp"
#include "support/random_pixels.hpp"
#include "support/tiny_model.hpp"

using namespace smolvlm;
using namespace testing;

namespace {

template <class B>
struct Tower {
    B be;
    ModelConfig config;
    SiglipVision<B> model;

    explicit Tower(const TinyCase& which) : config(tiny_config(which)), model(config.vision) {
        fill_randomly(be, model, 9);
    }
    HostTensor<double> run(const HostTensor<float>& pixels, View<const std::int64_t> mask = {}) {
        const auto grid = make_patch_grid(config.vision, pixels.dim(0), pixels.dim(2), pixels.dim(3), mask);
        return host(be, model.forward(be, be.from_host(converted<typename B::Scalar>(pixels)), grid));
    }
    Index side() const { return config.vision.image_size; }
};

/// Picture i of several.
HostTensor<float> picture(const HostTensor<float>& all, Index i) {
    const Index size = all.numel() / all.dim(0);
    return {{1, all.dim(1), all.dim(2), all.dim(3)},
            std::vector<float>(all.data() + i * size, all.data() + (i + 1) * size)};
}

}  // namespace

TEST_CASE_TEMPLATE("siglip: pictures of one pass do not see each other", B, SMOLVLM_TEST_BACKENDS) {
    for (const TinyCase& which : tiny_cases) {
        Tower<B> tower(which);
        const auto pixels = random_tensor<float>({3, 3, tower.side(), tower.side()}, 1);
        const auto all = tower.run(pixels);
        const Index P = tower.config.vision.patches();
        REQUIRE(all.shape() == Shape{3 * P, 8});
        for (Index i : {0, 1, 2})
            CHECK(departure(tower.run(picture(pixels, i)), rows_of(all, i * P, (i + 1) * P), rounding<B>(200)) == "");
    }
}

TEST_CASE_TEMPLATE("siglip: pictures of bytes give what their numbers give, bit for bit, with a mask and without", B,
                   SMOLVLM_TEST_BACKENDS) {
    for (const TinyCase& which : tiny_cases) {
        Tower<B> tower(which);
        for (const Index more : {0, 1}) {  // a column that fills no patch is dropped
            const Index height = tower.side(), width = tower.side() + more;
            const auto bytes = random_bytes({2, 3, height, width}, 1);
            const BytePixels pixels = byte_pixels(bytes, 2);
            auto mask = HostTensor<std::int64_t>::zeros({2, height, width});
            for (Index y = 0; y < height / 2; ++y) mask.view()(0, y, 0) = mask.view()(1, 0, y) = 1;
            for (const View<const std::int64_t>& seen : {View<const std::int64_t>{}, mask.cview()}) {
                const auto grid = make_patch_grid(tower.config.vision, 2, height, width, seen);
                CHECK(inequality(host(tower.be, tower.model.forward(tower.be, pixels, grid)),
                                 tower.run(in_numbers<float>(pixels), seen)) == "");
            }
        }
    }
}

TEST_CASE_TEMPLATE("siglip: a mask of ones is no mask", B, SMOLVLM_TEST_BACKENDS) {
    Tower<B> tower(tiny_cases[1]);
    const auto pixels = random_tensor<float>({2, 3, tower.side(), tower.side()}, 1);
    const HostTensor<std::int64_t> ones(
        {2, tower.side(), tower.side()},
        std::vector<std::int64_t>(static_cast<std::size_t>(2 * tower.side() * tower.side()), 1));
    CHECK(inequality(tower.run(pixels, ones.cview()), tower.run(pixels)) == "");
}

TEST_CASE_TEMPLATE("siglip: what stands in padding patches does not reach the real ones", B, SMOLVLM_TEST_BACKENDS) {
    Tower<B> tower(tiny_cases[0]);  // 4 x 4 patches of 3 x 3 pixels
    auto pixels = random_tensor<float>({2, 3, 12, 12}, 1), other = random_tensor<float>({2, 3, 12, 12}, 1);
    auto mask = HostTensor<std::int64_t>::zeros({2, 12, 12});
    for (Index y = 0; y < 12; ++y)
        for (Index x = 0; x < 12; ++x) {
            mask.view()(0, y, x) = 1;
            mask.view()(1, y, x) = y < 9 && x < 6;  // picture 1: 3 x 2 real patches
            for (Index c = 0; c < 3; ++c)
                if (!mask.view()(1, y, x)) other.view()(1, c, y, x) = 50;
        }
    const auto a = tower.run(pixels, mask.cview()), b = tower.run(other, mask.cview());
    for (Index patch = 0; patch < 16; ++patch) {
        CAPTURE(patch);
        const bool real = patch / 4 < 3 && patch % 4 < 2;
        const auto found = rows_of(b, 16 + patch, 17 + patch), expected = rows_of(a, 16 + patch, 17 + patch);
        if (real)
            CHECK(departure(found, expected, rounding<B>(200)) == "");
        else
            CHECK(departure(found, expected, 1e-2) != "");
    }
    CHECK(departure(rows_of(a, 0, 16), tower.run(picture(pixels, 0)), rounding<B>(200)) == "");
}

TEST_CASE_TEMPLATE("siglip: swapping two patches and their positions swaps their results", B, SMOLVLM_TEST_BACKENDS) {
    // Attention is bidirectional and positions are learned rows: nothing else knows where a patch is.
    Tower<B> tower(tiny_cases[0]);
    auto pixels = random_tensor<float>({1, 3, 12, 12}, 1);
    const auto straight = tower.run(pixels);
    for (Index c = 0; c < 3; ++c)
        for (Index y = 0; y < 3; ++y)
            for (Index x = 0; x < 3; ++x) std::swap(pixels.view()(0, c, y, x), pixels.view()(0, c, 6 + y, 9 + x));
    auto grid = make_patch_grid(tower.config.vision, 1, 12, 12);
    std::swap(grid.position_ids[0], grid.position_ids[11]);  // patches (0, 0) and (2, 3)
    auto swapped =
        host(tower.be, tower.model.forward(tower.be, tower.be.from_host(converted<typename B::Scalar>(pixels)), grid));
    for (Index d = 0; d < 8; ++d) std::swap(swapped.view()(0, d), swapped.view()(11, d));
    CHECK(departure(swapped, straight, rounding<B>(200)) == "");
}

TEST_CASE_TEMPLATE("siglip: the first layer is its equations, written out in ops", B, SMOLVLM_TEST_BACKENDS) {
    Tower<B> tower(tiny_cases[2]);
    B& be = tower.be;
    const auto& layer = tower.model.layers[0];
    const auto grid = make_patch_grid(tower.config.vision, 2, tower.side(), tower.side());
    auto x = random(be, {2 * tower.config.vision.patches(), 8}, 1);

    auto found = x;
    layer.forward(be, found, grid);

    const auto linear = [&](const Tensor<B>& in, const Linear<B>& map) { return be.linear(in, map.weight, map.bias); };
    const auto h = be.layer_norm(x, layer.layer_norm1.weight, layer.layer_norm1.bias, 1e-6);
    const auto y = be.attention(linear(h, layer.self_attn.q_proj), linear(h, layer.self_attn.k_proj),
                                linear(h, layer.self_attn.v_proj), {2, 2}, grid.segments);
    be.add_to(x, linear(y, layer.self_attn.out_proj));
    const auto m = be.layer_norm(x, layer.layer_norm2.weight, layer.layer_norm2.bias, 1e-6);
    be.add_to(x, linear(be.gelu_tanh(linear(m, layer.mlp.fc1)), layer.mlp.fc2));
    CHECK(departure(host(be, found), host(be, x), rounding<B>(50)) == "");
}

TEST_CASE_TEMPLATE("siglip: pictures smaller than the table use a part of it", B, SMOLVLM_TEST_BACKENDS) {
    Tower<B> tower(tiny_cases[0]);
    const auto small = tower.run(random_tensor<float>({1, 3, 7, 6}, 1));  // 2 x 2 whole patches, one pixel row dropped
    CHECK(small.shape() == Shape{4, 8});
}
