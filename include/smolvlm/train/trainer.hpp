#pragma once
/// Trainer: a model, its data and its optimiser, one step at a time.
///
///     Trainer<Cpu<float>> trainer(Cpu<float>(), read_train_config("run.json"), load_image, false);
///     while (!trainer.finished()) trainer.step();
///     trainer.save();
///
/// A step is: `accumulate` batches, the loss of each weighted by its share of all counted tokens (so that several
/// batches, or several ranks, are exactly one large batch), gradients added up, clipped, AdamW. run.hpp adds
/// evaluation, checkpoints, metrics and curves.

#include <chrono>
#include <memory>

#include <smolvlm/checkpoint/load.hpp>
#include <smolvlm/data/stream.hpp>
#include <smolvlm/train/checkpoint_folder.hpp>
#include <smolvlm/train/communicator.hpp>
#include <smolvlm/train/init.hpp>
#include <smolvlm/train/loss.hpp>

namespace smolvlm {

struct StepReport {
    Index step = 0;        // this one, from 1
    double loss = 0;       // mean over the counted tokens
    double accuracy = 0;   // share of them that were the most likely one
    double lr = 0, grad_norm = 0;
    Index tokens = 0, counted = 0, samples = 0;
    double epochs = 0;     // of the first data set
    double seconds = 0;
};

struct EvalReport {
    double loss = 0, accuracy = 0;
    Index counted = 0;
};

template <DifferentiableBackend B>
class Trainer {
public:
    using T = typename B::Scalar;

    /// resume: go on from the newest checkpoint in the output folder. Throws what a wrong configuration, model or data
    /// file deserves, before anything is written.
    Trainer(B be, const TrainConfig& config, PictureLoader load_picture, bool resume,
            std::shared_ptr<Communicator> ranks = std::make_shared<Communicator>())
        : config_(config), ranks_(std::move(ranks)), output_(config.path(config.output)), be_(std::move(be)),
          source_(find_source(resume)), checkpoint_(open_source(resume)), model_(load_or_draw()),
          parameters_(be_, model_, [this](std::string_view name) { return config_.trains(name); },
                      config.weights == "bf16" ? DType::bf16 : dtype_of<T>, config.thread_count()),
          stream_(make_stream(config.data, load_picture)), schedule_(config.make_schedule()) {
        if (!config.eval_data.empty()) eval_.emplace(make_stream({{config.eval_data, 1}}, load_picture));
        if (!resume) return;
        const RunState state = read_run_state(source_, config_, ranks_->size());
        read_training_state(be_.inner(), source_, parameters_);
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
    /// Steps done.
    Index step_count() const { return step_; }
    bool finished() const { return step_ >= config_.steps; }
    bool has_eval_data() const { return eval_.has_value(); }

    /// Throws ValueError when the loss or a gradient is not finite; then the model is as before the step.
    StepReport step();

    /// Loss and accuracy on the evaluation set, without noise. Needs eval_data.
    EvalReport evaluate();

    /// Writes output/checkpoint-STEP and removes what is older than keep_checkpoints; returns its path. Does nothing
    /// when it is there already. On several ranks all call it and rank 0 writes. Throws ValueError when the disk is
    /// full: then all older checkpoints are still there.
    std::string save();

private:
    std::string find_source(bool resume) const;
    Checkpoint open_source(bool resume) const;
    SmolVLM<B> load_or_draw();
    BatchStream make_stream(const std::vector<DataSource>& sources, const PictureLoader& load_picture) const;
    void differentiate(const Batch& batch, Index number, double share, Gradients<B>& gradients, double& loss, double& correct);
    [[noreturn]] void explain_loss(const Batch& batch, const HostTensor<T>* noise, double loss);
    void sum_over_ranks(Gradients<B>& gradients);

    TrainConfig config_;
    std::shared_ptr<Communicator> ranks_;
    std::string output_;
    Grad<B> be_;
    std::string source_;     // the folder that the model comes from
    Checkpoint checkpoint_;  // what else is in it: the processor, above all
    SmolVLM<B> model_;
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
    for (std::size_t i = 0; i < batches.size(); ++i) {
        const double share = static_cast<double>(batches[i].counted.size()) / sizes[0];
        differentiate(batches[i], static_cast<Index>(i), share, gradients, sums[0], sums[1]);
    }
    ranks_->sum(sums);
    sum_over_ranks(gradients);

    const double norm = parameters_.gradient_norm(be_.inner(), gradients, step_ + 1);
    const double factor = schedule_(step_);
    parameters_.update(be_.inner(), gradients, {config_.beta1, config_.beta2, config_.eps},
                       [&](ParameterGroup group) { return factor * config_.rate(group); }, config_.weight_decay,
                       clip_scale(norm, config_.clip));
    ++step_;
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return {step_, sums[0], sums[1] / sizes[0], factor * config_.lr, norm, static_cast<Index>(sizes[1]),
            static_cast<Index>(sizes[0]), static_cast<Index>(sizes[2]), stream_.epochs(), seconds};
}

/// Adds the batch's share of loss, of right predictions and of every gradient.
template <DifferentiableBackend B>
void Trainer<B>::differentiate(const Batch& batch, Index number, double share, Gradients<B>& gradients, double& loss,
                               double& correct) {
    const ModelConfig& shape = model_.config;
    const int threads = config_.thread_count();
    HostTensor<T> noise;
    if (config_.neftune_alpha > 0) {
        const Index draw = (step_ * config_.accumulate + number) * ranks_->size() + ranks_->rank();
        const Random random(static_cast<std::uint64_t>(config_.seed) ^ 0xE7037ED1A0B428DBull, static_cast<std::uint64_t>(draw) << 40);
        noise = neftune_noise<T>(batch, shape.text.hidden_size, config_.neftune_alpha,
                                 shape.has_vision ? shape.image_token_id : -1, random);
    }
    const HostTensor<T>* const noise_or_none = noise.empty() ? nullptr : &noise;
    const std::vector<std::int32_t> targets = batch.counted_targets();
    const auto logits = batch_logits(be_, parameters_.tracked, batch, checkpoint_.processor.image.scaling(), threads, noise_or_none);
    const auto mean = be_.cross_entropy(logits, targets);
    const auto value = static_cast<double>(be_.to_host(mean).flat()[0]);
    if (!std::isfinite(value)) explain_loss(batch, noise_or_none, value);
    loss += share * value;
    correct += static_cast<double>(correct_rows(be_.to_host(logits), targets, threads));

    const HostTensor<T> seed(Shape{1}, {static_cast<T>(share)});
    Gradients<B> own = be_.tape().backward(be_.inner(), mean.node, be_.inner().from_host(seed));
    for (std::size_t i = 0; i < own.size(); ++i) {
        if (own[i].empty()) continue;
        if (gradients[i].empty())
            gradients[i] = std::move(own[i]);
        else
            be_.inner().add_to(gradients[i], own[i]);
    }
}

/// Says where in the model a loss that is not finite begins: at a parameter, or at the first activation.
template <DifferentiableBackend B>
void Trainer<B>::explain_loss(const Batch& batch, const HostTensor<T>* noise, double loss) {
    struct FiniteProbe : Probe<Grad<B>> {
        Grad<B>& be;
        std::string first;

        explicit FiniteProbe(Grad<B>& backend) : be(backend) {}
        void operator()(const std::string& name, const Tensor<Grad<B>>& x) override {
            const HostTensor<T> values = be.to_host(x);
            if (first.empty() && first_not_finite<T>(values.flat()) < values.flat().size()) first = name;
        }
    };
    const std::string what = join("step ", step_ + 1, ": the loss is ", loss, "; ");
    const char* const advice = ". Nothing was changed, the last checkpoint is good. A lower learning rate may help";
    for_each_parameter(model_, [&](const std::string& name, const auto& slot, const Shape&) {
        HostTensor<T> values;
        if constexpr (std::is_same_v<std::remove_cvref_t<decltype(slot)>, Weight<B>>)
            values = detail::weight_to_host<T>(slot, config_.thread_count()).template to_tensor<T>();
        else
            values = be_.inner().to_host(slot);
        if (const std::size_t at = first_not_finite<T>(std::as_const(values).flat()); at < values.flat().size())
            fail<ValueError>(what, "the parameter ", name, " is ", values.flat()[at], " at element ", at, advice);
    });
    be_.tape().clear();
    FiniteProbe probe(be_);
    batch_logits(be_, parameters_.tracked, batch, checkpoint_.processor.image.scaling(), config_.thread_count(), noise, &probe);
    fail<ValueError>(what, "all parameters are finite, the first activation that is not is ",
                     probe.first.empty() ? std::string("the loss itself") : probe.first, advice);
}

template <DifferentiableBackend B>
EvalReport Trainer<B>::evaluate() {
    SMOLVLM_CHECK(eval_, ValueError, "evaluation: the configuration names no \"eval_data\"");
    std::array<double, 3> sums{};  // loss, right predictions, counted tokens
    eval_->one_epoch([&](const Batch& batch) {
        const std::vector<std::int32_t> targets = batch.counted_targets();
        const auto logits =
            batch_logits(be_.inner(), model_, batch, checkpoint_.processor.image.scaling(), config_.thread_count());
        const auto n = static_cast<double>(targets.size());
        sums[0] += n * static_cast<double>(be_.inner().to_host(be_.inner().cross_entropy(logits, targets)).flat()[0]);
        sums[1] += static_cast<double>(correct_rows(be_.inner().to_host(logits), targets, config_.thread_count()));
        sums[2] += n;
    });
    ranks_->sum(sums);
    return {sums[0] / sums[2], sums[1] / sums[2], static_cast<Index>(sums[2])};
}

template <DifferentiableBackend B>
std::string Trainer<B>::save() {
    const std::string path = checkpoint_path(output_, step_);
    const std::vector<std::int64_t> positions = ranks_->gather(stream_.position());
    if (ranks_->rank() == 0 && !list_checkpoints(output_).count(step_)) {
        const RunState state{step_, {positions.begin(), positions.end()}};
        make_folder(output_);
        smolvlm::save(be_.inner(), model_, checkpoint_.generation, path,
                      {.copy_from = source_, .threads = config_.thread_count(), .also = [&](AtomicFolder& folder) {
                           write_training_state(folder, parameters_, state, config_);
                       }});
        remove_old_checkpoints(output_, config_.keep_checkpoints);
        source_ = path;
    }
    ranks_->barrier();
    return path;
}

/// One flag for each gradient that any rank has, then those, with zeros where this rank has none.
template <DifferentiableBackend B>
void Trainer<B>::sum_over_ranks(Gradients<B>& gradients) {
    if (ranks_->size() == 1) return;
    std::vector<float> wanted(gradients.size());
    for (std::size_t i = 0; i < gradients.size(); ++i) wanted[i] = gradients[i].empty() ? 0.0f : 1.0f;
    ranks_->sum(wanted);
    std::vector<HostTensor<T>> host;
    std::vector<std::span<T>> spans;
    for (std::size_t i = 0; i < gradients.size(); ++i) {
        if (wanted[i] == 0) continue;
        HostTensor<T> own = HostTensor<T>::zeros(parameters_.all()[i].master.shape());
        if (!gradients[i].empty()) std::ranges::copy(be_.inner().to_host(gradients[i]).flat(), own.data());
        host.push_back(std::move(own));
        spans.push_back(host.back().flat());
    }
    ranks_->sum(std::span<const std::span<T>>(spans));
    for (std::size_t i = 0, next = 0; i < gradients.size(); ++i)
        if (wanted[i] != 0) gradients[i] = be_.inner().from_host(host[next++]);
}

template <DifferentiableBackend B>
std::string Trainer<B>::find_source(bool resume) const {
    const std::map<Index, std::string> found = list_checkpoints(output_);
    if (resume) {
        SMOLVLM_CHECK(!found.empty(), ValueError, output_, ": holds no checkpoint to go on from");
        return found.rbegin()->second;
    }
    SMOLVLM_CHECK(found.empty(), ValueError, output_, ": holds the checkpoints of a run already; --resume goes on with it, or "
                  "choose another \"output\"");
    return config_.path(config_.model.empty() ? config_.init : config_.model);
}

template <DifferentiableBackend B>
Checkpoint Trainer<B>::open_source(bool resume) const {
    if (resume || config_.init.empty()) return open_hf_folder(source_);
    const ModelConfig config = read_model_config(source_);  // a folder without weights
    return {.config = config,
            .generation = read_generation_config(source_),
            .processor = read_processor(source_, config.has_vision ? config.tokens_per_image() : 0),
            .weights = nullptr};
}

template <DifferentiableBackend B>
SmolVLM<B> Trainer<B>::load_or_draw() {
    if (checkpoint_.weights) return load_model(be_.inner(), checkpoint_.config, *checkpoint_.weights);
    return random_model(be_.inner(), checkpoint_.config, static_cast<std::uint64_t>(config_.seed));
}

template <DifferentiableBackend B>
BatchStream Trainer<B>::make_stream(const std::vector<DataSource>& sources, const PictureLoader& load_picture) const {
    std::vector<ChatFile> files;
    std::vector<double> weights;
    for (const DataSource& source : sources) {
        files.push_back(ChatFile::open(config_.path(source.path)));
        weights.push_back(source.weight);
    }
    const Index context = checkpoint_.config.text.max_position_embeddings;
    SMOLVLM_CHECK(config_.max_tokens <= context, ValueError, "\"max_tokens\" is ", config_.max_tokens,
                  ", more than the model's context of ", context);
    const PackOptions pack{.batch_tokens = config_.batch_tokens,
                           .batch_samples = config_.batch_samples,
                           .max_tokens = config_.max_tokens > 0 ? config_.max_tokens : context,
                           .drop_long = config_.long_samples == "drop"};
    return BatchStream(std::move(files), std::move(weights), checkpoint_.processor, config_.example_options(), pack,
                       load_picture, static_cast<std::uint64_t>(config_.seed), ranks_->rank(), ranks_->size());
}

}  // namespace smolvlm
