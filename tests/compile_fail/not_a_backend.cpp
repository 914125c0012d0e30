// A layer on something that is no backend at all is refused by the part of the concept that lists the types.
// expect: HasTypes

#include <smolvlm/nn/linear.hpp>

#include "support/archetype.hpp"

#ifdef WRONG
template struct smolvlm::Linear<int>;
#else
template struct smolvlm::Linear<testing::Archetype>;
#endif
