#pragma once
/// smolvlm grad on one backend.

#include <smolvlm/autograd/grad.hpp>
#include <smolvlm/checkpoint/weights.hpp>

#include "batch.hpp"
#include "grad.hpp"

namespace cli {

/// The tokens whose successor has a label that counts, and those labels.
struct CountedTargets {
    std::vector<std::int32_t> rows, labels;

    CountedTargets(const smolvlm::TensorFile& file, const Batch& batch, const smolvlm::ModelConfig& config) {
        using namespace smolvlm;
        const HostTensor<std::int64_t> all = file.tensor<std::int64_t>("labels");
        SMOLVLM_CHECK(all.shape() == (Shape{batch.sequences, batch.columns}), FormatError, file.path(),
                      ": \"labels\" is ", all.shape(), ", expected the shape of input_ids, ",
                      Shape{batch.sequences, batch.columns});
        const Index V = config.text.vocab_size;
        Index row = 0;
        for (const Index length : batch.lengths) {
            for (const Index last = row + length - 1; row < last; ++row) {
                const Index place = batch.places[static_cast<std::size_t>(row + 1)];
                const std::int64_t label = all.data()[place];
                if (label == ignore_index) continue;
                SMOLVLM_CHECK(label >= 0 && label < V, ValueError, file.path(), ": \"labels\" holds ", label, " at [",
                              place / batch.columns, ", ", place % batch.columns, "], expected ", ignore_index,
                              " or a token id from 0 to ", V - 1);
                rows.push_back(static_cast<std::int32_t>(row));
                labels.push_back(static_cast<std::int32_t>(label));
            }
            ++row;
        }
        SMOLVLM_CHECK(!rows.empty(), ValueError, file.path(),
                      ": \"labels\" has no label that counts, so there is no loss; expected some other than ",
                      ignore_index, " after the first token of a sequence");
    }
};

template <smolvlm::DifferentiableBackend B>
void grad_on(B inner, const GradRequest& request) {
    using namespace smolvlm;
    using T = typename B::Scalar;
    const Checkpoint checkpoint = request.model.open();
    const ModelConfig& config = checkpoint.config;
    const auto input = open_tensors(request.input);
    const Batch batch = read_batch(*input, config);
    const CountedTargets targets(*input, batch, config);

    Grad<B> be(std::move(inner));
    const SmolVLM<B> plain = load_model(be.inner(), config, *checkpoint.weights);
    std::vector<NamedTensor> tensors{{"loss", dtype_of<T>, Shape{1}, {}}};
    for_each_parameter(plain, [&](const std::string& name, const auto& slot, const Shape& shape) {
        if constexpr (std::is_same_v<std::remove_cvref_t<decltype(slot)>, Weight<B>>) {
            DType held = DType::f32;
            if constexpr (std::is_same_v<Weight<B>, HostWeight>)
                held = slot.dtype;
            else
                held = slot.dtype();
            SMOLVLM_CHECK(is_floating(held), ValueError, request.model.model, ": ", name, " is held as ", held,
                          ", which has no gradient; expected a model of floating-point weights");
        }
        const bool rename = !config.has_vision && name.starts_with("model.text_model.");
        tensors.push_back({"grad." + (rename ? "model." + name.substr(17) : name), dtype_of<T>, shape, {}});
    });
    const auto model = watch(be, plain, [](std::string_view) { return true; });
    const auto writer = TensorWriter::open(request.output, tensors);

    Tensor<Grad<B>> features;
    if (!batch.frames.empty()) {
        const PatchGrid grid = make_patch_grid(config.vision, static_cast<Index>(batch.frames.size()), batch.height,
                                               batch.width, batch.pixel_mask.view());
        features = model.encode_images(be, be.from_host(batch.template pixels<T>(*input)), grid);
    }
    if (batch.has_pixels) model.check_pictures(batch.ids, features);
    const Segments segments = Segments::packed(Segments::Mask::causal, batch.lengths);
    const auto hidden = model.forward(be, batch.ids, features, segments);
    const auto loss = be.cross_entropy(model.logits(be, be.gather_rows(hidden, targets.rows)), targets.labels);
    const HostTensor<T> value = be.to_host(loss);
    SMOLVLM_CHECK(std::isfinite(value.flat()[0]), ValueError, request.input, ": the loss is ", value.flat()[0],
                  "; the weights or the pixels hold numbers that are not finite");

    writer->write(std::as_bytes(value.flat()));
    auto gradients = be.backward(loss);
    for (std::size_t i = 0; i + 1 < tensors.size(); ++i) {  // a parameter that the batch does not use has gradient zero
        const HostTensor<T> g =
            gradients[i].empty() ? HostTensor<T>::zeros(tensors[i + 1].shape) : be.inner().to_host(gradients[i]);
        writer->write(std::as_bytes(g.flat()));
        gradients[i] = {};
    }
    writer->commit();
}

}  // namespace cli
