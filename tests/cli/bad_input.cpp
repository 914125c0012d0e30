// Files that are not what they should be: one sentence, exit code 2, nothing written.

#include <doctest/doctest.h>

#include "cli/program.hpp"

using namespace cli_test;

namespace {

std::string refused(const std::string& file, std::string_view bytes, std::string_view part) {
    const Variant variant(file, bytes);
    return not_refused(run({"generate", "--model", variant.path(), "--prompt", "hi", "--max-new-tokens", "1"}), part);
}

}  // namespace

TEST_CASE("cli: damaged checkpoints are refused in one line that names the file") {
    const std::string weights = testing::read_file(model + "/model.safetensors");
    CHECK(refused("model.safetensors", "", "model.safetensors: is empty") == "");
    CHECK(refused("model.safetensors", weights.substr(0, 5), "model.safetensors") == "");
    CHECK(refused("model.safetensors", weights.substr(0, weights.size() / 2), "model.safetensors") == "");
    CHECK(refused("model.safetensors", std::string(8, '\x7f') + weights.substr(8), "byte 0") == "");
    CHECK(refused("config.json", "{}", "config.json") == "");
    CHECK(refused("config.json", "{\"model_type\": \"gpt2\"}", "gpt2") == "");
    CHECK(refused("config.json", std::string(100000, '['), "nested more than") == "");
    CHECK(refused("config.json", changed_config("\"num_hidden_layers\": 3", "\"num_hidden_layers\": 1000000000"),
                  "num_hidden_layers") == "");
    CHECK(refused("config.json", changed_config("\"num_hidden_layers\": 3", "\"num_hidden_layers\": \"3\""),
                  "expected an integer") == "");
    CHECK(refused("config.json", changed_config("\"num_hidden_layers\": 3", "\"num_hidden_layers\": 4"),
                  "missing: ") == "");
    CHECK(refused("config.json", changed_config("\"num_hidden_layers\": 3", "\"num_hidden_layers\": 2"),
                  "not expected: ") == "");
    CHECK(refused("tokenizer.json", "{\"model\": {\"type\": \"WordPiece\"}}", "WordPiece") == "");
    CHECK(refused("tokenizer.json", "{\"model\": ", "tokenizer.json: byte") == "");
    CHECK(refused("preprocessor_config.json", "{\"size\": {\"longest_edge\": -5}}", "longest_edge") == "");
    CHECK(refused("chat_template.json", "{\"chat_template\": \"{{ messages }}\"}", "unknown chat template") == "");
    const auto nowhere = [](const std::string& path) {
        return not_refused(run({"generate", "--model", path, "--prompt", "hi"}), path);
    };
    CHECK(nowhere("/no/such/folder") == "");
    CHECK(nowhere(golden("images")) == "");
    CHECK(nowhere("/no/such/file.gguf") == "");
    const testing::TempDir dir;
    CHECK(nowhere(dir.write("t.gguf", std::string("GGUF\3\0\0\0", 8) + std::string(16, '\x7f'))) == "");
    CHECK(nowhere(dir.write("empty.gguf", "")) == "");
}

TEST_CASE("cli: pictures that are none, prompts that do not fit and chats of the wrong form are refused") {
    const testing::TempDir dir;
    const auto generate = [](const Words& words, std::string_view part) {
        return not_refused(run(Words{"generate", "--model", model} + words), part);
    };
    const auto picture = [&](const std::string& path, std::string_view part) {
        return generate({"--prompt", "hi", "--image", path}, part);
    };
    CHECK(picture("/no/such.png", "/no/such.png") == "");
    CHECK(picture(dir.write("empty.png", ""), "empty.png") == "");
    CHECK(picture(dir.path().string(), dir.path().string()) == "");
    CHECK(picture(dir.write("noise.png", "\x89PNG\r\n\x1a\n and then nothing of the kind"), "noise.png") == "");
    CHECK(picture(dir.write("text.jpg", "a picture says more"), "text.jpg") == "");

    const std::string image = golden("images/3x3.png");
    CHECK(generate({"--raw-prompt", "--prompt", "<image><image>", "--image", image}, "there are 1 images") == "");
    CHECK(generate({"--raw-prompt", "--prompt", "none", "--image", image}, "has 0 times '<image>'") == "");
    CHECK(generate({"--prompt", "<image>"}, "has 1 times '<image>'") == "");
    CHECK(generate({"--raw-prompt", "--prompt", ""}, "empty") == "");
    std::string words;
    for (int i = 0; i < 4000; ++i) words += "word ";
    CHECK(generate({"--prompt", words}, "longer than the model's context of 2048") == "");

    const auto chat = [&](std::string_view text, std::string_view part) {
        return generate({"--chat", dir.write("chat.json", text)}, part);
    };
    CHECK(generate({"--chat", "/no/such.json"}, "/no/such.json") == "");
    CHECK(chat("", "chat.json") == "");
    CHECK(chat("[]", "expected a JSON object") == "");
    CHECK(chat("{}", "\"messages\" is missing") == "");
    CHECK(chat("{\"messages\": []}", "\"messages\" is empty") == "");
    CHECK(chat("{\"messages\": [5]}", "message 1") == "");
    CHECK(chat("{\"messages\": [{\"role\": 5}]}", "\"role\" is the number 5, expected a string") == "");
    CHECK(chat("{\"messages\": [{\"role\": \"user\"}]}", "\"content\" is missing") == "");
    CHECK(chat("{\"messages\": [{\"role\": \"user\", \"content\": []}]}", "\"content\" is empty") == "");
    CHECK(chat("{\"messages\": [{\"role\": \"user\", \"content\": [{\"type\": \"sound\"}]}]}",
               "\"type\" is \"sound\"") == "");
    CHECK(chat("{\"messages\": [{\"role\": \"user\", \"content\": [{\"type\": \"image\"}]}]}", "\"path\" is missing") ==
          "");
    CHECK(chat("{\"messages\": [{\"role\": \"user\", \"content\": \"\xff\"}]}", "not valid JSON") == "");
}

TEST_CASE("cli: lines that are no JSON, or not of the right kind, name their line") {
    const auto tokenize = [](std::string_view input, const Words& words, std::string_view part) {
        const Result result = run(Words{"tokenize", "--model", model} + words, input);
        return not_refused({result.code, "", result.err}, part);
    };
    CHECK(tokenize("\"a\"\nb\n", {}, "line 2: byte 1 of 1: not valid JSON") == "");
    CHECK(tokenize("\n", {}, "line 1") == "");
    CHECK(tokenize("[1]\n", {}, "line 1: the value is an array, expected a string") == "");
    CHECK(tokenize("\"a\"\n", {"--decode"}, "expected an array of token ids, found the string \"a\"") == "");
    CHECK(tokenize("[1, -1]\n", {"--decode"}, "element 1 is -1") == "");
    CHECK(tokenize("[4294967296]\n", {"--decode"}, "element 0 is 4294967296") == "");
    CHECK(tokenize("[1.5]\n", {"--decode"}, "expected an integer") == "");
}

TEST_CASE("cli: a file that cannot be written is said so, and what stood there stays") {
    const testing::TempDir dir;
    const Words words = {"preprocess", "--model", processor, "--no-split", "--image"};
    CHECK(not_refused(run(words + Words{golden("images/3x3.png"), "--output", "/no/such/o.safetensors"}),
                      "/no/such/") == "");
    const std::string output = dir.write("o.safetensors", "before");
    CHECK(not_refused(run(words + Words{dir.write("x.png", "no picture"), "--output", output}), "x.png") == "");
    CHECK(testing::read_file(output) == "before");
}
