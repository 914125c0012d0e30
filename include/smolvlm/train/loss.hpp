#pragma once
/// From a batch to the logits that are judged, on any backend: Grad<B> to learn, B alone to evaluate.

#include <cmath>

#include <smolvlm/core/random.hpp>
#include <smolvlm/data/batch.hpp>
#include <smolvlm/model/smolvlm.hpp>

namespace smolvlm {

/// Pictures of the batch [I, 3, T, T] as the vision tower takes them.
template <class T>
HostTensor<T> batch_pixels(const Batch& batch, const PixelScaling& scaling, int threads) {
    return in_numbers<T>({batch.frames.cview(), scaling.table()}, threads);
}

/// NEFTune (Jain et al. 2023, arXiv:2310.05914): noise on the embeddings of a sequence of T tokens, uniform in
/// [-1, 1] alpha / sqrt(T D); rows of image tokens, whose embeddings are not used, get none. -> [N, D]
template <class T>
HostTensor<T> neftune_noise(const Batch& batch, Index D, double alpha, Index image_token_id, Random random) {
    HostTensor<T> noise = HostTensor<T>::zeros({batch.tokens(), D});
    Index row = 0;
    for (const Index length : batch.lengths) {
        const double size = alpha / std::sqrt(static_cast<double>(length * D));
        for (const Index end = row + length; row < end; ++row)
            for (Index j = 0; j < D; ++j) {
                const double u = 2 * random.uniform() - 1;
                if (batch.ids[static_cast<std::size_t>(row)] != image_token_id)
                    noise.data()[row * D + j] = static_cast<T>(size * u);
            }
    }
    return noise;
}

/// Logits of the counted rows alone [counted, V]: the head is the widest matrix, and prompts need none of it, nor of the last
/// MLP.
/// noise: added to the input embeddings [N, D], or null.
template <Backend B>
Tensor<B> batch_logits(B& be, const SmolVLM<B>& model, const Batch& batch, const PixelScaling& scaling, int threads,
                       const HostTensor<typename B::Scalar>* noise = nullptr, Probe<B>* probe = nullptr) {
    Tensor<B> features;
    if (!batch.frames.empty()) {
        const Shape& shape = batch.frames.shape();
        const PatchGrid grid = make_patch_grid(model.config.vision, shape[0], shape[2], shape[3]);
        const auto pixels = batch_pixels<typename B::Scalar>(batch, scaling, threads);
        features = model.encode_images(be, be.from_host(pixels), grid, probe);
    }
    Tensor<B> x = model.embed(be, batch.ids, features);
    if (noise) be.add_to(x, be.from_host(*noise));
    if (probe) (*probe)("text.inputs_embeds", x);
    const Tensor<B> hidden = model.text_model.forward(be, std::move(x), batch.segments(), nullptr, probe, batch.counted);
    const Tensor<B> logits = model.logits(be, hidden);
    if (probe) (*probe)("logits", logits);
    return logits;
}

/// The most likely token of every row (the first of equals). logits [n, V] -> [n]
template <class T>
std::vector<std::int32_t> most_likely(const HostTensor<T>& logits, int threads) {
    std::vector<std::int32_t> tokens(static_cast<std::size_t>(logits.dim(0)));
    parallel_for(threads, logits.dim(0), Index(8), [&](Index begin, Index end) {
        for (Index n = begin; n < end; ++n) {
            const auto row = logits.view().row(n);
            tokens[static_cast<std::size_t>(n)] =
                static_cast<std::int32_t>(std::max_element(row.begin(), row.end()) - row.begin());
        }
    });
    return tokens;
}

inline Index correct_rows(Ids predicted, Ids targets) {
    Index correct = 0;
    for (std::size_t n = 0; n < targets.size(); ++n) correct += predicted[n] == targets[n];
    return correct;
}

/// How many answers are right in every row: those that greedy decoding would give word for word.
inline Index exact_answers(std::span<const RowRange> answers, Ids predicted, Ids targets) {
    return std::ranges::count_if(answers, [&](const RowRange& answer) {
        return std::equal(targets.begin() + answer.begin, targets.begin() + answer.end,
                          predicted.begin() + answer.begin);
    });
}

}  // namespace smolvlm
