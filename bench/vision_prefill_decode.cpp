// The three costs of an answer: one tile through the vision tower and the connector, a prompt through the decoder, one
// token at a time after it. On the model of a folder, or on random weights in the shape of SmolVLM-256M. Prints one
// JSON object of medians, with the machine's limits measured beside each figure.
//
//     bench_vision_prefill_decode [--model DIR] [--threads N] [--prompt 1200] [--tokens 24] [--runs 3]
//         [--dtype f32|bf16|f16|int8|q8_0|q4_0|q4_1] [--kv-cache exact|bf16|int8] [--clock wall|processor]
// int8, q8_0 and q4_0 multiply integers, bf16 multiplies bf16 where that is faster, as `smolvlm generate --dtype` does.

#include <cstdio>
#include <cstring>
#include <string>

#include <smolvlm/checkpoint/load.hpp>
#include <smolvlm/cpu/cpu.hpp>

#include "peaks.hpp"

using namespace smolvlm;
using B = Cpu<float>;

namespace {

/// SmolVLM-256M, 500M, or 2.2B of the first version.
ModelConfig shape_named(const std::string& name) {
    ModelConfig config;
    const bool large = name == "2.2B", middle = name == "500M";
    config.vision = {.hidden_size = 768, .intermediate_size = 3072, .num_hidden_layers = 12, .num_attention_heads = 12,
                     .num_channels = 3, .image_size = 512, .patch_size = 16, .layer_norm_eps = 1e-6};
    if (large)
        config.vision = {.hidden_size = 1152, .intermediate_size = 4304, .num_hidden_layers = 27, .num_attention_heads = 16,
                         .num_channels = 3, .image_size = 378, .patch_size = 14, .layer_norm_eps = 1e-6};
    config.text = {.vocab_size = 49280, .hidden_size = middle ? 960 : 576, .intermediate_size = middle ? 2560 : 1536,
                   .num_hidden_layers = middle ? 32 : 30, .num_attention_heads = middle ? 15 : 9,
                   .num_key_value_heads = middle ? 5 : 3, .head_dim = 64, .rms_norm_eps = 1e-5, .rope_theta = 100000,
                   .max_position_embeddings = 8192};
    if (large)
        config.text = {.vocab_size = 49155, .hidden_size = 2048, .intermediate_size = 8192, .num_hidden_layers = 24,
                       .num_attention_heads = 32, .num_key_value_heads = 32, .head_dim = 64, .rms_norm_eps = 1e-5,
                       .rope_theta = 273768, .max_position_embeddings = 16384};
    config.scale_factor = large ? 3 : 4;
    config.image_token_id = 49100;
    return config;
}

/// Numbers of about the size that training leaves: 1/sqrt(inputs). Made fast, not well.
HostTensor<float> random_numbers(const Shape& shape, double size, std::uint64_t seed) {
    HostTensor<float> x(shape);
    std::uint64_t state = seed * 0x9E3779B97F4A7C15u + 1;
    for (float& value : x.flat()) {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        value = static_cast<float>((static_cast<double>(state >> 40) * 0x1p-23 - 1) * 1.7 * size);
    }
    return x;
}

SmolVLM<B> random_model(B& be, const ModelConfig& config, DType dtype) {
    SmolVLM<B> model(config);
    std::uint64_t seed = 1;
    for_each_parameter(model, [&](const std::string&, auto& slot, const Shape& shape) {
        const Shape matrix = as_matrix_shape(shape);
        const double size = shape.rank() == 1 ? 1 : 1 / std::sqrt(static_cast<double>(matrix[1]));
        const auto numbers = random_numbers(matrix, size, seed++);
        if constexpr (std::is_same_v<std::remove_cvref_t<decltype(slot)>, Weight<B>>)
            slot = be.make_weight(HostWeight::from_tensor(numbers).converted(dtype, be.threads()));
        else
            slot = be.from_host(numbers);
    });
    return model;
}

/// Multiply-adds of one row through every linear map of a module, and the bytes of their weights.
template <class Module>
double multiplications(const Module& module) {
    double n = 0;
    for_each_parameter(module, [&](const std::string&, const auto&, const Shape& shape) {
        if (shape.rank() >= 2) n += static_cast<double>(shape.numel());
    });
    return n;
}

double number_of(const std::string& text) { return std::stod(text); }

}  // namespace

int main(int argc, char** argv) {
    int threads = default_threads(), runs = 3;
    Index prompt = 1200, tokens = 24, tiles = 1;
    DType dtype = DType::f32;
    Precision precision = Precision::exact;
    std::optional<CacheFormat> cache_format;
    std::string folder, held = "f32", shape = "256M";
    for (int i = 1; i + 1 < argc; i += 2) {
        const std::string flag = argv[i], value = argv[i + 1];
        if (flag == "--threads") threads = static_cast<int>(number_of(value));
        if (flag == "--runs") runs = static_cast<int>(number_of(value));
        if (flag == "--prompt") prompt = static_cast<Index>(number_of(value));
        if (flag == "--tokens") tokens = static_cast<Index>(number_of(value));
        if (flag == "--tiles") tiles = static_cast<Index>(number_of(value));
        if (flag == "--model") folder = value;
        if (flag == "--shape") shape = value;
        if (flag == "--clock") bench::processor_time = value == "processor";
        if (flag == "--kv-cache")
            cache_format = value == "int8" ? CacheFormat::int8 : value == "bf16" ? CacheFormat::bf16 : CacheFormat::exact;
        if (flag == "--dtype") {
            held = value;
            precision = value == "int8"                        ? Precision::int8
                        : value[0] == 'q' || value == "bf16" ? Precision::native
                                                             : Precision::exact;
            for (DType d : {DType::f32, DType::f16, DType::bf16, DType::q8_0, DType::q4_0, DType::q4_1}) {
                std::string name(info(d).name);
                for (char& c : name) c = static_cast<char>(std::tolower(c));
                if (name == value) dtype = d;
            }
        }
    }
    B be(threads, precision, cache_format);
    const auto model =
        folder.empty() ? random_model(be, shape_named(shape), dtype) : load(be, folder, {.mmproj = {}, .weight_dtype = dtype}).model;
    const VisionConfig& vision = model.config.vision;

    // Tiles, one by one, as pictures of many frames are looked at.
    const double P = static_cast<double>(vision.patches()), D = static_cast<double>(vision.hidden_size);
    const auto pixels = random_numbers({1, 3, vision.image_size, vision.image_size}, 1, 99);
    const PatchGrid grid = make_patch_grid(vision, 1, vision.image_size, vision.image_size);
    HostTensor<float> features;
    const double tile_peak = bench::peak_gflops(threads, be.path());
    const double tile = bench::median_of(runs, [&] {
        for (Index i = 0; i < tiles; ++i) features = model.encode_images(be, pixels, grid);
    }) / static_cast<double>(tiles);
    const double vision_flop = 2 * P * (multiplications(model.vision_model) - P * D) +
                               2 * P / static_cast<double>(model.config.scale_factor * model.config.scale_factor) *
                                   multiplications(model.connector) +
                               4 * P * P * D * static_cast<double>(vision.num_hidden_layers);

    // The prompt, its last row to logits.
    const TextConfig& text = model.config.text;
    const double T = static_cast<double>(prompt), width = static_cast<double>(text.num_attention_heads * text.head_dim);
    std::vector<std::int32_t> ids(static_cast<std::size_t>(prompt));
    for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<std::int32_t>(i * 37 % 49000);
    KvCache<B> cache(text.num_hidden_layers, text.num_key_value_heads * text.head_dim, 1, text.max_position_embeddings,
                     text.num_key_value_heads);
    cache.reserve(be, prompt + 8 * tokens);
    const auto forward = [&](Ids new_ids) {
        const Segments seg = cache.next(be, static_cast<Index>(new_ids.size()));
        const std::int32_t last = static_cast<std::int32_t>(new_ids.size()) - 1;
        const auto hidden = model.forward(be, new_ids, {}, seg, &cache, nullptr, {&last, 1});
        cache.commit(seg);
        return model.logits(be, hidden);
    };
    const double prefill_peak = bench::peak_gflops(threads, be.path());
    const double prefill = bench::median_of(runs, [&] {
        cache.truncate(0, 0);
        forward(ids);
    });
    const double layers = multiplications(model.text_model.layers[0]) * static_cast<double>(text.num_hidden_layers);
    const double unwanted = (T - 1) * multiplications(model.text_model.layers[0].mlp);  // above the last layer's attention
    const double prefill_flop = 2 * (T * layers - unwanted) + 2 * T * T * width * static_cast<double>(text.num_hidden_layers);

    // Tokens after it.
    const double bandwidth = bench::read_gbps(threads, be.path());
    const double decode = bench::median_of(runs, [&] {
        cache.truncate(0, prompt);
        for (Index i = 0; i < tokens; ++i) forward({ids.data(), 1});
    }) / static_cast<double>(tokens);
    const Index kv_width = text.num_key_value_heads * text.head_dim;
    const double kept = be.cache_format() == CacheFormat::exact  ? 4
                        : be.cache_format() == CacheFormat::bf16 ? 2
                                                                 : 1 + 4 / static_cast<double>(text.head_dim);
    double bytes = 2 * T * static_cast<double>(kv_width * text.num_hidden_layers) * kept;
    for (const auto& layer : model.text_model.layers)
        for_each_parameter(layer, [&](const std::string&, const auto& slot, const Shape&) {
            if constexpr (requires { slot.bytes(); }) bytes += static_cast<double>(slot.bytes());
        });
    bytes += static_cast<double>(model.lm_head.weight.bytes());

    const auto speed = [](const char* name, double seconds, double flop, double peak) {
        std::printf("  \"%s\": {\"ms\": %.1f, \"gflops\": %.1f, \"peak_gflops\": %.1f, \"of_peak\": %.3f},\n", name,
                    seconds * 1e3, flop / seconds / 1e9, peak, flop / seconds / 1e9 / peak);
    };
    std::printf("{\n  \"path\": \"%s\", \"threads\": %d, \"dtype\": \"%s\", \"model\": \"%s\", \"tiles\": %ld, \"prompt\": %ld,\n",
                join(be.path()).c_str(), threads, held.c_str(), (folder.empty() ? shape : folder).c_str(),
                static_cast<long>(tiles), static_cast<long>(prompt));
    speed("vision_tile", tile, vision_flop, tile_peak);
    speed("prefill", prefill, prefill_flop, prefill_peak);
    std::printf("  \"decode\": {\"tokens_per_s\": %.2f, \"ms\": %.2f, \"gbps\": %.1f, \"read_gbps\": %.1f, "
                "\"of_read\": %.3f}\n}\n",
                1 / decode, decode * 1e3, bytes / decode / 1e9, bandwidth, bytes / decode / 1e9 / bandwidth);
}
