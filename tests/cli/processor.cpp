// smolvlm tokenize, prompt, preprocess and info, which need no weights.

#include <doctest/doctest.h>

#include "cli/program.hpp"
#include "support/sha256.hpp"

using namespace cli_test;
using smolvlm::Json;

namespace {

std::vector<Json> lines(const std::string& text) {
    std::vector<Json> values;
    for (std::size_t begin = 0; begin < text.size(); begin = text.find('\n', begin) + 1)
        values.push_back(json(text.substr(begin, text.find('\n', begin) - begin)));
    return values;
}

}  // namespace

TEST_CASE("cli: tokenize answers every line with the reference's ids, and --decode with its text") {
    const Json golden_cases = golden_json("tokenizer_cases.json")["cases"];
    std::string texts, ids;
    for (const Json& entry : golden_cases) {
        texts += entry["text"].dump() + '\n';
        ids += entry["ids"].dump() + '\n';
    }
    const std::vector<Json> encoded = lines(run({"tokenize", "--model", processor}, texts).out);
    const std::vector<Json> decoded = lines(run({"tokenize", "--model", processor, "--decode"}, ids).out);
    const std::vector<Json> bare =
        lines(run({"tokenize", "--model", processor, "--decode", "--skip-special"}, ids).out);
    REQUIRE(encoded.size() == golden_cases.size());
    REQUIRE(decoded.size() == golden_cases.size());
    REQUIRE(bare.size() == golden_cases.size());
    for (std::size_t i = 0; i < golden_cases.size(); ++i) {
        const Json& entry = golden_cases[i];
        CHECK(encoded[i] == entry["ids"]);
        CHECK(decoded[i] == entry.value("decoded", entry["text"]));
        CHECK(bare[i] == entry.value("decoded_skip", entry.value("decoded", entry["text"])));
    }
}

TEST_CASE("cli: a line of tokenize is one line for every reader, whatever line breaks it holds") {
    const std::string ids = run({"tokenize", "--model", processor}, R"("a\u2028b\u2029c\u0085d\r\n\u000b")"
                                                                    "\n")
                                .out;
    const std::string text = run({"tokenize", "--model", processor, "--decode"}, ids).out;
    CHECK(text == R"("a\u2028b\u2029c\u0085d\u000d\n\u000b")"
                  "\n");
}

TEST_CASE("cli: tokenize answers the last line also without a line break after it, and nothing with nothing") {
    CHECK(run({"tokenize", "--model", processor}, "\"hello\"").out == "[28120]\n");
    CHECK(run({"tokenize", "--model", processor}, "").out == "");
}

TEST_CASE("cli: prompt prints the reference's text and ids for both position schemes") {
    const testing::TempDir dir;
    for (const Json& entry : golden_json("answers.json")) {
        const Words words = Words{"prompt", "--model", golden(entry["model"].get<std::string>()), "--chat",
                                  write_chat(dir, "chat.json", entry["messages"])} +
                            image_flags(entry["options"]);
        CHECK(json(run(words + Words{"--ids"}).out) == entry["prompt_ids"]);
    }
    for (const Json& entry : golden_json("prompts.json")) {
        if (!entry["rows_cols"].empty() || !entry.contains("expanded")) continue;
        const std::string chat = write_chat(dir, "chat.json", entry["messages"]);
        Words words = {"prompt", "--chat", chat};
        if (!entry["add_generation_prompt"].get<bool>()) words.push_back("--no-generation-prompt");
        CHECK(run(words + Words{"--model", processor}).out == entry["expanded"].get<std::string>() + "\n");
        CHECK(json(run(words + Words{"--ids", "--model", processor}).out) == entry["ids"]);
        CHECK(json(run(words + Words{"--ids", "--model", golden("processor_string")}).out) == entry["string_ids"]);
    }
}

TEST_CASE("cli: preprocess writes the reference's pixels, their normalised values, masks and grids") {
    const Json files = golden_json("images.json")["files"];
    // The processor that the golden frames were made with: tiles of 64, the longest side 256.
    const testing::TempDir folder;
    folder.write("tokenizer.json", testing::read_file(processor + "/tokenizer.json"));
    folder.write("preprocessor_config.json",
                 R"({"size": {"longest_edge": 256}, "max_image_size": {"longest_edge": 64}})");
    const auto check = [&](const std::string& model_path, const std::string& name, const Json& expected,
                           const Words& flags) {
        CAPTURE(name);
        const testing::TempDir dir;
        const std::string output = dir / "out.safetensors";
        const Result result =
            run(Words{"preprocess", "--model", model_path, "--image", golden("images/" + name), "--output", output} +
                flags);
        REQUIRE_MESSAGE(result.code == 0, result.err);
        const smolvlm::Safetensors out = smolvlm::Safetensors::open(output);
        const smolvlm::HostWeight bytes = out.host_weight("pixel_u8");
        const auto size = static_cast<std::size_t>(bytes.shape().numel());
        CHECK(testing::sha256({reinterpret_cast<const char*>(bytes.bytes()), size}) ==
              expected["sha256"].get<std::string>());
        const auto values = out.tensor<float>("pixel_values");
        REQUIRE(values.shape() == bytes.shape());
        float worst = 0;
        for (std::size_t i = 0; i < size; ++i) {
            const float exact = (static_cast<float>(std::to_integer<int>(bytes.bytes()[i])) - 127.5f) / 127.5f;
            worst = std::max(worst, std::abs(values.data()[i] - exact));
        }
        CHECK(worst < 1e-6f);
        CHECK(out.tensor<std::int64_t>("rows").data()[0] == expected["rows"].get<std::int64_t>());
        CHECK(out.tensor<std::int64_t>("cols").data()[0] == expected["cols"].get<std::int64_t>());
        const auto mask = out.tensor<std::int64_t>("pixel_attention_mask");
        CHECK(mask.shape() == smolvlm::Shape{values.dim(0), values.dim(2), values.dim(3)});
        CHECK(std::all_of(mask.data(), mask.data() + mask.numel(), [](std::int64_t on) { return on == 1; }));
    };
    for (const char* name : {"rgb.png", "palette_alpha.png", "grey16.png", "rgba16.png", "one_bit.png", "exif_turn.png",
                             "animated.gif", "palette.bmp", "1x1.png", "100x1.png", "565.bmp"}) {
        const Json& runs = files[name]["runs"];
        check(folder.path().string(), name, runs["tiny"], {});
        check(folder.path().string(), name, runs["tiny_nosplit"], {"--no-split"});
    }
    check(processor, "rgb.png", files["rgb.png"]["runs"]["full"], {});
    check(processor, "rgb.png", files["rgb.png"]["runs"]["full_1000"], {"--longest-edge", "1000"});
}

TEST_CASE("cli: several pictures stand one after the other, and the contact sheet is a picture again") {
    const testing::TempDir dir;
    const std::string output = dir / "out.safetensors", sheet = dir / "sheet.png";
    const Words words = {
        "preprocess", "--model", model, "--image", golden("images/rgb.png"), "--image", golden("images/3x3.png"),
        "--output",   output};
    REQUIRE(run(words + Words{"--contact-sheet", sheet}).code == 0);
    const smolvlm::Safetensors out = smolvlm::Safetensors::open(output);
    const auto rows = out.tensor<std::int64_t>("rows"), cols = out.tensor<std::int64_t>("cols");
    REQUIRE(rows.numel() == 2);
    CHECK(out.at("pixel_u8").shape[0] == rows.data()[0] * cols.data()[0] + 1 + rows.data()[1] * cols.data()[1] + 1);
    CHECK(run({"prompt", "--model", model, "--image", sheet, "--prompt", "hi"}).code == 0);
    CHECK(run(words + Words{"--max-tiles", "1"}).code == 0);
    CHECK(smolvlm::Safetensors::open(output).at("pixel_u8").shape[0] == 2);
}

TEST_CASE("cli: info names architecture, parameters, position scheme and special tokens of every kind of folder") {
    const auto says = [](const std::string& path, std::string_view part) {
        const Result result = run({"info", "--model", path});
        return result.code == 0 && result.out.find(part) != std::string::npos;
    };
    CHECK(says(model, "architecture        smolvlm"));
    CHECK(says(model, "learned tokens"));
    CHECK(says(model, "<image> 289"));
    CHECK(says(golden("models/mha_tied_r3"), "tied"));
    CHECK(says(golden("models/sharded_tied"), "weights on disk"));
    CHECK(says(processor, "no config.json: processor files only"));
    CHECK(says(golden("processor_string"), "<row_1_col_1> as text (9 tokens)"));
}

TEST_CASE("cli: show paints a picture in half blocks or tells its path, and only a picture") {
    const std::string photo = SMOLVLM_TEST_DIR "/golden/images/rgb.png";
    CHECK(run({"show", photo}).out == photo + "\n");  // standard output is no terminal
    const Result blocks = run({"show", photo, "--graphics", "blocks", "--width", "6"});
    CHECK(blocks.code == 0);
    std::size_t cells = 0, lines = 0;
    for (std::size_t at = 0; (at = blocks.out.find("▀", at)) != std::string::npos; ++at) ++cells;
    for (const char c : blocks.out) lines += c == '\n';
    CHECK(lines > 0);
    CHECK(cells == 6 * lines);
    CHECK(run({"show", photo, "--graphics", "kitty", "--width", "6"}).out.starts_with("\x1b_Ga=T,f=24,s=6,v="));
    CHECK(run({"show", photo, "--graphics", "iterm"}).out.find("iVBORw0KGgo") != std::string::npos);  // base64 of a PNG
    CHECK(not_refused(run({"show", SMOLVLM_TEST_DIR "/run.sh"}), "run.sh") == "");
    CHECK(not_refused(run({"show"}), "PICTURE is missing") == "");
}

TEST_CASE("cli: convert writes a folder in another width that answers like the first") {
    const testing::TempDir dir;
    const std::string folder = dir / "half";
    CHECK(run({"convert", "--model", model, "--output", folder, "--dtype", "f16"}).code == 0);
    CHECK(run({"info", "--model", folder}).out.find("F16") != std::string::npos);
    const Words question{"generate", "--prompt", "Hello", "--max-new-tokens", "3"};
    CHECK(run(question + Words{"--model", folder}).out == run(question + Words{"--model", model}).out);
    CHECK(not_refused(run({"convert", "--model", model, "--output", folder}), "the folder is not empty") == "");
    CHECK(not_refused(run({"convert", "--model", model}), "--output is missing") == "");
}

TEST_CASE("cli: a video is a folder of pictures; its frames are read one by one, uncut, each with its time") {
    const testing::TempDir dir;
    std::filesystem::create_directory(dir.path() / "clip");
    for (int i = 0; i < 4; ++i) dir.write("clip/" + std::to_string(i) + ".png", testing::read_file(golden("images/rgb.png")));
    const std::string clip = dir / "clip";
    const std::string text = run({"prompt", "--model", processor, "--video", clip, "--prompt", "What happens?"}).out;
    CHECK(text.starts_with("<|im_start|>User: You are provided the following series of four frames from a 0:00:04 "
                           "[H:MM:SS] video.\n\nFrame from 00:00:<fake_token_around_image><global-img><image>"));
    CHECK(text.find("\nFrame from 00:03:") != text.npos);
    CHECK(text.find("<fake_token_around_image>\n\nWhat happens?<end_of_utterance>\nAssistant:") != text.npos);
    const std::string chat = dir.write("chat.json", R"({"messages": [{"role": "user", "content": [{"type": "video", )"
                                                    R"("path": "clip"}, {"type": "text", "text": "What happens?"}]}]})");
    CHECK(run({"prompt", "--model", processor, "--chat", chat}).out == text);
    CHECK(run({"prompt", "--model", processor, "--video", clip, "--max-frames", "2", "--prompt", "x"})
              .out.starts_with("<|im_start|>User: You are provided the following series of two frames from a 0:00:04"));
    CHECK(run({"prompt", "--model", processor, "--video", clip, "--fps", "2", "--prompt", "x"})
              .out.starts_with("<|im_start|>User: You are provided the following series of two frames from a 0:00:02"));

    const std::string output = dir / "out.safetensors";
    REQUIRE(run({"preprocess", "--model", model, "--video", clip, "--output", output}).code == 0);
    const auto frames = smolvlm::Safetensors::open(output);
    CHECK(frames.tensor<float>("pixel_values").dim(0) == 4);
    const Result answer = run({"generate", "--model", model, "--video", clip, "--prompt", "x", "--max-new-tokens", "3",
                               "--ignore-eos", "--json"});
    REQUIRE_MESSAGE(answer.code == 0, answer.err);
    CHECK(json(answer.out)["image_tokens"] == 4 * json(testing::read_file(model + "/processor_config.json"))["image_seq_len"].get<int>());

    CHECK(not_refused(run({"prompt", "--model", processor, "--video", dir / "no", "--prompt", "x"}),
                      "expected a folder of pictures") == "");
    CHECK(not_refused(run({"prompt", "--model", processor, "--video", clip, "--fps", "0", "--prompt", "x"}), "--fps") == "");
    CHECK(not_refused(run({"generate", "--model", model, "--raw-prompt", "--video", clip, "--prompt", "x"}),
                      "--video do not go with it") == "");
}
