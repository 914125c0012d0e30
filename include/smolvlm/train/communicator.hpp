#pragma once
/// What training on several machines needs of them: sums over all ranks. One process is a rank of its own.

#include <cstdint>
#include <span>
#include <vector>

namespace smolvlm {

class Communicator {
public:
    virtual ~Communicator() = default;
    virtual int rank() const { return 0; }
    virtual int size() const { return 1; }
    /// Every element becomes its sum over all ranks; all ranks call it with spans of the same lengths.
    virtual void sum(std::span<float>) {}
    virtual void sum(std::span<double>) {}
    /// The same for many spans at once, which an implementation may send while it packs the next.
    virtual void sum(std::span<const std::span<float>> all) {
        for (const std::span<float> values : all) sum(values);
    }
    virtual void sum(std::span<const std::span<double>> all) {
        for (const std::span<double> values : all) sum(values);
    }
    /// One number of every rank, in the order of ranks.
    virtual std::vector<std::int64_t> gather(std::int64_t value) { return {value}; }
    /// Returns when all ranks have come here.
    virtual void barrier() {}
};

}  // namespace smolvlm
