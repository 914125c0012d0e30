#include <smolvlm/cpu/cpu.hpp>

#include "grad_on.hpp"

namespace cli {

void grad_cpu(const GradRequest& request) {
    if (request.dtype == "f64")
        grad_on(smolvlm::Cpu<double>(request.threads), request);
    else
        grad_on(smolvlm::Cpu<float>(request.threads), request);
}

}  // namespace cli
