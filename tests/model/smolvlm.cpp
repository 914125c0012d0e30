// Whole tiny models: however the tokens are cut into steps and batches, the logits are the same.

#include <doctest/doctest.h>

#include <algorithm>

#include "support/backends.hpp"
#include "support/tiny_model.hpp"

using namespace smolvlm;
using namespace testing;
using Int32s = std::vector<std::int32_t>;
using Mask = Segments::Mask;

namespace {

template <class B>
struct Whole {
    B be;
    ModelConfig config;
    SmolVLM<B> model;

    explicit Whole(const TinyCase& which) : config(tiny_config(which)), model(tiny_model(be, config)) {}

    /// Features of `images` pictures; of none: an empty tensor.
    Tensor<B> features(Index images, std::uint64_t seed) {
        if (images == 0) return {};
        const Index side = config.vision.image_size;
        return model.encode_images(be, pictures(be, config, images, seed),
                                   make_patch_grid(config.vision, images, side, side));
    }
    /// Logits of all tokens, read in one step without a cache.
    HostTensor<double> at_once(const Int32s& ids, const Tensor<B>& images) {
        const std::vector<Index> lengths{static_cast<Index>(ids.size())};
        const auto hidden = model.forward(be, ids, images, Segments::packed(Mask::causal, lengths));
        return host(be, model.logits(be, hidden));
    }
    KvCache<B> cache(Index sequences) {
        return KvCache<B>(config.text.num_hidden_layers, config.text.num_key_value_heads * config.text.head_dim,
                          sequences, config.text.max_position_embeddings);
    }
    Int32s prompt() {  // two pictures in a text
        return sequence({words(3, 1), image_tokens(config), words(1, 2), image_tokens(config), words(5, 3)});
    }
};

template <class T>
HostTensor<T> stacked(const std::vector<HostTensor<T>>& parts) {
    std::vector<T> rows;
    for (const auto& part : parts) rows.insert(rows.end(), part.flat().begin(), part.flat().end());
    const Index width = parts.front().dim(1);
    return {{static_cast<Index>(rows.size()) / width, width}, rows};
}

}  // namespace

TEST_CASE_TEMPLATE("model: prefill == token by token == chunks on a warm cache", B, SMOLVLM_TEST_BACKENDS) {
    for (const TinyCase& which : tiny_cases) {
        CAPTURE(which.name);
        Whole<B> whole(which);
        B& be = whole.be;
        const Int32s ids = whole.prompt();
        const auto features = whole.features(2, 5);
        const auto expected = whole.at_once(ids, features);
        const auto n = static_cast<Index>(ids.size());
        const auto x = whole.model.embed(be, ids, features);
        for (const std::vector<Index>& chunks :
             {std::vector<Index>{n}, std::vector<Index>(ids.size(), 1), std::vector<Index>{4, 1, 7, 2, n - 14},
              std::vector<Index>{n - 1, 1}}) {
            CAPTURE(chunks.size());
            KvCache<B> cache = whole.cache(1);
            std::vector<HostTensor<double>> found;
            Index done = 0, growths = 0, capacity = 0;
            for (Index count : chunks) {
                Int32s rows;
                for (Index i = done; i < done + count; ++i) rows.push_back(static_cast<std::int32_t>(i));
                const Segments seg = cache.next(be, count);
                const auto hidden = whole.model.text_model.forward(be, be.gather_rows(x, rows), seg, &cache);
                cache.commit(seg);
                found.push_back(host(be, whole.model.logits(be, hidden)));
                done += count;
                growths += cache.capacity() != capacity;
                capacity = cache.capacity();
            }
            CHECK(done == n);
            CHECK(growths >= (chunks.size() > 2 ? 2 : 1));  // the cache moved while it was warm
            CHECK(departure(stacked(found), expected, rounding<B>(400)) == "");
        }
    }
}

TEST_CASE_TEMPLATE("model: a ragged batch == its sequences alone, with a cache and without", B, SMOLVLM_TEST_BACKENDS) {
    for (const TinyCase& which : tiny_cases) {
        CAPTURE(which.name);
        Whole<B> whole(which);
        B& be = whole.be;
        const Int32s image = image_tokens(whole.config);
        const std::vector<Int32s> sequences{whole.prompt(), words(2, 8), sequence({image, words(4, 9)})};
        const std::vector<Tensor<B>> features{whole.features(2, 5), {}, whole.features(1, 6)};
        std::vector<HostTensor<double>> alone;
        for (std::size_t b = 0; b < 3; ++b) alone.push_back(whole.at_once(sequences[b], features[b]));
        const auto expected = stacked(alone);

        // Packed: ids one after the other, pictures in reading order.
        std::vector<Index> lengths;
        for (const auto& ids : sequences) lengths.push_back(static_cast<Index>(ids.size()));
        const Int32s all = sequence({sequences[0], sequences[1], sequences[2]});
        const auto all_features =
            be.from_host(stacked<typename B::Scalar>({be.to_host(features[0]), be.to_host(features[2])}));
        const auto hidden = whole.model.forward(be, all, all_features, Segments::packed(Mask::causal, lengths));
        CHECK(departure(host(be, whole.model.logits(be, hidden)), expected, rounding<B>(400)) == "");

        // With one cache for three sequences; then a step in which the second has nothing to read.
        KvCache<B> cache = whole.cache(3);
        const Segments seg = cache.next(be, lengths);
        const auto cached = whole.model.forward(be, all, all_features, seg, &cache);
        cache.commit(seg);
        CHECK(departure(host(be, whole.model.logits(be, cached)), expected, rounding<B>(400)) == "");

        const Int32s more{7, 3, 11};
        const Segments next = cache.next(be, std::vector<Index>{1, 0, 2});
        const auto continued = host(be, whole.model.logits(be, whole.model.forward(be, more, {}, next, &cache)));
        const auto first = whole.at_once(sequence({sequences[0], {7}}), features[0]);
        const auto third = whole.at_once(sequence({sequences[2], {3, 11}}), features[2]);
        CHECK(departure(continued,
                        stacked<double>(
                            {rows_of(first, lengths[0], lengths[0] + 1), rows_of(third, lengths[2], lengths[2] + 2)}),
                        rounding<B>(400)) == "");
    }
}

TEST_CASE_TEMPLATE("model: after truncate the same text gives the same logits again", B, SMOLVLM_TEST_BACKENDS) {
    Whole<B> whole(tiny_cases[0]);
    B& be = whole.be;
    const Int32s ids = words(12, 3);
    const auto expected = whole.at_once(ids, {});
    KvCache<B> cache = whole.cache(1);
    const auto read = [&](const Int32s& part) {
        const Segments seg = cache.next(be, static_cast<Index>(part.size()));
        const auto hidden = whole.model.forward(be, part, {}, seg, &cache);
        cache.commit(seg);
        return host(be, whole.model.logits(be, hidden));
    };
    read(sequence({Int32s(ids.begin(), ids.begin() + 5), {1, 2, 3, 4}}));  // another ending first
    cache.truncate(0, 5);
    CHECK(departure(read(Int32s(ids.begin() + 5, ids.end())), rows_of(expected, 5, 12), rounding<B>(400)) == "");
}

TEST_CASE_TEMPLATE("model: features take the places of the image tokens, in reading order", B, SMOLVLM_TEST_BACKENDS) {
    Whole<B> whole(tiny_cases[0]);
    B& be = whole.be;
    const Int32s ids = whole.prompt();
    const auto features = host(be, whole.features(2, 5));
    const auto x = host(be, whole.model.embed(be, ids, whole.features(2, 5)));
    const auto text = host(be, whole.model.text_model.embed_tokens.forward(be, ids));
    Index next = 0;
    for (Index i = 0; i < x.dim(0); ++i) {
        const bool is_image = ids[static_cast<std::size_t>(i)] == whole.config.image_token_id;
        const auto expected = is_image ? rows_of(features, next, next + 1) : rows_of(text, i, i + 1);
        next += is_image;
        CHECK(inequality(rows_of(x, i, i + 1), expected) == "");
    }
    CHECK(next == 8);
}

TEST_CASE_TEMPLATE("model: pictures encoded together == encoded one by one", B, SMOLVLM_TEST_BACKENDS) {
    for (const TinyCase& which : tiny_cases) {
        Whole<B> whole(which);
        B& be = whole.be;
        const Index side = whole.config.vision.image_size, size = 3 * side * side;
        const auto both = pictures(be, whole.config, 2, 5);
        const auto together = host(be, whole.features(2, 5));
        CHECK(together.shape() == Shape{8, 16});
        const auto pixels = be.to_host(both);
        for (Index i : {0, 1}) {
            const HostTensor<typename B::Scalar> one(
                {1, 3, side, side},
                std::vector<typename B::Scalar>(pixels.data() + i * size, pixels.data() + (i + 1) * size));
            const auto alone =
                whole.model.encode_images(be, be.from_host(one), make_patch_grid(whole.config.vision, 1, side, side));
            CHECK(departure(host(be, alone), rows_of(together, 4 * i, 4 * i + 4), rounding<B>(400)) == "");
        }
    }
}

TEST_CASE_TEMPLATE("model: the head is its own matrix, or the embedding when tied", B, SMOLVLM_TEST_BACKENDS) {
    for (const TinyCase& which : tiny_cases) {
        Whole<B> whole(which);
        B& be = whole.be;
        const auto hidden = random(be, {3, 16}, 1);
        const auto& matrix = which.tied ? whole.model.text_model.embed_tokens.weight : whole.model.lm_head.weight;
        const auto expected = be.linear(hidden, matrix, Tensor<B>{});
        CHECK(inequality(host(be, whole.model.logits(be, hidden)), host(be, expected)) == "");
    }
}

TEST_CASE_TEMPLATE("model: as many features as image tokens, or an error that counts both", B, SMOLVLM_TEST_BACKENDS) {
    Whole<B> whole(tiny_cases[0]);
    const auto error = [&](const Int32s& ids, Index images) {
        return error_of([&] { whole.model.embed(whole.be, ids, whole.features(images, 5)); });
    };
    const Int32s image = image_tokens(whole.config);
    CHECK(error(sequence({words(2, 1), image}), 1) == "");
    CHECK(error(sequence({words(2, 1), image}), 2) ==
          "image tokens: the text has 4 <image> tokens but the pictures give 8 feature rows");
    CHECK(error(sequence({image, words(2, 1), image, {29}}), 2) ==
          "image tokens: the text has 9 <image> tokens but the pictures give 8 feature rows");
    CHECK(error(words(5, 1), 1) == "image tokens: the text has 0 <image> tokens but the pictures give 4 feature rows");
    CHECK(error({31}, 0) == "embedding: id 31 at position 0 is outside the table of 31 rows");
}

namespace {

/// Keeps every tensor it is shown, and a copy of its numbers at that moment.
template <class B>
struct Recorder : Probe<B> {
    B& be;
    std::vector<std::string> names;
    std::vector<Tensor<B>> held;
    std::vector<HostTensor<double>> copies;

    explicit Recorder(B& backend) : be(backend) {}
    void operator()(const std::string& name, const Tensor<B>& x) override {
        names.push_back(name);
        held.push_back(x);
        copies.push_back(host(be, x));
    }
};

}  // namespace

TEST_CASE_TEMPLATE("model: a probe sees every activation by name, and what it keeps is not overwritten", B,
                   SMOLVLM_TEST_BACKENDS) {
    Whole<B> whole(tiny_cases[0]);
    B& be = whole.be;
    Recorder<B> recorder(be);
    const Index side = whole.config.vision.image_size;
    const auto grid = make_patch_grid(whole.config.vision, 2, side, side);
    const auto features = whole.model.encode_images(be, pictures(be, whole.config, 2, 5), grid, &recorder);
    const Int32s ids = whole.prompt();
    const std::vector<Index> lengths{static_cast<Index>(ids.size())};
    const auto hidden =
        whole.model.forward(be, ids, features, Segments::packed(Mask::causal, lengths), nullptr, &recorder);

    CHECK(recorder.names == std::vector<std::string>{"vision.embeddings", "vision.layer.0", "vision.layer.1",
                                                     "vision.post_layernorm", "connector", "text.inputs_embeds",
                                                     "text.layer.0", "text.layer.1", "text.norm"});
    for (std::size_t i = 0; i < recorder.held.size(); ++i) {
        CAPTURE(recorder.names[i]);
        CHECK(inequality(host(be, recorder.held[i]), recorder.copies[i]) == "");
    }
    // Looking changes nothing.
    CHECK(inequality(host(be, whole.model.logits(be, hidden)), whole.at_once(ids, features)) == "");
}

TEST_CASE_TEMPLATE("model: without features the image token is a token like any other", B, SMOLVLM_TEST_BACKENDS) {
    Whole<B> whole(tiny_cases[0]);
    B& be = whole.be;
    const Int32s ids = whole.prompt();
    CHECK(inequality(host(be, whole.model.embed(be, ids, {})),
                     host(be, whole.model.text_model.embed_tokens.forward(be, ids))) == "");
}

TEST_CASE_TEMPLATE("model: without a vision tower the image token is a token like any other", B,
                   SMOLVLM_TEST_BACKENDS) {
    B be;
    ModelConfig config = tiny_config();
    config.has_vision = false;
    const auto model = tiny_model(be, config);
    CHECK(model.embed(be, Int32s{29, 29, 1}, {}).shape() == Shape{3, 16});
}
