#pragma once
/// What Cpu<T> works with: its threads, its pool of memory, and where results go.

#include <smolvlm/core/arena.hpp>
#include <smolvlm/cpu/byte_rows.hpp>
#include <smolvlm/cpu/packed_weight.hpp>
#include <smolvlm/cpu/rope.hpp>
#include <smolvlm/cpu/sink.hpp>
#include <smolvlm/cpu/team.hpp>

namespace smolvlm::cpu {

template <class T>
class Workspace {
public:
    using Tensor = HostTensor<T>;

    Workspace(int threads, CpuPath path, Precision precision)
        : threads_(std::max(threads, 1)), path_(path), precision_(precision) {}

    /// Where activations come from; after the first token a decode step takes nothing fresh.
    Pool& pool() { return pool_; }
    int threads() const { return threads_; }
    /// So many threads may make weights at a time, each its own.
    int weight_makers() const { return has_threads ? threads_ : 1; }
    /// For tests: even the smallest piece of work is divided among the threads.
    void share_small_work() { least_work_ = 1; }
    CpuPath path() const { return path_; }
    /// What weights made from here on are multiplied in; the weight itself knows it too (cpu/packed_weight.hpp).
    Precision precision() const { return precision_; }

protected:
    Team team() { return {threads_, &pool_}; }
    /// The team for so many multiply-adds. Each thread gets 2^20 at least, some 30 microseconds, else waking it does not pay
    /// (and costs milliseconds where other programs want the cores).
    Team team(Index work) { return {static_cast<int>(std::clamp<Index>(work / least_work_, 1, threads_)), &pool_}; }
    /// The team for x times a matrix of so many rows. Few rows of x wait for the weights, which come more slowly than a core
    /// multiplies: as if there were 32.
    Team team_for(const Tensor& x, Index rows) { return team(std::max<Index>(x.dim(0), 32) * rows * x.dim(1)); }
    /// Threads for a pass over so many numbers, each as costly as sixteen multiply-adds.
    int share(Index numbers) { return team(16 * numbers).threads; }

    Tensor make(const Shape& shape) {
        return Tensor(shape, pool_.take(static_cast<std::size_t>(shape.numel()) * sizeof(T)));
    }
    /// Where the result of an elementwise op on x goes: x itself when nobody else can see it.
    Tensor like(const Tensor& x, const Shape& shape) {
        return x.storage().writable_alone() ? Tensor(shape, x.storage()) : make(shape);
    }
    /// Copies x first if anybody else can see its elements: a probe, a tape, a mapped file.
    template <class S>
    HostTensor<S>& own(HostTensor<S>& x) {
        if (!x.storage().writable_alone()) {
            HostTensor<S> copy(x.shape(), pool_.take(static_cast<std::size_t>(x.numel()) * sizeof(S)));
            std::ranges::copy(std::as_const(x).flat(), copy.data());
            x = std::move(copy);
        }
        return x;
    }
    ByteRows& own(ByteRows& x) {
        own(x.bytes);
        own(x.scales);
        return x;
    }
    /// Where a vjp puts its result; a gradient that nothing has been added to yet gets its elements here.
    Sink<T> sink(Tensor* dx, const Shape& shape) {
        if (!dx) return {};
        const bool add = !dx->empty();
        if (!add) *dx = make(shape);
        return {own(*dx).data(), add};
    }
    RopeTable<T>& rope_table(double theta, Index head_width) {
        for (auto& table : rope_tables_)
            if (table.is_for(theta, head_width)) return table;
        return rope_tables_.emplace_back(theta, head_width);
    }

    Arena arena_;  // of the weights
    int threads_;
    CpuPath path_;
    Precision precision_;

private:
    Pool pool_;
    Index least_work_ = Index(1) << 20;
    std::vector<RopeTable<T>> rope_tables_;
};

}  // namespace smolvlm::cpu
