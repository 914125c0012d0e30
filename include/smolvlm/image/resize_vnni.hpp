#pragma once
/// The resize of resize.hpp with the byte dot product of AVX-512 VNNI: four products of an unsigned and a signed byte
/// in every 32-bit lane (vpdpbusd). A weight of 23 bits is three signed bytes, its digits in base 256,
///
///     w = d_0 + 256 d_1 + 65536 d_2,  -128 <= d < 128        sum_j w_j x_j = s_0 + (s_1 << 8) + (s_2 << 16)
///
/// where s_k is the sum with the k-th digits. Everything is integer, so the bytes are those of the plain loops.
///
/// Between its passes a picture is in quads [ceil(H / 4), W, 4]: four rows of a column lie side by side, as the second
/// pass multiplies them. Of these only the rows under the kernel are kept, in a ring that fits the second-level cache.

#include <smolvlm/core/cpu_features.hpp>
#include <smolvlm/core/parallel.hpp>
#include <smolvlm/image/image.hpp>
#include <smolvlm/image/resample_digits.hpp>

#if defined(__x86_64__)
#include <immintrin.h>

#include <cstring>
#include <optional>

namespace smolvlm::detail {

/// Can this machine run it? VNNI multiplies; VBMI gathers bytes from all over a register.
inline bool has_resize_vnni() { return cpu_path() >= CpuPath::avx512vnni && cpu_features().avx512_vbmi; }

/// For intrinsics with "maskz" in their names: those without it start from an undefined register, which GCC 12 warns of
/// in the user's code (GCC bug 105593; a pragma does not reach through a precompiled header). The code is the same.
inline constexpr __mmask16 lanes16 = 0xffff;

// Accumulators have names, none is an element of an array: at -O2 compilers keep arrays that loops run over in memory.

/// The digits of sixteen outputs' weights for four inputs each.
struct DigitWeights {
    __m512i d0, d1, d2;
};

/// s_0, s_1, s_2 of sixteen outputs.
struct DigitSums {
    __m512i s0, s1, s2;

    [[gnu::target("avx512bw,avx512vl,avx512vnni,avx512vbmi")]]
    void clear() {
        s0 = _mm512_set1_epi32(ResampleWeights::half);
        s1 = s2 = _mm512_setzero_si512();
    }
    /// In assembler: GCC 12 spills accumulators of the intrinsic that start from the same constant.
    [[gnu::target("avx512bw,avx512vl,avx512vnni,avx512vbmi")]]
    void add(__m512i x, const DigitWeights& w) {
        asm("vpdpbusd %2, %1, %0" : "+v"(s0) : "v"(x), "v"(w.d0));
        asm("vpdpbusd %2, %1, %0" : "+v"(s1) : "v"(x), "v"(w.d1));
        asm("vpdpbusd %2, %1, %0" : "+v"(s2) : "v"(x), "v"(w.d2));
    }
    /// Sixteen numbers from 0 to 255.
    [[gnu::target("avx512bw,avx512vl,avx512vnni,avx512vbmi")]]
    __m512i rounded() const {
        const __m512i middle = _mm512_maskz_slli_epi32(lanes16, s1, 8), high = _mm512_maskz_slli_epi32(lanes16, s2, 16);
        const __m512i sum = _mm512_add_epi32(s0, _mm512_add_epi32(middle, high));
        const __m512i value = _mm512_maskz_srai_epi32(lanes16, sum, ResampleWeights::fraction_bits);
        const __m512i not_negative = _mm512_maskz_max_epi32(lanes16, value, _mm512_setzero_si512());
        return _mm512_maskz_min_epi32(lanes16, not_negative, _mm512_set1_epi32(255));
    }
};

/// Four rows side by side: rows[r][x] -> quads[x][r], the first row in the lowest byte.
[[gnu::target("avx512bw,avx512vl,avx512vnni,avx512vbmi")]]
inline __m512i quads_of(__m512i r0, __m512i r1, __m512i r2, __m512i r3) {
    const __m512i low = _mm512_or_si512(r0, _mm512_maskz_slli_epi32(lanes16, r1, 8));
    return _mm512_or_si512(low, _mm512_or_si512(_mm512_maskz_slli_epi32(lanes16, r2, 16),
                                                _mm512_maskz_slli_epi32(lanes16, r3, 24)));
}

/// Of the 64 or 128 bytes from x on, those that `place` names.
template <bool wide>
[[gnu::target("avx512bw,avx512vl,avx512vnni,avx512vbmi")]]
inline __m512i gathered(const std::uint8_t* x, __m512i place) {
    const __m512i low = _mm512_loadu_si512(x);
    if constexpr (wide) return _mm512_permutex2var_epi8(low, place, _mm512_loadu_si512(x + 64));
    return _mm512_maskz_permutexvar_epi8(~__mmask64{0}, place, low);
}

/// Four rows [in] -> quads [out rounded up to 16, 4].
template <bool wide>
[[gnu::target("avx512bw,avx512vl,avx512vnni,avx512vbmi")]]
inline void gather_rows(const std::uint8_t* const (&rows)[4], const RowGather& gather, std::uint8_t* quads) {
    for (const RowGather::Block& block : gather.blocks) {
        DigitSums a, b, c, d;
        a.clear(), b.clear(), c.clear(), d.clear();
        for (std::size_t i = block.begin; i < block.end; ++i) {
            const RowGather::Step& step = gather.steps[i];
            const __m512i place = _mm512_loadu_si512(step.place);
            const DigitWeights w{_mm512_loadu_si512(step.digit[0]), _mm512_loadu_si512(step.digit[1]),
                                 _mm512_loadu_si512(step.digit[2])};
            a.add(gathered<wide>(rows[0] + block.base, place), w);
            b.add(gathered<wide>(rows[1] + block.base, place), w);
            c.add(gathered<wide>(rows[2] + block.base, place), w);
            d.add(gathered<wide>(rows[3] + block.base, place), w);
        }
        _mm512_storeu_si512(quads, quads_of(a.rounded(), b.rounded(), c.rounded(), d.rounded()));
        quads += 64;
    }
}

/// Four rows [width] -> quads [width rounded up to 16, 4], without a pass.
[[gnu::target("avx512bw,avx512vl,avx512vnni,avx512vbmi")]]
inline void interleave_rows(const std::uint8_t* const (&rows)[4], Index width, std::uint8_t* quads) {
    for (Index x = 0; x < width; x += 16) {
        const auto here = static_cast<__mmask16>((1u << std::min<Index>(width - x, 16)) - 1u);
        __m512i row[4];
        for (std::size_t r = 0; r < 4; ++r)
            row[r] = _mm512_maskz_cvtepu8_epi32(lanes16, _mm_maskz_loadu_epi8(here, rows[r] + x));
        _mm512_storeu_si512(quads + 4 * x, quads_of(row[0], row[1], row[2], row[3]));
    }
}

/// Four bytes in every lane.
[[gnu::target("avx512bw,avx512vl,avx512vnni,avx512vbmi")]]
inline __m512i in_all_lanes(const std::array<std::int8_t, 4>& bytes) {
    std::int32_t four;
    std::memcpy(&four, bytes.data(), 4);
    return _mm512_set1_epi32(four);
}

/// Sixteen numbers below 256 as bytes, as many of them as there are.
[[gnu::target("avx512bw,avx512vl,avx512vnni,avx512vbmi")]]
inline void store_bytes(std::uint8_t* y, Index there, __m512i values) {
    const __m128i bytes = _mm512_maskz_cvtepi32_epi8(lanes16, values);
    if (there >= 16)
        _mm_storeu_si128(reinterpret_cast<__m128i*>(y), bytes);
    else if (there > 0)
        _mm_mask_storeu_epi8(y, static_cast<__mmask16>((1u << there) - 1u), bytes);
}

/// One output row [width] from rows of quads in a ring of `ring` rows, each `stride` bytes.
[[gnu::target("avx512bw,avx512vl,avx512vnni,avx512vbmi")]]
inline void sum_quads(const std::uint8_t* quads, Index ring, Index stride, const QuadSums& plan, Index i, Index width,
                      std::uint8_t* y) {
    const QuadSums::Row& row = plan.rows[static_cast<std::size_t>(i)];
    for (Index x = 0; x < width; x += 64) {
        DigitSums a, b, c, d;
        a.clear(), b.clear(), c.clear(), d.clear();
        for (Index q = 0; q < row.count; ++q) {
            const std::uint8_t* const from = quads + (row.first + q) % ring * stride + 4 * x;
            const auto& digits = plan.digits[row.digits + static_cast<std::size_t>(q)];
            const DigitWeights w{in_all_lanes(digits[0]), in_all_lanes(digits[1]), in_all_lanes(digits[2])};
            a.add(_mm512_loadu_si512(from), w);
            b.add(_mm512_loadu_si512(from + 64), w);
            c.add(_mm512_loadu_si512(from + 128), w);
            d.add(_mm512_loadu_si512(from + 192), w);
        }
        store_bytes(y + x, width - x, a.rounded());
        store_bytes(y + x + 16, width - x - 16, b.rounded());
        store_bytes(y + x + 32, width - x - 32, c.rounded());
        store_bytes(y + x + 48, width - x - 48, d.rounded());
    }
}

/// Row r of the quads, without a pass.
[[gnu::target("avx512bw,avx512vl,avx512vnni,avx512vbmi")]]
inline void row_of_quads(const std::uint8_t* quads, Index r, Index width, std::uint8_t* row) {
    const __m128i shift = _mm_cvtsi64_si128(8 * r);
    for (Index x = 0; x < width; x += 16)
        store_bytes(row + x, width - x, _mm512_maskz_srl_epi32(lanes16, _mm512_loadu_si512(quads + 4 * x), shift));
}

/// Rows of one plane as quads, with the first pass applied where there is one.
struct QuadSource {
    const std::uint8_t* plane;
    Index in, height;
    const RowGather* gather;  // none: the rows as they are
    void read(Index quad, std::uint8_t* quads) const {
        const std::uint8_t* rows[4];
        for (Index r = 0; r < 4; ++r) rows[r] = plane + std::min(4 * quad + r, height - 1) * in;
        if (!gather)
            interleave_rows(rows, in, quads);
        else if (gather->window == 64)
            gather_rows<false>(rows, *gather, quads);
        else
            gather_rows<true>(rows, *gather, quads);
    }
};

/// Rows, then columns; an axis that is not given stays as it is. Nothing when a size is not made for this way.
inline std::optional<Image> resize_vnni(const Image& image, const ResampleWeights* along_rows,
                                        const ResampleWeights* along_columns, int threads) {
    std::optional<RowGather> gather;
    if (along_rows && !(gather = RowGather::of(*along_rows, image.width()))) return std::nullopt;
    if (along_columns && !WeightDigits::fit(*along_columns)) return std::nullopt;
    const Index width = gather ? gather->out : image.width(), stride = (width + 63) / 64 * 256;
    const RowGather* const first_pass = gather ? &*gather : nullptr;
    const auto source = [&](int c) { return QuadSource{image.plane(c), image.width(), image.height(), first_pass}; };

    if (!along_columns) {
        Image y(width, image.height());
        const Index quads = (image.height() + 3) / 4;
        parallel_for(threads, 3 * quads, 8, [&](Index begin, Index end) {
            std::vector<std::uint8_t> row(static_cast<std::size_t>(stride));
            for (Index i = begin; i < end; ++i) {
                const int c = static_cast<int>(i / quads);
                source(c).read(i % quads, row.data());
                for (Index r = 4 * (i % quads); r < std::min(4 * (i % quads) + 4, image.height()); ++r)
                    row_of_quads(row.data(), r % 4, width, y.row(c, r));
            }
        });
        return y;
    }
    const QuadSums sums(*along_columns);
    const auto height = static_cast<Index>(sums.rows.size());
    Image y(width, height);
    parallel_for(threads, 3 * height, 16, [&](Index begin, Index end) {
        std::vector<std::uint8_t> ring(static_cast<std::size_t>(sums.most * stride));
        Index ready = 0;  // quads of this plane that have been made
        for (Index i = begin; i < end; ++i) {
            const int c = static_cast<int>(i / height);
            const QuadSums::Row& row = sums.rows[static_cast<std::size_t>(i % height)];
            if (i == begin || i % height == 0) ready = 0;
            for (ready = std::max(ready, row.first); ready < row.first + row.count; ++ready)
                source(c).read(ready, ring.data() + ready % sums.most * stride);
            sum_quads(ring.data(), sums.most, stride, sums, i % height, width, y.row(c, i % height));
        }
    });
    return y;
}

}  // namespace smolvlm::detail
#else

namespace smolvlm::detail {
inline bool has_resize_vnni() { return false; }
}  // namespace smolvlm::detail
#endif
