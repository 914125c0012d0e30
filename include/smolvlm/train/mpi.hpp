#pragma once
/// Training on several machines, or several processes of one: MPI adds up what the ranks have computed. The only file
/// that knows MPI; any implementation will do.
///
///     auto ranks = std::make_shared<Mpi>();            // mpirun -n 4 program
///     Trainer<Cpu<float>> trainer(Cpu<float>(), config, chat_files(load_image), false, ranks);
///
/// Every rank holds the whole model and reads its own share of the samples; after the sums all ranks make the same step.
/// Gradients travel in buckets while the backward pass goes on (sum_gradients.hpp). Default error handling of MPI stays:
/// when a rank is lost, the whole job ends.

#include <algorithm>
#include <mpi.h>

#include <smolvlm/train/communicator.hpp>

namespace smolvlm {

class Mpi final : public Communicator {
public:
    /// Starts MPI unless the program has done so.
    Mpi() {
        int started = 0;
        MPI_Initialized(&started);
        if (!started) MPI_Init(nullptr, nullptr);
        owner_ = !started;
        MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
        MPI_Comm_size(MPI_COMM_WORLD, &size_);
    }
    Mpi(const Mpi&) = delete;
    Mpi& operator=(const Mpi&) = delete;
    /// Waits for the other ranks; so an error that leaves a rank must be reported through end_job first.
    ~Mpi() override {
        if (owner_) MPI_Finalize();
    }

    int rank() const override { return rank_; }
    int size() const override { return size_; }

    void sum(std::span<float> values) override { sum_one(values); }
    void sum(std::span<double> values) override { sum_one(values); }
    void start_sum(std::span<float> values) override { start_one(values); }
    void start_sum(std::span<double> values) override { start_one(values); }
    void finish_sums() override {
        MPI_Waitall(static_cast<int>(under_way_.size()), under_way_.data(), MPI_STATUSES_IGNORE);
        under_way_.clear();
    }

    std::vector<std::int64_t> gather(std::int64_t value) override {
        std::vector<std::int64_t> all(static_cast<std::size_t>(size_));
        MPI_Allgather(&value, 1, MPI_INT64_T, all.data(), 1, MPI_INT64_T, MPI_COMM_WORLD);
        return all;
    }
    void barrier() override { MPI_Barrier(MPI_COMM_WORLD); }

    /// Ends all ranks at once: for an error that only this one has.
    void end_job(int code) { MPI_Abort(MPI_COMM_WORLD, code); }

private:
    static constexpr std::size_t most_at_once = std::size_t(1) << 30;  // MPI counts in int

    static MPI_Datatype type_of(const float*) { return MPI_FLOAT; }
    static MPI_Datatype type_of(const double*) { return MPI_DOUBLE; }

    template <class T>
    void sum_one(std::span<T> values) {
        start_one(values);
        finish_sums();
    }
    template <class T>
    void start_one(std::span<T> values) {
        for (std::size_t begin = 0; begin < values.size(); begin += most_at_once) {
            const int count = static_cast<int>(std::min(most_at_once, values.size() - begin));
            MPI_Iallreduce(MPI_IN_PLACE, values.data() + begin, count, type_of(values.data()), MPI_SUM, MPI_COMM_WORLD,
                           &under_way_.emplace_back());
        }
        int done = 0;  // a library without a thread of its own moves data only when it is called
        MPI_Testall(static_cast<int>(under_way_.size()), under_way_.data(), &done, MPI_STATUSES_IGNORE);
        if (done) under_way_.clear();
    }

    std::vector<MPI_Request> under_way_;
    int rank_ = 0, size_ = 1;
    bool owner_ = false;
};

}  // namespace smolvlm
