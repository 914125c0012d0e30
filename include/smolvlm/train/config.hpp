#pragma once
/// What a training run is told: the keys of run.json, with their defaults, limits and meaning. `visit` is the only list
/// of them; reading, checking, writing, comparing and `smolvlm train --help` all come from it.

#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include <smolvlm/core/parallel.hpp>
#include <smolvlm/data/example.hpp>
#include <smolvlm/train/groups.hpp>
#include <smolvlm/train/schedule.hpp>

namespace smolvlm {

/// A file of training data, its share among several, and how much is read of a video in it.
struct DataSource {
    std::string path;
    double weight = 1;
    Index max_frames = 0;  // 0: the checkpoint's
};

/// The numbers a key may take.
struct Limits {
    double least = 0, most = std::numeric_limits<double>::infinity();
};

struct TrainConfig {
    std::string folder;  // paths count from here: the folder of run.json, ending in '/', or ""

    std::string model, mmproj, init, output;
    std::vector<DataSource> data;
    std::string eval_data;
    Index steps = 1000, batch_samples = 8, batch_tokens = 4096, accumulate = 1, max_tokens = 0;
    std::string long_samples = "error";
    std::string labels = "completions", system_prompt, media_intro, media_outro;
    std::string tiling = "reference";
    Index longest_edge = 0, max_tiles = 0;
    bool split = true, upscale = true;
    double lr = 1e-4, lr_vision = -1, lr_connector = -1, lr_language_model = -1, lr_embeddings = -1;
    std::string schedule = "cosine";
    Index warmup_steps = 0;
    double final_lr = 0, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0, clip = 1, neftune_alpha = 0;
    std::vector<std::string> freeze;
    std::string weights = "f32";
    bool activation_checkpointing = false;
    Index lora_rank = 0;
    double lora_alpha = 8, lora_dropout = 0;
    std::vector<std::string> lora_targets{"model.text_model.*_proj"};
    bool dora = false, lora_gaussian = false, lora_merge = false;
    Index seed = 0, threads = 0;
    Index checkpoint_every = 0, keep_checkpoints = 2, eval_every = 0, log_every = 1;

    /// f.section(title) and f(key, member, [Limits or list of choices,] meaning), in reading order.
    static void visit(auto& self, auto&& f) {
        using Choices = std::vector<std::string_view>;
        constexpr Limits count{1, 1e12}, or_zero{0, 1e12}, fraction{0, 1}, positive{0};
        f.section("Model and data (paths count from the folder of the configuration)");
        f("model", self.model, "Hugging Face folder to start from (for adapters also a .gguf file); this or \"init\"");
        f("mmproj", self.mmproj, "with a .gguf model: the file of its vision tower");
        f("init", self.init,
          "folder with config.json and the tokenizer and processor files; weights are drawn at random");
        f("output", self.output, "folder of the run: checkpoints, metrics.jsonl, curves.svg");
        f("data", self.data,
          "a .jsonl file, or a list of {\"path\", \"weight\", \"max_frames\"}; each line is {\"messages\": [...]} as "
          "in a --chat file, picture paths count from the file's folder; samples are drawn by weight; of a video at most "
          "max_frames are read");
        f("eval_data", self.eval_data, "a .jsonl file that is never trained on; empty: none");

        f.section("Batches");
        f("steps", self.steps, count, "steps of the optimiser in the whole run");
        f("batch_samples", self.batch_samples, count,
          "at most so many conversations are computed together, packed without padding");
        f("batch_tokens", self.batch_tokens, count, "and at most so many tokens, image tokens included");
        f("accumulate", self.accumulate, count,
          "batches whose gradients make one step, exactly as one large batch would");
        f("max_tokens", self.max_tokens, or_zero, "the longest conversation; 0: the model's context");
        f("long_samples", self.long_samples, Choices{"error", "drop"}, "what becomes of longer ones");
        f("seed", self.seed, or_zero, "decides shuffling, tile counts, noise and random weights");

        f.section("What is learned");
        f("labels", self.labels, Choices(label_names.begin(), label_names.end()),
          "completions: what the assistant says and its end token; smolvlm-v1 and smolvlm2: as those models were "
          "trained; "
          "notebook: everything but image tokens; all-text: everything but pictures");
        f("system_prompt", self.system_prompt, "for conversations that have none");
        f("media_intro", self.media_intro, "text before the first picture (SmolVLM2: \"Here are some images: \")");
        f("media_outro", self.media_outro, "text after the last (SmolVLM2: \"Now answer the following question: \")");

        f.section("Pictures");
        f("tiling", self.tiling, Choices{"reference", "random"},
          "reference: as when the model is used; random: a random number of tiles, as the released training code made "
          "them");
        f("longest_edge", self.longest_edge, Limits{0, 4096},
          "longest side in pixels after resizing; 0: the checkpoint's");
        f("max_tiles", self.max_tiles, Limits{0, 1024}, "at most so many tiles a picture; 0: any number");
        f("split", self.split, "false: one frame a picture");
        f("upscale", self.upscale, "false: small pictures are not enlarged beyond whole tiles");

        f.section("Optimiser: AdamW");
        f("lr", self.lr, positive, "learning rate");
        f("lr_vision", self.lr_vision, Limits{-1}, "of the vision tower; -1: as \"lr\"; 0: it is frozen");
        f("lr_connector", self.lr_connector, Limits{-1}, "of the connector");
        f("lr_language_model", self.lr_language_model, Limits{-1}, "of the decoder without embeddings");
        f("lr_embeddings", self.lr_embeddings, Limits{-1}, "of token embeddings and head");
        f("schedule", self.schedule, Choices{"constant", "linear", "cosine"}, "course of the rates after the warm-up");
        f("warmup_steps", self.warmup_steps, or_zero, "steps in which the rates rise from 0");
        f("final_lr", self.final_lr, fraction, "where linear and cosine end, as a fraction of the rate");
        f("beta1", self.beta1, Limits{0, 0.999999}, "memory of the gradient's mean");
        f("beta2", self.beta2, Limits{0, 0.999999999}, "memory of its square");
        f("eps", self.eps, positive, "added to the root of the square");
        f("weight_decay", self.weight_decay, positive, "decoupled; norms and biases do not decay");
        f("clip", self.clip, positive, "largest global norm of the gradient; 0: no clipping");
        f("neftune_alpha", self.neftune_alpha, positive,
          "noise on the input embeddings (arXiv:2310.05914); 0: none, 5 is usual");
        f("freeze", self.freeze, "patterns of parameter names that are not trained, * for any characters");
        f("weights", self.weights, Choices{"f32", "bf16"},
          "what trained matrices are held in; bf16 keeps f32 masters beside them");

        f("activation_checkpointing", self.activation_checkpointing,
          "true: layers are computed again in the backward pass instead of being remembered: less memory, more time");

        f.section("Adapters: the model stays as it is, and thin matrices beside its weights learn");
        f("lora_rank", self.lora_rank, Limits{0, 65536},
          "rank of the adapters (arXiv:2106.09685); 0: none, all weights are trained");
        f("lora_alpha", self.lora_alpha, positive, "they count alpha / rank times");
        f("lora_dropout", self.lora_dropout, Limits{0, 0.99}, "share of their inputs that is dropped while training");
        f("lora_targets", self.lora_targets, "patterns of the linear maps that get one; q_proj stands for *.q_proj");
        f("dora", self.dora, "true: a learned magnitude for every output too (arXiv:2402.09353)");
        f("lora_gaussian", self.lora_gaussian, "true: they start from N(0, 1/rank^2) instead of uniform numbers");
        f("lora_merge", self.lora_merge,
          "true: at the end the whole model with its adapters merged is written to output/merged");

        f.section("Course of the run");
        f("checkpoint_every", self.checkpoint_every, or_zero, "steps between checkpoints; 0: only at the end");
        f("keep_checkpoints", self.keep_checkpoints, count, "older ones are removed");
        f("eval_every", self.eval_every, or_zero, "steps between evaluations; 0: only at the end");
        f("log_every", self.log_every, count, "steps between lines of metrics.jsonl");
        f("threads", self.threads, Limits{0, 4096}, "0: all");
    }

    std::string path(const std::string& name) const {
        return name.empty() || name[0] == '/' ? name : std::filesystem::path(folder + name).lexically_normal().string();
    }
    int thread_count() const { return threads > 0 ? static_cast<int>(threads) : default_threads(); }

    double rate(ParameterGroup group) const {
        const double own[] = {lr_vision, lr_connector, lr_language_model, lr_embeddings};
        const double rate = own[static_cast<std::size_t>(group)];
        return rate < 0 ? lr : rate;
    }
    bool trains(std::string_view name) const {
        for (const std::string& pattern : freeze)
            if (matches(pattern, name)) return false;
        return rate(parameter_group(name)) > 0;
    }
    bool with_adapters() const { return lora_rank > 0; }
    /// Are there masters that a checkpoint's own files do not hold?
    bool saves_masters() const { return weights == "bf16" || with_adapters(); }
    Schedule make_schedule() const {
        const auto kind = schedule == "constant" ? Schedule::Kind::constant
                          : schedule == "linear" ? Schedule::Kind::linear
                                                 : Schedule::Kind::cosine;
        return {kind, warmup_steps, steps, final_lr};
    }
    ExampleOptions example_options() const {
        ExampleOptions options;
        for (std::size_t i = 0; i < label_names.size(); ++i)
            if (labels == label_names[i]) options.labels = static_cast<Labels>(i);
        options.system_prompt = system_prompt;
        options.media = {media_intro, media_outro};
        options.tiles.no_split = !split;
        options.tiles.no_upscale = !upscale;
        if (longest_edge > 0) options.tiles.longest_edge = longest_edge;
        if (max_tiles > 0) options.tiles.max_tiles = max_tiles;
        options.random_tiles = tiling == "random";
        options.threads = thread_count();
        return options;
    }
};

/// Keys that change no number of a run that goes on.
inline bool may_change_on_resume(std::string_view key, const TrainConfig& config) {
    for (const char* free :
         {"checkpoint_every", "keep_checkpoints", "eval_every", "eval_data", "log_every", "output", "lora_merge"})
        if (key == free) return true;
    return key == "steps" && config.schedule == "constant";
}

}  // namespace smolvlm
