#pragma once
/// What `smolvlm train` does with a configuration, for programs that bring data of their own.

#include <smolvlm/data/sample_source.hpp>
#include <smolvlm/train/config.hpp>

namespace smolvlm {
struct RunObserver;  // train/run.hpp
}

namespace cli {

/// Trains on the CPU; under mpirun on all ranks. Ctrl-C ends it after its step, saved and drawn. observer: null, or who
/// watches instead of the terminal.
void train_model(const smolvlm::TrainConfig& config, const smolvlm::SourceOpener& open, bool resume,
                 smolvlm::RunObserver* observer = nullptr);

/// Has Ctrl-C ended the last training?
bool training_was_interrupted();

}  // namespace cli
