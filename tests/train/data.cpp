// From lines of JSON to packed batches: labels, order, tiles, packing, resuming, and refusals.

#include <doctest/doctest.h>

#include <map>

#include <smolvlm/checkpoint/hf_folder.hpp>
#include <smolvlm/data/jsonl.hpp>
#include <smolvlm/data/stream.hpp>

#include "support/error_text.hpp"
#include "support/temp_dir.hpp"

using namespace smolvlm;

namespace {

const std::string golden = SMOLVLM_TEST_DIR "/golden/";

const Processor& learned() {
    static const Processor processor = read_processor(golden + "processor_learned");
    return processor;
}
const Processor& strings() {
    static const Processor processor = read_processor(golden + "processor_string");
    return processor;
}

/// A picture without a file: its size is in its path, "64x48".
Image picture(const std::string& path) {
    const std::string name = path.substr(path.rfind('/') + 1);
    const std::size_t x = name.find('x');
    Image image(std::stoi(name), std::stoi(name.substr(x + 1)));
    std::fill_n(image.plane(0), 3 * image.width() * image.height(), std::uint8_t(100));
    return image;
}

const Conversation two_turns{{"user", {{ContentPart::image, "600x400"}, {ContentPart::text, "What is this?"}}},
                             {"assistant", "A red cat."},
                             {"user", "Sure?"},
                             {"assistant", "Yes."}};

Example example_of(const Processor& processor, const Conversation& chat, ExampleOptions options = {}) {
    Random random;
    std::vector<Image> pictures;
    for (const Message& message : chat)
        for (const ContentPart& part : message.content)
            if (part.kind == ContentPart::image) pictures.push_back(picture(part.value));
    return make_example(processor, chat, pictures, options, random);
}

/// The text that is learned, a | between stretches that are not.
std::string learned_text(const Processor& processor, const Example& example) {
    std::string text;
    bool gap = false;
    for (std::size_t n = 0; n + 1 < example.ids.size(); ++n) {
        if (example.targets[n] == ignore_index) {
            gap = true;
            continue;
        }
        REQUIRE(example.targets[n] == example.ids[n + 1]);
        if (gap && !text.empty()) text += '|';
        gap = false;
        text += processor.tokenizer.bytes_of(example.targets[n]);
    }
    return text;
}

std::string learned_text(Labels labels, const Conversation& chat, const Processor& processor = learned()) {
    ExampleOptions options;
    options.labels = labels;
    options.tiles.no_split = true;
    return learned_text(processor, example_of(processor, chat, options));
}

std::string jsonl(Index lines, const std::string& name) {
    std::string text;
    for (Index i = 0; i < lines; ++i)
        text += join(R"({"messages": [{"role": "user", "content": ")", name, i,
                     R"("}, {"role": "assistant", "content": "a)", i, std::string(static_cast<std::size_t>(i % 7), '.'),
                     "\"}]}\n");
    return text;
}

BatchStream stream_of(BatchStream::Sources sources, PackOptions pack, Index rank = 0, Index ranks = 1) {
    const std::vector<double> weights(sources.size(), 1.0);
    return BatchStream(std::move(sources), weights, learned(), {}, pack, 5, rank, ranks);
}

}  // namespace

TEST_CASE("Labels: completions learn what the assistant says, from its space to its end token") {
    CHECK(learned_text(Labels::completions, two_turns) == " A red cat.<end_of_utterance>| Yes.<end_of_utterance>");
    CHECK(learned_text(Labels::completions, two_turns, strings()) ==
          " A red cat.<end_of_utterance>| Yes.<end_of_utterance>");
    CHECK(learned_text(Labels::completions, {{"user", "?"}, {"assistant", ""}}) == " <end_of_utterance>");
}

TEST_CASE("Labels: smolvlm-v1 also learns the last line break, and everything but image tokens when turns are odd") {
    CHECK(learned_text(Labels::smolvlm_v1, two_turns) == " A red cat.<end_of_utterance>| Yes.<end_of_utterance>\n");
    CHECK(learned_text(Labels::smolvlm_v1, {{"system", "Be brief."}, {"user", "Hm?"}, {"assistant", "No."}}) ==
          "System: Be brief.<end_of_utterance>\nUser: Hm?<end_of_utterance>\nAssistant: No.<end_of_utterance>\n");
}

TEST_CASE("Labels: smolvlm2 learns every end token, line break and \"Assistant:\" too") {
    CHECK(learned_text(Labels::smolvlm2, two_turns) ==
          "<end_of_utterance>\nAssistant: A red cat.<end_of_utterance>\n|<end_of_utterance>\nAssistant: "
          "Yes.<end_of_utterance>\n");
    CHECK(learned_text(Labels::smolvlm2, two_turns, strings()) == learned_text(Labels::smolvlm2, two_turns));
}

TEST_CASE("Labels: notebook learns everything but image tokens, all-text everything but pictures") {
    CHECK(learned_text(Labels::notebook, two_turns) ==
          "User:<fake_token_around_image><global-img>|<fake_token_around_image>What is "
          "this?<end_of_utterance>\nAssistant: A "
          "red cat.<end_of_utterance>\nUser: Sure?<end_of_utterance>\nAssistant: Yes.<end_of_utterance>\n");
    for (const Processor* processor : {&learned(), &strings()})
        CHECK(learned_text(Labels::all_text, two_turns, *processor) ==
              "User:|What is this?<end_of_utterance>\nAssistant: A red cat.<end_of_utterance>\nUser: "
              "Sure?<end_of_utterance>\n"
              "Assistant: Yes.<end_of_utterance>\n");
}

TEST_CASE("Labels: bytes that have no token do not shift what is learned") {
    CHECK(learned_text(Labels::completions, {{"user", "a\x04z"}, {"assistant", "x\x04y\x06"}}) ==
          " xy<end_of_utterance>");
}

TEST_CASE("Examples: the ids are those of the same conversation when the model is used") {
    for (const Processor* processor : {&learned(), &strings()}) {
        std::vector<Image> pictures{picture("600x400")};
        const Example example = example_of(*processor, two_turns);
        const Prompt prompt = processor->prepare(processor->chat_template.render(two_turns, false), pictures);
        CHECK(example.ids == prompt.ids);
        CHECK(example.images[0].frames() == prompt.images[0].frames());
        CHECK(example.images[0].frames() == 13);
    }
}

TEST_CASE("Examples: system prompt and media texts are put in where asked, and are not learned") {
    ExampleOptions options;
    options.tiles.no_split = true;
    options.system_prompt = "Be kind.";
    options.media = training_media_text;
    const Example example = example_of(learned(), two_turns, options);
    const std::string text = learned().tokenizer.decode(example.ids);
    CHECK(text.starts_with("<|im_start|>System: Be kind.<end_of_utterance>\nUser: Here are some images: <fake_token"));
    CHECK(text.find("<fake_token_around_image>Now answer the following question: What is this?") != text.npos);
    CHECK(learned_text(learned(), example) == " A red cat.<end_of_utterance>| Yes.<end_of_utterance>");
    CHECK(learned()
              .tokenizer
              .decode(example_of(learned(), {{"system", "Own."}, {"user", "?"}, {"assistant", "!"}}, options).ids)
              .find("kind") == std::string::npos);
}

TEST_CASE("Examples: nothing to learn, and the image token written out in a text, are errors") {
    CHECK(testing::error_of([] {
              example_of(learned(), {{"user", "Alone."}});
          }).find("labels are masked") != std::string::npos);
    CHECK(testing::error_of([] {
              example_of(learned(), {{"user", "<image>"}, {"assistant", "x"}});
          }).find("stands for a picture") != std::string::npos);
}

TEST_CASE(
    "Random tiles: the longest side has as many tiles as were drawn, as often as the released training drew them") {
    Random random(7);
    std::map<Index, int> counts;
    for (int i = 0; i < 20000; ++i) ++counts[draw_tile_count(2048, 512, random)];
    CHECK(counts[2] / 20000.0 == doctest::Approx(0.4).epsilon(0.03));
    CHECK(counts[3] / 20000.0 == doctest::Approx(0.3).epsilon(0.03));
    CHECK(counts[4] / 20000.0 == doctest::Approx(0.3).epsilon(0.03));  // five do not fit in 2048
    counts.clear();
    for (int i = 0; i < 20000; ++i) ++counts[draw_tile_count(1092, 364, random)];
    CHECK(counts[1] / 20000.0 == doctest::Approx(0.5).epsilon(0.03));
    CHECK(counts[2] / 20000.0 == doctest::Approx(0.3).epsilon(0.03));
    CHECK(counts[3] / 20000.0 == doctest::Approx(0.2).epsilon(0.03));
}

TEST_CASE("Random tiles: one resize to whole tiles, the short side rounded up, the global frame last") {
    ImageProcessorConfig config;
    config.longest_edge = 2048;
    config.tile = 32;
    for (int seed = 0; seed < 20; ++seed)
        for (const char* size : {"300x200", "200x300", "500x3", "64x64"}) {
            Random draw(static_cast<std::uint64_t>(seed)), again = draw;
            const Index k = draw_tile_count(2048, 32, again);
            const Image image = picture(size);
            const ProcessedImage result = process_image_with_random_tiles(image, config, draw);
            CHECK(std::max(result.rows, result.cols) == k);
            const Index shorter = std::min(image.width(), image.height()),
                        longer = std::max(image.width(), image.height());
            CHECK(std::min(result.rows, result.cols) == (shorter * k + longer - 1) / longer);
            CHECK(result.frames() == result.rows * result.cols + 1);
            CHECK(result.plan.canvas.width == result.cols * 32);
        }
}

TEST_CASE("Order: an epoch is a permutation, every epoch another, every seed another") {
    SampleOrder order({{50, 1}}, 3), other({{50, 1}}, 4);
    std::vector<std::vector<Index>> epochs;
    for (int e = 0; e < 3; ++e) {
        std::vector<Index> seen;
        for (int i = 0; i < 50; ++i) {
            const SampleOrder::Pick pick = order.next();
            CHECK(pick.epoch == e);
            seen.push_back(pick.sample);
        }
        epochs.push_back(seen);
        std::ranges::sort(seen);
        for (Index i = 0; i < 50; ++i) CHECK(seen[static_cast<std::size_t>(i)] == i);
    }
    CHECK(epochs[0] != epochs[1]);
    CHECK(epochs[1] != epochs[2]);
    std::vector<Index> first;
    for (int i = 0; i < 50; ++i) first.push_back(other.next().sample);
    CHECK(first != epochs[0]);
}

TEST_CASE("Order: sets are mixed by weight, to within one sample at any time") {
    const std::vector<SampleOrder::Set> sets{{10, 0.55}, {1000, 0.448}, {3, 0.002}};
    SampleOrder order(sets, 1);
    std::vector<double> counts(3, 0.0);
    for (int n = 1; n <= 5000; ++n) {
        ++counts[order.next().set];
        for (std::size_t i = 0; i < 3; ++i) REQUIRE(std::abs(counts[i] - sets[i].weight * n) < 1.0);
    }
    CHECK(order.taken(0) == 2750);
}

TEST_CASE("Order: seeking and skipping land where counting lands") {
    SampleOrder all({{7, 2}, {11, 1}}, 9), sought({{7, 2}, {11, 1}}, 9), skipped({{7, 2}, {11, 1}}, 9);
    for (int n = 0; n < 100; ++n) {
        sought.seek(n);
        const auto a = all.next(), b = sought.next(), c = skipped.next();
        CHECK((a.set == b.set && a.sample == b.sample && a.epoch == b.epoch));
        CHECK((a.set == c.set && a.sample == c.sample));
        if (n % 3 == 0) all.skip(), skipped.skip(), ++n;
    }
}

TEST_CASE("Packing: whole examples, up to the budget, none lost, each a segment of its own") {
    const testing::TempDir dir;
    const auto file = ChatFile::open(dir.write("a.jsonl", jsonl(40, "question ")));
    BatchStream stream = stream_of({file}, {.batch_tokens = 60, .batch_samples = 100});
    SampleOrder order({{40, 1}}, 5);
    Index sequences = 0;
    while (sequences < 120) {
        const Batch batch = stream.next();
        CHECK(batch.tokens() <= 60);
        const Segments segments = batch.segments();
        CHECK(segments.causal());
        CHECK(segments.rows() == batch.tokens());
        for (Index s = 0; s < segments.size(); ++s) {
            const Example expected = stream.example(0, order.next().sample, 0);
            const auto begin = static_cast<std::size_t>(segments[s].q0);
            REQUIRE(segments[s].n == expected.tokens());
            CHECK(std::equal(expected.ids.begin(), expected.ids.end(),
                             batch.ids.begin() + static_cast<std::ptrdiff_t>(begin)));
            CHECK(batch.targets[begin + expected.ids.size() - 1] == ignore_index);
            CHECK(segments[s].keys == segments[s].n);
            ++sequences;
        }
    }
    BatchStream narrow = stream_of({file}, {.batch_tokens = 1, .batch_samples = 3});
    CHECK(narrow.next().sequences() == 1);
    BatchStream few = stream_of({file}, {.batch_tokens = 100000, .batch_samples = 3});
    CHECK(few.next().sequences() == 3);
}

TEST_CASE("Answers of a batch: each ends with its end token, and lies among the learned rows of any convention") {
    const testing::TempDir dir;
    const auto file = ChatFile::open(dir.write("a.jsonl", jsonl(6, "q")));
    for (const Labels labels : {Labels::completions, Labels::smolvlm2, Labels::notebook, Labels::all_text}) {
        ExampleOptions options;
        options.labels = labels;
        BatchStream stream({file}, {1.0}, learned(), options, {}, 5);
        stream.one_epoch([&](const Batch& batch) {
            REQUIRE(batch.answers.size() == 6);
            const auto targets = batch.counted_targets();
            for (const RowRange& answer : batch.answers) {
                const auto rows = std::span(targets).subspan(static_cast<std::size_t>(answer.begin),
                                                             static_cast<std::size_t>(answer.end - answer.begin));
                const std::string text = learned().tokenizer.decode(rows, false);
                CHECK(text.starts_with(" a"));
                CHECK(text.find("<end_of_utterance>") == text.size() - std::string_view("<end_of_utterance>").size());
            }
        });
    }
}

TEST_CASE("A source without end is read in its own order, beside a file, and can be put back to any position") {
    struct Sums : SampleSource {
        Index size() const override { return 0; }
        Sample sample(Index i) const override {
            return {{{"user", join(i, " + 1")}, {"assistant", std::to_string(i + 1)}}, {}};
        }
        std::string where(Index i) const override { return join("sum ", i); }
    };
    const testing::TempDir dir;
    const BatchStream::Sources sources{std::make_shared<Sums>(), ChatFile::open(dir.write("a.jsonl", jsonl(4, "q")))};
    BatchStream stream = stream_of(sources, {.batch_samples = 2});
    BatchStream later = stream_of(sources, {.batch_samples = 2});
    later.seek(6);
    std::vector<Batch> batches;
    for (Index step = 0; step < 6; ++step) {
        batches.push_back(stream.next());
        const Batch& batch = batches.back();
        const Example sum = stream.example(0, step, 0);
        REQUIRE(batch.sequences() == 2);
        CHECK(std::equal(sum.ids.begin(), sum.ids.end(), batch.ids.begin()));  // the sums come in turn, one a batch
    }
    CHECK(stream.epochs() == 0);
    CHECK(later.next().ids == batches[3].ids);
    Index evaluated = 0;
    stream.one_epoch([&](const Batch&) { ++evaluated; });
    CHECK(evaluated == 0);
}

TEST_CASE("Resuming: a stream put back to a position goes on as if it had never stopped") {
    const testing::TempDir dir;
    const BatchStream::Sources files{ChatFile::open(dir.write("a.jsonl", jsonl(9, "q"))),
                                      ChatFile::open(dir.write("b.jsonl", jsonl(5, "another question ")))};
    const PackOptions pack{.batch_tokens = 70, .batch_samples = 100};
    BatchStream whole = stream_of(files, pack);
    for (int step = 0; step < 20; ++step) {
        BatchStream resumed = stream_of(files, pack);
        resumed.seek(whole.position());
        for (int ahead = 0; ahead < 2; ++ahead) resumed.next();
        resumed.seek(whole.position());
        const Batch a = whole.next(), b = resumed.next();
        CHECK(a.ids == b.ids);
        CHECK(a.lengths == b.lengths);
        CHECK(resumed.position() == whole.position());
    }
}

TEST_CASE("Ranks: two shards together read what one process reads, sample by sample") {
    const testing::TempDir dir;
    const auto file = ChatFile::open(dir.write("a.jsonl", jsonl(10, "q")));
    BatchStream one = stream_of({file}, {.batch_samples = 4});
    BatchStream first = stream_of({file}, {.batch_samples = 2}, 0, 2),
                second = stream_of({file}, {.batch_samples = 2}, 1, 2);
    for (int step = 0; step < 10; ++step) {
        const Batch all = one.next();
        std::vector<Index> lengths;
        const Batch even = first.next(), odd = second.next();
        for (std::size_t i = 0; i < 2; ++i) lengths.insert(lengths.end(), {even.lengths[i], odd.lengths[i]});
        CHECK(lengths == all.lengths);
        CHECK(first.position() == one.position());
        CHECK(second.position() == one.position());
    }
}

TEST_CASE("Long samples are an error that names their line, or are left out and counted") {
    const testing::TempDir dir;
    const auto file = ChatFile::open(dir.write("a.jsonl", jsonl(7, "q")));
    BatchStream strict = stream_of({file}, {.batch_samples = 7, .max_tokens = 14});
    const std::string error = testing::error_of([&] { strict.next(); });
    CHECK(error.find("a.jsonl: line ") != error.npos);
    CHECK(error.find("more than \"max_tokens\" 14") != error.npos);
    BatchStream lenient = stream_of({file}, {.batch_samples = 3, .max_tokens = 14, .drop_long = true});
    for (int step = 0; step < 10; ++step)
        for (const Index length : lenient.next().lengths) CHECK(length <= 14);
    CHECK(lenient.dropped() > 0);
    BatchStream none = stream_of({file}, {.max_tokens = 3, .drop_long = true});
    CHECK(testing::error_of([&] { none.next(); }).find("in a row are longer") != std::string::npos);
}

TEST_CASE("Wrong lines are refused when the file is opened: line, field, found, expected") {
    const testing::TempDir dir;
    const auto refusal = [&](const std::string& line) {
        const std::string path = dir.write("bad.jsonl", jsonl(2, "q") + "\n" + line + "\n");
        const std::string text = testing::error_of([&] { ChatFile::open(path); });
        REQUIRE(text.find("bad.jsonl: line 4") != text.npos);
        return text.substr(text.find(": line 4") + 8);
    };
    CHECK(refusal("nonsense").find("not valid JSON") != std::string::npos);
    CHECK(refusal("[]").find("expected a JSON object with the key \"messages\", found an array") != std::string::npos);
    CHECK(refusal("{}").find("\"messages\" is missing, expected an array") != std::string::npos);
    CHECK(refusal(R"({"messages": []})").find("\"messages\" is empty") != std::string::npos);
    CHECK(refusal(R"({"messages": [{"role": "human", "content": "x"}]})") ==
          ": message 1: \"role\" is \"human\", expected \"user\", \"assistant\" or \"system\"");
    CHECK(refusal(R"({"messages": [{"role": "user", "content": 3}]})") ==
          ": message 1: \"content\" is the number 3, expected an array");
    CHECK(refusal(R"({"messages": [{"role": "user", "content": [{"type": "sound"}]}]})") ==
          ": message 1, item 1: \"type\" is \"sound\", expected \"text\", \"image\" or \"video\"");
    CHECK(refusal(R"({"messages": [{"role": "user", "content": [{"type": "video", "path": "a", "fps": 0}]}]})") ==
          ": message 1, item 1: \"fps\" is 0, expected the pictures a second, 0.001 to 1000");
    CHECK(refusal(R"({"messages": [{"role": "user", "content": [{"type": "video", "path": "no"}]}]})")
              .starts_with(": video " + dir.path().string() + "/no: No such file"));
    CHECK(refusal(R"({"messages": [{"role": "user", "content": [{"type": "image"}]}]})").find("\"path\" is missing") !=
          std::string::npos);
    const std::string missing =
        refusal(R"({"messages": [{"role": "user", "content": [{"type": "image", "path": "no.png"}]}]})");
    CHECK(missing.find("message 1: the picture " + dir.path().string() + "/no.png cannot be opened: No such file") !=
          std::string::npos);
    CHECK(testing::error_of([&] { ChatFile::open(dir.write("blank.jsonl", " \n\n")); }).find("has no lines") !=
          std::string::npos);
}

TEST_CASE("A video is a folder of frames, none of them cut; a data set may cap how many are read") {
    const testing::TempDir dir;
    std::filesystem::create_directory(dir.path() / "clip");
    for (int i = 0; i < 10; ++i) dir.write(join("clip/", 600 + 10 * i, "x400.png"), "");
    const std::string path = dir.write(
        "a.jsonl", R"({"messages": [{"role": "user", "content": [{"type": "video", "path": "clip", "fps": 2},)"
                   R"({"type": "text", "text": "What happens?"}]}, {"role": "assistant", "content": "Nothing."}]})");
    const auto widths = [&](Index max_frames) {
        VideoRule rule = learned().video;
        rule.max_frames = max_frames;
        const Sample sample = chat_files(picture)(path, rule)->sample(0);
        Random random;
        ExampleOptions options;
        options.random_tiles = true;
        const Example example = make_example(learned(), sample.chat, sample.pictures, options, random);
        CHECK(learned_text(learned(), example) == " Nothing.<end_of_utterance>");
        CHECK(std::ranges::count(example.ids, *learned().tokenizer.id_of("<image>")) ==
              std::ssize(sample.pictures) * learned().image_seq_len);
        std::vector<Index> found;
        for (std::size_t i = 0; i < sample.pictures.size(); ++i) {
            CHECK(example.images[i].frames() == 1);
            found.push_back(sample.pictures[i].width());
        }
        return found;
    };
    CHECK(widths(64) == std::vector<Index>{600, 620, 640, 660, 690});
    CHECK(widths(2) == std::vector<Index>{620, 680});  // a long one for so few: its ends are left out
    CHECK(widths(1) == std::vector<Index>{620});
}

TEST_CASE("Pictures that cannot be read and samples without anything to learn are named by file and line") {
    const testing::TempDir dir;
    dir.write("broken", "");
    const std::string line = R"({"messages": [{"role": "user", "content": [{"type": "image", "path": "broken"}]},
        {"role": "assistant", "content": "x"}]})";
    std::string one_line = line;
    std::erase(one_line, '\n');
    const auto failing = [](const std::string& path) -> Image { fail<FormatError>(path, ": is no picture"); };
    BatchStream stream({ChatFile::open(dir.write("a.jsonl", one_line), failing)}, {1.0}, learned(), {}, {});
    CHECK(testing::error_of([&] {
              stream.next();
          }).find("a.jsonl: line 1: " + dir.path().string() + "/broken: is no picture") != std::string::npos);
    BatchStream masked =
        stream_of({ChatFile::open(dir.write("b.jsonl", R"({"messages": [{"role": "user", "content": "x"}]})"))}, {});
    CHECK(testing::error_of([&] { masked.next(); }).find("b.jsonl: line 1: all 6 labels are masked") !=
          std::string::npos);
}
