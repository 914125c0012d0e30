#include <smolvlm/cuda/cuda.cuh>

#include "engine_on.hpp"

namespace cli {

using namespace smolvlm;

std::unique_ptr<Engine> make_cuda(const EngineFlags& flags) {
    SMOLVLM_CHECK(flags.dtype != "f64" && flags.dtype != "int8" && flags.dtype != "q4_1", ValueError, "--dtype ", flags.dtype,
                  " has no kernels for --backend cuda; expected f32, bf16, f16, q8_0 or q4_0");
    if (flags.dtype == "f32") return std::make_unique<EngineOn<Cuda<float>>>();
    if (flags.dtype == "f16") return std::make_unique<EngineOn<Cuda<half>>>();
    return std::make_unique<EngineOn<Cuda<bfloat16>>>();
}

}  // namespace cli
