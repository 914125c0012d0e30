#pragma once
/// From ids and image features to new ids: prefill in chunks, then one token a step for all sequences still talking.

#include <chrono>

#include <smolvlm/model/sampler.hpp>
#include <smolvlm/model/smolvlm.hpp>

namespace smolvlm {

struct GenerateOptions {
    Index max_new_tokens = 256;
    SamplingOptions sampling;
    std::vector<std::int32_t> eos;  // any of these ends a sequence; none: only the count does
    Index prefill_chunk = 512;      // rows per prefill step: bounds the memory for activations, changes no number
};

/// What one sequence reads: its prompt, and the features of the images in it (empty without images).
template <HasTypes B>
struct PromptInput {
    std::vector<std::int32_t> ids;
    Tensor<B> features;                    // [image tokens, D]
    std::vector<std::int32_t> past = {};  // what the cache holds of the text before ids: the repetition penalty counts it
};

enum class FinishReason { eos, max_new_tokens, context_full, cancelled };

struct GeneratedSequence {
    std::vector<std::int32_t> ids;  // the new ones; an end token is included, as transformers does
    FinishReason reason = FinishReason::max_new_tokens;
};

struct GenerateTimings {
    double prefill_s = 0;  // up to and including the first token
    double decode_s = 0;   // all tokens after the first
};

/// The keys and values of `sequences` conversations with this model.
template <CachingBackend B>
KvCache<B> make_cache(const SmolVLM<B>& model, Index sequences = 1) {
    const TextConfig& text = model.config.text;
    return KvCache<B>(text.num_hidden_layers, text.num_key_value_heads * text.head_dim, sequences,
                      text.max_position_embeddings, text.num_key_value_heads);
}

/// Continues each input until an end token, max_new_tokens or the end of the context. `cache` holds what the sequences have
/// already read (`make_cache` for nothing) and afterwards also the prompts and all new tokens but the last.
/// on_token(sequence, id) sees every new id at once; returning false stops all sequences.
/// Throws ValueError when a prompt is empty or longer than the rest of the context, has other than as many <image> tokens as
/// features, or asks for a repetition penalty without naming the past.
template <CachingBackend B, class OnToken>
std::vector<GeneratedSequence> generate(B& be, const SmolVLM<B>& model, std::span<const PromptInput<B>> inputs,
                                        const GenerateOptions& options, KvCache<B>& cache, OnToken&& on_token,
                                        GenerateTimings* timings = nullptr) {
    using Clock = std::chrono::steady_clock;
    const auto start = Clock::now();
    const std::size_t B_ = inputs.size();
    const Index context = model.config.text.max_position_embeddings;
    SMOLVLM_CHECK(static_cast<Index>(B_) == cache.sequences(), ValueError, "generate: ", B_, " prompts for a cache of ",
                  cache.sequences(), " sequences");
    SMOLVLM_CHECK(options.max_new_tokens >= 0, ValueError, "max-new-tokens is ", options.max_new_tokens,
                  "; 0 or a positive count is needed");
    SMOLVLM_CHECK(options.prefill_chunk > 0, ValueError, "prefill_chunk is ", options.prefill_chunk, "; it must be positive");

    Index room = 0;
    for (std::size_t b = 0; b < B_; ++b) {
        const Index past = cache.length(static_cast<Index>(b)), n = static_cast<Index>(inputs[b].ids.size());
        SMOLVLM_CHECK(n > 0, ValueError, "prompt of sequence ", b, " is empty; at least one token is needed");
        SMOLVLM_CHECK(past + n <= context, ValueError, "prompt of ", past + n, " tokens is longer than the model's context of ",
                      context);
        SMOLVLM_CHECK(options.sampling.repetition_penalty == 1 || static_cast<Index>(inputs[b].past.size()) == past, ValueError,
                      "repetition penalty: the cache of sequence ", b, " holds ", past, " tokens, but its past names ",
                      inputs[b].past.size());
        model.check_pictures(inputs[b].ids, inputs[b].features);
        room = std::max(room, past + n + std::min(context - past - n, options.max_new_tokens));
    }
    cache.reserve(be, room);

    std::vector<GeneratedSequence> out(B_);
    std::vector<Sampler> samplers;
    std::vector<std::vector<std::int32_t>> seen(B_);
    std::vector<std::int32_t> active;  // sequences still talking
    bool cancelled = false;
    std::vector<Index> counts(B_, 0);  // new tokens of each sequence in this step

    // Takes the next token of sequence b from its logits; true while the sequence goes on.
    const auto accept = [&](std::size_t b, std::span<const typename B::Scalar> logits) {
        GeneratedSequence& sequence = out[b];
        const std::int32_t id = samplers[b].next(logits, seen[b]);
        sequence.ids.push_back(id);
        seen[b].push_back(id);
        cancelled = !on_token(static_cast<Index>(b), id) || cancelled;
        if (std::find(options.eos.begin(), options.eos.end(), id) != options.eos.end())
            return sequence.reason = FinishReason::eos, false;
        if (static_cast<Index>(sequence.ids.size()) >= options.max_new_tokens)
            return sequence.reason = FinishReason::max_new_tokens, false;
        if (cache.length(static_cast<Index>(b)) >= context)
            return sequence.reason = FinishReason::context_full, false;
        return true;
    };

    for (std::size_t b = 0; b < B_; ++b) {
        samplers.emplace_back(options.sampling, b);
        seen[b] = inputs[b].past;
        seen[b].insert(seen[b].end(), inputs[b].ids.begin(), inputs[b].ids.end());
        const Tensor<B> x = model.embed(be, inputs[b].ids, inputs[b].features);
        const Index n = x.shape()[0];
        Tensor<B> hidden;
        for (Index begin = 0; begin < n; begin += options.prefill_chunk) {
            const Index end = std::min(n, begin + options.prefill_chunk);
            std::vector<std::int32_t> rows(static_cast<std::size_t>(end - begin));
            std::iota(rows.begin(), rows.end(), static_cast<std::int32_t>(begin));
            counts[b] = end - begin;
            const Segments seg = cache.next(be, counts);
            const auto last = static_cast<std::int32_t>(rows.size() - 1);
            hidden = model.text_model.forward(be, be.gather_rows(x, rows), seg, &cache, nullptr, Ids(&last, 1));
            cache.commit(seg);
        }
        counts[b] = 0;
        if (options.max_new_tokens == 0) continue;
        const auto logits = be.to_host(model.logits(be, hidden));
        if (accept(b, std::as_const(logits).flat())) active.push_back(static_cast<std::int32_t>(b));
        if (cancelled) break;
    }
    const auto prefilled = Clock::now();

    std::vector<std::int32_t> ids;
    while (!active.empty() && !cancelled) {
        ids.clear();
        std::fill(counts.begin(), counts.end(), 0);
        for (std::int32_t b : active) {
            counts[static_cast<std::size_t>(b)] = 1;
            ids.push_back(out[static_cast<std::size_t>(b)].ids.back());
        }
        const Segments seg = cache.next(be, counts);
        // An <image> token that the model itself writes has no picture: it is embedded like any other.
        const Tensor<B> x = model.text_model.embed_tokens.forward(be, ids);
        const Tensor<B> hidden = model.text_model.forward(be, x, seg, &cache);
        cache.commit(seg);
        const auto logits = be.to_host(model.logits(be, hidden));
        std::vector<std::int32_t> still;
        for (std::size_t i = 0; i < active.size(); ++i)
            if (accept(static_cast<std::size_t>(active[i]), std::as_const(logits).view().row(static_cast<Index>(i))))
                still.push_back(active[i]);
        active = std::move(still);
    }
    if (cancelled)
        for (std::int32_t b : active) out[static_cast<std::size_t>(b)].reason = FinishReason::cancelled;
    if (timings) {
        timings->prefill_s = std::chrono::duration<double>(prefilled - start).count();
        timings->decode_s = std::chrono::duration<double>(Clock::now() - prefilled).count();
    }
    return out;
}

/// One sequence, a fresh cache, nobody watching.
template <CachingBackend B>
GeneratedSequence generate(B& be, const SmolVLM<B>& model, const PromptInput<B>& input, const GenerateOptions& options) {
    KvCache<B> cache = make_cache(model);
    return generate(be, model, std::span<const PromptInput<B>>(&input, 1), options, cache,
                    [](Index, std::int32_t) { return true; })[0];
}

}  // namespace smolvlm
