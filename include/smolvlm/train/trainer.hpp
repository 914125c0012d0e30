#pragma once
/// Trainer: a model, its data and its optimiser, one step at a time.
///
///     Trainer<Cpu<float>> trainer(Cpu<float>(), read_train_config("run.json"), chat_files(load_image), false);
///     while (!trainer.finished()) trainer.step();
///     trainer.save();
///
/// A step is: `accumulate` batches, the loss of each weighted by its share of all counted tokens (so that several
/// batches, or several ranks, are exactly one large batch), gradients added up, clipped, AdamW. run.hpp adds
/// evaluation, checkpoints, metrics and curves.

#include <chrono>
#include <memory>

#include <smolvlm/data/jsonl.hpp>
#include <smolvlm/train/checkpoint_folder.hpp>
#include <smolvlm/train/diagnose.hpp>
#include <smolvlm/train/init.hpp>
#include <smolvlm/train/loss.hpp>
#include <smolvlm/train/reports.hpp>
#include <smolvlm/train/setup.hpp>
#include <smolvlm/train/sum_gradients.hpp>

namespace smolvlm {

template <DifferentiableBackend B>
class Trainer {
public:
    using T = typename B::Scalar;

    /// open: what the names of data mean, usually chat_files(load_image). resume: go on from the newest checkpoint in
    /// the output folder. Throws what a wrong configuration, model or data file deserves, before anything is written.
    Trainer(B be, const TrainConfig& config, const SourceOpener& open, bool resume,
            std::shared_ptr<Communicator> ranks = std::make_shared<Communicator>())
        : config_(config),
          ranks_(std::move(ranks)),
          output_(config.path(config.output)),
          be_(std::move(be)),
          resumed_(newest_checkpoint(resume)),
          source_(find_source()),
          checkpoint_(open_start(config_, source_, source_ == resumed_)),
          model_(load_or_draw()),
          twin_(model_.config),
          parameters_(config.thread_count()),
          stream_(make_stream(config_, config_.data, checkpoint_, open, *ranks_)),
          schedule_(config.make_schedule()) {
        be_.checkpoint_layers(config_.activation_checkpointing);
        choose_parameters();
        if (!config.eval_data.empty())
            eval_.emplace(make_stream(config_, {{config.eval_data, 1}}, checkpoint_, open, *ranks_));
        if (!resume) return;
        const RunState state = read_run_state(resumed_, config_, ranks_->size());
        read_training_state(resumed_, parameters_, config_.saves_masters());
        step_ = state.step;
        stream_.seek(state.positions[static_cast<std::size_t>(ranks_->rank())]);
    }
    Trainer(const Trainer&) = delete;
    Trainer& operator=(const Trainer&) = delete;

    const TrainConfig& config() const { return config_; }
    const std::string& output() const { return output_; }
    const SmolVLM<B>& model() const { return model_; }
    const Parameters<B>& parameters() const { return parameters_; }
    const BatchStream& stream() const { return stream_; }
    Communicator& ranks() { return *ranks_; }
    /// Null, or what is trained instead of the model's own weights.
    const AdapterSet<T>* adapters() const { return adapters_ ? &*adapters_ : nullptr; }
    /// Steps done.
    Index step_count() const { return step_; }
    bool finished() const { return step_ >= config_.steps; }
    bool has_eval_data() const { return eval_.has_value(); }

    /// Throws ValueError when the loss or a gradient is not finite; then the model is as before the step.
    StepReport step();

    /// Loss and accuracy on the evaluation set, without noise. Needs eval_data. look(batch, predicted), if given, sees
    /// the most likely token of every counted row.
    EvalReport evaluate(const std::function<void(const Batch&, Ids)>& look = {});

    /// Writes output/checkpoint-STEP and removes what is older than keep_checkpoints; returns its path. Does nothing
    /// when it is there already. On several ranks all call it and rank 0 writes. Throws ValueError when the disk is
    /// full: then all older checkpoints are still there.
    std::string save();

    /// Writes output/merged: the model with its adapters become part of its weights. Returns its path. On rank 0.
    std::string save_merged();

private:
    std::string newest_checkpoint(bool resume) const;
    std::string find_source() const;
    SmolVLM<B> load_or_draw();
    void choose_parameters();
    Tensor<Grad<B>> logits(const Batch& batch, const HostTensor<T>* noise = nullptr, Probe<Grad<B>>* probe = nullptr) {
        const PixelScaling scaling = checkpoint_.processor.image.scaling();
        return batch_logits(be_, twin_, batch, scaling, config_.thread_count(), noise, probe);
    }
    void differentiate(const Batch& batch, Index number, double share, Gradients<B>& gradients, double& loss,
                       double& correct, GradientSum<B>* total);

    TrainConfig config_;
    std::shared_ptr<Communicator> ranks_;
    std::string output_;
    Grad<B> be_;
    std::string resumed_;    // the checkpoint that the run goes on from, or ""
    std::string source_;     // where the model and its other files come from
    Checkpoint checkpoint_;  // the processor, above all
    SmolVLM<B> model_;
    SmolVLM<Grad<B>> twin_;  // the same, differentiated
    std::optional<AdapterSet<T>> adapters_;
    Parameters<B> parameters_;
    BatchStream stream_;
    std::optional<BatchStream> eval_;
    Schedule schedule_;
    Index step_ = 0;
};

template <DifferentiableBackend B>
StepReport Trainer<B>::step() {
    const auto start = std::chrono::steady_clock::now();
    std::vector<Batch> batches;
    for (Index i = 0; i < config_.accumulate; ++i) batches.push_back(stream_.next());
    std::array<double, 3> sizes{};  // counted tokens, tokens, samples; of all ranks
    for (const Batch& batch : batches) {
        sizes[0] += static_cast<double>(batch.counted.size());
        sizes[1] += static_cast<double>(batch.tokens());
        sizes[2] += static_cast<double>(batch.sequences());
    }
    ranks_->sum(sizes);

    Gradients<B> gradients(parameters_.all().size());
    std::array<double, 2> sums{};  // loss, rows predicted right
    std::optional<GradientSum<B>> total;
    if (ranks_->size() > 1) total.emplace(*ranks_, parameters_);
    for (std::size_t i = 0; i < batches.size(); ++i) {
        const double share = static_cast<double>(batches[i].counted.size()) / sizes[0];
        const bool last = i + 1 == batches.size();
        differentiate(batches[i], static_cast<Index>(i), share, gradients, sums[0], sums[1],
                      last && total ? &*total : nullptr);
    }
    if (total) total->finish(be_.inner(), gradients);
    ranks_->sum(sums);

    const double norm = parameters_.gradient_norm(be_.inner(), gradients, step_ + 1);
    const double factor = schedule_(step_);
    parameters_.update(
        be_.inner(), gradients, {config_.beta1, config_.beta2, config_.eps},
        [&](ParameterGroup group) { return factor * config_.rate(group); }, config_.weight_decay,
        clip_scale(norm, config_.clip));
    ++step_;
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    const auto count = [](double sum) { return static_cast<Index>(sum); };
    return {step_, sums[0], sums[1] / sizes[0], factor * config_.lr, norm, count(sizes[1]), count(sizes[0]),
            count(sizes[2]), stream_.epochs(), seconds};
}

/// Adds the batch's share of loss, of right predictions and of every gradient. total, if given, is told of each gradient
/// as soon as it is complete.
template <DifferentiableBackend B>
void Trainer<B>::differentiate(const Batch& batch, Index number, double share, Gradients<B>& gradients, double& loss,
                               double& correct, GradientSum<B>* total) {
    const ModelConfig& shape = model_.config;
    const auto seed = static_cast<std::uint64_t>(config_.seed);
    const auto draw =
        static_cast<std::uint64_t>((step_ * config_.accumulate + number) * ranks_->size() + ranks_->rank());
    be_.seed_dropout(Random(seed ^ 0x8EBC6AF09C88C6E3ull, draw << 2).bits());
    HostTensor<T> noise;
    if (config_.neftune_alpha > 0)
        noise = neftune_noise<T>(batch, shape.text.hidden_size, config_.neftune_alpha,
                                 shape.has_vision ? shape.image_token_id : -1,
                                 Random(seed ^ 0xE7037ED1A0B428DBull, draw << 40));
    const HostTensor<T>* const noise_or_none = noise.empty() ? nullptr : &noise;
    const std::vector<std::int32_t> targets = batch.counted_targets();
    const auto scores = logits(batch, noise_or_none);
    const auto mean = be_.cross_entropy(scores, targets);
    const auto value = static_cast<double>(be_.to_host(mean).flat()[0]);
    if (!std::isfinite(value)) {
        const auto forward = [&](Probe<Grad<B>>& probe) { logits(batch, noise_or_none, &probe); };
        fail<ValueError>("step ", step_ + 1, ": the loss is ", value, "; ",
                         origin_of_trouble(be_, model_, parameters_, forward),
                         ". Nothing was changed, the last checkpoint is good. A lower learning rate may help");
    }
    loss += share * value;
    correct += static_cast<double>(correct_rows(most_likely(be_.to_host(scores), config_.thread_count()), targets));

    const HostTensor<T> weight(Shape{1}, {static_cast<T>(share)});
    be_.tape().backward(be_.inner(), mean.node, be_.inner().from_host(weight), [&](std::size_t leaf, Tensor<B>& own) {
        if (gradients[leaf].empty())
            gradients[leaf] = std::move(own);
        else if (!own.empty())
            be_.inner().add_to(gradients[leaf], own);
        if (total) total->complete(be_.inner(), leaf, gradients);
    });
}

template <DifferentiableBackend B>
EvalReport Trainer<B>::evaluate(const std::function<void(const Batch&, Ids)>& look) {
    SMOLVLM_CHECK(eval_, ValueError, "evaluation: the configuration names no \"eval_data\"");
    std::array<double, 5> sums{};  // loss, right predictions, counted tokens, exact answers, answers
    const typename Grad<B>::Evaluating nothing_recorded(be_);
    eval_->one_epoch([&](const Batch& batch) {
        const std::vector<std::int32_t> targets = batch.counted_targets();
        const auto scores = logits(batch);
        const auto n = static_cast<double>(targets.size());
        sums[0] += n * static_cast<double>(be_.to_host(be_.cross_entropy(scores, targets)).flat()[0]);
        const std::vector<std::int32_t> predicted = most_likely(be_.to_host(scores), config_.thread_count());
        sums[1] += static_cast<double>(correct_rows(predicted, targets));
        sums[2] += n;
        sums[3] += static_cast<double>(exact_answers(batch.answers, predicted, targets));
        sums[4] += static_cast<double>(batch.answers.size());
        if (look) look(batch, predicted);
    });
    ranks_->sum(sums);
    return {sums[0] / sums[2], sums[1] / sums[2], sums[3] / sums[4], static_cast<Index>(sums[2]),
            static_cast<Index>(sums[4])};
}

template <DifferentiableBackend B>
std::string Trainer<B>::save() {
    const std::string path = checkpoint_path(output_, step_);
    const std::vector<std::int64_t> positions = ranks_->gather(stream_.position());
    if (ranks_->rank() == 0 && !list_checkpoints(output_).count(step_)) {
        const RunState state{step_, {positions.begin(), positions.end()}};
        const auto add_state = [&](AtomicFolder& folder) {
            write_training_state(folder, parameters_, state, config_, config_.saves_masters());
        };
        make_folder(output_);
        if (adapters_) {
            AtomicFolder folder(path);
            write_adapters(folder, *adapters_, model_.config, source_);
            add_state(folder);
            folder.commit();
        } else {
            smolvlm::save(be_.inner(), model_, checkpoint_.generation, path,
                          {.copy_from = source_,
                           .mmproj = config_.path(config_.mmproj),
                           .threads = config_.thread_count(),
                           .also = add_state});
            source_ = path;
        }
        remove_old_checkpoints(output_, config_.keep_checkpoints);
    }
    ranks_->barrier();
    return path;
}

template <DifferentiableBackend B>
std::string Trainer<B>::save_merged() {
    SMOLVLM_CHECK(adapters_, ValueError, "merging: the run trains no adapters");
    const std::string path = output_ + "/merged";
    make_folder(output_);
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
    SmolVLM<B> merged = model_;
    merge_adapters(be_.inner(), merged, *adapters_, config_.thread_count());
    smolvlm::save(be_.inner(), merged, checkpoint_.generation, path,
                  {.copy_from = source_, .mmproj = config_.path(config_.mmproj), .threads = config_.thread_count()});
    return path;
}

template <DifferentiableBackend B>
std::string Trainer<B>::newest_checkpoint(bool resume) const {
    const std::map<Index, std::string> found = list_checkpoints(output_);
    SMOLVLM_CHECK(resume || found.empty(), ValueError, output_,
                  ": holds the checkpoints of a run already; --resume goes on with it, or choose another \"output\"");
    SMOLVLM_CHECK(!resume || !found.empty(), ValueError, output_, ": holds no checkpoint to go on from");
    return resume ? found.rbegin()->second : std::string();
}

template <DifferentiableBackend B>
std::string Trainer<B>::find_source() const {
    if (!resumed_.empty() && !config_.with_adapters()) return resumed_;
    return config_.path(config_.model.empty() ? config_.init : config_.model);
}

template <DifferentiableBackend B>
SmolVLM<B> Trainer<B>::load_or_draw() {
    if (checkpoint_.weights) return load_model(be_.inner(), checkpoint_.config, *checkpoint_.weights);
    return random_model(be_.inner(), checkpoint_.config, static_cast<std::uint64_t>(config_.seed));
}

template <DifferentiableBackend B>
void Trainer<B>::choose_parameters() {
    const int threads = config_.thread_count();
    if (!config_.with_adapters()) {
        const DType held = config_.weights == "bf16" ? DType::bf16 : dtype_of<T>;
        const auto trains = [this](std::string_view name) { return config_.trains(name); };
        return train_weights(be_, model_, twin_, parameters_, trains, held, threads);
    }
    const AdapterSettings settings{.rank = config_.lora_rank,
                                   .alpha = config_.lora_alpha,
                                   .dropout = config_.lora_dropout,
                                   .dora = config_.dora};
    const auto seed = static_cast<std::uint64_t>(config_.seed);
    adapters_ = make_adapters(be_.inner(), model_, {settings, config_.lora_targets, config_.lora_gaussian, seed}, threads);
    train_adapters(be_, model_, twin_, parameters_, *adapters_);
}

}  // namespace smolvlm
