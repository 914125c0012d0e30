#pragma once
/// smolvlm trace on one backend.

#include "batch.hpp"
#include "engine.hpp"

namespace cli {

/// Writes the tensors of a trace in the order in which the model computes them, each at once, so that only one is in
/// memory.
template <smolvlm::HasTypes B>
class TraceWriter : public smolvlm::Probe<B> {
public:
    using Scalar = typename B::Scalar;

    TraceWriter(B& be, const std::string& path, const Batch& batch, const smolvlm::ModelConfig& config)
        : be_(be),
          batch_(batch),
          shapes_(trace_shapes(batch, config)),
          writer_(TensorWriter::open(path, announced(shapes_))) {}

    /// An activation: rows of frames as they are, rows of tokens in their places among the padding.
    void operator()(const std::string& name, const smolvlm::Tensor<B>& x) override {
        const smolvlm::Shape& shape = expect(name);
        const smolvlm::HostTensor<Scalar> rows = be_.to_host(x);
        if (rows.numel() == shape.numel()) return write(rows);
        write(batch_.with_padding(rows));
    }
    void position_ids(const std::vector<std::int32_t>& ids) {
        expect("vision.position_ids");
        const std::vector<std::int64_t> wide(ids.begin(), ids.end());
        writer_->write(std::as_bytes(std::span(wide)));
    }
    /// The hidden states through the head, some rows at a time: only the result has all of them.
    void logits(const smolvlm::SmolVLM<B>& model, const smolvlm::Tensor<B>& hidden) {
        using namespace smolvlm;
        constexpr Index chunk = 256;
        HostTensor<Scalar> out = HostTensor<Scalar>::zeros(expect("logits"));
        const Index N = hidden.shape()[0], V = out.shape().back();
        for (Index begin = 0; begin < N; begin += chunk) {
            std::vector<std::int32_t> rows;
            for (Index n = begin; n < std::min(N, begin + chunk); ++n) rows.push_back(static_cast<std::int32_t>(n));
            const HostTensor<Scalar> part = be_.to_host(model.logits(be_, be_.gather_rows(hidden, rows)));
            for (const std::int32_t n : rows)
                std::copy_n(part.data() + (n - begin) * V, V,
                            out.data() + batch_.places[static_cast<std::size_t>(n)] * V);
        }
        write(out);
        writer_->commit();
    }

private:
    static std::vector<smolvlm::NamedTensor> announced(const TraceShapes& shapes) {
        std::vector<smolvlm::NamedTensor> tensors;
        for (const auto& [name, shape] : shapes)
            tensors.push_back(
                {name, name == "vision.position_ids" ? smolvlm::DType::i64 : smolvlm::dtype_of<Scalar>, shape, {}});
        return tensors;
    }
    const smolvlm::Shape& expect(std::string_view name) {
        SMOLVLM_CHECK(next_ < shapes_.size() && shapes_[next_].first == name, ValueError, "trace: ", name,
                      " was computed out of turn");
        return shapes_[next_++].second;
    }
    void write(const smolvlm::HostTensor<Scalar>& x) { writer_->write(std::as_bytes(x.flat())); }

    B& be_;
    const Batch& batch_;
    TraceShapes shapes_;
    std::size_t next_ = 0;
    std::unique_ptr<TensorWriter> writer_;
};

template <smolvlm::Backend B>
void trace_on(B& be, const TraceRequest& request) {
    using namespace smolvlm;
    using Scalar = typename B::Scalar;
    const Checkpoint checkpoint = request.model.open();
    const ModelConfig& config = checkpoint.config;
    const auto input = open_tensors(request.input);
    const Batch batch = read_batch(*input, config);
    const SmolVLM<B> model = load_model(be, config, *checkpoint.weights, request.engine.weight_dtype());

    TraceWriter<B> writer(be, request.output, batch, config);
    Tensor<B> features;
    if (!batch.frames.empty()) {
        const PatchGrid grid = make_patch_grid(config.vision, static_cast<Index>(batch.frames.size()), batch.height,
                                               batch.width, batch.pixel_mask.view());
        writer.position_ids(grid.position_ids);
        features = model.encode_images(be, be.from_host(batch.template pixels<Scalar>(*input)), grid, &writer);
    }
    // Without pixel_values <image> tokens are tokens like any other, as in transformers; with them they stand for
    // frames.
    if (batch.has_pixels) model.check_pictures(batch.ids, features);
    const Segments segments = Segments::packed(Segments::Mask::causal, batch.lengths);
    writer.logits(model, model.forward(be, batch.ids, features, segments, nullptr, &writer));
}

}  // namespace cli
