#pragma once
/// What all tensor files have in common: names, and for each a dtype, a shape and bytes in a mapped file.
/// Safetensors and GGUF readers check a file once, fill one of these, and everything after that is a look-up.

#include <map>
#include <span>
#include <optional>

#include <smolvlm/core/host_weight.hpp>
#include <smolvlm/io/mapped_file.hpp>
#include <smolvlm/io/printable.hpp>

namespace smolvlm {

struct TensorInfo {
    DType dtype = DType::f32;
    Shape shape;                             // a scalar is [1]
    std::shared_ptr<const MappedFile> file;  // holds bytes [offset, offset + size)
    Index offset = 0, size = 0;
};

class TensorFile {
public:
    /// The file or files in a message.
    const std::string& path() const { return path_; }
    const std::map<std::string, TensorInfo, std::less<>>& tensors() const { return tensors_; }

    /// The tensor of that name, or null.
    const TensorInfo* find(std::string_view name) const {
        const auto found = tensors_.find(name);
        return found == tensors_.end() ? nullptr : &found->second;
    }

    /// The tensor of that name. Throws FormatError when there is none.
    const TensorInfo& at(std::string_view name) const {
        const TensorInfo* const tensor = find(name);
        SMOLVLM_CHECK(tensor, FormatError, path_, ": holds no tensor \"", name, "\"");
        return *tensor;
    }

    /// Its bytes, borrowed from the map; copied only when the file does not align them to their element type.
    HostWeight host_weight(std::string_view name) const {
        const TensorInfo& tensor = at(name);
        const std::byte* const bytes = tensor.file->data() + tensor.offset;
        const auto alignment =
            static_cast<std::uintptr_t>(is_quantized(tensor.dtype) ? 2 : info(tensor.dtype).block_bytes);
        if (reinterpret_cast<std::uintptr_t>(bytes) % alignment == 0)
            return {tensor.dtype, tensor.shape, borrow(tensor.file, tensor.offset, tensor.size)};
        Storage copy = Storage::allocate(static_cast<std::size_t>(tensor.size));
        std::memcpy(copy.data(), bytes, static_cast<std::size_t>(tensor.size));
        return {tensor.dtype, tensor.shape, std::move(copy)};
    }

    /// Its elements as T: float types from any floating or quantised dtype, std::int64_t from any integer dtype, where
    /// a boolean is 0 or 1. Throws FormatError for the other combinations.
    template <class T>
    HostTensor<T> tensor(std::string_view name) const {
        const TensorInfo& tensor = at(name);
        constexpr bool wants_integers = std::is_same_v<T, std::int64_t>;
        const bool holds_integers = !is_floating(tensor.dtype) && !is_quantized(tensor.dtype);
        SMOLVLM_CHECK(wants_integers == holds_integers, FormatError, path_, ": tensor \"", name, "\" is ", tensor.dtype,
                      ", expected ", wants_integers ? "integers" : "a floating type");
        if constexpr (wants_integers)
            return integers(tensor);
        else
            return host_weight(name).template to_tensor<T>();
    }

    /// Gives the tensor's pages back to the system once it has been packed or copied (see MappedFile).
    void release(std::string_view name) const {
        const TensorInfo& tensor = at(name);
        tensor.file->advise_dont_need(tensor.offset, tensor.size);
    }

protected:
    explicit TensorFile(std::string path) : path_(std::move(path)) {}

    /// Throws FormatError when the name is taken.
    void add(std::string name, TensorInfo tensor) {
        const auto [place, is_new] = tensors_.try_emplace(std::move(name), std::move(tensor));
        SMOLVLM_CHECK(is_new, FormatError, path_, ": tensor ", in_quotes(place->first), " appears twice");
    }
    /// Takes over all tensors of another file.
    void add_all(const TensorFile& other) {
        for (const auto& [name, tensor] : other.tensors_) add(name, tensor);
    }

private:
    static HostTensor<std::int64_t> integers(const TensorInfo& tensor) {
        HostTensor<std::int64_t> out(tensor.shape);
        const std::byte* const bytes = tensor.file->data() + tensor.offset;
        const auto convert = [&]<class Stored>(Stored) {
            for (Index i = 0; i < out.numel(); ++i)
                out.data()[i] = detail::load<Stored>(bytes + i * static_cast<Index>(sizeof(Stored)));
        };
        switch (tensor.dtype) {
            case DType::i64: convert(std::int64_t{}); break;
            case DType::i32: convert(std::int32_t{}); break;
            case DType::i16: convert(std::int16_t{}); break;
            case DType::i8: convert(std::int8_t{}); break;
            default: convert(std::uint8_t{}); break;  // u8, boolean
        }
        if (tensor.dtype == DType::boolean)
            for (std::int64_t& value : out.flat()) value = value != 0;
        return out;
    }

    std::string path_;
    std::map<std::string, TensorInfo, std::less<>> tensors_;
};

/// A tensor to be written: its bytes stay the caller's.
struct NamedTensor {
    std::string name;
    DType dtype = DType::f32;
    Shape shape;
    std::span<const std::byte> bytes;

    template <class T>
    static NamedTensor of(std::string name, const HostTensor<T>& tensor) {
        return {std::move(name), dtype_of<T>, tensor.shape(), std::as_bytes(tensor.flat())};
    }
    static NamedTensor of(std::string name, const HostWeight& weight) {
        const auto size = static_cast<std::size_t>(bytes_of(weight.dtype, weight.shape()));
        return {std::move(name), weight.dtype, weight.shape(), {weight.bytes(), size}};
    }
};

}  // namespace smolvlm
