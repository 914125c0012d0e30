#pragma once
/// Everything for running SmolVLM on a CPU. Pictures from files: also include <smolvlm/image/load_stb.hpp>.

#include <smolvlm/checkpoint/load.hpp>
#include <smolvlm/cpu/cpu.hpp>
#include <smolvlm/pipeline.hpp>
#include <smolvlm/version.hpp>
