#pragma once
/// DeviceTensor<T> = Shape + memory of the device, and DeviceWeight<T>, the matrix of a linear map as the kernels of
/// weight.cuh read it. Copies share their memory.

#include <smolvlm/core/host_weight.hpp>
#include <smolvlm/cuda/runtime.cuh>
#include <smolvlm/cuda/weight.cuh>

namespace smolvlm::cuda {

template <class T>
class DeviceTensor {
public:
    using Element = T;

    DeviceTensor() = default;
    DeviceTensor(Shape shape, Memory memory) : shape_(shape), memory_(std::move(memory)) {}

    const Shape& shape() const { return shape_; }
    int rank() const { return shape_.rank(); }
    Index dim(int axis) const { return shape_[axis]; }
    Index numel() const { return shape_.numel(); }
    /// True for "no tensor" (an absent bias, a moved-from value).
    bool empty() const { return !memory_; }

    /// Addresses of the device: for kernels, not for the host.
    T* data() { return static_cast<T*>(memory_.data()); }
    const T* data() const { return static_cast<const T*>(memory_.data()); }
    const Memory& memory() const { return memory_; }

private:
    Shape shape_;
    Memory memory_;
};

/// A matrix in the type it is multiplied in. Of a Cuda<float>: F32, F16 and BF16 as in the file, two bytes stay two.
/// Of a Cuda<half> or Cuda<bfloat16>: that type, into which other floating types are rounded. Q8_0 and Q4_0 stay
/// quantised in all of them; the other quantised types are widened.
template <class T>
class DeviceWeight {
public:
    DeviceWeight() = default;
    /// Throws ShapeError unless w is a matrix, ValueError unless it holds weights.
    DeviceWeight(Runtime& on, const HostWeight& w) : shape_(w.shape()), dtype_(held(w)) {
        SMOLVLM_CHECK(shape_.rank() == 2, ShapeError, "weight: ", shape_, " is no matrix");
        SMOLVLM_CHECK(is_floating(w.dtype) || is_quantized(w.dtype), ValueError, "weight: a tensor of ", w.dtype,
                      " holds no weights");
        if (is_quantized(dtype_)) {
            repack(on, w);
        } else {
            const HostWeight same = as_dtype(w, dtype_);
            values_ = on.upload(same.bytes(), static_cast<std::size_t>(bytes_of(dtype_, shape_)));
        }
    }

    const Shape& shape() const { return shape_; }
    Index rows() const { return shape_[0]; }
    Index cols() const { return shape_[1]; }
    DType dtype() const { return dtype_; }
    bool empty() const { return !values_; }
    /// Row r, widened, on the host: for saving and training, a row at a time. Waits.
    void row(Index r, float* out) const {
        const auto K = static_cast<std::size_t>(cols()), first = static_cast<std::size_t>(r) * K;
        if (is_quantized(dtype_)) {
            const std::size_t per_byte = dtype_ == DType::q8_0 ? 1 : 2;
            std::vector<std::uint8_t> values(K / per_byte);
            std::vector<half> scales(K / 32);
            values_.read(first / per_byte, values.data(), values.size());
            scales_.read(first / 32 * sizeof(half), scales.data(), scales.size() * sizeof(half));
            for (std::size_t k = 0; k < K; ++k) {
                const int value = per_byte == 1 ? static_cast<std::int8_t>(values[k]) : (values[k / 2] >> 4 * (k % 2) & 15) - 8;
                out[k] = static_cast<float>(scales[k / 32]) * static_cast<float>(value);
            }
        } else if (dtype_ == DType::f32) {
            values_.read(first * sizeof(float), out, K * sizeof(float));
        } else if (dtype_ == DType::bf16) {
            read_row<bfloat16>(first, out);
        } else {
            read_row<half>(first, out);
        }
    }

    /// f(rows), with the struct of weight.cuh that reads this weight.
    template <class F>
    void with_rows(F&& f) const {
        const int K = static_cast<int>(cols());
        const void* values = values_.data();
        const auto* scales = static_cast<const half*>(scales_.data());
        if (dtype_ == DType::q8_0) return f(Q8Rows{static_cast<const std::int8_t*>(values), scales, K});
        if (dtype_ == DType::q4_0) return f(Q4Rows{static_cast<const std::uint8_t*>(values), scales, K});
        if constexpr (std::is_same_v<T, float>) {
            if (dtype_ == DType::bf16) return f(DenseRows<bfloat16>{static_cast<const bfloat16*>(values), K});
            if (dtype_ == DType::f16) return f(DenseRows<half>{static_cast<const half*>(values), K});
        }
        f(DenseRows<T>{static_cast<const T*>(values), K});
    }

private:
    template <class E>
    void read_row(std::size_t first, float* out) const {
        std::vector<E> values(static_cast<std::size_t>(cols()));
        values_.read(first * sizeof(E), values.data(), values.size() * sizeof(E));
        for (std::size_t k = 0; k < values.size(); ++k) out[k] = static_cast<float>(values[k]);
    }

    static DType held(const HostWeight& w) {
        if (w.dtype == DType::q8_0 || w.dtype == DType::q4_0) return w.dtype;
        const bool as_in_file = std::is_same_v<T, float> && (w.dtype == DType::bf16 || w.dtype == DType::f16);
        return as_in_file ? w.dtype : dtype_of<T>;
    }
    static HostWeight as_dtype(const HostWeight& w, DType dtype) {
        return w.dtype == dtype ? w : HostWeight::from_tensor(w.to_tensor<float>()).converted(dtype);
    }

    void repack(Runtime& on, const HostWeight& w) {
        const Index blocks = shape_.numel() / 32, bytes = dtype_ == DType::q8_0 ? 32 : 16;
        std::vector<half> scales(static_cast<std::size_t>(blocks));
        std::vector<std::byte> values(static_cast<std::size_t>(blocks * bytes));
        for (Index i = 0; i < blocks; ++i) {
            const std::byte* from = w.bytes() + i * (bytes + 2);
            std::byte* to = values.data() + i * bytes;
            scales[static_cast<std::size_t>(i)] = smolvlm::detail::load<half>(from);
            if (dtype_ == DType::q8_0)
                std::copy_n(from + 2, 32, to);
            else  // neighbouring values to one byte
                for (Index j = 0; j < 32; j += 2)
                    to[j / 2] = static_cast<std::byte>(smolvlm::detail::nibble(from + 2, j) |
                                                       smolvlm::detail::nibble(from + 2, j + 1) << 4);
        }
        scales_ = on.upload(scales.data(), scales.size() * sizeof(half));
        values_ = on.upload(values.data(), values.size());
    }

    Shape shape_;
    DType dtype_ = dtype_of<T>;
    Memory values_, scales_;
};

}  // namespace smolvlm::cuda
