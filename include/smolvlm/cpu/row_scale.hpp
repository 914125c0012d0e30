#pragma once
/// Scales of floats that become integers of at most `limit`:
///
///     q_k = round(limit x_k / max |x|)      x_k ~ s q_k,   s = max |x| / limit
///
/// A NaN or an infinity among them makes the scale NaN: it spoils its own results and does not pass for a number.

#include <bit>

#include <smolvlm/cpu/dispatch.hpp>

namespace smolvlm::cpu {

struct RowScale {
    float scale, factor;  // s, and what x is multiplied by

    RowScale(float largest_magnitude, float limit) {
        const float inverse = limit / largest_magnitude, poison = 0.0f * largest_magnitude;
        factor = inverse <= 3e38f ? inverse : 0.0f;  // nothing but zeros, or nearly: all q are zero
        scale = factor > 0 ? largest_magnitude / limit + poison : poison;
    }
};

/// The largest magnitudes of floats that have been looked at, lane by lane: as integers their bits compare as they do, with
/// infinity and NaN above all numbers.
template <int L>
struct Magnitudes {
    Vec<std::int32_t, L> most = Vec<std::int32_t, L>::zero();

    SMOLVLM_INLINE void look(const Vec<float, L>& x) {
        Vec<std::int32_t, L> bits;
        detail::reinterpret(x.v, bits.v);
        bits.v &= 0x7fffffff;
        most = max(bits, most);
    }
    /// All lanes belong to one row.
    SMOLVLM_INLINE RowScale of_row(float limit) const { return {std::bit_cast<float>(largest(most)), limit}; }
    /// Each lane is a column of its own: stores the scales and returns the factors.
    SMOLVLM_INLINE Vec<float, L> of_columns(float limit, float* scales) const {
        Vec<float, L> factors;
        for (int lane = 0; lane < L; ++lane) {
            const RowScale s(std::bit_cast<float>(most.v[lane]), limit);
            factors.v[lane] = s.factor;
            scales[lane] = s.scale;
        }
        return factors;
    }
};

}  // namespace smolvlm::cpu
