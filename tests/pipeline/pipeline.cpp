// From files to answers: the whole way against transformers, conversations that go on, batches, threads, and load.

#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <new>
#include <set>
#include <thread>

#include <smolvlm/image/load_stb.hpp>
#include <smolvlm/smolvlm.hpp>

#include "support/error_text.hpp"

using namespace smolvlm;
using testing::contains;
using testing::error_of;
using B = Cpu<float>;

namespace {

const std::string golden = SMOLVLM_TEST_DIR "/golden/";

struct Asked {
    Conversation conversation;
    std::vector<Image> pictures;
};
Asked asked_of(const Json& messages) {
    Asked asked;
    for (const Json& message : messages) {
        Message turn;
        turn.role = message["role"].get<std::string>();
        for (const Json& part : message["content"]) {
            if (part["type"] == "image") {
                turn.content.push_back({ContentPart::image, part["path"].get<std::string>()});
                asked.pictures.push_back(load_image(golden + turn.content.back().value));
            } else {
                turn.content.push_back({ContentPart::text, part["text"].get<std::string>()});
            }
        }
        asked.conversation.push_back(std::move(turn));
    }
    return asked;
}

AnswerOptions greedy(Index tokens) {
    AnswerOptions options;
    options.max_new_tokens = tokens;
    options.ignore_eos = true;
    return options;
}

const Pipeline<B>& tiny() {
    static const Pipeline<B> pipeline = [] {
        B be(1);
        return load(be, golden + "models/gqa_untied_r2");
    }();
    return pipeline;
}

Conversation question(const std::string& text, int pictures = 0) {
    Message turn{"user", std::vector<ContentPart>{}};
    for (int i = 0; i < pictures; ++i) turn.content.push_back({ContentPart::image, "picture"});
    turn.content.push_back({ContentPart::text, text});
    return {turn};
}

/// Resident memory of this process in bytes.
Index resident_bytes() {
    long pages = 0, resident = 0;
    std::ifstream("/proc/self/statm") >> pages >> resident;
    return static_cast<Index>(resident) * 4096;
}

}  // namespace

TEST_CASE("pipeline: picture files and conversations give transformers' prompt, ids and text, on every tiny model") {
    const std::string path = golden + "answers.json";
    const Json answers = parse_json(read_text_file(path, 1 << 24), path);
    REQUIRE(answers.size() >= 10);
    for (const Json& one : answers) {
        CAPTURE(one["model"].get<std::string>());
        B be(2);
        const Pipeline<B> pipeline = load(be, golden + one["model"].get<std::string>());
        const Asked asked = asked_of(one["messages"]);
        AnswerOptions options = greedy(static_cast<Index>(one["ids"].size()));
        const Json& set = one["options"];
        if (set.contains("do_image_splitting")) options.images.no_split = !set["do_image_splitting"].get<bool>();
        if (set.contains("size")) options.images.longest_edge = set["size"]["longest_edge"].get<Index>();
        const Prompt prompt = pipeline.processor.prepare(asked.conversation, asked.pictures, options.images);
        CHECK(prompt.ids == one["prompt_ids"].get<std::vector<std::int32_t>>());
        const Answer answer = Chat<B>(pipeline).answer(be, prompt, options);
        CHECK(answer.ids == one["ids"].get<std::vector<std::int32_t>>());
        CHECK(answer.text == one["text"].get<std::string>());
        CHECK(answer.prompt_tokens == static_cast<Index>(prompt.ids.size()));
    }
}

TEST_CASE("chat: turns that reuse the cache get a fresh model's answers; changed pictures and texts are read again") {
    B be(1);
    const Image a = load_image(golden + "images/rgb.png"), b = load_image(golden + "images/rgb_noise.png");
    // With a penalty the sampler must also know the ids that were read in earlier turns.
    const auto converse = [&](double repetition_penalty) {
        AnswerOptions options = greedy(6);
        options.sampling.repetition_penalty = repetition_penalty;
        Chat<B> chat(tiny());
        Conversation talk;
        std::vector<Image> pictures;
        const auto turn = [&] {
            const Prompt prompt = tiny().processor.prepare(talk, pictures);
            const Answer warm = chat.answer(be, prompt, options);
            const Answer cold = Chat<B>(tiny()).answer(be, prompt, options);
            CHECK(warm.ids == cold.ids);
            CHECK(cold.reused_tokens == 0);
            return warm;
        };
        talk = question("What is this?", 1);
        pictures = {a};
        const Answer first = turn();
        CHECK(first.reused_tokens == 0);
        talk.push_back({"assistant", first.text});
        talk.push_back({"user", "And why?"});
        const Answer second = turn();
        CHECK(second.reused_tokens >= first.prompt_tokens - 12);  // all but the end of the template
        pictures = {b};  // the same words about another picture
        const Answer other = turn();
        CHECK(other.reused_tokens < first.image_tokens);
        talk[0].content.back().value = "What is that?";
        CHECK(turn().reused_tokens > other.image_tokens);  // the picture is kept, the text after it is read again
        return second.ids;
    };
    CHECK(converse(1) != converse(1.7));
}

TEST_CASE("chat: pictures read ahead of their question change no answer; an observer that throws leaves the chat as it was") {
    B be(1);
    const std::vector<Image> pictures{load_image(golden + "images/rgb.png")};
    const auto prepare = [&](const std::string& text) { return tiny().processor.prepare(question(text, 1), pictures); };
    const Prompt asked = prepare("What is this?");
    const AnswerOptions options = greedy(5);
    const Answer cold = Chat<B>(tiny()).answer(be, asked, options);

    Chat<B> chat(tiny());
    chat.read(be, prepare(""));
    const Answer warm = chat.answer(be, asked, options);
    CHECK(warm.ids == cold.ids);
    CHECK(warm.reused_tokens > warm.image_tokens);

    struct Stop {};
    struct Impatient : AnswerObserver {
        void on_frame(Index done, Index) override {
            if (done == 2) throw Stop{};
        }
    } impatient;
    Chat<B> stopped(tiny());
    REQUIRE(asked.images[0].frames() > 2);
    CHECK_THROWS_AS(stopped.read(be, asked, &impatient), Stop);
    CHECK(stopped.features().misses() == 2);
    const Answer after = stopped.answer(be, asked, options);
    CHECK(after.ids == cold.ids);
    CHECK(after.reused_tokens == 0);
    CHECK(stopped.features().hits() == 2);
}

TEST_CASE("chat: a picture that was seen lately costs no vision time, wherever it stands, and changes no answer") {
    B be(1);
    const Image a = load_image(golden + "images/rgb.png"), b = load_image(golden + "images/rgb_noise.png");
    const auto prepare = [](const std::string& text, std::vector<Image> pictures) {
        return tiny().processor.prepare(question(text, static_cast<int>(pictures.size())), pictures);
    };
    const AnswerOptions options = greedy(5);
    const Prompt one = prepare("What is this?", {a}), both = prepare("Which is larger?", {b, a});
    const Index frames_a = one.images[0].frames(), frames_b = both.images[0].frames();
    REQUIRE(frames_a > 1);

    FeatureCache<B> seen;
    const Answer alone = Chat<B>(tiny()).answer(be, one, options), pair = Chat<B>(tiny()).answer(be, both, options);
    for (int round = 0; round < 3; ++round) {
        CHECK(Chat<B>(tiny(), 1, &seen).answer(be, one, options).ids == alone.ids);
        CHECK(seen.misses() == frames_a + (round > 0 ? frames_b : 0));  // encoded once, whoever asks
        CHECK(Chat<B>(tiny(), 1, &seen).answer(be, both, options).ids == pair.ids);
        CHECK(seen.misses() == frames_a + frames_b);
    }
    CHECK(seen.frames() == frames_a + frames_b);
    CHECK(seen.bytes() == seen.frames() * tiny().processor.image_seq_len * tiny().model.config.text.hidden_size * 4);

    Chat<B> batch(tiny(), 2);  // a cache of its own: the second sequence has the first's picture
    const auto answers = batch.answer(be, std::vector<Prompt>{both, one}, options);
    CHECK(batch.features().misses() == frames_a + frames_b);
    CHECK(answers[1].ids == Chat<B>(tiny(), 2).answer(be, std::vector<Prompt>{both, one}, options)[1].ids);

    FeatureCache<B> none(0);  // keeps nothing and is right all the same
    for (int round = 1; round <= 2; ++round) {
        CHECK(Chat<B>(tiny(), 1, &none).answer(be, one, options).ids == alone.ids);
        CHECK(none.misses() == round * frames_a);
    }
    CHECK(none.bytes() == 0);
}

TEST_CASE("feature cache: never larger than its bound, and what was used longest ago goes first") {
    B be(1);
    const auto key = [](std::uint64_t n) { return FrameKey{n, n}; };
    const Tensor<B> features = be.zeros({4, 8});  // 128 bytes
    FeatureCache<B> cache(3 * 128 + 127);
    for (std::uint64_t n = 0; n < 3; ++n) cache.insert(key(n), features);
    CHECK(cache.find(key(0)) != nullptr);
    cache.insert(key(3), features);
    CHECK(cache.bytes() == 3 * 128);
    CHECK(cache.find(key(1)) == nullptr);
    for (const std::uint64_t n : {0u, 2u, 3u}) CHECK(cache.find(key(n)) != nullptr);
    cache.insert(key(4), be.zeros({40, 8}));  // larger than all of it
    CHECK(cache.find(key(4)) == nullptr);
    CHECK(cache.frames() == 3);
}

TEST_CASE("feature cache: every byte of a frame, its place and the settings are part of the key") {
    const std::vector<Image> pictures{load_image(golden + "images/rgb.png")};
    const Prompt prompt = tiny().processor.prepare(question("?", 1), pictures);
    ProcessedImage image = prompt.images[0];
    const FrameKey first = tiny().key_of(image, 0);
    CHECK(first == tiny().key_of(image, 0));
    CHECK(first != tiny().key_of(image, 1));
    const Index size = 3 * image.plan.tile * image.plan.tile;
    for (const Index at : {Index(0), Index(7), size / 2, size - 1}) {
        image.pixel_u8.data()[at] ^= 1;
        CHECK(first != tiny().key_of(image, 0));
        image.pixel_u8.data()[at] ^= 1;
    }
    std::swap(image.pixel_u8.data()[0], image.pixel_u8.data()[8]);
    CHECK((image.pixel_u8.data()[0] == image.pixel_u8.data()[8] || first != tiny().key_of(image, 0)));
    const std::array<std::byte, 9> bytes{};
    std::set<FrameKey> keys;
    for (std::size_t n = 0; n <= 9; ++n) keys.insert(frame_key(std::span(bytes).first(n)));
    CHECK(keys.size() == 10);  // zeros of another number
}

TEST_CASE("generate: a batch gives every conversation the answer it gets alone") {
    B be(2);
    const Image a = load_image(golden + "images/rgb.png"), b = load_image(golden + "images/7x211.png");
    std::vector<Prompt> prompts;
    prompts.push_back(tiny().processor.prepare(question("What is this?", 1), {&a, 1}));
    prompts.push_back(tiny().processor.prepare(question("Hello"), {}));
    const std::vector<Image> both{a, b};
    prompts.push_back(tiny().processor.prepare(question("Compare.", 2), both));
    for (double temperature : {0.0, 0.9}) {
        AnswerOptions options = greedy(12);
        options.sampling.temperature = temperature;
        const auto together = Chat<B>(tiny(), 3).answer(be, prompts, options);
        CHECK(together[0].ids == Chat<B>(tiny()).answer(be, prompts[0], options).ids);  // stream 0 is the one used alone
        if (temperature > 0) continue;
        for (std::size_t i = 1; i < 3; ++i) CHECK(together[i].ids == Chat<B>(tiny()).answer(be, prompts[i], options).ids);
    }
}

TEST_CASE("generate: stops at any end token, at the count, at the end of the context, or when the observer says so") {
    B be(1);
    const Prompt prompt = tiny().processor.prepare(question("Hello"), {});
    const auto run = [&](const GenerateOptions& options, auto&& on_token) {
        KvCache<B> cache = make_cache(tiny().model);
        const PromptInput<B> input{prompt.ids, {}};
        return generate(be, tiny().model, std::span<const PromptInput<B>>(&input, 1), options, cache, on_token)[0];
    };
    const auto quiet = [](Index, std::int32_t) { return true; };
    GenerateOptions options;
    options.max_new_tokens = 9;
    const auto plain = run(options, quiet);
    CHECK(plain.ids.size() == 9);
    CHECK(plain.reason == FinishReason::max_new_tokens);
    options.eos = {-1, plain.ids[4]};
    const auto stopped = run(options, quiet);
    CHECK(stopped.reason == FinishReason::eos);
    CHECK(stopped.ids.back() == plain.ids[4]);
    CHECK(std::equal(stopped.ids.begin(), stopped.ids.end(), plain.ids.begin()));
    options.eos.clear();
    const auto cancelled = run(options, [n = 0](Index, std::int32_t) mutable { return ++n < 3; });
    CHECK(cancelled.reason == FinishReason::cancelled);
    CHECK(cancelled.ids.size() == 3);
    options.max_new_tokens = 0;
    CHECK(run(options, quiet).ids.empty());
    options.max_new_tokens = 1 << 20;
    const auto full = run(options, quiet);
    CHECK(full.reason == FinishReason::context_full);
    CHECK(full.ids.size() + prompt.ids.size() ==
          static_cast<std::size_t>(tiny().model.config.text.max_position_embeddings) + 1);
}

TEST_CASE("chat: the observer hears of every token, so that an answer without text can be stopped too") {
    struct Listener : AnswerObserver {
        std::string text;
        Index tokens = 0, silent = 0, most = 1 << 20;
        bool on_text(Index, std::string_view piece) override {
            text += piece;
            silent += piece.empty();
            return ++tokens < most;
        }
    };
    B be(1);
    const Prompt prompt = tiny().processor.prepare(question("Hello"), {});
    AnswerOptions options = greedy(300);
    options.ignore_eos = true;
    Listener all, few;
    const Answer answer = Chat<B>(tiny()).answer(be, prompt, options, &all);
    REQUIRE(answer.ids.size() == 300);
    CHECK(all.silent > 0);
    CHECK(all.tokens >= 300);  // one more where the answer ends within a character
    CHECK(all.tokens <= 301);
    CHECK(all.text == answer.text);
    few.most = 1;
    CHECK(Chat<B>(tiny()).answer(be, prompt, options, &few).ids.size() == 1);
}

TEST_CASE("pipeline: prompts that cannot be are refused with a sentence") {
    B be(1);
    const Image picture = load_image(golden + "images/rgb.png");
    CHECK(contains(error_of([&] { tiny().answer(be, question("Hi", 2), {&picture, 1}); }), "there are 1 images"));
    CHECK(contains(error_of([&] { tiny().answer(be, question("Hi"), {&picture, 1}); }), "has 0 times '<image>'"));
    std::string text;
    for (int i = 0; i < 40000; ++i) text += "word ";
    CHECK(contains(error_of([&] { tiny().answer(be, question(text), {}); }), "longer than the model's context of"));
    CHECK(contains(error_of([&] { load(be, "/nowhere"); }), "/nowhere"));
}

TEST_CASE("load: two threads with backends of their own share one model and get the single thread's answers") {
    const Image picture = load_image(golden + "images/rgb.png");
    const auto ask = [&](const std::string& text) {
        B be(1);
        return tiny().answer(be, question(text, 1), {&picture, 1}, greedy(12)).ids;
    };
    const auto one = ask("One?"), two = ask("Two?");
    std::vector<std::int32_t> from_thread[2];
    std::thread first([&] { for (int i = 0; i < 3; ++i) from_thread[0] = ask("One?"); });
    std::thread second([&] { for (int i = 0; i < 3; ++i) from_thread[1] = ask("Two?"); });
    first.join();
    second.join();
    CHECK(from_thread[0] == one);
    CHECK(from_thread[1] == two);
}

TEST_CASE("load: a warm decode step takes nothing fresh from the pool, and a thousand turns leave memory flat") {
    B be(1);
    const Prompt prompt = tiny().processor.prepare(question("Hello"), {});
    Chat<B>(tiny()).answer(be, prompt, greedy(40));
    const Index fresh = be.pool().fresh_allocations();
    Chat<B>(tiny()).answer(be, prompt, greedy(40));
    CHECK(be.pool().fresh_allocations() == fresh);

    Chat<B> chat(tiny());
    Conversation talk;
    Index after_warm_up = 0, fresh_after_warm_up = 0;
    for (int turn = 0; turn < 1000; ++turn) {
        talk.push_back({"user", "Tell me more of number " + std::to_string(turn % 7)});
        const Answer answer = chat.answer(be, tiny().processor.prepare(talk, {}), greedy(3));
        talk.push_back({"assistant", answer.text});
        if (talk.size() > 8) talk.erase(talk.begin(), talk.begin() + 2);  // what people do when the context is full
        if (turn == 200) after_warm_up = resident_bytes(), fresh_after_warm_up = be.pool().fresh_allocations();
    }
    CHECK(be.pool().fresh_allocations() == fresh_after_warm_up);
#if !defined(__SANITIZE_ADDRESS__)  // a sanitizer keeps freed memory for a while
    CHECK(resident_bytes() - after_warm_up < (Index(1) << 20));
#endif
}

TEST_CASE("load: sixty-four pictures in one conversation, and the longest prompt that the context holds") {
    B be(2);
    const Image picture = load_image(golden + "images/rgb.png");
    const std::vector<Image> pictures(64, picture);
    AnswerOptions options = greedy(4);
    options.images.no_split = true;
    const Answer answer = tiny().answer(be, question("Compare them.", 64), pictures, options);
    CHECK(answer.image_tokens == 64 * tiny().processor.image_seq_len);
    CHECK(answer.ids.size() == 4);

    const auto context = static_cast<std::size_t>(tiny().model.config.text.max_position_embeddings);
    PromptInput<B> input{std::vector<std::int32_t>(context, 5), {}};
    GenerateOptions one;
    one.max_new_tokens = 3;
    const GeneratedSequence full = generate(be, tiny().model, input, one);
    CHECK(full.ids.size() == 1);
    CHECK(full.reason == FinishReason::context_full);
    input.ids.push_back(5);
    CHECK(contains(error_of([&] { generate(be, tiny().model, input, one); }), "longer than the model's context"));
}

namespace {

/// A tiny model whose context is as long as a released one's.
Pipeline<B> with_context(B& be, const std::string& name, Index tokens) {
    Pipeline<B> pipeline = load(be, golden + "models/" + name);
    pipeline.model.config.text.max_position_embeddings = tokens;
    return pipeline;
}

}  // namespace

TEST_CASE("long: a prompt as long as the released contexts reads the same in steps of any size, and takes little more "
          "than its cache" * doctest::skip()) {
    for (const Index context : {8192, 16384}) {
        CAPTURE(context);
        B be(2);
        const Pipeline<B> pipeline = with_context(be, context == 8192 ? "gqa_untied_r2" : "mha_tied_r3", context);
        const TextConfig& text = pipeline.model.config.text;
        const auto read = [&](Index tokens, Index chunk) {
            PromptInput<B> input;
            for (Index i = 0; i < tokens; ++i) input.ids.push_back(static_cast<std::int32_t>(3 + i * i % 250));
            GenerateOptions options;
            options.max_new_tokens = 16;
            options.prefill_chunk = chunk;
            return generate(be, pipeline.model, input, options).ids;
        };
        read(context / 2, 512);
        const Index before = resident_bytes();
        const auto ids = read(context - 15, 512);
        CHECK(ids.size() == 16);
        const Index cache = 2 * context * text.num_hidden_layers * text.num_key_value_heads * text.head_dim * 4;
        CHECK(resident_bytes() - before < 4 * cache + (Index(16) << 20));  // all scores at once would be 256 MB or 1 GB
        CHECK(read(context - 15, 2000) == ids);
    }
}

TEST_CASE("long: sixty-four pictures cut into tiles in one conversation take little more memory than eight" *
          doctest::skip()) {
    B be(2);
    const Pipeline<B> pipeline = with_context(be, "gqa_untied_r2", 16384);
    const Image picture = load_image(golden + "images/rgb.png");
    const auto ask = [&](int pictures) {
        const std::vector<Image> all(static_cast<std::size_t>(pictures), picture);
        return pipeline.answer(be, question("Compare them.", pictures), all, greedy(4));
    };
    const Index per_picture = ask(1).image_tokens;
    ask(8);
    const Index before = resident_bytes();
    const Answer answer = ask(64);
    CHECK(answer.image_tokens == 64 * per_picture);
    CHECK(answer.ids.size() == 4);
    CHECK(resident_bytes() - before < (Index(64) * 300) << 10);  // bytes, features and cache of ten frames each
}

TEST_CASE("long: a thousand turns with pictures on each of two threads that share the model leave memory flat" *
          doctest::skip()) {
    const Image pictures[] = {load_image(golden + "images/rgb.png"), load_image(golden + "images/7x211.png")};
    std::vector<std::int32_t> answers[2];
    std::vector<Index> fresh[2], resident;
    const auto talk = [&](std::size_t who) {
        B be(1);
        Chat<B> chat(tiny());
        for (int turn = 0; turn < 1000; ++turn) {
            const Conversation asked = question("Number " + std::to_string(turn % 7), 1);
            const Answer answer = chat.answer(be, tiny().processor.prepare(asked, {&pictures[turn % 2], 1}), greedy(3));
            if (turn >= 986) answers[who].insert(answers[who].end(), answer.ids.begin(), answer.ids.end());
            if (turn == 200 || turn == 999) fresh[who].push_back(be.pool().fresh_allocations());
            if (who == 0 && (turn == 200 || turn == 999)) resident.push_back(resident_bytes());
        }
    };
    std::thread first(talk, 0), second(talk, 1);
    first.join();
    second.join();
    for (int who : {0, 1}) CHECK(fresh[who][0] == fresh[who][1]);
    CHECK(answers[0] == answers[1]);
    CHECK(resident[1] - resident[0] < (Index(2) << 20));
}
