// smolvlm generate against whole answers of the reference, picture files to token ids.

#include <doctest/doctest.h>

#include "cli/program.hpp"

using namespace cli_test;
using smolvlm::Json;

namespace {

Json answer(const Words& words) {
    const Result result = run(Words{"generate", "--ignore-eos", "--json"} + words);
    CAPTURE(result.err);
    REQUIRE(result.code == 0);
    CHECK(result.err.empty());
    return json(result.out);
}
Words length(const Json& ids) { return {"--max-new-tokens", std::to_string(ids.size())}; }

}  // namespace

TEST_CASE("cli: generate gives the reference's token ids for pictures and conversations of every kind") {
    const testing::TempDir dir;
    for (const Json& expected : golden_json("answers.json")) {
        CAPTURE(expected["model"]);
        CAPTURE(expected["prompt_tokens"]);
        const std::string chat = write_chat(dir, "chat.json", expected["messages"]);
        const Json found = answer(Words{"--model", golden(expected["model"].get<std::string>()), "--chat", chat} +
                                  image_flags(expected["options"]) + length(expected["ids"]));
        CHECK(found["prompt_tokens"] == expected["prompt_tokens"]);
        CHECK(found["ids"] == expected["ids"]);
        CHECK(found["text"] == expected["text"]);
        for (const char* key : {"load_s", "preprocess_s", "vision_s", "prefill_s", "decode_s"})
            CHECK(found["timings"][key].get<double>() >= 0);
        CHECK(found["peak_memory_bytes"].get<double>() > 0);
    }
}

TEST_CASE("cli: every backend and precision gives the same greedy ids") {
    const Json expected = golden_json("answers.json")[2];
    const testing::TempDir dir;
    const Words words = Words{"--model", golden(expected["model"].get<std::string>()), "--chat",
                              write_chat(dir, "chat.json", expected["messages"])} +
                        image_flags(expected["options"]) + length(expected["ids"]);
    for (const Words& machine :
         {Words{"--dtype", "f64"}, Words{"--backend", "ref"}, Words{"--backend", "ref", "--dtype", "f64"},
          Words{"--threads", "1"}, Words{"--threads", "3"}, Words{"--kv-cache", "exact"}})
        CHECK(answer(words + machine)["ids"] == expected["ids"]);
    // Weights of fewer bits are other weights: the answers may differ, but there is one.
    for (const char* cache : {"bf16", "int8"})
        CHECK(answer(words + Words{"--kv-cache", cache})["ids"].size() == expected["ids"].size());
    for (const char* dtype : {"bf16", "f16", "q8_0", "q4_0", "q4_1"})
        CHECK(answer(words + Words{"--dtype", dtype})["ids"].size() == expected["ids"].size());
}

TEST_CASE("cli: a batch of conversations gives each the answer that it gets alone") {
    const testing::TempDir dir;
    Words chats;
    std::vector<Json> expected;
    for (const Json& entry : golden_json("answers.json"))
        if (entry["model"] == "models/gqa_untied_r2" && entry["options"].empty()) {
            chats =
                chats + Words{"--chat", write_chat(dir, std::to_string(expected.size()) + ".json", entry["messages"])};
            expected.push_back(entry);
        }
    REQUIRE(expected.size() > 2);
    const Json found = answer(Words{"--model", model} + chats + length(expected[0]["ids"]));
    REQUIRE(found.size() == expected.size());
    for (std::size_t i = 0; i < expected.size(); ++i) CHECK(found[i]["ids"] == expected[i]["ids"]);
}

TEST_CASE("cli: the streamed text is the text of --json, speed goes to standard error") {
    const Words words = {"generate",         "--model", model, "--prompt", "What is the answer to 42?",
                         "--max-new-tokens", "9"};
    const Result streamed = run(words);
    CHECK(streamed.code == 0);
    CHECK(streamed.out == json(run(words + Words{"--json"}).out)["text"].get<std::string>() + "\n");
    CHECK(streamed.err.find("36 prompt tokens; 9 new") != std::string::npos);
    CHECK(streamed.err.find('\r') == std::string::npos);  // no progress line: this is no terminal
}

TEST_CASE("cli: a raw prompt is the rendered one, and a picture of --image comes first in the user's turn") {
    const std::string image = golden("images/rgb.png");
    const Words words = {"--model", model, "--image", image, "--max-new-tokens", "4", "--no-split"};
    const Json turn = answer(words + Words{"--system", "Be brief.", "--prompt", "What?"});
    const Json raw = answer(
        words +
        Words{"--raw-prompt", "--prompt",
              "<|im_start|>System: Be brief.<end_of_utterance>\nUser:<image>What?<end_of_utterance>\nAssistant:"});
    CHECK(turn["ids"] == raw["ids"]);
    CHECK(turn["prompt_tokens"] == raw["prompt_tokens"]);
    CHECK(turn["image_tokens"] == 16);
}

TEST_CASE("cli: the same seed gives the same answer, another seed another one, and temperature 0 none to choose") {
    const Words words = {"--model", model, "--prompt", "Say anything", "--max-new-tokens", "16"};
    const auto ids = [&](const Words& more) { return answer(words + more)["ids"]; };
    const Json one = ids({"--temperature", "2", "--seed", "1"});
    CHECK(one == ids({"--temperature", "2", "--seed", "1"}));
    CHECK(one != ids({"--temperature", "2", "--seed", "2"}));
    CHECK(ids({}) == ids({"--temperature", "2", "--top-k", "1", "--seed", "3"}));
    CHECK(ids({"--max-new-tokens", "0"}).empty());
}
