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

TEST_CASE("cli: quantize writes a pair that the program answers from, and says what it cannot write") {
    const testing::TempDir dir;
    const std::string out = dir / "q8";
    CHECK(run({"quantize", "--dtype", "q8_0", model, out}).code == 0);
    const Words pair = {"--model", out + "/model-Q8_0.gguf", "--mmproj", out + "/mmproj-F16.gguf"};
    const Words asked = {"--image", golden("images/rgb.png"), "--prompt", "What is this?"};
    CHECK(run(Words{"prompt"} + pair + asked).out == run(Words{"prompt", "--model", model} + asked).out);
    const Words answer = {"--max-new-tokens", "2", "--ignore-eos", "--json"};
    CHECK(json(run(Words{"generate"} + pair + asked + answer).out)["ids"].size() == 2);
    CHECK(not_refused(run({"quantize", model, out}), "not empty") == "");
    CHECK(not_refused(run({"quantize", "--dtype", "q3", model, dir / "x"}), "expected q8_0, q4_0, q4_1 or f16") == "");
    CHECK(not_refused(run({"quantize", "--mmproj", "m.gguf", model, dir / "x"}), "goes with a .gguf model") == "");
    CHECK(not_refused(run({"quantize", model}), "OUT is missing") == "");
    CHECK(run({"quantize", "--help"}).out.find("q4_1 5, q4_0 4.5") != std::string::npos);
}
