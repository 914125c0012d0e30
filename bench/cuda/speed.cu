// The costs of an answer on a GPU: 1 and 17 tiles through the vision tower and the connector, a prompt, one token at a time
// after it, how often a token waits for the device or allocates there; and of a training step (one tile and 448 tokens,
// forward, backward, AdamW for all weights, with float masters). Prints one JSON object of medians.
// tests/run_gpu.sh compiles it with nvcc and runs it beside PyTorch.
//
//     speed --model DIR [--prompt 1200] [--tokens 64] [--runs 5]

#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include <smolvlm/autograd/grad.hpp>
#include <smolvlm/checkpoint/load.hpp>
#include <smolvlm/cuda/cuda.cuh>

using namespace smolvlm;

namespace {

template <class Be, class Work>
double median_ms(Be& be, int runs, Work&& work) {
    std::vector<double> times;
    for (int run = -1; run < runs; ++run) {  // the first warms up
        be.runtime().wait();
        const auto start = std::chrono::steady_clock::now();
        work();
        be.runtime().wait();
        const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
        if (run >= 0) times.push_back(took.count());
    }
    std::nth_element(times.begin(), times.begin() + runs / 2, times.end());
    return times[static_cast<std::size_t>(runs / 2)];
}

std::vector<std::int32_t> some_ids(Index count, const TextConfig& text) {
    std::vector<std::int32_t> ids;
    for (Index i = 0; i < count; ++i) ids.push_back(static_cast<std::int32_t>(i * 37 % (text.vocab_size - 100)));
    return ids;
}

template <class T>
double training_ms(const std::string& folder, int runs) {
    using B = Cuda<T>;
    Grad<B> be;
    const auto loaded = load(be.inner(), folder);
    const ModelConfig& config = loaded.model.config;
    const auto model = watch(be, loaded.model, [](std::string_view) { return true; });
    const Tensor<B> pixels =
        be.inner().zeros({1, config.vision.num_channels, config.vision.image_size, config.vision.image_size});
    const PatchGrid grid = make_patch_grid(config.vision, 1, config.vision.image_size, config.vision.image_size);
    const Index rows = loaded.model.encode_images(be.inner(), pixels, grid).dim(0);
    std::vector<std::int32_t> ids(static_cast<std::size_t>(rows), static_cast<std::int32_t>(config.image_token_id));
    std::vector<std::int32_t> targets(ids.size(), ignore_index);
    for (const std::int32_t id : some_ids(448, config.text)) {
        ids.push_back(id);
        targets.push_back(id);
    }
    const Index tokens = static_cast<Index>(ids.size());
    const Segments segments = Segments::packed(Segments::Mask::causal, {&tokens, 1});
    struct State {
        cuda::DeviceTensor<float> master, mean, square;
        Tensor<B> copy;
    };
    std::vector<State> states;
    Cuda<float> wide;  // where the masters are
    Index step = 0;
    return median_ms(be.inner(), runs, [&] {
        const auto features = model.encode_images(be, Tensor<Grad<B>>{pixels}, grid);
        const auto hidden = model.forward(be, ids, features, segments);
        auto gradients = be.backward(be.cross_entropy(model.logits(be, hidden), targets));
        if (states.empty()) {
            for (std::size_t i = 0; i < gradients.size(); ++i) {
                const Shape shape = gradients[i].empty() ? Shape{1} : gradients[i].shape();
                states.push_back({wide.zeros(shape), wide.zeros(shape), wide.zeros(shape), be.inner().zeros(shape)});
            }
            wide.runtime().wait();
        }
        const cuda::AdamWStep how(0.9, 0.999, 1e-8, ++step, 1e-5, 0.01);
        for (std::size_t i = 0; i < gradients.size(); ++i)
            if (State& s = states[i]; !gradients[i].empty())
                be.inner().adamw(s.master, gradients[i], s.mean, s.square, &s.copy, how);
    });
}

template <class T>
void measure(const char* name, const std::string& folder, Index prompt, Index tokens, int runs, const char* comma) {
    using B = Cuda<T>;
    B be;
    const auto loaded = load(be, folder);
    const SmolVLM<B>& model = loaded.model;
    const VisionConfig& vision = model.config.vision;
    const TextConfig& text = model.config.text;
    const auto tiles = [&](Index count) {
        const Tensor<B> pixels = be.zeros({count, vision.num_channels, vision.image_size, vision.image_size});
        const PatchGrid grid = make_patch_grid(vision, count, vision.image_size, vision.image_size);
        return median_ms(be, runs, [&] { model.encode_images(be, pixels, grid); });
    };
    const double one_tile = tiles(1), all_tiles = tiles(17);

    const std::vector<std::int32_t> ids = some_ids(prompt, text);
    KvCache<B> cache(text.num_hidden_layers, text.num_key_value_heads * text.head_dim, 1, text.max_position_embeddings);
    cache.reserve(be, prompt + tokens);
    const auto next_token = [&](Ids new_ids) {
        const Segments segments = cache.next(be, static_cast<Index>(new_ids.size()));
        const auto hidden = model.forward(be, new_ids, {}, segments, &cache);
        cache.commit(segments);
        const std::int32_t last = static_cast<std::int32_t>(new_ids.size()) - 1;
        return be.arg_max(model.logits(be, be.gather_rows(hidden, {&last, 1})))[0];
    };
    const double prefill = median_ms(be, runs, [&] {
        cache.truncate(0, 0);
        next_token(ids);
    });
    const auto decode = [&] {
        cache.truncate(0, prompt);
        std::int32_t token = 1;
        for (Index i = 0; i < tokens; ++i) token = next_token({&token, 1});
    };
    const double token_ms = median_ms(be, runs, decode) / static_cast<double>(tokens);
    const Index fresh = be.runtime().fresh_allocations(), waits = be.runtime().waits();
    decode();
    std::printf("  \"%s\": {\"tile_ms\": %.3f, \"tiles17_ms\": %.3f, \"prompt\": %ld, \"prefill_ms\": %.3f, "
                "\"decode_tokens_per_s\": %.1f, \"allocations_per_token\": %.2f, \"waits_per_token\": %.2f, \"train_step_ms\": %.3f}%s\n",
                name, one_tile, all_tiles, static_cast<long>(prompt), prefill, 1e3 / token_ms,
                static_cast<double>(be.runtime().fresh_allocations() - fresh) / static_cast<double>(tokens),
                static_cast<double>(be.runtime().waits() - waits) / static_cast<double>(tokens), training_ms<T>(folder, runs), comma);
}

}  // namespace

int main(int argc, char** argv) try {
    std::string folder;
    Index prompt = 1200, tokens = 64;
    int runs = 5;
    for (int i = 1; i + 1 < argc; i += 2) {
        const std::string flag = argv[i], value = argv[i + 1];
        if (flag == "--model") folder = value;
        if (flag == "--prompt") prompt = std::stol(value);
        if (flag == "--tokens") tokens = std::stol(value);
        if (flag == "--runs") runs = std::stoi(value);
    }
    const cuda::Runtime device;
    std::printf("{\n  \"device\": \"%s\", \"compute_capability\": \"%d.%d\",\n", device.facts().name.c_str(),
                device.facts().major, device.facts().minor);
    measure<bfloat16>("bf16", folder, prompt, tokens, runs, ",");
    measure<half>("f16", folder, prompt, tokens, runs, ",");
    measure<float>("f32", folder, prompt, tokens, runs, "");
    std::printf("}\n");
} catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
}
