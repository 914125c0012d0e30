// Fine-tuning on the device: the trainer of the CPU on Cuda<float>. (AdamW on the device: vjp.cpp.) A long test: it compiles
// the trainer twice.
#include <doctest/doctest.h>

#include <smolvlm/cuda/cuda.cuh>
#include <smolvlm/ref/ref.hpp>
#include <smolvlm/train/trainer.hpp>

#include "support/approx.hpp"
#include "support/temp_dir.hpp"

using namespace smolvlm;
using namespace testing;

namespace {

/// Four steps on two conversations: losses, and the masters after them.
template <class B>
std::pair<std::vector<double>, std::vector<HostTensor<float>>> trained() {
    TempDir dir;
    const auto line = [](const char* question, const char* answer) {
        return Json{{"messages", {{{"role", "user"}, {"content", question}}, {{"role", "assistant"}, {"content", answer}}}}}
                   .dump() +
               "\n";
    };
    dir.write("data.jsonl", line("2+2", "4") + line("hello", "hi there"));
    const Json settings{{"model", SMOLVLM_TEST_DIR "/golden/models/gqa_untied_r2"},
                        {"output", "run"},
                        {"data", "data.jsonl"},
                        {"steps", 4},
                        {"batch_samples", 2},
                        {"lr", 1e-3},
                        {"warmup_steps", 1},
                        {"weight_decay", 0.1},
                        {"threads", 1}};
    Trainer<B> trainer(B(), read_train_config(dir.write("run.json", settings.dump())), chat_files({}), false);
    std::vector<double> losses;
    while (!trainer.finished()) losses.push_back(trainer.step().loss);
    std::vector<HostTensor<float>> masters;
    for (const auto& p : trainer.parameters().all()) masters.push_back(p.master);
    return {losses, masters};
}

}  // namespace

TEST_CASE("training on the device: four steps have the losses and the weights of the CPU") {
    const auto found = trained<Cuda<float>>(), expected = trained<Ref<float>>();
    REQUIRE(found.first.size() == 4);
    for (std::size_t i = 0; i < 4; ++i) CHECK(found.first[i] == doctest::Approx(expected.first[i]).epsilon(1e-5));
    CHECK(found.first[3] < found.first[0]);
    REQUIRE(found.second.size() == expected.second.size());
    for (std::size_t i = 0; i < found.second.size(); ++i) CHECK(departure(found.second[i], expected.second[i], 1e-3) == "");
}
