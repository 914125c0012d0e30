#pragma once
/// A released model on disk, opened but not loaded: what its files say, and where its weights are.

#include <memory>

#include <smolvlm/checkpoint/weights.hpp>
#include <smolvlm/processor.hpp>

namespace smolvlm {

struct Checkpoint {
    ModelConfig config;
    GenerationConfig generation;
    Processor processor;
    std::unique_ptr<WeightSource> weights;
};

}  // namespace smolvlm
