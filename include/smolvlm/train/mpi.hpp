#pragma once
/// Training on several machines, or several processes of one: MPI adds up what the ranks have computed. The only file
/// that knows MPI; any implementation will do.
///
///     auto ranks = std::make_shared<Mpi>();            // mpirun -n 4 program
///     Trainer<Cpu<float>> trainer(Cpu<float>(), config, load_image, false, ranks);
///
/// Every rank holds the whole model and reads its own share of the samples; after the sums all ranks make the same step.
/// Gradients travel in buckets: while one is on its way the next is packed. Default error handling of MPI stays: when a
/// rank is lost, the whole job ends.

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
    void sum(std::span<const std::span<float>> all) override { sum_buckets(all); }
    void sum(std::span<const std::span<double>> all) override { sum_buckets(all); }

    std::vector<std::int64_t> gather(std::int64_t value) override {
        std::vector<std::int64_t> all(static_cast<std::size_t>(size_));
        MPI_Allgather(&value, 1, MPI_INT64_T, all.data(), 1, MPI_INT64_T, MPI_COMM_WORLD);
        return all;
    }
    void barrier() override { MPI_Barrier(MPI_COMM_WORLD); }

    /// Ends all ranks at once: for an error that only this one has.
    void end_job(int code) { MPI_Abort(MPI_COMM_WORLD, code); }

private:
    static constexpr std::size_t bucket_elements = 1 << 22;

    static MPI_Datatype type_of(const float*) { return MPI_FLOAT; }
    static MPI_Datatype type_of(const double*) { return MPI_DOUBLE; }

    template <class T>
    void sum_one(std::span<T> values) {
        for (std::size_t begin = 0; begin < values.size(); begin += bucket_elements) {
            const int count = static_cast<int>(std::min(bucket_elements, values.size() - begin));
            MPI_Allreduce(MPI_IN_PLACE, values.data() + begin, count, type_of(values.data()), MPI_SUM, MPI_COMM_WORLD);
        }
    }

    /// The spans one after the other are one long row, cut into buckets.
    template <class T>
    void sum_buckets(std::span<const std::span<T>> all) {
        std::vector<std::vector<T>> buckets(1);
        std::vector<MPI_Request> requests;
        const auto send = [&] {
            std::vector<T>& bucket = buckets.back();
            if (bucket.empty()) return;
            MPI_Iallreduce(MPI_IN_PLACE, bucket.data(), static_cast<int>(bucket.size()), type_of(bucket.data()),
                           MPI_SUM, MPI_COMM_WORLD, &requests.emplace_back());
            buckets.emplace_back();
        };
        for (const std::span<T> values : all)
            for (std::size_t begin = 0; begin < values.size();) {
                std::vector<T>& bucket = buckets.back();
                const std::size_t n = std::min(values.size() - begin, bucket_elements - bucket.size());
                bucket.insert(bucket.end(), values.begin() + static_cast<std::ptrdiff_t>(begin),
                              values.begin() + static_cast<std::ptrdiff_t>(begin + n));
                begin += n;
                if (bucket.size() == bucket_elements) send();
            }
        send();
        std::size_t bucket = 0, place = 0;
        const auto arrived = [&] { MPI_Wait(&requests[bucket], MPI_STATUS_IGNORE); };
        for (const std::span<T> values : all)
            for (std::size_t begin = 0; begin < values.size();) {
                if (place == 0) arrived();
                const std::size_t n = std::min(values.size() - begin, buckets[bucket].size() - place);
                std::copy_n(buckets[bucket].begin() + static_cast<std::ptrdiff_t>(place), n,
                            values.begin() + static_cast<std::ptrdiff_t>(begin));
                begin += n;
                place += n;
                if (place == buckets[bucket].size()) place = 0, ++bucket;
            }
    }

    int rank_ = 0, size_ = 1;
    bool owner_ = false;
};

}  // namespace smolvlm
