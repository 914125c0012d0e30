// The laws of tests/nn, tests/text, tests/vision and tests/model once more, for Cuda<float>: the cache, the decoder, the vision
// tower, whole models and what they generate.
#define SMOLVLM_TEST_BACKENDS smolvlm::Cuda<float>

#include <doctest/doctest.h>

#include <algorithm>
#include <limits>

#include <smolvlm/cuda/cuda.cuh>
#include <smolvlm/model/generate.hpp>
#include <smolvlm/nn/kv_cache.hpp>

#include "support/backends.hpp"
#include "support/random_pixels.hpp"
#include "support/tiny_model.hpp"

// A namespace for each, because their helpers have the same names. All that they include is here already.
namespace of_kv_cache {
#include "../nn/kv_cache.cpp"
}
namespace of_llama {
#include "../text/llama.cpp"
}
namespace of_generate {
#include "../model/generate.cpp"
}
namespace of_model {
#include "../model/smolvlm.cpp"
}
namespace of_siglip {
#include "../vision/siglip.cpp"
}
