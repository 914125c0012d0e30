// How the program is asked and how it refuses.

#include <doctest/doctest.h>

#include <csignal>

#include "cli/program.hpp"

using namespace cli_test;

TEST_CASE("cli: --help of every command lists its flags on standard output") {
    for (const char* command : {"generate", "tokenize", "prompt", "preprocess", "trace", "info"}) {
        const Result result = run({command, "--help"});
        CHECK(result.code == 0);
        CHECK_MESSAGE(result.out.find("--model DIR|F.gguf") != std::string::npos, command);
        CHECK_MESSAGE(result.out.find("--help") != std::string::npos, command);
        CHECK(result.err.empty());
        CHECK(run({"--help"}).out.find(command) != std::string::npos);
    }
    CHECK(run({"compare", "--help"}).out.find("--rtol X") != std::string::npos);
    CHECK(run({"--version"}).out.starts_with("smolvlm 0."));
}

TEST_CASE("cli: every line of --help fits 120 columns") {
    for (const char* command : {"generate", "tokenize", "prompt", "preprocess", "trace", "compare", "info"}) {
        const std::string help = run({command, "--help"}).out;
        for (std::size_t begin = 0; begin < help.size(); begin = help.find('\n', begin) + 1)
            CHECK_MESSAGE(help.find('\n', begin) - begin <= 120, command << ": " << help.substr(begin, 140));
    }
}

TEST_CASE("cli: a wrong command line is one sentence that names the flag, what was found and what was expected") {
    CHECK(not_refused(run({}), "no command given") == "");
    CHECK(not_refused(run({"gernerate"}), "unknown command \"gernerate\"; did you mean generate?") == "");
    CHECK(not_refused(run({"paint", "--help"}), "The commands are: generate, tokenize") == "");
    const auto refused = [](const Words& words, std::string_view part) {
        return not_refused(run(Words{"generate", "--model", model, "--prompt", "hi"} + words), part);
    };
    CHECK(refused({"--promt", "x"}, "unknown flag \"--promt\"; did you mean --prompt?") == "");
    CHECK(refused({"stray"}, "unexpected argument \"stray\"") == "");
    CHECK(refused({"-x"}, "unexpected argument \"-x\"") == "");
    CHECK(refused({"--top-p", "banana"}, "--top-p is \"banana\", expected a number above 0 and at most 1") == "");
    CHECK(refused({"--top-p", "1.5"}, "--top-p is \"1.5\"") == "");
    CHECK(refused({"--top-p", "nan"}, "--top-p is \"nan\"") == "");
    CHECK(refused({"--temperature", "-1"}, "--temperature is \"-1\", expected a number of at least 0") == "");
    CHECK(refused({"--max-new-tokens", "-3"}, "--max-new-tokens is \"-3\", expected a whole number from 0") == "");
    CHECK(refused({"--max-new-tokens", "3.5"}, "--max-new-tokens is \"3.5\"") == "");
    CHECK(refused({"--max-new-tokens", "99999999999999999999"}, "--max-new-tokens is") == "");
    CHECK(refused({"--max-new-tokens", ""}, "--max-new-tokens is \"\"") == "");
    CHECK(refused({"--dtype", "fp32"}, "\"fp32\", expected f32, f64, bf16, f16, int8, q8_0, q4_0 or q4_1") == "");
    CHECK(refused({"--kv-cache", "q8"}, "--kv-cache is \"q8\", expected exact, bf16 or int8") == "");
    CHECK(refused({"--kv-cache", "bf16", "--dtype", "f64"}, "not for --backend cpu --dtype f64") == "");
    CHECK(refused({"--kv-cache", "bf16", "--backend", "ref"}, "not for --backend ref --dtype f32") == "");
    CHECK(refused({"--kv-cache", "int8", "--backend", "ref"}, "--kv-cache int8 is there for --backend cpu in single") == "");
    CHECK(refused({"--threads", "0"}, "--threads is \"0\", expected a whole number from 1") == "");
    CHECK(refused({"--backend", "gpu"}, "expected cpu, cuda or ref") == "");
    CHECK(refused({"--json=yes"}, "--json takes no value, found \"yes\"") == "");
    CHECK(refused({"--seed"}, "--seed needs a value (N), found nothing after it") == "");
    CHECK(refused({"--seed", "--json"}, "--seed needs a value (N), found the flag --json") == "");
    CHECK(refused({"--max-tiles", "0"}, "--max-tiles is \"0\"") == "");
    CHECK(refused({"--prompt", "a\nb", "--top-k", "a\nb"}, "--top-k is \"a b\"") == "");
}

#ifndef SMOLVLM_CUDA
TEST_CASE("cli: a program without CUDA says so, and how to get one, before it reads the model") {
    const Result result = run({"generate", "--model", model, "--prompt", "hi", "--backend", "cuda"});
    CHECK(not_refused(result, "--backend cuda: this program was built without CUDA; build it with") == "");
    CHECK(not_refused(result, "take --backend cpu") == "");
    CHECK(result.out.empty());
}
#endif

TEST_CASE("cli: flags that contradict each other are refused") {
    const std::string chat = golden("no such chat");
    CHECK(not_refused(run({"prompt", "--prompt", "hi"}), "--model is missing") == "");
    CHECK(not_refused(run({"generate", "--model", model}), "--prompt or --chat is missing") == "");
    CHECK(not_refused(run({"generate", "--model", model, "--json"}), "--prompt or --chat is missing") == "");
    CHECK(not_refused(run({"generate", "--model", model, "--prompt", "a", "--chat", chat}), "--chat holds the whole") ==
          "");
    CHECK(not_refused(run({"prompt", "--model", model, "--chat", chat, "--image", chat}), "--chat holds the whole") ==
          "");
    CHECK(not_refused(run({"prompt", "--model", model, "--raw-prompt", "--prompt", "a", "--system", "b"}),
                      "--system") == "");
    CHECK(not_refused(run({"prompt", "--model", model, "--raw-prompt"}), "--prompt or --chat is missing") == "");
    CHECK(not_refused(run({"tokenize", "--model", model, "--skip-special"}), "goes with --decode") == "");
    CHECK(not_refused(run({"info", "--model", model, "--mmproj", "x.gguf"}), "--mmproj goes with a .gguf model") == "");
    CHECK(not_refused(run({"preprocess", "--model", model, "--output", "o"}), "--image is missing") == "");
    CHECK(not_refused(run({"preprocess", "--model", model, "--image", "i"}), "--output is missing") == "");
    CHECK(not_refused(run({"trace", "--model", model, "--output", "o"}), "--input is missing") == "");
    CHECK(not_refused(run({"trace", "--model", model, "--input", "i"}), "--output is missing") == "");
    CHECK(not_refused(run({"compare", "a.safetensors"}), "compare: B.safetensors is missing") == "");
    CHECK(not_refused(run({"compare", "a", "b", "c"}), "unexpected argument \"c\"") == "");
}

TEST_CASE("cli: the last of a repeated flag counts, and a value may stand after an equals sign") {
    const Words words = {"generate", "--model", model, "--prompt", "one two", "--max-new-tokens", "5", "--json"};
    CHECK(json(run(words + Words{"--max-new-tokens=2"}).out)["ids"].size() == 2);
    const Result dashes = run({"prompt", "--model", model, "--prompt=--json"});
    CHECK(dashes.out.find("User: --json") != std::string::npos);
}

TEST_CASE("cli: output that cannot be written is an error, and a reader that has gone ends the program quietly") {
    CHECK(not_refused(run({"info", "--model", model}, "", "/dev/full"), "standard output cannot be written") == "");
    const std::string command = std::string("exec 3>&1; (\"") + SMOLVLM_CLI + "\" info --model \"" + model +
                                "\"; echo code $? >&3) 2>&3 | true";
    std::FILE* const pipe = ::popen(command.c_str(), "r");
    REQUIRE(pipe);
    char text[300] = {};
    (void)!std::fread(text, 1, sizeof text - 1, pipe);
    ::pclose(pipe);
    // `true` may still have been there: then all was written, code 0; never a message.
    const std::string said = text;
    CHECK_MESSAGE((said == smolvlm::join("code ", 128 + SIGPIPE, "\n") || said == "code 0\n"), said);
}
