#pragma once
/// BytePixels: pictures as the image processor leaves them, and what number each byte stands for. They travel so to the patch
/// embedding, which makes the numbers patch by patch: pictures of floats, four times as large, need never exist.

#include <concepts>
#include <vector>

#include <smolvlm/core/host_tensor.hpp>
#include <smolvlm/core/parallel.hpp>

namespace smolvlm {

/// Does not own the bytes: whoever made the pictures keeps them.
class BytePixels {
public:
    /// bytes [I, C, height, width]; byte b of channel c stands for table[256 c + b].
    BytePixels(View<const std::uint8_t> bytes, std::vector<float> table) : bytes_(bytes), table_(std::move(table)) {
        SMOLVLM_CHECK(bytes.rank() == 4 && static_cast<Index>(table_.size()) == 256 * bytes.dim(1), ShapeError,
                      "pixels: bytes are ", bytes.shape(), " and stand for ", table_.size(),
                      " numbers; [I, C, height, width] and 256 numbers for each channel are needed");
    }

    View<const std::uint8_t> bytes() const { return bytes_; }
    const Shape& shape() const { return bytes_.shape(); }
    std::span<const float> table() const { return table_; }
    /// What the bytes of channel c stand for.
    const float* numbers(Index c) const { return table_.data() + 256 * c; }

private:
    View<const std::uint8_t> bytes_;
    std::vector<float> table_;
};

/// The pictures in numbers [I, C, height, width].
template <std::floating_point T>
HostTensor<T> in_numbers(const BytePixels& pixels, int threads = default_threads()) {
    HostTensor<T> y(pixels.shape());
    const Index planes = y.dim(0) * y.dim(1), size = y.dim(2) * y.dim(3);
    const std::uint8_t* const from = pixels.bytes().data();
    T* const to = y.data();
    parallel_for(threads, planes, 1, [&pixels, from, to, size, C = y.dim(1)](Index begin, Index end) {
        for (Index p = begin; p < end; ++p) {
            const float* const numbers = pixels.numbers(p % C);
            for (Index i = p * size; i < (p + 1) * size; ++i) to[i] = static_cast<T>(numbers[from[i]]);
        }
    });
    return y;
}

}  // namespace smolvlm
