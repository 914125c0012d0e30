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
    /// The same while the caller goes on computing; the values must stay where they are until finish_sums(), which
    /// waits for all that were started. All ranks start the same sums in the same order.
    virtual void start_sum(std::span<float> values) { sum(values); }
    virtual void start_sum(std::span<double> values) { sum(values); }
    virtual void finish_sums() {}
    /// One number of every rank, in the order of ranks.
    virtual std::vector<std::int64_t> gather(std::int64_t value) { return {value}; }
    /// Returns when all ranks have come here.
    virtual void barrier() {}
};

}  // namespace smolvlm
