#pragma once
/// What a training step and an evaluation tell.

#include <smolvlm/core/shape.hpp>

namespace smolvlm {

struct StepReport {
    Index step = 0;       // this one, from 1
    double loss = 0;      // mean over the counted tokens
    double accuracy = 0;  // share of them that were the most likely one
    double lr = 0, grad_norm = 0;
    Index tokens = 0, counted = 0, samples = 0;
    double epochs = 0;  // of the first data set
    double seconds = 0;
};

struct EvalReport {
    double loss = 0, accuracy = 0;
    double exact = 0;  // share of the answers that greedy decoding would give word for word
    Index counted = 0, answers = 0;
};

}  // namespace smolvlm
