#pragma once
/// How kernels read the matrix of a linear map: each form of it in memory is a small struct with
///
///     at(r, k)          element k of row r, widened
///     eight(r, k, x)    elements k .. k + 7 of row r by wide loads; k and the row's length are multiples of 8
///
/// so that every kernel is written once for all of them. Block-quantised weights keep the values of the file and lie in
/// an order of their own, scales and integers apart, so that both can be read in whole words (device_weight.cuh):
///
///     Q8_0    q [M, K] bytes           d [M, K/32] halves          w = d q
///     Q4_0    q [M, K/2] nibbles       d [M, K/32] halves          w = d (q - 8)      value 2b of a row is low in byte b

#include <smolvlm/cuda/numbers.cuh>

#include <smolvlm/cuda/platform.cuh>

namespace smolvlm::cuda {

/// Eight numbers as they lie in memory, read with one or two 16-byte loads.
template <class T>
struct alignas(16) Eight {
    T value[8];
};

/// Row-major [rows, K] in T.
template <class T>
struct DenseRows {
    const T* values;
    int K;

    __device__ float at(int r, int k) const { return wide(values[static_cast<Index>(r) * K + k]); }
    __device__ void eight(int r, int k, float (&x)[8]) const {
        const auto loaded = *reinterpret_cast<const Eight<T>*>(values + static_cast<Index>(r) * K + k);
        for (int i = 0; i < 8; ++i) x[i] = wide(loaded.value[i]);
    }
};

/// The same matrix read by columns: at(r, k) is element r of row k. What a transposed factor of a product is.
template <class T>
struct DenseColumns {
    const T* values;
    int width;

    __device__ float at(int r, int k) const { return wide(values[static_cast<Index>(k) * width + r]); }
};

struct Q8Rows {
    const std::int8_t* values;
    const half* scales;
    int K;

    __device__ float at(int r, int k) const {
        const Index i = static_cast<Index>(r) * K + k;
        return wide(scales[i / 32]) * static_cast<float>(values[i]);
    }
    __device__ void eight(int r, int k, float (&x)[8]) const {
        const Index i = static_cast<Index>(r) * K + k;
        const float d = wide(scales[i / 32]);
        const auto words = *reinterpret_cast<const uint2*>(values + i);
        for (int j = 0; j < 8; ++j) {
            const unsigned word = j < 4 ? words.x : words.y;
            x[j] = d * static_cast<float>(static_cast<std::int8_t>(word >> (8 * (j % 4)) & 0xffu));
        }
    }
};

struct Q4Rows {
    const std::uint8_t* values;
    const half* scales;
    int K;

    __device__ float at(int r, int k) const {
        const Index i = static_cast<Index>(r) * K + k;
        const int pair = values[i / 2];
        return wide(scales[i / 32]) * static_cast<float>((i % 2 ? pair >> 4 : pair & 15) - 8);
    }
    __device__ void eight(int r, int k, float (&x)[8]) const {
        const Index i = static_cast<Index>(r) * K + k;
        const float d = wide(scales[i / 32]);
        const auto word = *reinterpret_cast<const unsigned*>(values + i / 2);
        for (int j = 0; j < 8; ++j) x[j] = d * static_cast<float>(static_cast<int>(word >> (4 * j) & 15u) - 8);
    }
};

/// A matrix whose rows are the columns of another: the weight in dx = dy W, where the sum goes over W's rows.
template <class Rows>
struct Turned {
    Rows rows;

    __device__ float at(int r, int k) const { return rows.at(k, r); }
};
template <class Rows>
Turned(Rows) -> Turned<Rows>;

/// The rows of two matrices by turns, so that what a gate multiplies are neighbouring columns of one product: rows 2f and
/// 2f + 1 are rows f of the gate and of what it lets through.
template <class Rows>
struct Interleaved {
    Rows gate, up;

    __device__ Rows of(int r) const { return r % 2 ? up : gate; }
    __device__ float at(int r, int k) const { return of(r).at(r / 2, k); }
    __device__ void eight(int r, int k, float (&x)[8]) const { of(r).eight(r / 2, k, x); }
};
template <class Rows>
Interleaved(Rows, Rows) -> Interleaved<Rows>;

/// Whether neighbouring threads should take neighbouring k, or neighbouring rows, to read neighbouring memory.
template <class Rows>
inline constexpr bool is_turned = false;
template <class T>
inline constexpr bool is_turned<DenseColumns<T>> = true;
template <class Rows>
inline constexpr bool is_turned<Turned<Rows>> = true;

}  // namespace smolvlm::cuda

#include <smolvlm/cuda/platform_end.cuh>
