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
    CHECK(not_refused(run({"quantize", "--dtype", "q3", model, dir / "x"}), "expected q8_0, q4_0, q4_1, f16") == "");
    CHECK(not_refused(run({"quantize", "--dtype", "int8", model, dir / "x"}), "is for --format safetensors, expected") == "");
    CHECK(not_refused(run({"quantize", "--mmproj", "m.gguf", model, dir / "x"}), "goes with a .gguf model") == "");
    CHECK(not_refused(run({"quantize", model}), "OUT is missing") == "");
    CHECK(run({"quantize", "--help"}).out.find("q4_1 5, q4_0 4.5") != std::string::npos);
}

TEST_CASE("cli: quantize --format safetensors writes a folder that knows its precision, and every command reads it") {
    const testing::TempDir dir;
    const Words asked = {"--image", golden("images/rgb.png"), "--prompt", "What is this?", "--max-new-tokens", "4",
                         "--ignore-eos", "--json"};
    for (const std::string dtype : {"int8", "q8_0", "q4_0", "bf16"}) {
        CAPTURE(dtype);
        const std::string out = dir / dtype;
        CHECK(run({"quantize", "--format", "safetensors", "--dtype", dtype, model, out}).code == 0);
        const auto expected = json(run(Words{"generate", "--model", model, "--dtype", dtype} + asked).out);
        for (const Words& more : {Words{}, Words{"--dtype", dtype}})
            CHECK(json(run(Words{"generate", "--model", out} + asked + more).out)["ids"] == expected["ids"]);
        for (const std::string exact : {"f32", "f64"})
            CHECK(run(Words{"generate", "--model", out, "--dtype", exact} + asked).code == 0);
        CHECK(run(Words{"generate", "--model", out, "--backend", "ref"} + asked).code == 0);
        CHECK(not_refused(run(Words{"generate", "--model", out, "--dtype", dtype == "int8" ? "q8_0" : "int8"} + asked),
                          ", or f32 or f64 for exact arithmetic with the weights as they are") == "");
        CHECK(run({"info", "--model", out}).out.find("panels of " + dtype) != std::string::npos);
        CHECK(run({"convert", "--model", out, "--output", dir / (dtype + "-f32"), "--dtype", "f32"}).code == 0);
        CHECK(run({"compare", out + "/model.safetensors", out + "/model.safetensors"}).code == 0);
    }
    CHECK(not_refused(run({"quantize", "--format", "safetensors", "--dtype", "q4_1", model, dir / "x"}),
                      "is for --format gguf, expected q8_0, q4_0, int8 or bf16") == "");
    CHECK(not_refused(run({"quantize", "--format", "onnx", model, dir / "x"}), "expected gguf or safetensors") == "");
    CHECK(not_refused(run({"quantize", "--format", "safetensors", model, dir / "q8_0"}), "not empty") == "");
    CHECK(run({"quantize", "--help"}).out.find("as they are\n               multiplied") != std::string::npos);
}
