#pragma once
/// Scales of floats that become integers of at most `limit`:
///
///     q_k = round(limit x_k / max |x|)      x_k ~ s q_k,   s = max |x| / limit
///
/// A NaN or an infinity among them makes the scale NaN: it spoils its own results and does not pass for a number.

#include <smolvlm/cpu/dispatch.hpp>

namespace smolvlm::cpu {

struct RowScale {
    float scale, factor;  // s, and what x is multiplied by

    /// poison: NaN where one of the numbers is none, else zero.
    RowScale(float largest_magnitude, float limit, float poison) {
        const float inverse = limit / largest_magnitude;
        factor = inverse <= 3e38f ? inverse : 0.0f;  // nothing but zeros, or nearly: all q are zero
        scale = factor > 0 ? largest_magnitude / limit + poison : poison;
    }
};

/// The largest magnitudes that have been looked at, lane by lane: begins as {V::zero(), V::zero()}.
template <class V>
struct Magnitudes {
    V most, poison;

    SMOLVLM_INLINE void look(const V& x) {
        most = max(max(x, V::zero() - x), most);
        poison.add_product(0.0f, x);  // NaN where x is no number or infinite
    }
    /// All lanes belong to one row.
    SMOLVLM_INLINE RowScale of_row(float limit) const { return {largest(most), limit, sum(poison)}; }
    /// Each lane is a column of its own: stores the scales and returns the factors.
    SMOLVLM_INLINE V of_columns(float limit, float* scales) const {
        V factors;
        for (int lane = 0; lane < V::lanes; ++lane) {
            const RowScale s(most.v[lane], limit, poison.v[lane]);
            factors.v[lane] = s.factor;
            scales[lane] = s.scale;
        }
        return factors;
    }
};

}  // namespace smolvlm::cpu
