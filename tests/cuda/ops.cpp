// The laws of tests/ops once more, for Cuda<float>.
#define SMOLVLM_TEST_BACKENDS smolvlm::Cuda<float>

#include <doctest/doctest.h>

#include <smolvlm/cuda/cuda.cuh>

#include "support/backends.hpp"
#include "support/gradcheck.hpp"

static_assert(smolvlm::CachingBackend<smolvlm::Cuda<float>> && smolvlm::DifferentiableBackend<smolvlm::Cuda<float>>);
static_assert(smolvlm::CachingBackend<smolvlm::Cuda<smolvlm::bfloat16>>);
static_assert(smolvlm::DifferentiableBackend<smolvlm::Cuda<smolvlm::half>>);

// A namespace for each, because their helpers have the same names. All that they include is here already.
namespace of_activations {
#include "../ops/activations.cpp"
}
namespace of_attention {
#include "../ops/attention.cpp"
}
namespace of_embedding {
#include "../ops/embedding.cpp"
}
namespace of_layer_norm {
#include "../ops/layer_norm.cpp"
}
namespace of_linear {
#include "../ops/linear.cpp"
}
namespace of_patchify {
#include "../ops/patchify.cpp"
}
namespace of_pixel_shuffle {
#include "../ops/pixel_shuffle.cpp"
}
namespace of_rms_norm {
#include "../ops/rms_norm.cpp"
}
namespace of_rope {
#include "../ops/rope.cpp"
}
namespace of_rows {
#include "../ops/rows.cpp"
}
