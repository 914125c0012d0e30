#pragma once
/// Gradients of several ranks added up while the backward pass is still computing the next ones.
///
///     parameters, last first     | lm_head, layer n, layer n-1 |  ...  |  ... |       (backward reaches the last ones
///     first) buckets                    |          bucket 0           |   1   |   2  |
///
/// A bucket sets out as soon as its gradients, and all buckets before it, are complete; so all ranks send the same
/// buckets in the same order, whatever their own batches hold. Beside the gradients each bucket carries a flag for each
/// of them: a gradient that no rank has (no batch with a picture: none for the vision tower) stays empty.

#include <smolvlm/train/communicator.hpp>
#include <smolvlm/train/parameters.hpp>

namespace smolvlm {

template <DifferentiableBackend B>
class GradientSum {
public:
    using T = typename B::Scalar;
    static constexpr Index bucket_elements = Index(1) << 20;

    GradientSum(Communicator& ranks, const Parameters<B>& parameters)
        : ranks_(ranks), parameters_(parameters), complete_(parameters.all().size(), 0) {
        Index elements = 0;
        for (std::size_t i = complete_.size(); i-- > 0;) {
            if (elements == 0) buckets_.emplace_back();
            buckets_.back().leaves.push_back(i);
            elements += parameters.all()[i].master.numel();
            if (elements >= bucket_elements) elements = 0;
        }
    }

    /// The gradient of that leaf will not change any more. gradients: as far as they are there.
    void complete(B& be, std::size_t leaf, const Gradients<B>& gradients) {
        complete_[leaf] = 1;
        for (; next_ < buckets_.size() && is_complete(buckets_[next_]); ++next_) send(be, buckets_[next_], gradients);
    }
    /// All sums, in place of this rank's gradients. Every leaf must be complete.
    void finish(B& be, Gradients<B>& gradients) {
        ranks_.finish_sums();
        for (Bucket& bucket : buckets_) {
            const T* from = bucket.values.data();
            const T* flag = from + bucket.values.size() - bucket.leaves.size();
            for (const std::size_t leaf : bucket.leaves) {
                HostTensor<T> sum(parameters_.all()[leaf].master.shape());
                std::copy_n(from, sum.numel(), sum.data());
                from += sum.numel();
                if (*flag++ != 0) gradients[leaf] = be.from_host(sum);
            }
        }
    }

private:
    struct Bucket {
        std::vector<std::size_t> leaves;
        std::vector<T> values;  // their gradients one after the other, then a flag for each
    };

    bool is_complete(const Bucket& bucket) const {
        return std::ranges::all_of(bucket.leaves, [this](std::size_t leaf) { return complete_[leaf] != 0; });
    }
    void send(B& be, Bucket& bucket, const Gradients<B>& gradients) {
        for (const std::size_t leaf : bucket.leaves) {
            const auto n = static_cast<std::size_t>(parameters_.all()[leaf].master.numel());
            if (gradients[leaf].empty()) {
                bucket.values.resize(bucket.values.size() + n, T(0));
            } else {
                const HostTensor<T> own = be.to_host(gradients[leaf]);
                bucket.values.insert(bucket.values.end(), own.cview().data(), own.cview().data() + n);
            }
        }
        for (const std::size_t leaf : bucket.leaves) bucket.values.push_back(gradients[leaf].empty() ? T(0) : T(1));
        ranks_.start_sum(std::span<T>(bucket.values));
    }

    Communicator& ranks_;
    const Parameters<B>& parameters_;
    std::vector<char> complete_;
    std::vector<Bucket> buckets_;
    std::size_t next_ = 0;
};

}  // namespace smolvlm
