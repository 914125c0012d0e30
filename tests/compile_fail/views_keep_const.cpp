// A view of constant elements never turns into one that can be written through.
// expect: View<float>

#include <smolvlm/core/host_tensor.hpp>

smolvlm::View<const float> reading(const smolvlm::HostTensor<float>& x) { return x.view(); }
#ifdef WRONG
smolvlm::View<float> writing(const smolvlm::HostTensor<float>& x) { return x.view(); }
#else
smolvlm::View<float> writing(smolvlm::HostTensor<float>& x) { return x.view(); }
#endif
