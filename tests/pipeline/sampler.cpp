// The sampler against transformers' logits processors, and its own laws.

#include <doctest/doctest.h>
#include <smolvlm/io/json.hpp>
#include <smolvlm/model/sampler.hpp>

#include "support/error_text.hpp"

using namespace smolvlm;

TEST_CASE("sampler: every filter and their order give transformers' probabilities") {
    const std::string path = SMOLVLM_TEST_DIR "/golden/sampling.json";
    const Json golden = parse_json(read_text_file(path, 1 << 22), path);
    const auto seen = golden["seen"].get<std::vector<std::int32_t>>();
    REQUIRE(golden["cases"].size() >= 30);
    for (const Json& one : golden["cases"]) {
        const Json& set = one["options"];
        CAPTURE(set.dump());
        SamplingOptions options;
        options.temperature = set.value("temperature", 1.0);
        options.top_k = set.value("top_k", 0);
        options.top_p = set.value("top_p", 1.0);
        options.min_p = set.value("min_p", 0.0);
        options.repetition_penalty = set.value("repetition_penalty", 1.0);
        const auto logits = golden["logits"][one["row"].get<std::size_t>()].get<std::vector<double>>();
        const auto expected = one["probabilities"].get<std::vector<double>>();
        const auto found = Sampler(options).probabilities(std::span<const double>(logits), seen);
        REQUIRE(found.size() == expected.size());
        for (std::size_t i = 0; i < found.size(); ++i) {
            CHECK((found[i] == 0) == (expected[i] == 0));
            CHECK(found[i] == doctest::Approx(expected[i]).epsilon(1e-9));
        }
    }
}

TEST_CASE("sampler: draws as often as the probabilities say, and the same again for the same seed") {
    const std::vector<float> logits{0.5f, 2.f, -1.f, 1.5f, 0.f};
    const std::vector<std::int32_t> seen;
    SamplingOptions options;
    options.temperature = 1.3;
    options.seed = 11;
    Sampler a(options), b(options), other(options, 1);
    const auto p = a.probabilities(std::span<const float>(logits), seen);
    constexpr int draws = 20000;
    std::vector<int> count(logits.size(), 0);
    int differs = 0;
    for (int i = 0; i < draws; ++i) {
        const std::int32_t id = a.next(std::span<const float>(logits), seen);
        CHECK(id == b.next(std::span<const float>(logits), seen));
        differs += id != other.next(std::span<const float>(logits), seen);
        ++count[static_cast<std::size_t>(id)];
    }
    CHECK(differs > draws / 4);  // another stream of the same seed is another sequence
    for (std::size_t i = 0; i < p.size(); ++i) {
        const double sigma = std::sqrt(draws * p[i] * (1 - p[i]));
        CHECK(std::abs(count[i] - draws * p[i]) < 5 * sigma);
    }
}

TEST_CASE("sampler: a seed's numbers are these on every platform") {
    Random random(0);  // Philox-4x32-10's published answer for key 0, counter 0
    for (std::uint32_t bits : {0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u}) CHECK(random.bits() == bits);
    const std::vector<double> logits{0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
    SamplingOptions options;
    options.temperature = 1;
    options.seed = 42;
    Sampler sampler(options);
    std::vector<std::int32_t> drawn;
    for (int i = 0; i < 8; ++i) drawn.push_back(sampler.next(std::span<const double>(logits), {}));
    CHECK(drawn == std::vector<std::int32_t>{6, 0, 9, 5, 8, 6, 7, 5});
}

TEST_CASE("sampler: greedy takes the first of equals and obeys the repetition penalty") {
    const std::vector<float> logits{1.f, 3.f, 3.f, 2.9f};
    SamplingOptions options;
    CHECK(Sampler(options).next(std::span<const float>(logits), {}) == 1);
    options.repetition_penalty = 1.5;
    const std::vector<std::int32_t> seen{1, 2, 1};
    CHECK(Sampler(options).next(std::span<const float>(logits), seen) == 3);
}

TEST_CASE("sampler: options out of range and logits that are no numbers are refused with a sentence") {
    SamplingOptions options;
    options.top_p = 0;
    CHECK(testing::error_of([&] { Sampler{options}; }) == "top-p is 0; a probability in (0, 1] is needed");
    options = {};
    options.temperature = -1;
    CHECK(testing::error_of([&] { Sampler{options}; }) == "temperature is -1; 0 (greedy) or a positive number is needed");
    const std::vector<float> logits{1.f, std::nanf("")};
    CHECK(testing::error_of([&] { Sampler({}).next(std::span<const float>(logits), {}); }) ==
          "sampler: logit 1 is nan; the weights or the inputs hold NaN or infinity");
}
