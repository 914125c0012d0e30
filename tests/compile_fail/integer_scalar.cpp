// A backend computes in floating point.
// expect: floating_point

#include <smolvlm/nn/linear.hpp>

#include "support/archetype.hpp"

struct Counting : testing::Archetype {
#ifdef WRONG
    using Scalar = int;
#endif
};

template struct smolvlm::Linear<Counting>;
