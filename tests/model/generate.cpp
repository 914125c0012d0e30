#include <doctest/doctest.h>

#include <algorithm>
#include <limits>
#include <smolvlm/model/generate.hpp>

#include "support/backends.hpp"
#include "support/tiny_model.hpp"

using namespace smolvlm;
using namespace testing;
using Int32s = std::vector<std::int32_t>;

namespace {

template <class B>
struct Talker {
    B be;
    ModelConfig config;
    SmolVLM<B> model;

    explicit Talker(const TinyCase& which) : config(tiny_config(which)), model(tiny_model(be, config)) {}

    PromptInput<B> prompt(Index images, std::uint64_t seed) {
        PromptInput<B> input{words(3, seed), {}};
        for (Index i = 0; i < images; ++i) input.ids = sequence({input.ids, image_tokens(config), words(2, seed + 1)});
        const Index side = config.vision.image_size;
        if (images > 0)
            input.features = model.encode_images(be, pictures(be, config, images, seed),
                                                 make_patch_grid(config.vision, images, side, side));
        return input;
    }
    Int32s answer(const PromptInput<B>& input, const GenerateOptions& options) {
        return generate(be, model, input, options).ids;
    }
};

GenerateOptions tokens(Index n) {
    GenerateOptions options;
    options.max_new_tokens = n;
    return options;
}

}  // namespace

TEST_CASE_TEMPLATE("generate: greedy is the most likely next token of the text so far, read anew each time", B,
                   SMOLVLM_TEST_BACKENDS) {
    for (const TinyCase& which : tiny_cases) {
        Talker<B> talker(which);
        B& be = talker.be;
        const auto input = talker.prompt(2, 5);
        auto text = talker.model.embed(be, input.ids, input.features);
        Int32s expected;
        for (int step = 0; step < 6; ++step) {
            const Index n = text.shape()[0];
            const std::vector<Index> lengths{n};
            const auto hidden =
                talker.model.text_model.forward(be, text, Segments::packed(Segments::Mask::causal, lengths));
            const auto logits = host(be, talker.model.logits(be, hidden));
            const auto last = logits.view().row(n - 1);
            expected.push_back(static_cast<std::int32_t>(std::ranges::max_element(last) - last.begin()));
            auto longer = be.zeros({n + 1, 16});
            Int32s places;
            for (Index i = 0; i < n; ++i) places.push_back(static_cast<std::int32_t>(i));
            be.scatter_rows(longer, places, text);
            be.scatter_rows(longer, Int32s{static_cast<std::int32_t>(n)},
                            talker.model.text_model.embed_tokens.forward(be, Int32s{expected.back()}));
            text = longer;
        }
        CHECK(talker.answer(input, tokens(6)) == expected);
    }
}

TEST_CASE_TEMPLATE("generate: the size of prefill steps changes nothing", B, SMOLVLM_TEST_BACKENDS) {
    Talker<B> talker(tiny_cases[0]);
    const auto input = talker.prompt(2, 5);
    GenerateOptions options = tokens(8);
    const Int32s expected = talker.answer(input, options);
    for (Index chunk : {1, 3, 7, 14, 15}) {
        options.prefill_chunk = chunk;
        CHECK(talker.answer(input, options) == expected);
    }
}

TEST_CASE_TEMPLATE("generate: a batch gives every sequence its own answer, greedy or drawn", B, SMOLVLM_TEST_BACKENDS) {
    Talker<B> talker(tiny_cases[2]);
    const std::vector<PromptInput<B>> inputs{talker.prompt(1, 5), talker.prompt(0, 6), talker.prompt(2, 7)};
    const auto nobody = [](Index, std::int32_t) { return true; };
    auto cache = make_cache(talker.model, 3);
    const auto batch =
        generate(talker.be, talker.model, std::span<const PromptInput<B>>(inputs), tokens(9), cache, nobody);
    for (std::size_t b = 0; b < 3; ++b) {
        CHECK(batch[b].ids == talker.answer(inputs[b], tokens(9)));
        CHECK(cache.length(static_cast<Index>(b)) == static_cast<Index>(inputs[b].ids.size()) + 8);
    }
    GenerateOptions drawn = tokens(9);
    drawn.sampling.temperature = 1;
    drawn.sampling.seed = 3;
    auto again = make_cache(talker.model, 3);
    const auto random =
        generate(talker.be, talker.model, std::span<const PromptInput<B>>(inputs), drawn, again, nobody);
    CHECK(random[0].ids == talker.answer(inputs[0], drawn));  // sequence 0 draws what it draws alone
    CHECK(random[0].ids != batch[0].ids);
}

TEST_CASE_TEMPLATE("generate: a second turn on the warm cache == the whole conversation read anew", B,
                   SMOLVLM_TEST_BACKENDS) {
    Talker<B> talker(tiny_cases[1]);
    const auto first = talker.prompt(1, 5);
    const Int32s question = words(4, 9);
    const auto nobody = [](Index, std::int32_t) { return true; };
    auto cache = make_cache(talker.model);
    const auto turn = [&](const PromptInput<B>& input) {
        return generate(talker.be, talker.model, std::span<const PromptInput<B>>(&input, 1), tokens(5), cache,
                        nobody)[0]
            .ids;
    };
    const Int32s said = turn(first);
    // The last new token was never read: the next turn begins with it.
    const Int32s second = turn({sequence({{said.back()}, question}), {}});
    CHECK(second == talker.answer({sequence({first.ids, said, question}), first.features}, tokens(5)));
}

TEST_CASE_TEMPLATE("generate: the repetition penalty counts what the cache holds: turns == one prompt read at once", B,
                   SMOLVLM_TEST_BACKENDS) {
    Talker<B> talker(tiny_cases[1]);
    const auto first = talker.prompt(1, 5);
    const Int32s question = words(4, 9);
    GenerateOptions options = tokens(8);
    options.sampling.repetition_penalty = 3;
    const auto nobody = [](Index, std::int32_t) { return true; };
    auto cache = make_cache(talker.model);
    const auto turn = [&](const PromptInput<B>& input) {
        return generate(talker.be, talker.model, std::span<const PromptInput<B>>(&input, 1), options, cache, nobody)[0]
            .ids;
    };
    const Int32s said = turn(first);
    const Int32s past = sequence({first.ids, Int32s(said.begin(), said.end() - 1)});
    const PromptInput<B> second{sequence({{said.back()}, question}), {}, past};
    const PromptInput<B> whole{sequence({first.ids, said, question}), first.features};
    const Int32s answer = turn(second);
    CHECK(answer == talker.answer(whole, options));
    options.sampling.repetition_penalty = 1;
    CHECK(answer != talker.answer(whole, options));  // the penalty changes the answer, or this would show nothing
    options.sampling.repetition_penalty = 3;
    CHECK(error_of([&] { turn({question, {}}); }).starts_with("repetition penalty: the cache of sequence 0 holds "));
}

TEST_CASE_TEMPLATE("generate: ends at an end token, which it gives out, at the count, or when the context is full", B,
                   SMOLVLM_TEST_BACKENDS) {
    Talker<B> talker(tiny_cases[0]);
    const auto input = talker.prompt(1, 5);
    const Int32s all = talker.answer(input, tokens(12));
    REQUIRE(all.size() == 12);

    GenerateOptions options = tokens(12);
    options.eos = {30, all[4]};
    const auto ended = generate(talker.be, talker.model, input, options);
    const auto place = std::ranges::find(all, all[4]) - all.begin();
    CHECK(ended.ids == Int32s(all.begin(), all.begin() + place + 1));
    CHECK(ended.reason == FinishReason::eos);

    CHECK(generate(talker.be, talker.model, input, tokens(12)).reason == FinishReason::max_new_tokens);
    CHECK(talker.answer(input, tokens(0)).empty());

    // A prompt of n tokens in a context of 64 leaves room to read 64 - n new tokens, and one more can be said.
    const auto full = generate(talker.be, talker.model, input, tokens(std::numeric_limits<Index>::max()));
    CHECK(full.reason == FinishReason::context_full);
    CHECK(full.ids.size() == 64 - input.ids.size() + 1);

    auto cache = make_cache(talker.model);
    Int32s heard;
    const auto until_third = [&](Index, std::int32_t id) {
        heard.push_back(id);
        return heard.size() < 3;
    };
    const auto cut =
        generate(talker.be, talker.model, std::span<const PromptInput<B>>(&input, 1), tokens(12), cache, until_third);
    CHECK(cut[0].ids == Int32s(all.begin(), all.begin() + 3));
    CHECK(cut[0].reason == FinishReason::cancelled);
    CHECK(heard == cut[0].ids);
}

TEST_CASE_TEMPLATE("generate: prompts that cannot be read are refused", B, SMOLVLM_TEST_BACKENDS) {
    Talker<B> talker(tiny_cases[0]);
    const auto error = [&](const PromptInput<B>& input, GenerateOptions options = tokens(1)) {
        return error_of([&] { generate(talker.be, talker.model, input, options); });
    };
    CHECK(error({{}, {}}) == "prompt of sequence 0 is empty; at least one token is needed");
    CHECK(error({words(65, 1), {}}) == "prompt of 65 tokens is longer than the model's context of 64");
    CHECK(error({words(64, 1), {}}) == "");
    CHECK(error({words(2, 1), {}}, tokens(-1)) == "max-new-tokens is -1; 0 or a positive count is needed");
    CHECK(error({{29}, {}}) == "image tokens: the text has 1 <image> tokens but the pictures give 0 feature rows");
}
