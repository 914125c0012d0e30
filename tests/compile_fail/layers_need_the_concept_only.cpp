// Every layer compiles for a backend that has the concept's operations and nothing else, with and without a cache.

#include <smolvlm/model/smolvlm.hpp>

#include "support/archetype.hpp"

using testing::Archetype;
using testing::CachingArchetype;

#define SMOLVLM_TEST_EVERY_LAYER(B) \
    template struct smolvlm::Embedding<B>; \
    template struct smolvlm::LayerNorm<B>; \
    template struct smolvlm::Linear<B>; \
    template struct smolvlm::RmsNorm<B>; \
    template struct smolvlm::VisionAttention<B>; \
    template struct smolvlm::VisionMlp<B>; \
    template struct smolvlm::EncoderLayer<B>; \
    template struct smolvlm::PatchEmbedding<B>; \
    template struct smolvlm::SiglipVision<B>; \
    template struct smolvlm::DecoderAttention<B>; \
    template struct smolvlm::GatedMlp<B>; \
    template struct smolvlm::DecoderLayer<B>; \
    template struct smolvlm::Llama<B>; \
    template struct smolvlm::Connector<B>; \
    template struct smolvlm::SmolVLM<B>;

SMOLVLM_TEST_EVERY_LAYER(Archetype)
SMOLVLM_TEST_EVERY_LAYER(CachingArchetype)
template class smolvlm::KvCache<CachingArchetype>;
