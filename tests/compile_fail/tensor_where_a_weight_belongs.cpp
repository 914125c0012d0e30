// A matrix of linear is a Weight; an activation does not turn into one by itself.
// expect: Weight

#include "support/archetype.hpp"

using testing::Archetype;

#ifdef WRONG
Archetype::Tensor product(Archetype& be, const Archetype::Tensor& x, const Archetype::Tensor& w) {
#else
Archetype::Tensor product(Archetype& be, const Archetype::Tensor& x, const Archetype::Weight& w) {
#endif
    return be.linear(x, w, {});
}
