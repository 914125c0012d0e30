#pragma once
/// The loss over a large vocabulary, a row at a time, and its gradient.        definition: ref/cross_entropy.hpp

#include <limits>
#include <smolvlm/cpu/sink.hpp>
#include <smolvlm/cpu/team.hpp>
#include <smolvlm/ref/cross_entropy.hpp>

namespace smolvlm::cpu {

/// moments[0] = max_v x_v, moments[1] = log sum_v e^(x_v - max): together the logarithm of softmax's denominator, kept
/// apart because their sum would round away digits of the second.
struct RowLogSumExp {
    template <int Bytes, class T>
    SMOLVLM_INLINE static void run(const T* x, Index n, T* moments) {
        using V = Vec<T, lanes<T, Bytes>>;
        constexpr Index L = V::lanes;
        const Index whole = n / L * L;
        T m = -std::numeric_limits<T>::infinity();
        if (whole > 0) {
            V highest = V::load(x);
            for (Index j = L; j < whole; j += L) highest = max(V::load(x + j), highest);
            m = largest(highest);
        }
        for (Index j = whole; j < n; ++j) m = std::max(m, x[j]);
        T total = 0;
        for (Index begin = 0; begin < whole; begin += chain * L) {
            V part = V::zero();
            for (Index j = begin; j < std::min(whole, begin + chain * L); j += L)
                part = part + exp<true>(V::load(x + j) - m);
            total += sum(part);
        }
        for (Index j = whole; j < n; ++j) total += std::exp(x[j] - m);
        moments[0] = m;
        moments[1] = std::log(total);
    }
};

/// dx (+)= scale softmax(x)
struct RowSoftmaxVjp {
    template <int Bytes, class T>
    SMOLVLM_INLINE static void run(const T* x, Index n, const T* moments, T scale, Sink<T> dx) {
        using V = Vec<T, lanes<T, Bytes>>;
        constexpr Index L = V::lanes;
        const T m = moments[0], log_sum = moments[1];
        Index j = 0;
        for (; j + L <= n; j += L) dx.put(j, exp<true>((V::load(x + j) - m) - log_sum) * scale);
        for (; j < n; ++j) {
            const T slope = std::exp((x[j] - m) - log_sum) * scale;
            dx.data[j] = dx.add ? dx.data[j] + slope : slope;
        }
    }
};

/// logits [N, V]   targets [N]   ->   loss [1]
template <class T>
void cross_entropy(In<T> logits, Ids targets, View<T> loss, CpuPath path, const Team& team) {
    const Index N = logits.dim(0), V = logits.dim(1);
    Storage memory = team.pool->take(static_cast<std::size_t>(std::max<Index>(N, 1)) * sizeof(T));
    T* const losses = reinterpret_cast<T*>(memory.data());
    parallel_for(team.threads, N, std::max<Index>(1, 8192 / std::max<Index>(V, 1)), [&](Index begin, Index end) {
        for (Index n = begin; n < end; ++n) {
            const std::int32_t target = targets[static_cast<std::size_t>(n)];
            losses[n] = 0;
            if (target == ignore_index) continue;
            T moments[2];
            dispatch<RowLogSumExp>(path, logits.data() + n * V, V, moments);
            losses[n] = moments[1] + (moments[0] - logits.data()[n * V + target]);
        }
    });
    double sum = 0;
    for (Index n = 0; n < N; ++n) sum += static_cast<double>(losses[n]);
    loss(0) = static_cast<T>(sum / ref::counted_targets<double>(targets));
}

/// dlogits [N, V]
template <class T>
void cross_entropy_vjp(In<T> logits, Ids targets, T dloss, Sink<T> dlogits, CpuPath path, const Team& team) {
    const Index N = logits.dim(0), V = logits.dim(1);
    const T scale = dloss / ref::counted_targets<T>(targets);
    parallel_for(team.threads, N, std::max<Index>(1, 8192 / std::max<Index>(V, 1)), [&](Index begin, Index end) {
        for (Index n = begin; n < end; ++n) {
            const std::int32_t target = targets[static_cast<std::size_t>(n)];
            const Sink<T> row = dlogits.at(n * V);
            if (target == ignore_index) {
                if (!row.add) std::fill_n(row.data, V, T(0));
                continue;
            }
            T moments[2];
            dispatch<RowLogSumExp>(path, logits.data() + n * V, V, moments);
            dispatch<RowSoftmaxVjp>(path, logits.data() + n * V, V, static_cast<const T*>(moments), scale, row);
            row.data[target] -= scale;
        }
    });
}

}  // namespace smolvlm::cpu
