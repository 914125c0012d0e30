// One training step, forward, backward, clipping and AdamW, on a folder and a batch made by a formula, so that
// bench/peers/torch_train_step.py can take the very same steps. Prints one JSON object: the losses of the first steps, the
// median time of the later ones, and the peak memory.
//
//     bench_train_step --model DIR [--batch 8] [--tokens 96] [--steps 20] [--threads N] [--checkpointing on|off]

#include <cstdio>
#include <string>

#include <smolvlm/checkpoint/load.hpp>
#include <smolvlm/cpu/cpu.hpp>
#include <smolvlm/train/loss.hpp>
#include <smolvlm/train/parameters.hpp>

#include "peaks.hpp"

using namespace smolvlm;
using B = Cpu<float>;

namespace {

/// `sequences` of one picture and words; every word is a target.
Batch formula_batch(const ModelConfig& config, Index sequences, Index tokens) {
    const Index size = config.vision.image_size, pictures = config.tokens_per_image(), V = config.text.vocab_size;
    Batch batch;
    batch.frames = HostTensor<std::uint8_t>({sequences, 3, size, size});
    for (Index b = 0; b < sequences; ++b) {
        for (Index c = 0; c < 3; ++c)
            for (Index y = 0; y < size; ++y)
                for (Index x = 0; x < size; ++x)
                    batch.frames.data()[((b * 3 + c) * size + y) * size + x] =
                        static_cast<std::uint8_t>((b * 31 + c * 17 + y * 7 + x * 13) % 256);
        const auto word = [&](Index t) { return static_cast<std::int32_t>(10 + (b * 7919 + t * t * 31) % (V - 20)); };
        for (Index t = 0; t < tokens; ++t) {
            batch.ids.push_back(t < pictures ? static_cast<std::int32_t>(config.image_token_id) : word(t));
            const bool counted = t + 1 >= pictures && t + 1 < tokens;
            batch.targets.push_back(counted ? word(t + 1) : ignore_index);
            if (counted) batch.counted.push_back(static_cast<std::int32_t>(b * tokens + t));
        }
        batch.lengths.push_back(tokens);
    }
    return batch;
}

}  // namespace

int main(int argc, char** argv) {
    std::string folder;
    Index sequences = 8, tokens = 96, steps = 20;
    int threads = default_threads();
    bool checkpointing = false;
    for (int i = 1; i + 1 < argc; i += 2) {
        const std::string flag = argv[i], value = argv[i + 1];
        if (flag == "--model") folder = value;
        if (flag == "--batch") sequences = std::stol(value);
        if (flag == "--tokens") tokens = std::stol(value);
        if (flag == "--steps") steps = std::stol(value);
        if (flag == "--threads") threads = std::stoi(value);
        if (flag == "--checkpointing") checkpointing = value == "on";
    }
    if (folder.empty() || steps < 6) {
        std::fprintf(stderr, "usage: bench_train_step --model DIR [--batch 8] [--tokens 96] [--steps 20 (6 at least)] "
                             "[--threads N] [--checkpointing on|off]\n");
        return 2;
    }
    Grad<B> be{B(threads)};
    be.checkpoint_layers(checkpointing);
    const Checkpoint checkpoint = open_hf_folder(folder);
    SmolVLM<B> model = load_model(be.inner(), checkpoint.config, *checkpoint.weights, DType::f32);
    SmolVLM<Grad<B>> twin(checkpoint.config);
    Parameters<B> parameters(threads);
    train_weights(be, model, twin, parameters, [](std::string_view) { return true; }, DType::f32, threads);
    const Batch batch = formula_batch(checkpoint.config, sequences, tokens);
    const std::vector<std::int32_t> targets = batch.counted_targets();

    std::vector<double> losses, times;
    for (Index step = 1; step <= steps; ++step) {
        const double start = bench::now();
        const auto logits = batch_logits(be, twin, batch, checkpoint.processor.image.scaling(), threads);
        const auto loss = be.cross_entropy(logits, targets);
        const double value = static_cast<double>(be.to_host(loss).flat()[0]);
        const Gradients<B> gradients = be.backward(loss);
        const double norm = parameters.gradient_norm(be.inner(), gradients, step);
        parameters.update(be.inner(), gradients, AdamW{}, [](ParameterGroup) { return 1e-4; }, 0.0, clip_scale(norm, 1.0));
        const double seconds = bench::now() - start;
        if (step <= 5) losses.push_back(value);
        else times.push_back(seconds);
    }
    std::ranges::nth_element(times, times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2));
    std::printf("{\"parameters\": %ld, \"batch\": %ld, \"tokens\": %ld, \"threads\": %d, \"step_ms\": %.2f, "
                "\"peak_mb\": %.0f, \"losses\": [", static_cast<long>(parameters.count()), static_cast<long>(sequences),
                static_cast<long>(tokens), threads, times[times.size() / 2] * 1e3, bench::peak_memory_mb());
    for (std::size_t i = 0; i < losses.size(); ++i) std::printf("%s%.7f", i ? ", " : "", losses[i]);
    std::printf("]}\n");
}
