// Every golden trace, on every backend.
#include "traces.hpp"

using namespace testing;

TEST_CASE_TEMPLATE("trace: every intermediate equals transformers', and greedy decoding gives its ids", B,
                   SMOLVLM_TEST_BACKENDS) {
    CHECK(traces::check<B>(traces::cases()) > 150);
}
