// A backend that lacks an op is no backend, and the message names the op.
// expect: gelu_tanh
// expect: Backend

#include <smolvlm/nn/linear.hpp>

#include "support/archetype.hpp"

struct Lacking : testing::Archetype {
#ifdef WRONG
    Tensor gelu_tanh(const Tensor&) = delete;
#endif
};

template struct smolvlm::Linear<Lacking>;
