#include <smolvlm/cpu/cpu.hpp>

#include "engine_on.hpp"

namespace cli {

std::unique_ptr<Engine> make_cpu_double(int threads) {
    return std::make_unique<EngineOn<smolvlm::Cpu<double>>>(threads);
}

}  // namespace cli
