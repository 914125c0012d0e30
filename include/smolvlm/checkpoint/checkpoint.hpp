#pragma once
/// A released model on disk, opened but not loaded: what its files say, and where its weights are.

#include <functional>
#include <memory>

#include <smolvlm/checkpoint/weights.hpp>
#include <smolvlm/processor.hpp>

namespace smolvlm {

struct Checkpoint {
    ModelConfig config;
    GenerationConfig generation;
    Processor processor;
    std::shared_ptr<const WeightSource> weights;
};

/// Called by what opens a checkpoint as soon as the weights can be loaded; the tokenizer is read only then.
using WeightsOpened = std::function<void(const ModelConfig&, std::shared_ptr<const WeightSource>)>;

}  // namespace smolvlm
