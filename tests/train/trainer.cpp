// The trainer on tiny models: what a step is, that it can be cut in pieces, stopped and continued, and what stops it.

#include <doctest/doctest.h>

#include <sys/resource.h>

#include <csignal>

#include <smolvlm/ref/ref.hpp>
#include <smolvlm/train/trainer.hpp>

#include "support/error_text.hpp"
#include "support/temp_dir.hpp"

using namespace smolvlm;
using B = Ref<float>;

namespace {

const std::string model_folder = SMOLVLM_TEST_DIR "/golden/models/gqa_untied_r2";

/// A picture whose colours follow from its name.
Image coloured(const std::string& path) {
    Image image(32, 32);
    std::uint8_t value = 0;
    for (const char c : path.substr(path.rfind('/') + 1)) value = static_cast<std::uint8_t>(value * 7 + c);
    for (Index i = 0; i < 3 * 32 * 32; ++i) image.plane(0)[i] = static_cast<std::uint8_t>(value + i * value);
    return image;
}

std::string line(const std::string& question, const std::string& answer, const std::string& image = "") {
    Json content = Json::array();
    if (!image.empty()) content.push_back({{"type", "image"}, {"path", image}});
    content.push_back({{"type", "text"}, {"text", question}});
    return Json{{"messages", {{{"role", "user"}, {"content", content}}, {{"role", "assistant"}, {"content", answer}}}}}
               .dump() +
           "\n";
}

using Changes = std::vector<std::pair<std::string, Json>>;

struct Run {
    testing::TempDir dir;
    Json settings;

    explicit Run(const Changes& changes = {}) {
        for (const char* name : {"red", "blue", "green"}) dir.write(name, "picture");
        dir.write("data.jsonl", line("colour?", "red", "red") + line("colour?", "blue", "blue") + line("2+2", "4") +
                                    line("and this one?", "it is green", "green") + line("hello", "hi") +
                                    line("bye", "bye"));
        settings = {{"model", model_folder},
                    {"output", "run"},
                    {"data", "data.jsonl"},
                    {"steps", 6},
                    {"batch_samples", 2},
                    {"split", false},
                    {"lr", 1e-3},
                    {"warmup_steps", 1},
                    {"weight_decay", 0.1},
                    {"threads", 1},
                    {"seed", 3}};
        for (const auto& [key, value] : changes) settings[key] = value;
    }
    TrainConfig config() const { return read_train_config(dir.write("run.json", settings.dump())); }
    std::unique_ptr<Trainer<B>> trainer(bool resume = false) const {
        return std::make_unique<Trainer<B>>(B(), config(), chat_files(coloured), resume);
    }
};

std::vector<float> weights_of(const Trainer<B>& trainer) {
    std::vector<float> all;
    for (const auto& p : trainer.parameters().all()) {
        const auto values = p.master.flat();
        all.insert(all.end(), values.begin(), values.end());
    }
    return all;
}

double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
    REQUIRE(a.size() == b.size());
    double most = 0;
    for (std::size_t i = 0; i < a.size(); ++i) most = std::max(most, std::abs(double(a[i]) - double(b[i])));
    return most;
}

}  // namespace

TEST_CASE(
    "A step: without clipping, decay and warm-up the first one moves every weight by the learning rate of its group") {
    Run run(Changes{{"warmup_steps", 0},
                    {"weight_decay", 0},
                    {"schedule", "constant"},
                    {"lr", 1e-3},
                    {"lr_vision", 0},
                    {"lr_connector", 5e-4},
                    {"lr_embeddings", 2e-3},
                    {"eps", 0},
                    {"batch_samples", 6}});
    const auto trainer = run.trainer();
    const std::vector<float> before = weights_of(*trainer);
    trainer->step();
    const std::vector<float> after = weights_of(*trainer);
    std::size_t i = 0;
    for (const auto& p : trainer->parameters().all()) {
        CHECK(p.group() != ParameterGroup::vision);
        const double rate = p.group() == ParameterGroup::connector    ? 5e-4
                            : p.group() == ParameterGroup::embeddings ? 2e-3
                                                                      : 1e-3;
        double most = 0;
        for (Index k = 0; k < p.master.numel(); ++k, ++i)
            most = std::max(most, std::abs(double(after[i]) - double(before[i])));
        CHECK_MESSAGE(most == doctest::Approx(rate).epsilon(1e-3), p.name);
    }
}

TEST_CASE("Accumulation: two batches of two are one batch of four, to rounding") {
    Run one(Changes{{"batch_samples", 4}}), two(Changes{{"batch_samples", 2}, {"accumulate", 2}});
    const auto a = one.trainer(), b = two.trainer();
    for (int step = 0; step < 4; ++step) {
        const StepReport x = a->step(), y = b->step();
        CHECK(x.loss == doctest::Approx(y.loss).epsilon(1e-5));
        CHECK(x.grad_norm == doctest::Approx(y.grad_norm).epsilon(1e-4));
        CHECK(x.counted == y.counted);
        CHECK(x.tokens == y.tokens);
        CHECK(x.accuracy == doctest::Approx(y.accuracy));
    }
    CHECK(largest_difference(weights_of(*a), weights_of(*b)) < 2e-4);
}

TEST_CASE("Packing changes no number: a batch of six learns what six batches of one accumulate") {
    Run packed(Changes{{"batch_samples", 6}}), single(Changes{{"batch_samples", 1}, {"accumulate", 6}});
    const StepReport x = packed.trainer()->step(), y = single.trainer()->step();
    CHECK(x.loss == doctest::Approx(y.loss).epsilon(1e-5));
    CHECK(x.grad_norm == doctest::Approx(y.grad_norm).epsilon(1e-4));
}

TEST_CASE(
    "Resuming is bit-identical to never having stopped, with noise, random tiles, several sets and bf16 weights too") {
    for (const Changes& changes :
         {Changes{}, Changes{{"neftune_alpha", 5},
                             {"tiling", "random"},
                             {"weights", "bf16"},
                             {"batch_tokens", 60},
                             {"data", {{{"path", "data.jsonl"}, {"weight", 3}}, "data.jsonl"}}}}) {
        Run run(changes);
        const auto whole = run.trainer();
        std::vector<double> losses;
        for (int step = 0; step < 6; ++step) losses.push_back(whole->step().loss);

        const auto first = run.trainer();
        for (int step = 0; step < 3; ++step) CHECK(first->step().loss == losses[static_cast<std::size_t>(step)]);
        first->save();
        const auto second = run.trainer(true);
        CHECK(second->step_count() == 3);
        for (int step = 3; step < 6; ++step) CHECK(second->step().loss == losses[static_cast<std::size_t>(step)]);
        CHECK(weights_of(*second) == weights_of(*whole));
        CHECK(second->finished());
    }
}

TEST_CASE("Frozen parameters stay bit for bit, by pattern, and others move") {
    Run run(Changes{{"freeze", {"model.vision_model.*", "*.mlp.*", "lm_head.weight"}}});
    const auto trainer = run.trainer();
    for (const auto& p : trainer->parameters().all()) {
        CHECK_FALSE(p.name.starts_with("model.vision_model."));
        CHECK(p.name.find(".mlp.") == std::string::npos);
    }
    for (int step = 0; step < 2; ++step) trainer->step();
    const Safetensors before = Safetensors::open_folder(model_folder),
                      after = Safetensors::open_folder(trainer->save());
    for (const auto& entry : before.tensors()) {
        const std::string& name = entry.first;
        const bool same = std::ranges::equal(before.tensor<float>(name).flat(), after.tensor<float>(name).flat());
        CHECK_MESSAGE(same == !trainer->config().trains(name), name);
    }
}

TEST_CASE("Activation checkpointing changes no number") {
    Run plain, again(Changes{{"activation_checkpointing", true}});
    const auto a = plain.trainer(), b = again.trainer();
    for (int step = 0; step < 3; ++step) CHECK(a->step().loss == b->step().loss);
    CHECK(weights_of(*a) == weights_of(*b));
}

TEST_CASE(
    "Adapters: the first loss is the model's, the loss falls, the merged folder has the loss of the adapted model") {
    for (const bool dora : {false, true}) {
        Run full(Changes{{"batch_samples", 6}}), lora(Changes{{"batch_samples", 6},
                                                              {"lora_rank", 4},
                                                              {"dora", dora},
                                                              {"lr", 5e-3},
                                                              {"eval_data", "data.jsonl"},
                                                              {"steps", 20},
                                                              {"schedule", "constant"}});
        const auto trainer = lora.trainer();
        const double first = trainer->step().loss;
        CHECK(first == doctest::Approx(full.trainer()->step().loss).epsilon(1e-5));
        while (!trainer->finished()) trainer->step();
        const double last = trainer->evaluate().loss;
        CHECK(last < 0.9 * first);
        Run merged(Changes{{"batch_samples", 6}, {"model", trainer->save_merged()}, {"eval_data", "data.jsonl"}});
        CHECK(merged.trainer()->evaluate().loss == doctest::Approx(last).epsilon(1e-4));
        const std::string saved = trainer->save();
        const AdapterSet<float> read = load_adapters<float>(saved, trainer->model().config);
        CHECK(read.entries.size() == trainer->adapters()->entries.size());
        CHECK(read.settings.dora == dora);
        CHECK_FALSE(std::filesystem::exists(saved + "/model.safetensors"));
    }
}

TEST_CASE("Adapters: resuming is bit-identical to never having stopped, dropout included") {
    Run run(Changes{{"lora_rank", 4}, {"lora_dropout", 0.2}, {"lora_targets", {"q_proj", "lm_head"}}});
    const auto whole = run.trainer();
    while (!whole->finished()) whole->step();
    const auto first = run.trainer();
    for (int step = 0; step < 3; ++step) first->step();
    first->save();
    const auto second = run.trainer(true);
    while (!second->finished()) second->step();
    CHECK(weights_of(*second) == weights_of(*whole));
    CHECK(testing::error_of([&] {
              Run(Changes{{"lora_rank", 4}, {"lora_targets", {"q_prj"}}}).trainer();
          }).find("q_proj") != std::string::npos);
}

TEST_CASE("End to end: four samples are learned by heart, and the trained folder answers them through the pipeline") {
    Run run(Changes{
        {"steps", 120}, {"batch_samples", 4}, {"lr", 4e-3}, {"warmup_steps", 10}, {"weight_decay", 0}, {"seed", 1}});
    run.dir.write("data.jsonl", line("colour?", "red", "red") + line("colour?", "blue", "blue") + line("2+2", "4") +
                                    line("hello", "hi"));
    const auto trainer = run.trainer();
    double loss = 0;
    while (!trainer->finished()) loss = trainer->step().loss;
    CHECK(loss < 0.05);
    B be;
    const auto pipeline = load(be, trainer->save());
    AnswerOptions options;
    options.images.no_split = true;
    options.max_new_tokens = 8;
    const auto answer = [&](const std::string& question, const std::string& image) {
        Conversation chat{{"user", std::vector<ContentPart>{}}};
        std::vector<Image> pictures;
        if (!image.empty()) {
            chat[0].content.push_back({ContentPart::image, image});
            pictures.push_back(coloured(image));
        }
        chat[0].content.push_back({ContentPart::text, question});
        return pipeline.answer(be, chat, pictures, options).text;
    };
    CHECK(answer("colour?", "red") == " red");
    CHECK(answer("colour?", "blue") == " blue");
    CHECK(answer("2+2", "") == " 4");
    CHECK(answer("hello", "") == " hi");
}

TEST_CASE("NEFTune: noise within alpha / sqrt(T D), none on image rows, another in every step") {
    Batch batch;
    batch.ids = {1, 9, 9, 4, 5, 6};
    batch.lengths = {4, 2};
    const auto noise = neftune_noise<double>(batch, 300, 5, 9, Random(1)),
               other = neftune_noise<double>(batch, 300, 5, 9, Random(2));
    for (Index n = 0; n < 6; ++n) {
        double most = 0;
        for (Index j = 0; j < 300; ++j) most = std::max(most, std::abs(noise.data()[n * 300 + j]));
        const double bound = 5 / std::sqrt((n < 4 ? 4.0 : 2.0) * 300.0);
        if (n == 1 || n == 2)
            CHECK(most == 0);
        else
            CHECK((most <= bound && most > 0.95 * bound));
    }
    CHECK(noise.data()[0] != other.data()[0]);
}

TEST_CASE("Evaluation sees every sample once, changes nothing, and agrees with the training loss of the same samples") {
    Run run(Changes{{"eval_data", "data.jsonl"}, {"batch_samples", 6}});
    const auto trainer = run.trainer();
    const std::vector<float> before = weights_of(*trainer);
    const EvalReport report = trainer->evaluate();
    CHECK(weights_of(*trainer) == before);
    const StepReport step = trainer->step();
    CHECK(report.loss == doctest::Approx(step.loss).epsilon(1e-5));
    CHECK(report.accuracy == doctest::Approx(step.accuracy));
    CHECK(report.counted == step.counted);
}

TEST_CASE("Exact answers: all rows of an answer must be right") {
    const std::vector<RowRange> answers{{0, 2}, {2, 3}, {5, 7}};
    const std::vector<std::int32_t> targets{3, 1, 4, 1, 5, 9, 2};
    const auto exact = [&](const std::vector<std::int32_t>& predicted) {
        return exact_answers(answers, predicted, targets);
    };
    CHECK(exact(targets) == 3);
    CHECK(exact({3, 1, 4, 0, 0, 9, 2}) == 3);  // rows 3 and 4 belong to no answer
    CHECK(exact({3, 0, 4, 1, 5, 9, 2}) == 2);
    CHECK(exact({0, 1, 0, 1, 5, 9, 0}) == 0);
}

TEST_CASE("Random weights: the first loss is near that of knowing nothing, and they follow from the seed") {
    Run run(Changes{{"init", model_folder}, {"model", nullptr}}),
        other(Changes{{"init", model_folder}, {"model", nullptr}, {"seed", 4}});
    const auto a = run.trainer(), b = run.trainer(), c = other.trainer();
    CHECK(weights_of(*a) == weights_of(*b));
    CHECK(weights_of(*a) != weights_of(*c));
    CHECK(a->step().loss == doctest::Approx(std::log(296.0)).epsilon(0.1));
}

TEST_CASE("Checkpoints: only the newest are kept, each loads as a model, and saving twice writes once") {
    Run run(Changes{{"keep_checkpoints", 2}});
    const auto trainer = run.trainer();
    for (int step = 0; step < 4; ++step) {
        trainer->step();
        CHECK(trainer->save() == trainer->save());
    }
    const auto found = list_checkpoints(trainer->output());
    REQUIRE(found.size() == 2);
    CHECK(found.begin()->first == 3);
    CHECK(found.rbegin()->second.ends_with("run/checkpoint-000004"));
    B be;
    const auto pipeline = load(be, found.rbegin()->second);
    CHECK(pipeline.model.config.text.hidden_size == 48);
    CHECK(testing::error_of([&] { run.trainer(); }).find("holds the checkpoints of a run already") !=
          std::string::npos);
}

TEST_CASE("A full disk leaves the checkpoints that were there, and nothing else") {
    Run run;
    const auto trainer = run.trainer();
    trainer->step();
    const std::string good = trainer->save();
    trainer->step();
    std::signal(SIGXFSZ, SIG_IGN);
    rlimit before{};
    ::getrlimit(RLIMIT_FSIZE, &before);
    const rlimit small{20000, before.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &small);
    const std::string error = testing::error_of([&] { trainer->save(); });
    ::setrlimit(RLIMIT_FSIZE, &before);
    CHECK(error.find("cannot be written") != error.npos);
    const auto found = list_checkpoints(trainer->output());
    REQUIRE(found.size() == 1);
    CHECK(found.begin()->second == good);
    for (const auto& entry : std::filesystem::directory_iterator(trainer->output()))
        CHECK(entry.path().string() == good);
    CHECK(run.trainer(true)->step_count() == 1);
}

TEST_CASE(
    "A changed configuration, another number of ranks, and an empty folder cannot be resumed; harmless keys may "
    "change") {
    Run run;
    CHECK(testing::error_of([&] { run.trainer(true); }).find("holds no checkpoint to go on from") != std::string::npos);
    const auto trainer = run.trainer();
    trainer->step();
    trainer->save();
    run.settings["keep_checkpoints"] = 7;
    CHECK(run.trainer(true)->step_count() == 1);
    run.settings["lr"] = 2e-3;
    const std::string error = testing::error_of([&] { run.trainer(true); });
    CHECK(error.find("the run was begun with \"lr\" 0.001, the configuration now says 0.002") != error.npos);
    run.settings["lr"] = 1e-3;
    run.settings["steps"] = 60;
    CHECK(testing::error_of([&] { run.trainer(true); }).find("\"steps\" 6") != std::string::npos);
}

TEST_CASE(
    "A loss that is not finite stops the run and is traced to the first parameter or activation; the model stays") {
    // The parameter: a model folder whose weights hold a NaN.
    Run run;
    const std::string broken = run.dir / "broken";
    {
        B be;
        auto pipeline = load(be, model_folder);
        auto& norm = pipeline.model.text_model.layers[1].input_layernorm.weight;
        HostTensor<float> values(norm.shape(), std::vector<float>(norm.flat().begin(), norm.flat().end()));
        values.data()[5] = std::numeric_limits<float>::quiet_NaN();
        norm = values;
        save(be, pipeline.model, pipeline.generation, broken, {.copy_from = model_folder});
    }
    run.settings["model"] = broken;
    CHECK(testing::error_of([&] { run.trainer()->step(); })
              .find("step 1: the loss is nan; the parameter model.text_model.layers.1.input_layernorm.weight is nan at "
                    "element 5") != std::string::npos);
    // The activation: a learning rate that throws the weights far away.
    Run far(Changes{{"lr", 1e30}, {"warmup_steps", 0}, {"clip", 0}, {"schedule", "constant"}, {"batch_samples", 6}});
    const auto trainer = far.trainer();
    std::string error;
    std::vector<float> before;
    for (int step = 0; step < 5 && error.empty(); ++step) {
        before = weights_of(*trainer);
        error = testing::error_of([&] { trainer->step(); });
    }
    CHECK(error.starts_with("step 2: the loss is "));
    CHECK_MESSAGE(error.find("the first activation that is not is vision.layer.0.") != error.npos, error);
    CHECK(weights_of(*trainer) == before);
}

TEST_CASE("Configurations: unknown keys, wrong types, limits and missing parts are told apart") {
    Run run;
    const auto refusal = [&](const char* key, Json value) {
        Run wrong({{key, value}});
        return testing::error_of([&] { wrong.config(); });
    };
    using testing::contains;
    CHECK(contains(refusal("stepz", 3),
                   "run.json: \"stepz\" is no key of a training configuration; did you mean \"steps\"?"));
    CHECK(contains(refusal("zzzzzzzzzzzz", 3), "smolvlm train --help lists them"));
    CHECK(contains(refusal("steps", "many"), "\"steps\" is the string \"many\", expected an integer"));
    CHECK(contains(refusal("steps", 2.5), "\"steps\" is the number 2.5, expected an integer"));
    CHECK(contains(refusal("steps", 0), "\"steps\" is 0, expected a number from 1"));
    CHECK(contains(refusal("final_lr", 2), "\"final_lr\" is 2, expected a number from 0 to 1"));
    CHECK(contains(refusal("clip", -1), "\"clip\" is -1, expected a number of at least 0"));
    CHECK(contains(refusal("labels", "all"), "\"labels\" is \"all\", expected one of \"completions\", \"smolvlm-v1\""));
    CHECK(contains(refusal("freeze", "lm_head"), "\"freeze\" is the string \"lm_head\", expected an array"));
    CHECK(contains(refusal("data", {{{"path", "x"}, {"wieght", 2}}}), "\"wieght\" is no key of a data set"));
    CHECK(contains(refusal("data", {{{"path", "x"}, {"weight", -2}}}), "\"weight\" is -2, expected a positive number"));
    CHECK(contains(refusal("data", {{{"path", "x"}, {"max_frames", -1}}}), "\"max_frames\" is -1"));
    CHECK(contains(refusal("init", "x"), "\"model\" and \"init\" are both given"));
    CHECK(contains(refusal("output", ""), "\"output\" is missing"));
    CHECK(contains(refusal("data", nullptr), "\"data\" is missing"));
    CHECK(contains(testing::error_of([] { parse_train_config(Json::array(), "run.json"); }),
                   "expected an object of settings"));
    CHECK(contains(testing::error_of([&] { Run(Changes{{"freeze", {"*"}}}).trainer(); }), "nothing is trained"));
    CHECK(contains(testing::error_of([&] {
                       Run(Changes{{"max_tokens", 100000}}).trainer();
                   }),
                   "more than the model's context of 2048"));
}

TEST_CASE("Configurations: writing and reading again changes nothing, and --help names every key") {
    Run run(Changes{{"freeze", {"a*"}}, {"data", {{{"path", "data.jsonl"}, {"weight", 0.5}}}}});
    const Json json = to_json(run.config());
    CHECK(to_json(parse_train_config(json, "run.json")) == json);
    const std::string help = describe_train_config();
    for (const auto& [key, value] : json.items()) CHECK(help.find("\n  " + key + " ") != help.npos);
}
