#include <smolvlm/cpu/cpu.hpp>

#include "engine_on.hpp"

namespace cli {

std::unique_ptr<Engine> make_cpu_float(int threads, smolvlm::Precision precision, std::optional<smolvlm::CacheFormat> cache) {
    return std::make_unique<EngineOn<smolvlm::Cpu<float>>>(threads, precision, cache);
}

}  // namespace cli
