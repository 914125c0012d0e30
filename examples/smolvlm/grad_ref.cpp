#include <smolvlm/ref/ref.hpp>

#include "grad_on.hpp"

namespace cli {

void grad_ref(const GradRequest& request) {
    if (request.dtype == "f64")
        grad_on(smolvlm::Ref<double>(), request);
    else
        grad_on(smolvlm::Ref<float>(), request);
}

}  // namespace cli
