// An operation with another result than the concept's is found by its line in the concept.
// expect: be.rope(x, /*heads*/ n, /*theta*/ real, segments)

#include <smolvlm/nn/rms_norm.hpp>

#include "support/archetype.hpp"

struct Turning : testing::Archetype {
#ifdef WRONG
    float rope(const Tensor&, smolvlm::Index, double, const smolvlm::Segments&);
#endif
};

template struct smolvlm::RmsNorm<Turning>;
