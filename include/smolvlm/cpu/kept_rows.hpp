#pragma once
/// Keys or values as attention reads them, whatever numbers hold them.                    who owns them: cpu/slab.hpp

#include <smolvlm/core/view.hpp>
#include <smolvlm/cpu/loads.hpp>

namespace smolvlm::cpu {

/// Signed bytes stand for themselves times a scale; all other numbers for themselves.
template <class S>
inline constexpr bool has_scales = std::is_same_v<S, std::int8_t>;

/// One head: the numbers of row j are at data + j * ld, its scale is scales[j].
template <class S>
struct HeadRows {
    const S* data;
    Index ld;
    const float* scales = nullptr;

    SMOLVLM_INLINE HeadRows from(Index row) const {
        if constexpr (has_scales<S>) return {data + row * ld, ld, scales + row};
        return {data + row * ld, ld};
    }
    template <class T>
    SMOLVLM_INLINE T scale(Index row) const {
        if constexpr (has_scales<S>) return static_cast<T>(scales[row]);
        return T(1);
    }
    /// x, whose lanes belong to the rows from `row` on, times their scales.
    template <class T, int L>
    SMOLVLM_INLINE Vec<T, L> scaled(const Vec<T, L>& x, Index row) const {
        if constexpr (has_scales<S>) return x * load_as<T, L>(scales + row);
        return x;
    }
};

/// All heads: numbers [R, G*K], and scales [groups, R], of a row and G*K / groups of its numbers, whole heads.
template <class S>
class KeptRows {
public:
    template <class N>
        requires std::is_same_v<std::remove_const_t<N>, S>
    KeptRows(const View<N>& numbers, View<const float> scales = {}) : numbers_(numbers), scales_(scales) {}  // NOLINT: implicit

    const Shape& shape() const { return numbers_.shape(); }

    /// The head whose numbers begin at `column`, from `row` on.
    HeadRows<S> head(Index row, Index column) const {
        const Index D = numbers_.dim(1);
        HeadRows<S> head{numbers_.data() + row * D + column, D};
        if constexpr (has_scales<S>) head.scales = scales_.data() + column / (D / scales_.dim(0)) * scales_.dim(1) + row;
        return head;
    }

private:
    View<const S> numbers_;
    View<const float> scales_;
};

}  // namespace smolvlm::cpu
