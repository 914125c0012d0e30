/// Against what HF tokenizers and transformers computed: tests/golden/README.md says how the files were made.

#include <doctest/doctest.h>

#include <smolvlm/tokenizer/chat_template.hpp>
#include <smolvlm/tokenizer/image_prompt.hpp>
#include <smolvlm/tokenizer/stream_decoder.hpp>
#include <smolvlm/tokenizer/video_prompt.hpp>

#include "support/sha256.hpp"
#include "tokenizer/support.hpp"

using namespace smolvlm;
using testing::golden_json;
using testing::Ids;
using testing::learned_tokenizer;
using testing::sha256;
using testing::string_tokenizer;

namespace {

/// The value of `key`, or of the keys after it when it is absent.
template <class T, class... Keys>
T first_of(const Json& json, const char* key, Keys... more) {
    if constexpr (sizeof...(Keys) == 0)
        return json.at(key).get<T>();
    else
        return json.contains(key) ? json.at(key).get<T>() : first_of<T>(json, more...);
}

/// The hash of ids as little-endian 32-bit numbers.
std::string sha256_of_ids(const Ids& ids) {
    std::string bytes;
    for (const std::int32_t id : ids)
        for (int shift = 0; shift < 32; shift += 8) bytes += static_cast<char>((id >> shift) & 0xFF);
    return sha256(bytes);
}

std::string stream_decoded(const Tokenizer& tokenizer, const Ids& ids, bool skip_special) {
    StreamDecoder decoder(tokenizer, skip_special);
    std::string text;
    for (const std::int32_t id : ids) text += decoder.push(id);
    return text + decoder.flush();
}

Conversation conversation_of(const Json& messages) {
    Conversation conversation;
    for (const Json& message : messages) {
        conversation.push_back({message.at("role").get<std::string>(), std::vector<ContentPart>{}});
        for (const Json& part : message.at("content")) {
            const bool image = part.at("type") == "image";
            conversation.back().content.push_back(
                {image ? ContentPart::image : ContentPart::text, image ? "" : part.at("text").get<std::string>()});
        }
    }
    return conversation;
}

}  // namespace

TEST_CASE("sha256 of the empty text and of abc are the published ones") {
    CHECK(sha256("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    CHECK(sha256("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    CHECK(sha256(std::string(119, 'a')) == "31eba51c313a5c08226adf18d4a359cfdfd8d2e816b13f4af952f7ea6584dcfb");
}

TEST_CASE("golden: the ids of a hard multilingual corpus are those of HF tokenizers, and so are their texts") {
    const Json golden = golden_json("tokenizer_cases.json");
    REQUIRE(golden.at("cases").size() > 300);
    for (const Json& c : golden.at("cases")) {
        const auto text = c.at("text").get<std::string>();
        const auto ids = c.at("ids").get<Ids>(), string_ids = first_of<Ids>(c, "string_ids", "ids");
        INFO(c.at("text").dump());
        CHECK(learned_tokenizer().encode(text) == ids);
        CHECK(string_tokenizer().encode(text) == string_ids);
        CHECK(learned_tokenizer().decode(ids) == first_of<std::string>(c, "decoded", "text"));
        CHECK(learned_tokenizer().decode(ids, true) == first_of<std::string>(c, "decoded_skip", "text"));
        CHECK(string_tokenizer().decode(string_ids) == first_of<std::string>(c, "string_decoded", "text"));
        CHECK(string_tokenizer().decode(string_ids, true) == first_of<std::string>(c, "string_decoded_skip", "text"));
    }
}

TEST_CASE("golden: one long text has the ids of HF tokenizers") {
    const Json golden = golden_json("tokenizer_cases.json");
    std::string once, text;
    for (const Json& c : golden.at("cases"))
        if (const auto piece = c.at("text").get<std::string>(); piece.find('<') == piece.npos) once += piece + '\n';
    for (int i = 0; i < golden.at("long").at("repeats").get<int>(); ++i) text += once;
    CHECK(text.size() == golden.at("long").at("bytes").get<std::size_t>());
    const Ids ids = learned_tokenizer().encode(text);
    CHECK(ids.size() == golden.at("long").at("ids").get<std::size_t>());
    CHECK(sha256_of_ids(ids) == golden.at("long").at("sha256").get<std::string>());
}

TEST_CASE("golden: any list of ids, also cut within a character, decodes as in HF tokenizers, at once and streamed") {
    const Json golden = golden_json("tokenizer_cases.json");
    REQUIRE(golden.at("decode").size() > 300);
    for (const Json& c : golden.at("decode")) {
        const auto ids = c.at("ids").get<Ids>();
        const auto text = c.at("text").get<std::string>(), skip = first_of<std::string>(c, "skip", "text");
        CHECK(learned_tokenizer().decode(ids) == text);
        CHECK(learned_tokenizer().decode(ids, true) == skip);
        CHECK(stream_decoded(learned_tokenizer(), ids, false) == text);
        CHECK(stream_decoded(learned_tokenizer(), ids, true) == skip);
    }
}

TEST_CASE("golden: every Unicode scalar value is tokenized as in HF tokenizers") {
    const Json golden = golden_json("tokenizer_code_points.json");
    const auto pattern = golden.at("pattern").get<std::string>();
    const auto filled = [&](char32_t c) {
        std::string text = pattern;
        for (std::size_t at = text.find("{c}"); at != text.npos; at = text.find("{c}", at))
            text.replace(at, 3, testing::utf8(c));
        return text;
    };
    // At every border of a character class, id by id ...
    REQUIRE(golden.at("cases").size() > 3000);
    for (const Json& c : golden.at("cases")) {
        INFO("code point ", c.at(0).get<int>());
        CHECK(learned_tokenizer().encode(filled(c.at(0).get<char32_t>())) == c.at(1).get<Ids>());
    }
    // ... and all of them, by one hash for each block.
    const auto block = golden.at("block").get<char32_t>();
    const Json& hashes = golden.at("blocks");
    REQUIRE(hashes.size() * block == 0x110000);
    for (std::size_t b = 0; b < hashes.size(); ++b) {
        std::string text;
        for (char32_t i = 0; i < block; ++i) {
            const char32_t c = static_cast<char32_t>(b) * block + i;
            if (c < 0xD800 || c > 0xDFFF) text += filled(c);
        }
        INFO("block ", b);
        CHECK(sha256_of_ids(learned_tokenizer().encode(text)) == hashes[b].get<std::string>());
    }
}

TEST_CASE("golden: conversations become the prompts and ids that transformers makes of them") {
    const Json golden = golden_json("prompts.json");
    const auto chat = ChatTemplate::from_jinja(
        golden_json("processor_learned/chat_template.json").at("chat_template").get<std::string>(),
        "chat_template.json");
    REQUIRE(golden.size() >= 30);
    for (const Json& c : golden) {
        const std::string rendered =
            chat.render(conversation_of(c.at("messages")), c.at("add_generation_prompt").get<bool>());
        CHECK(rendered == c.at("rendered").get<std::string>());
        std::vector<ImageLayout> images;
        for (const Json& layout : c.at("rows_cols"))
            images.push_back({layout.at(0).get<Index>(), layout.at(1).get<Index>()});
        const std::string expanded = expand_image_tokens(rendered, images, c.at("image_seq_len").get<Index>());
        CHECK(sha256(expanded) == c.at("expanded_sha256").get<std::string>());
        const Ids ids = learned_tokenizer().encode(expanded), string_ids = string_tokenizer().encode(expanded);
        CHECK(ids.size() == c.at("count").get<std::size_t>());
        CHECK(sha256_of_ids(ids) == c.at("ids_sha256").get<std::string>());
        CHECK(string_ids.size() == c.at("string_count").get<std::size_t>());
        CHECK(sha256_of_ids(string_ids) == c.at("string_ids_sha256").get<std::string>());
        if (c.contains("expanded")) CHECK(expanded == c.at("expanded").get<std::string>());
        if (c.contains("ids")) CHECK(ids == c.at("ids").get<Ids>());
    }
}

TEST_CASE("golden: the frames that are read of a video are transformers', and so are the numbers in words") {
    const Json golden = golden_json("videos.json");
    REQUIRE(golden.at("sampling").size() >= 600);
    for (const Json& c : golden.at("sampling")) {
        const Json& of = c.at("case");
        CAPTURE(of.dump());
        const std::vector<Index> frames = sample_frames(of.at(0).get<Index>(), of.at(1).get<double>(),
                                                        {of.at(2).get<double>(), of.at(3).get<Index>(), 0});
        CHECK(frames.size() == c.at("count").get<std::size_t>());
        if (c.contains("frames"))
            CHECK(frames == c.at("frames").get<std::vector<Index>>());
        else
            CHECK(sha256_of_ids(Ids(frames.begin(), frames.end())) == c.at("sha256").get<std::string>());
    }
    std::string words;
    for (Index n = 0; n < golden.at("numbers_in_words").get<Index>(); ++n)
        words += (n > 0 ? "\n" : "") + number_in_words(n);
    CHECK(sha256(words) == golden.at("numbers_sha256").get<std::string>());
}

TEST_CASE("golden: a video and a question become the prompt that transformers makes of them") {
    const Json golden = golden_json("videos.json").at("prompts");
    REQUIRE(golden.size() >= 5);
    for (const Json& c : golden) {
        const Json& of = c.at("case");
        const std::vector<std::string> files(of.at(0).get<std::size_t>(), "frame.png");
        std::vector<ContentPart> parts =
            video_parts(files, of.at(1).get<double>(), {of.at(2).get<double>(), of.at(3).get<Index>(), 0});
        parts.push_back({ContentPart::text, "What happens?"});
        const Conversation chat{{"user", parts}};
        const std::vector<ImageLayout> frames(pictures_of(chat).size());
        CHECK(expand_image_tokens(ChatTemplate::smolvlm().render(chat), frames, 1) == c.at("text").get<std::string>());
    }
}
