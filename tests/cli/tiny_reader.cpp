// The model in the box: what generate does when no model is named.

#include <doctest/doctest.h>

#include <smolvlm/io/json.hpp>

#include "cli/program.hpp"

using namespace cli_test;

namespace {
const std::string examples = SMOLVLM_TEST_DIR "/../examples/";
const std::string ticket = examples + "tiny-reader/ticket.png", receipt = examples + "tiny-reader/receipt.png";
}  // namespace

TEST_CASE("cli: without --model the tiny reader reads a picture, and standard error says who answers") {
    const Result total = run({"generate", "--image", receipt, "--prompt", "How much is the total?"});
    CHECK(total.code == 0);
    CHECK(total.out.find("54.16") != std::string::npos);
    CHECK(total.err.find("no --model: the tiny reader answers. It reads printed capitals and digits") != std::string::npos);
    const Words question{"generate", "--image", ticket, "--prompt", "What is written in row 2, column 3?"};
    CHECK(run(question).out.find("68CY") != std::string::npos);
    CHECK(run(question).out == run(question + Words{"--model", examples + "tiny-reader"}).out);
}

TEST_CASE("cli: the tiny reader's answer ends, whatever it is shown and asked") {
    const std::string photo = examples + "data/photo.jpg";
    const std::vector<Words> unusual{{"--prompt", "Read all the text."},                                   // no picture
                                     {"--image", ticket, "--prompt", ""},                                  // no question
                                     {"--image", ticket, "--prompt", "Write a poem about the sea."},
                                     {"--image", ticket, "--prompt", std::string(600, 'x')},
                                     {"--image", ticket, "--image", receipt, "--prompt", "Read all the text."},
                                     {"--image", photo, "--prompt", "Read all the text."},                 // no text
                                     {"--image", photo, "--longest-edge", "512", "--prompt", "Read all the text."}};
    for (const Words& words : unusual) {
        CAPTURE(words.back());
        const Result result = run(Words{"generate", "--json"} + words);
        CHECK(result.code == 0);
        CHECK(smolvlm::parse_json(result.out, "answer")["ids"].size() < 256);  // it ends by itself
    }
}
