#include <doctest/doctest.h>

#include "support/temp_dir.hpp"
#include "tokenizer/support.hpp"

using namespace smolvlm;
using testing::contains;
using testing::Ids;

namespace {

Json small_json() {
    return Json::parse(R"({
        "added_tokens": [{"id": 4, "content": "<x>", "special": true, "normalized": false}],
        "normalizer": null, "post_processor": null, "decoder": {"type": "ByteLevel"},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Digits", "individual_digits": true},
            {"type": "ByteLevel", "add_prefix_space": false, "use_regex": true}]},
        "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2, "1": 3}, "merges": ["a b"]}})");
}

/// What reading such a text says, value by value; from a file, where that is done only when something is wrong, it must be
/// the same.
std::string error_in(const std::string& text) {
    const testing::TempDir dir;
    const std::string path = dir.write("t.json", text);
    std::string error = testing::error_of([&] { Tokenizer(parse_tokenizer_json(parse_json(text, path), path), path); });
    CHECK(testing::error_of([&] { load_tokenizer_json(path); }) == error);
    return error;
}

/// What reading the small file says after a change; empty when it is accepted.
template <class F>
std::string error_after(F&& change) {
    Json json = small_json();
    change(json);
    return error_in(json.dump());
}

}  // namespace

TEST_CASE("tokenizer.json: merges as strings and as pairs mean the same") {
    Json pairs = small_json();
    pairs["model"]["merges"] = Json::array({Json::array({"a", "b"})});
    for (const Json& json : {small_json(), pairs}) {
        const Tokenizer tokenizer(parse_tokenizer_json(json, "t.json"));
        CHECK(tokenizer.encode("ab11<x>") == Ids{2, 3, 3, 4});
        CHECK(tokenizer.is_special(4));
    }
}

TEST_CASE("tokenizer.json: a ByteLevel pre-tokenizer alone leaves digits together") {
    CHECK(parse_tokenizer_json(small_json(), "t.json").split_digits);
    Json json = small_json();
    json["pre_tokenizer"] = {{"type", "ByteLevel"}, {"add_prefix_space", false}};
    CHECK_FALSE(parse_tokenizer_json(json, "t.json").split_digits);
}

TEST_CASE("tokenizer.json: tokenizers of another kind are refused with a sentence") {
    CHECK(error_after([](Json&) {}).empty());
    CHECK(error_after([](Json& j) { j["post_processor"] = {{"type", "ByteLevel"}}; }).empty());
    CHECK(contains(error_after([](Json& j) { j["model"]["type"] = "WordPiece"; }), "kind 'WordPiece', expected 'BPE'"));
    CHECK(contains(error_after([](Json& j) { j["model"] = {{"type", "Unigram"}}; }), "kind 'Unigram'"));
    CHECK(contains(error_after([](Json& j) { j["normalizer"] = {{"type", "NFC"}}; }),
                   "\"normalizer\" is 'NFC', expected null"));
    CHECK(contains(error_after([](Json& j) { j["decoder"] = nullptr; }),
                   "\"decoder\" is 'null', expected 'ByteLevel'"));
    CHECK(contains(error_after([](Json& j) { j["post_processor"] = {{"type", "TemplateProcessing"}}; }),
                   "'TemplateProcessing'"));
    CHECK(contains(error_after([](Json& j) { j["pre_tokenizer"] = nullptr; }), "pre_tokenizer: is 'null'"));
    CHECK(contains(error_after([](Json& j) { j["pre_tokenizer"] = {{"type", "Metaspace"}}; }),
                   "is 'Metaspace', expected"));
    CHECK(contains(error_after([](Json& j) { j["pre_tokenizer"]["pretokenizers"][0]["individual_digits"] = false; }),
                   "\"individual_digits\" is false, only true is supported"));
    CHECK(contains(error_after([](Json& j) { j["pre_tokenizer"]["pretokenizers"][1]["add_prefix_space"] = true; }),
                   "\"add_prefix_space\" is true"));
    CHECK(contains(error_after([](Json& j) { j["model"]["byte_fallback"] = true; }), "\"byte_fallback\" is true"));
    CHECK(contains(error_after([](Json& j) { j["model"]["unk_token"] = "<unk>"; }),
                   "\"unk_token\" is the string \"<unk>\""));
    CHECK(contains(error_after([](Json& j) { j["model"]["dropout"] = 0.1; }), "\"dropout\" is the number 0.1"));
}

TEST_CASE("tokenizer.json: damaged files are refused with the place of the damage") {
    CHECK(contains(error_after([](Json& j) { j = Json::array(); }), "t.json"));
    CHECK(contains(error_after([](Json& j) { j.erase("model"); }), "\"model\" is missing"));
    CHECK(contains(error_after([](Json& j) { j["model"]["vocab"] = 3; }),
                   "\"vocab\" is the number 3, expected an object"));
    CHECK(contains(error_after([](Json& j) { j["model"]["vocab"]["a"] = -1; }), "'a' has the id -1"));
    CHECK(contains(error_after([](Json& j) { j["model"]["vocab"]["a"] = 1ull << 62; }),
                   "'a' has the id 4611686018427387904"));
    CHECK(contains(error_after([](Json& j) { j["model"]["vocab"]["a"] = "x"; }), "the id of 'a' is the string"));
    CHECK(contains(error_after([](Json& j) { j["model"]["vocab"]["a"] = 1; }), "both have the id 1"));
    CHECK(contains(error_after([](Json& j) { j["model"]["vocab"] = Json::object(); }), "the vocabulary is empty"));
    CHECK(contains(error_after([](Json& j) { j["model"]["merges"][0] = 5; }), "merge 0 is the number 5"));
    CHECK(contains(error_after([](Json& j) { j["model"]["merges"][0] = "ab"; }), "expected two tokens with one space"));
    CHECK(contains(error_after([](Json& j) { j["model"]["merges"][0] = "a b c"; }),
                   "expected two tokens with one space"));
    CHECK(contains(error_after([](Json& j) { j["model"]["merges"][0] = "a z"; }), "'z' is not in the vocabulary"));
    CHECK(contains(error_after([](Json& j) { j["added_tokens"] = 1; }), "\"added_tokens\" is the number 1"));
    CHECK(contains(error_after([](Json& j) { j["added_tokens"][0].erase("content"); }), "\"content\" is missing"));
    CHECK(contains(error_after([](Json& j) { j["added_tokens"][0]["id"] = 1; }), "but that is the id of 'b'"));
}

TEST_CASE("tokenizer.json: any cut or flipped byte of a file gives a tokenizer or an error, never anything worse") {
    const std::string good = small_json().dump();
    Random random(10);
    int refused = 0;
    for (std::size_t i = 0; i < 3000; ++i) {
        std::string bad = i < good.size() ? good.substr(0, i) : good;
        if (i >= good.size())
            for (int n = 0; n < 3; ++n)
                bad[random.below(static_cast<std::uint32_t>(bad.size()))] = static_cast<char>(random.below(256));
        refused += !error_in(bad).empty();
    }
    CHECK(refused >= static_cast<int>(good.size()));
}

TEST_CASE("tokenizer.json: what is read as it is parsed is what is read value by value") {
    for (const char* name : {"processor_learned/tokenizer.json", "processor_string/tokenizer.json"}) {
        const std::string text = read_text_file(testing::golden_path(name), 64 << 20);
        const TokenizerSpec expected = parse_tokenizer_json(parse_json(text, name), name);
        const auto found = detail::quickly_parsed(text, name);
        REQUIRE(found);
        CHECK(found->vocab == expected.vocab);
        CHECK(found->merges == expected.merges);
        CHECK(found->added_tokens.size() == expected.added_tokens.size());
        CHECK(found->split_digits == expected.split_digits);
    }
    std::string twice = small_json().dump();
    twice.replace(twice.find("\"b\":1"), 5, "\"b\":9,\"b\":1");  // the last counts
    CHECK(error_in(twice).empty());
    Json pairs = small_json();
    pairs["model"]["merges"] = Json::array({Json::array({"a", "b"})});
    CHECK(detail::quickly_parsed(pairs.dump(), "t.json")->merges == parse_tokenizer_json(pairs, "t.json").merges);
    for (const char* merge : {R"(["a"])", R"(["a", "b", "c"])", R"(["a", ["b"]])", R"({"a": "b"})"}) {
        pairs["model"]["merges"][0] = Json::parse(merge);
        CHECK(contains(error_in(pairs.dump()), "merge 0 is"));
    }
}

TEST_CASE("tokenizer.json: errors name the file") {
    const testing::TempDir dir;
    const std::string path = dir.write("tokenizer.json", R"({"model": {"type": "WordPiece"}})");
    CHECK(contains(testing::error_of([&] { load_tokenizer_json(path); }),
                   path + ": the tokenizer is of the kind 'WordPiece'"));
    CHECK(contains(testing::error_of([&] { load_tokenizer_json(dir / "absent.json"); }), dir / "absent.json"));
}

TEST_CASE("GGUF: its arrays give the tokenizer that tokenizer.json gives") {
    const Json json = testing::golden_json("processor_learned/tokenizer.json");
    const TokenizerSpec spec = parse_tokenizer_json(json, "t.json");
    std::vector<std::string> tokens = spec.vocab, merges;
    std::vector<std::int32_t> types(tokens.size(), 1);
    for (const AddedToken& token : spec.added_tokens) {
        const auto i = static_cast<std::size_t>(token.id);
        if (i >= tokens.size()) tokens.resize(i + 1), types.resize(i + 1, 5);
        tokens[i] = token.content;
        types[i] = token.special ? 3 : 4;
    }
    for (const auto& [left, right] : spec.merges) merges.push_back(left + ' ' + right);
    const Tokenizer from_gguf(spec_from_gguf_arrays(tokens, merges, types));
    CHECK(from_gguf.vocab_size() == testing::learned_tokenizer().vocab_size());
    Random random(11);
    for (int i = 0; i < 500; ++i) {
        const std::string text = testing::random_text(random, 30);
        const Ids ids = testing::learned_tokenizer().encode(text);
        CHECK(from_gguf.encode(text) == ids);
        CHECK(from_gguf.decode(ids, true) == testing::learned_tokenizer().decode(ids, true));
    }
}

TEST_CASE("GGUF: vocabularies of another kind and arrays of unequal length are refused") {
    const std::vector<std::string> tokens{"a", "b"}, merges;
    const std::vector<std::int32_t> types{1, 1}, short_types{1};
    const auto error = [&](const std::vector<std::int32_t>& t, const char* model, const char* pre) {
        return testing::error_of([&] { spec_from_gguf_arrays(tokens, merges, t, model, pre, "x.gguf"); });
    };
    CHECK(error(types, "gpt2", "smollm").empty());
    CHECK(contains(error(types, "llama", "smollm"), "x.gguf: tokenizer.ggml.model is 'llama', expected 'gpt2'"));
    CHECK(contains(error(types, "gpt2", "qwen2"), "tokenizer.ggml.pre is 'qwen2'"));
    CHECK(contains(error(short_types, "gpt2", "smollm"), "has 1 entries and tokenizer.ggml.tokens 2"));
}
