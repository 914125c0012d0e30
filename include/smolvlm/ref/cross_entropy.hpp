#pragma once
#include <algorithm>
#include <cmath>

#include <smolvlm/backend/segments.hpp>
#include <smolvlm/core/view.hpp>

namespace smolvlm::ref {

/// max + log sum_v exp(x_v - max): the logarithm of softmax's denominator, without overflow.
template <class T>
T log_sum_exp(std::span<const T> x) {
    const T largest = *std::max_element(x.begin(), x.end());
    T sum = 0;
    for (T value : x) sum += std::exp(value - largest);
    return largest + std::log(sum);
}

/// Targets that count, as a divisor: at least 1, so a batch without any has loss 0 and no gradient (torch says NaN).
template <class T>
T counted_targets(Ids targets) {
    const auto ignored = std::ranges::count(targets, ignore_index);
    return T(std::max<Index>(1, static_cast<Index>(targets.size()) - ignored));
}

/// Cross-entropy of next-token logits: minus the mean log-probability of the targets that count. The caller shifts: row
/// n of the logits is judged by targets[n].
///     loss = mean over n with targets[n] != -100 of  log_sum_exp(logits[n, :]) - logits[n, targets[n]]
/// logits [N, V]   targets [N]   ->   loss [1]
template <class T>
void cross_entropy(In<T> logits, Ids targets, View<T> loss) {
    T sum = 0;
    for (std::size_t n = 0; n < targets.size(); ++n)
        if (targets[n] != ignore_index)
            sum += log_sum_exp<T>(logits.row(static_cast<Index>(n))) - logits(n, targets[n]);
    loss(0) = sum / counted_targets<T>(targets);
}

/// Its vector-Jacobian product. The gradient of log_sum_exp is softmax, that of the target's logit is 1:
///     dlogits[n, v] += dloss (softmax_v(logits[n, :]) - [v = targets[n]]) / count      0 for ignored rows
template <class T>
void cross_entropy_vjp(In<T> logits, Ids targets, In<T> dloss, View<T> dlogits) {
    const T scale = dloss(0) / counted_targets<T>(targets);
    for (std::size_t n = 0; n < targets.size(); ++n) {
        if (targets[n] == ignore_index) continue;
        const T denominator = log_sum_exp<T>(logits.row(static_cast<Index>(n)));
        for (Index v = 0; v < logits.dim(1); ++v) dlogits(n, v) += scale * std::exp(logits(n, v) - denominator);
        dlogits(n, targets[n]) -= scale;
    }
}

}  // namespace smolvlm::ref
