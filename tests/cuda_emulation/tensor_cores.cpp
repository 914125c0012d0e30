// mma.cuh: a product by tensor cores equals the product by definition, however its fragments were loaded; copies, shuffles
// and votes do what CUDA says; bank conflicts are counted.

#include <doctest/doctest.h>

#include <array>
#include <vector>

#include <smolvlm/cuda/launch.cuh>
#include <smolvlm/cuda/mma.cuh>
#include <smolvlm/cuda/runtime.cuh>

#include "support/schedules.hpp"

#include <smolvlm/cuda/platform.cuh>

namespace {

using namespace smolvlm::cuda;

template <class T>
struct Tiles {
    T a[16][16], b[16][16];
};

// y [16, 16] = x [16, 16] w^T for w [16, 16]; with Turned w is stored [k, n] and loaded transposed.
template <class T, bool Turned>
__global__ void product_kernel(const T* x, const T* w, float* y) {
    auto& s = shared_memory<Tiles<T>>();
    const int l = static_cast<int>(threadIdx.x);
    cp_async16(&s.a[l / 2][l % 2 * 8], x + l * 8);
    cp_async16(&s.b[l / 2][l % 2 * 8], w + l * 8);
    cp_async_commit();
    cp_async_wait<0>();
    __syncthreads();
    unsigned a[4], b[4];
    ldmatrix_x4(a, &s.a[l % 16][8 * (l / 16)]);
    if constexpr (Turned)
        ldmatrix_x4_trans(b, &s.b[l % 16][8 * (l / 16)]);
    else
        ldmatrix_x4(b, &s.b[l % 8 + 8 * (l / 16)][8 * (l / 8 % 2)]);
    const unsigned left[2] = {b[0], b[1]}, right[2] = {b[2], b[3]};
    float c[2][4] = {};
    mma_m16n8k16<T>(c[0], a, left);
    mma_m16n8k16<T>(c[1], a, right);
    for (int half_ = 0; half_ < 2; ++half_)
        for (int i = 0; i < 4; ++i) y[(l / 4 + i / 2 * 8) * 16 + half_ * 8 + l % 4 * 2 + i % 2] = c[half_][i];
}

template <class T, bool Turned>
void product_is_by_definition() {
    Runtime on;
    std::array<T, 256> x, w;
    for (std::size_t i = 0; i < 256; ++i) {
        x[i] = T(static_cast<float>(static_cast<int>(i * 7 % 23) - 11) / 4);
        w[i] = T(static_cast<float>(static_cast<int>(i * 5 % 19) - 9) / 8);
    }
    std::array<float, 256> y{};
    CHECK(testing::departing_schedule([&] {
              const Memory dx = on.upload(x.data(), sizeof x), dw = on.upload(w.data(), sizeof w), dy = on.take(sizeof y);
              launch(on.stream(), product_kernel<T, Turned>, 1, 32, sizeof(Tiles<T>), static_cast<const T*>(dx.data()),
                     static_cast<const T*>(dw.data()), static_cast<float*>(dy.data()));
              on.download(dy.data(), y.data(), sizeof y);
              return y;
          }) == "");
    for (std::size_t n = 0; n < 16; ++n)
        for (std::size_t m = 0; m < 16; ++m) {
            float sum = 0;  // small multiples of 1/32: every order of additions is exact
            for (std::size_t k = 0; k < 16; ++k) sum += float(x[n * 16 + k]) * float(w[Turned ? k * 16 + m : m * 16 + k]);
            CHECK(y[n * 16 + m] == sum);
        }
}

// Rows of 64 numbers, 128 bytes: read in a column they all lie in the same banks, unless row r keeps its 16 bytes j at place
// j ^ (r % 8).
struct Rows {
    unsigned char bytes[32][128];
};
template <bool Swizzled>
__global__ void columns_kernel(float* y) {
    auto& s = shared_memory<Rows>();
    const int l = static_cast<int>(threadIdx.x);
    for (int i = 0; i < 128; ++i) s.bytes[l][i] = static_cast<unsigned char>(i);
    __syncwarp();
    unsigned r[4], sum = 0;
    for (int j = 0; j < 8; ++j) {
        ldmatrix_x4(r, &s.bytes[l][16 * (Swizzled ? j ^ l % 8 : j)]);
        sum += r[0] + r[1] + r[2] + r[3];
    }
    y[l] = static_cast<float>(sum % 1000);
}

template <bool Swizzled>
long long conflicts() {
    Runtime on;
    const Memory y = on.take(128);
    const auto before = emulation::bank_counts;
    launch(on.stream(), columns_kernel<Swizzled>, 1, 32, sizeof(Rows), static_cast<float*>(y.data()));
    CHECK(emulation::bank_counts.matrices - before.matrices == 32);
    return emulation::bank_counts.conflicts - before.conflicts;
}

template <class T>
__global__ void zeros_kernel(const T* x, T* y) {
    auto& s = shared_memory<std::array<T, 128>>();
    const int t = static_cast<int>(threadIdx.x);
    cp_async16(s.data() + t * 4, x + t * 4, t % 2 == 0);
    cp_async_commit();
    cp_async_wait<0>();
    __syncthreads();
    for (int i = 0; i < 4; ++i) y[t * 4 + i] = s[static_cast<std::size_t>(t * 4 + i)];
}

template <class T>
__global__ void exchange_kernel(T* y) {
    const int l = static_cast<int>(threadIdx.x);
    const T value = static_cast<T>(l);
    y[l] = __shfl_sync(0xffffffffu, value, 5);
    y[32 + l] = __shfl_xor_sync(0xffffffffu, value, 3);
    y[64 + l] = __shfl_down_sync(0xffffffffu, value, 4u);
    y[96 + l] = __shfl_up_sync(0xffffffffu, value, 4u);
    y[128 + l] = __shfl_down_sync(0xffffffffu, value, 4u, 16);
    const unsigned odd = __ballot_sync(0xffffffffu, l % 2);
    const int any = __any_sync(0xffffffffu, l == 31);
    const int all = __all_sync(0xffffffffu, l < 31);
    y[160 + l] = static_cast<T>(odd == 0xaaaaaaaau && any && !all);
}

}  // namespace

#include <smolvlm/cuda/platform_end.cuh>

TEST_CASE("tensor cores: the product of two fragments is the product by definition, in half and bfloat16") {
    product_is_by_definition<smolvlm::half, false>();
    product_is_by_definition<smolvlm::bfloat16, false>();
    product_is_by_definition<smolvlm::half, true>();
    product_is_by_definition<smolvlm::bfloat16, true>();
}

TEST_CASE("bank conflicts: eight rows in one column cost seven deliveries more, swizzled none") {
    CHECK(conflicts<false>() == 32 * 7);
    CHECK(conflicts<true>() == 0);
}

TEST_CASE("cp_async16: what is not valid becomes zeros") {
    Runtime on;
    std::array<float, 128> x, y;
    x.fill(2);
    const Memory from = on.upload(x.data(), sizeof x), to = on.take(sizeof y);
    launch(on.stream(), zeros_kernel<float>, 1, 32, sizeof x, static_cast<const float*>(from.data()),
           static_cast<float*>(to.data()));
    on.download(to.data(), y.data(), sizeof y);
    for (std::size_t i = 0; i < 128; ++i) CHECK(y[i] == (i / 4 % 2 == 0 ? 2 : 0));
}

TEST_CASE("shuffles and votes: every lane receives what CUDA says") {
    Runtime on;
    std::array<int, 192> y;
    const Memory to = on.take(sizeof y);
    launch(on.stream(), exchange_kernel<int>, 1, 32, 0, static_cast<int*>(to.data()));
    on.download(to.data(), y.data(), sizeof y);
    for (int l = 0; l < 32; ++l) {
        const auto at = [&](int block) { return y[static_cast<std::size_t>(block * 32 + l)]; };
        CHECK(at(0) == 5);
        CHECK(at(1) == (l ^ 3));
        CHECK(at(2) == (l < 28 ? l + 4 : l));
        CHECK(at(3) == (l >= 4 ? l - 4 : l));
        CHECK(at(4) == (l % 16 < 12 ? l + 4 : l));
        CHECK(at(5) == 1);
    }
}
