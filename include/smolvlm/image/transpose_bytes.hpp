#pragma once
/// A matrix of bytes turned: y[c][r] = x[r][c]. resize.hpp lays pixel columns into lanes with it.

#include <cstdint>

#include <smolvlm/core/shape.hpp>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace smolvlm::detail {

/// x [16][16] -> y [16][16], rows `x_step` and `y_step` bytes apart.
inline void transpose_16x16(const std::uint8_t* x, Index x_step, std::uint8_t* y, Index y_step) {
#if defined(__SSE2__)
    __m128i row[16], mixed[16];
    for (Index r = 0; r < 16; ++r) row[r] = _mm_loadu_si128(reinterpret_cast<const __m128i*>(x + r * x_step));
    // Of the eight bits (r, c) of a byte's place, each round moves the highest to the lowest; four rounds swap r and c.
    for (int round = 0; round < 4; ++round) {
        for (Index r = 0; r < 8; ++r) {
            mixed[2 * r] = _mm_unpacklo_epi8(row[r], row[r + 8]);
            mixed[2 * r + 1] = _mm_unpackhi_epi8(row[r], row[r + 8]);
        }
        for (Index r = 0; r < 16; ++r) row[r] = mixed[r];
    }
    for (Index c = 0; c < 16; ++c) _mm_storeu_si128(reinterpret_cast<__m128i*>(y + c * y_step), row[c]);
#else
    for (Index r = 0; r < 16; ++r)
        for (Index c = 0; c < 16; ++c) y[c * y_step + r] = x[r * x_step + c];
#endif
}

/// x [rows, columns] -> y [columns, rows], rows `x_step` and `y_step` bytes apart.
inline void transpose_bytes(const std::uint8_t* x, Index x_step, Index rows, Index columns, std::uint8_t* y,
                            Index y_step) {
    const Index whole_rows = rows / 16 * 16, whole_columns = columns / 16 * 16;
    for (Index r = 0; r < whole_rows; r += 16)
        for (Index c = 0; c < whole_columns; c += 16)
            transpose_16x16(x + r * x_step + c, x_step, y + c * y_step + r, y_step);
    for (Index r = 0; r < rows; ++r)  // the right and lower margins
        for (Index c = r < whole_rows ? whole_columns : 0; c < columns; ++c) y[c * y_step + r] = x[r * x_step + c];
}

}  // namespace smolvlm::detail
