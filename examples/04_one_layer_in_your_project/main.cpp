// One decoder layer in a project of your own: no model file, no tokenizer, only the layer and the machine it runs on.
// Two sentences are one matrix without padding; read word by word with a cache they give the same numbers.

#include <cstdio>

#include <smolvlm/core/random.hpp>
#include <smolvlm/ref/ref.hpp>
#include <smolvlm/text/decoder_layer.hpp>

using namespace smolvlm;
using B = Ref<float>;  // the definitions; Cpu<float> of <smolvlm/cpu/cpu.hpp> is the same, fast

HostTensor<float> random_rows(const Shape& shape, double scale, Random& random) {
    HostTensor<float> x(shape);
    for (float& value : x.flat()) value = static_cast<float>(scale * random.normal());
    return x;
}

int main() {
    B be;
    Random random(7);

    // A layer is made from a configuration; its parameters are filled by name, from a file or, here, by dice.
    const TextConfig config{.hidden_size = 96, .intermediate_size = 256, .num_attention_heads = 6,
                            .num_key_value_heads = 2, .head_dim = 16};
    DecoderLayer<B> layer(config);
    for_each_parameter(layer, [&](const std::string& name, auto& slot, const Shape& shape) {
        std::printf("%-36s %s\n", name.c_str(), join(shape).c_str());
        if constexpr (std::is_same_v<std::remove_cvref_t<decltype(slot)>, Weight<B>>)
            slot = be.make_weight(HostWeight::from_tensor(random_rows(shape, 0.1, random)));
        else
            slot = random_rows(shape, 1, random);
    });

    // Sentences of 5 and of 3 tokens: rows of one matrix [8, 96]. Segments say which rows belong together.
    const Tensor<B> x = random_rows({8, config.hidden_size}, 1, random);
    const Segments sentences = Segments::packed(Segments::Mask::causal, std::vector<Index>{5, 3});
    const Tensor<B> q = layer.self_attn.q_proj.forward(be, x), k = layer.self_attn.k_proj.forward(be, x);
    Tensor<B> y = x;
    layer.forward(be, y, sentences, nullptr);
    std::printf("\nx %s  queries %s  keys %s  y %s\n", join(x.shape()).c_str(), join(q.shape()).c_str(),
                join(k.shape()).c_str(), join(y.shape()).c_str());

    // The first sentence once more, token by token: its keys and values stay in a cache of one layer.
    KvCache<B> cache(/*layers*/ 1, config.num_key_value_heads * config.head_dim, /*sequences*/ 1, /*limit*/ 64);
    float difference = 0;
    for (std::int32_t token = 0; token < 5; ++token) {
        Tensor<B> row = be.gather_rows(x, Ids(&token, 1));
        const Segments step = cache.next(be, 1);
        layer.forward(be, row, step, &cache.layer(0));
        cache.commit(step);
        for (Index i = 0; i < config.hidden_size; ++i)
            difference = std::max(difference, std::abs(row.cview()(0, i) - y.cview()(token, i)));
    }
    std::printf("token by token: largest difference %.1e\n", static_cast<double>(difference));
}
