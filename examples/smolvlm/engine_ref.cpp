#include <smolvlm/ref/ref.hpp>

#include "engine_on.hpp"

namespace cli {

std::unique_ptr<Engine> make_ref_float() { return std::make_unique<EngineOn<smolvlm::Ref<float>>>(); }
std::unique_ptr<Engine> make_ref_double() { return std::make_unique<EngineOn<smolvlm::Ref<double>>>(); }

}  // namespace cli
