#pragma once
/// Archetypes: backends that have what the concept asks for and nothing more. A concept does not constrain the bodies of the
/// templates behind it; a layer that compiles for these uses the contract only.

#include <smolvlm/backend/concept.hpp>

namespace testing {

struct ArchetypeTensor {
    smolvlm::Shape shape() const { return {}; }
    bool empty() const { return true; }
};
struct ArchetypeWeight {
    smolvlm::Shape shape() const { return {}; }
};

struct Archetype {
    using Scalar = double;
    using Tensor = ArchetypeTensor;
    using Weight = ArchetypeWeight;
    using Index = smolvlm::Index;

    Tensor from_host(const smolvlm::HostTensor<Scalar>&) { return {}; }
    smolvlm::HostTensor<Scalar> to_host(const Tensor&) { return {}; }
    Weight make_weight(const smolvlm::HostWeight&) { return {}; }
    Tensor zeros(const smolvlm::Shape&) { return {}; }

    Tensor linear(const Tensor&, const Weight&, const Tensor&) { return {}; }
    Tensor embedding(const Weight&, smolvlm::Ids) { return {}; }
    Tensor gather_rows(const Tensor&, smolvlm::Ids) { return {}; }
    void scatter_rows(Tensor&, smolvlm::Ids, const Tensor&) {}
    Tensor rms_norm(const Tensor&, const Tensor&, double) { return {}; }
    Tensor layer_norm(const Tensor&, const Tensor&, const Tensor&, double) { return {}; }
    Tensor rope(const Tensor&, Index, double, const smolvlm::Segments&) { return {}; }
    Tensor attention(const Tensor&, const Tensor&, const Tensor&, smolvlm::Heads, const smolvlm::Segments&) { return {}; }
    Tensor gelu_tanh(const Tensor&) { return {}; }
    Tensor silu_mul(const Tensor&, const Tensor&) { return {}; }
    void add_to(Tensor&, const Tensor&) {}
    Tensor patchify(const Tensor&, Index) { return {}; }
    Tensor pixel_shuffle(const Tensor&, Index, Index, Index) { return {}; }
};
static_assert(smolvlm::Backend<Archetype> && !smolvlm::CachingBackend<Archetype>);

struct CachingArchetype : Archetype {
    struct Slab {};

    std::vector<Slab> make_slabs(Index, const smolvlm::Shape&, Index) { return {}; }
    using Archetype::gather_rows;
    Tensor gather_rows(const Slab&, smolvlm::Ids) { return {}; }
    using Archetype::attention;
    Tensor attention(const Tensor&, const Slab&, const Slab&, smolvlm::Heads, const smolvlm::Segments&) { return {}; }
    void write_rows(Slab&, const smolvlm::Segments&, const Tensor&) {}
};
static_assert(smolvlm::CachingBackend<CachingArchetype>);

}  // namespace testing
