// A key/value cache needs a backend that writes in place; autograd and others that cannot are refused by name.
// expect: CachingBackend
// expect: Slab

#include <smolvlm/nn/kv_cache.hpp>

#include "support/archetype.hpp"

#ifdef WRONG
template class smolvlm::KvCache<testing::Archetype>;
#else
template class smolvlm::KvCache<testing::CachingArchetype>;
#endif
