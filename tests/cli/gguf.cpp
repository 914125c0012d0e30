// The program on GGUF files, with and without an mmproj.

#include <doctest/doctest.h>

#include "cli/program.hpp"
#include "support/gguf_pair.hpp"

using namespace cli_test;

TEST_CASE("cli: a GGUF pair answers, prompts and traces as the folder that it was made from") {
    for (const char* name : {"gqa_untied_r2", "mha_tied_r3"}) {
        CAPTURE(name);
        const testing::GgufPair pair(name);
        pair.write();
        const Words gguf = {"--model", pair.text_path, "--mmproj", pair.vision_path};
        const Words folder = {"--model", pair.folder_of(name)};
        const Words asked = {"--image", golden("images/rgb.png"), "--prompt", "What is this?"};
        const Words answer = Words{"--max-new-tokens", "12", "--ignore-eos", "--json"} + asked;
        const smolvlm::Json found = json(run(Words{"generate"} + gguf + answer).out);
        const smolvlm::Json expected = json(run(Words{"generate"} + folder + answer).out);
        CHECK(found["ids"] == expected["ids"]);
        CHECK(found["text"] == expected["text"]);
        CHECK(found["image_tokens"] == expected["image_tokens"]);
        CHECK(found["image_tokens"].get<int>() > 0);
        CHECK(run(Words{"prompt"} + gguf + asked).out == run(Words{"prompt"} + folder + asked).out);
        CHECK(run(Words{"info"} + gguf).out.find("vision tower") != std::string::npos);
    }
}

TEST_CASE("cli: without --mmproj a GGUF file reads text only, and pictures for it are refused") {
    const testing::GgufPair pair;
    pair.write();
    const Words asked = {"generate", "--model", pair.text_path, "--max-new-tokens", "3", "--prompt", "Hello"};
    CHECK(run(asked).code == 0);
    CHECK(not_refused(run(asked + Words{"--image", golden("images/rgb.png")}), "knows text alone") == "");
    CHECK(not_refused(run(asked + Words{"--mmproj", "/no/such.gguf"}), "/no/such.gguf: cannot be opened") == "");
    CHECK(not_refused(run(asked + Words{"--mmproj", pair.text_path}), "expected \"clip\"") == "");
    CHECK(not_refused(run({"generate", "--model", pair.vision_path, "--prompt", "Hello"}), "expected \"llama\"") == "");
}
