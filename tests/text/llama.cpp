#include <doctest/doctest.h>

#include "support/backends.hpp"
#include "support/tiny_model.hpp"

using namespace smolvlm;
using namespace testing;
using Mask = Segments::Mask;

namespace {

/// The decoder alone, on rows of embeddings.
template <class B>
struct Decoder {
    B be;
    TextConfig config;
    Llama<B> model;

    explicit Decoder(const TinyCase& which) : config(tiny_config(which).text), model(config) {
        fill_randomly(be, model, 7);
    }

    HostTensor<double> run(const Tensor<B>& x, const Segments& segments) {
        return host(be, model.forward(be, x, segments));
    }
    Segments packed(const std::vector<Index>& lengths) { return Segments::packed(Mask::causal, lengths); }
};

}  // namespace

TEST_CASE_TEMPLATE("llama: a token's result does not depend on what follows it", B, SMOLVLM_TEST_BACKENDS) {
    for (const TinyCase& which : tiny_cases) {
        Decoder<B> decoder(which);
        const auto all = decoder.run(random(decoder.be, {9, 16}, 1), decoder.packed({9}));
        for (Index n : {1, 4, 8}) {
            const auto first = decoder.be.from_host(rows_of(decoder.be.to_host(random(decoder.be, {9, 16}, 1)), 0, n));
            CHECK(departure(decoder.run(first, decoder.packed({n})), rows_of(all, 0, n), rounding<B>(200)) == "");
        }
    }
}

TEST_CASE_TEMPLATE("llama: packed sequences do not see each other, in any order", B, SMOLVLM_TEST_BACKENDS) {
    for (const TinyCase& which : tiny_cases) {
        Decoder<B> decoder(which);
        B& be = decoder.be;
        const auto x = random(be, {8, 16}, 1);
        const auto batch = decoder.run(x, decoder.packed({5, 1, 2}));
        const auto alone = decoder.run(be.from_host(rows_of(be.to_host(x), 0, 5)), decoder.packed({5}));
        CHECK(departure(alone, rows_of(batch, 0, 5), rounding<B>(200)) == "");
        const std::vector<std::int32_t> order{5, 6, 7, 0, 1, 2, 3, 4};  // the other two sequences first
        const auto reordered = decoder.run(be.gather_rows(x, order), decoder.packed({1, 2, 5}));
        CHECK(departure(rows_of(reordered, 3, 8), alone, rounding<B>(200)) == "");
        CHECK(departure(rows_of(reordered, 0, 3), rows_of(batch, 5, 8), rounding<B>(200)) == "");
    }
}

TEST_CASE_TEMPLATE("llama: wanted rows alone == those rows of all, in any order", B, SMOLVLM_TEST_BACKENDS) {
    for (const TinyCase& which : tiny_cases) {
        Decoder<B> decoder(which);
        B& be = decoder.be;
        const auto x = random(be, {8, 16}, 1);
        const Segments segments = decoder.packed({5, 3});
        const auto all = be.from_host(be.to_host(decoder.model.forward(be, x, segments)));
        for (const std::vector<std::int32_t>& wanted : {std::vector<std::int32_t>{4, 7}, {6}, {7, 0, 3}}) {
            const auto found = decoder.model.forward(be, x, segments, nullptr, nullptr, wanted);
            CHECK(departure(host(be, found), host(be, be.gather_rows(all, wanted)), rounding<B>(200)) == "");
        }
    }
}

TEST_CASE_TEMPLATE("llama: positions matter: the same token at two places gives two results", B,
                   SMOLVLM_TEST_BACKENDS) {
    Decoder<B> decoder(tiny_cases[0]);
    auto x = host(decoder.be, random(decoder.be, {4, 16}, 1));
    std::copy_n(x.data(), 16, x.data() + 3 * 16);
    const auto y = decoder.run(tensor(decoder.be, {4, 16}, {x.flat().begin(), x.flat().end()}), decoder.packed({4}));
    CHECK(departure(rows_of(y, 3, 4), rows_of(y, 0, 1), 1e-2) != "");
}

TEST_CASE_TEMPLATE("llama: with silent attention and MLP only the final norm is left", B, SMOLVLM_TEST_BACKENDS) {
    Decoder<B> decoder(tiny_cases[0]);
    B& be = decoder.be;
    for (auto& layer : decoder.model.layers) {
        const auto silence = [&](Linear<B>& linear) {
            linear.weight = be.make_weight(HostWeight::from_tensor(HostTensor<float>::zeros({linear.out, linear.in})));
        };
        silence(layer.self_attn.o_proj);
        silence(layer.mlp.down_proj);
    }
    const auto x = random(be, {3, 16}, 1);
    const auto expected = host(be, be.rms_norm(x, decoder.model.norm.weight, decoder.config.rms_norm_eps));
    CHECK(inequality(decoder.run(x, decoder.packed({3})), expected) == "");
}

TEST_CASE_TEMPLATE("llama: the first layer is its equations, written out in ops", B, SMOLVLM_TEST_BACKENDS) {
    for (const TinyCase& which : tiny_cases) {
        Decoder<B> decoder(which);
        B& be = decoder.be;
        const auto& layer = decoder.model.layers[0];
        const Segments seg = decoder.packed({4, 2});
        const Tensor<B> none;
        auto x = random(be, {6, 16}, 1);

        auto found = x;
        layer.forward(be, found, seg, nullptr);

        const auto h = be.rms_norm(x, layer.input_layernorm.weight, 1e-5);
        const auto q = be.rope(be.linear(h, layer.self_attn.q_proj.weight, none), which.heads.query, 1e4, seg);
        const auto k = be.rope(be.linear(h, layer.self_attn.k_proj.weight, none), which.heads.kv, 1e4, seg);
        const auto v = be.linear(h, layer.self_attn.v_proj.weight, none);
        be.add_to(x, be.linear(be.attention(q, k, v, which.heads, seg), layer.self_attn.o_proj.weight, none));
        const auto m = be.rms_norm(x, layer.post_attention_layernorm.weight, 1e-5);
        const auto gate = be.linear(m, layer.mlp.gate_proj.weight, none),
                   up = be.linear(m, layer.mlp.up_proj.weight, none);
        be.add_to(x, be.linear(be.silu_mul(gate, up), layer.mlp.down_proj.weight, none));
        CHECK(departure(host(be, found), host(be, x), rounding<B>(50)) == "");
    }
}
