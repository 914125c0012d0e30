// Whole tiny models on Cuda<float>: every intermediate and the greedy ids against transformers', every gradient against
// PyTorch's, as for the CPU and with its tolerances.
#define SMOLVLM_TEST_BACKENDS smolvlm::Cuda<float>

#include <doctest/doctest.h>

#include <smolvlm/cuda/cuda.cuh>

#include "../autograd/golden_gradients.hpp"
#include "../conformance/traces.hpp"
#include "support/backends.hpp"

using namespace testing;

using B = smolvlm::Cuda<float>;

TEST_CASE("trace on the device: every intermediate equals transformers', and greedy decoding gives its ids") {
    std::vector<traces::Case> few;
    for (const traces::Case& which : traces::cases())
        if ((which.model == "odd_head_dim" && which.name == "many") ||
            (which.model == "gqa_untied_r2" && which.name == "single"))
            few.push_back(which);
    CHECK(traces::check<B>(few) > 10);
}

TEST_CASE_TEMPLATE("trace on the device: in two-byte numbers every intermediate is within 8 roundings of transformers'", T,
                   half, bfloat16) {
    std::vector<traces::Case> few;
    for (const traces::Case& which : traces::cases())
        if (which.model == "gqa_untied_r2" && (which.name == "many" || which.name == "text")) few.push_back(which);
    CHECK(traces::check<Cuda<T>>(few, 8 * (std::is_same_v<T, half> ? 0x1p-11 : 0x1p-8)) > 10);
}

TEST_CASE("gradients on the device: in single precision every parameter's is PyTorch's float64 one within 1e-4") {
    for (const Golden& which : goldens())
        if (which.name == "odd_head_dim") worst_gradient<B>(which, 1e-4);
}

TEST_CASE("decoding on the device: after the third token nothing is allocated, and the host waits once a token") {
    B be;
    const Checkpoint checkpoint = open_checkpoint(testing::golden + "models/odd_head_dim");
    const SmolVLM<B> model = load_model(be, checkpoint.config, *checkpoint.weights);
    GenerateOptions options;
    options.max_new_tokens = 7;
    auto cache = make_cache(model);
    const PromptInput<B> input{{5, 6, 7, 8}, {}};
    std::vector<Index> allocations, waits;
    generate(be, model, std::span<const PromptInput<B>>(&input, 1), options, cache, [&](Index, std::int32_t) {
        allocations.push_back(be.runtime().fresh_allocations());
        waits.push_back(be.runtime().waits());
        return true;
    });
    REQUIRE(waits.size() == 7);
    for (std::size_t i = 3; i < waits.size(); ++i) {
        CHECK(allocations[i] == allocations[2]);
        CHECK(waits[i] == waits[i - 1] + 1);
    }
}

TEST_CASE("two streams: one reads pictures, one text, with the same weights; what is not ordered is refused in emulation") {
    B text, vision;
    const Checkpoint checkpoint = open_checkpoint(testing::golden + "models/odd_head_dim");
    const SmolVLM<B> model = load_model(text, checkpoint.config, *checkpoint.weights);
    vision.wait_for(text);  // for the weights
    const VisionConfig& of = model.config.vision;
    const Shape shape{2, of.num_channels, of.image_size, of.image_size};
    const PatchGrid grid = make_patch_grid(of, 2, of.image_size, of.image_size);
    const auto features_by = [&](B& be) { return model.encode_images(be, random(be, shape, 1), grid); };
    const auto logits_of = [&](const Tensor<B>& features) {
        std::vector<std::int32_t> ids(static_cast<std::size_t>(features.dim(0)),
                                      static_cast<std::int32_t>(model.config.image_token_id));
        ids.insert(ids.end(), {5, 6, 7});
        const Index tokens = static_cast<Index>(ids.size());
        const Segments segments = Segments::packed(Segments::Mask::causal, {&tokens, 1});
        return model.logits(text, model.forward(text, ids, features, segments));
    };
    const auto expected = text.to_host(logits_of(features_by(text)));
    {
        const Tensor<B> features = features_by(vision);
        text.wait_for(vision);
        const Tensor<B> found = logits_of(features);
        vision.wait_for(text);  // before the features are given back
        CHECK(inequality(text.to_host(found), expected) == "");
    }
#if defined(SMOLVLM_CUDA_EMULATION)
    CHECK(contains(error_of([&] { logits_of(features_by(vision)); }), "in no certain order"));
    for (const char* call : {"cudaEventCreateWithFlags", "cudaEventRecord", "cudaStreamWaitEvent"}) {
        B other;
        cuda::emulation::machine().failing_call = call;
        cuda::emulation::machine().failing_code = "cudaErrorUnknown";
        CHECK(contains(error_of([&] { text.wait_for(other); }), std::string(call) + " failed: cudaErrorUnknown"));
        text.wait_for(other);
    }
#endif
    text.wait_for(vision);
    const Tensor<B> features = features_by(vision);
    text.wait_for(vision);
    CHECK(inequality(text.to_host(logits_of(features)), expected) == "");
}

TEST_CASE("trace and gradients on the device: all golden models" * doctest::skip()) {
    CHECK(traces::check<B>(traces::cases()) > 150);
    for (const Golden& which : goldens()) worst_gradient<B>(which, 1e-4);
}
