#pragma once
/// Writes GGUF files, version 3 (layout: io/gguf.hpp).

#include <smolvlm/io/atomic_file.hpp>
#include <smolvlm/io/gguf.hpp>

namespace smolvlm {

namespace detail {

/// What llama.cpp expects of a value: counts u32, reals f32, integers in arrays (token types) i32.
inline GgufType gguf_type_of(const Json& value, bool in_array) {
    switch (value.type()) {
        case Json::value_t::boolean: return GgufType::boolean;
        case Json::value_t::string: return GgufType::string;
        case Json::value_t::number_float: return GgufType::f32;
        case Json::value_t::array: return GgufType::array;
        case Json::value_t::number_integer:
        case Json::value_t::number_unsigned: {
            const bool negative = value.is_number_integer() && !value.is_number_unsigned() && value.get<Index>() < 0;
            const bool wide = negative ? value.get<Index>() < INT32_MIN : value.get<std::uint64_t>() > UINT32_MAX;
            if (negative || in_array) return wide ? GgufType::i64 : GgufType::i32;
            return wide ? GgufType::u64 : GgufType::u32;
        }
        default: fail<ValueError>("gguf: a value is ", describe(value), ", which GGUF cannot hold");
    }
}

template <class T>
void append_bytes(std::string& out, T value) {
    out.append(reinterpret_cast<const char*>(&value), sizeof value);
}
inline void append_gguf_string(std::string& out, std::string_view text) {
    append_bytes(out, static_cast<std::uint64_t>(text.size()));
    out += text;
}

inline void append_gguf_value(std::string& out, const Json& value, GgufType type) {
    switch (type) {
        case GgufType::boolean: return append_bytes(out, static_cast<std::uint8_t>(value.get<bool>()));
        case GgufType::string: return append_gguf_string(out, value.get_ref<const std::string&>());
        case GgufType::f32: return append_bytes(out, value.get<float>());
        case GgufType::u32: return append_bytes(out, value.get<std::uint32_t>());
        case GgufType::i32: return append_bytes(out, value.get<std::int32_t>());
        case GgufType::u64: return append_bytes(out, value.get<std::uint64_t>());
        case GgufType::i64: return append_bytes(out, value.get<std::int64_t>());
        case GgufType::array: {
            const GgufType element = value.empty() ? GgufType::i32 : gguf_type_of(value[0], true);
            append_bytes(out, static_cast<std::uint32_t>(element));
            append_bytes(out, static_cast<std::uint64_t>(value.size()));
            for (const Json& item : value) {
                SMOLVLM_CHECK(gguf_type_of(item, true) == element, ValueError, "gguf: an array mixes ",
                              describe(value[0]), " and ", describe(item));
                append_gguf_value(out, item, element);
            }
            return;
        }
        default: fail<ValueError>("gguf: this type is not written");
    }
}

inline std::uint32_t ggml_number(DType dtype) {
    for (const GgmlType& type : ggml_types)
        if (type.dtype == dtype) return type.number;
    fail<ValueError>("gguf: no tensor type for ", dtype);
}

}  // namespace detail

/// Writes one GGUF file tensor by tensor, so that a whole model need not be in memory: the metadata and the announced
/// tensors come first, then the bytes of each in the same order, then commit(). Until then nothing stands under that
/// name.
class GgufWriter {
public:
    /// metadata: a flat JSON object; GGUF types follow from the JSON values. The tensors' `bytes` are not looked at.
    /// Throws ValueError.
    GgufWriter(const std::string& path, const Json& metadata, const std::vector<NamedTensor>& tensors)
        : path_(path), file_(path) {
        SMOLVLM_CHECK(metadata.is_object() && !metadata.contains("general.alignment"), ValueError, path,
                      ": expected metadata as an object that leaves the alignment alone");
        std::string head = "GGUF";
        detail::append_bytes(head, std::uint32_t{3});
        detail::append_bytes(head, static_cast<std::uint64_t>(tensors.size()));
        detail::append_bytes(head, static_cast<std::uint64_t>(metadata.size()));
        for (const auto& [key, value] : metadata.items()) {
            const detail::GgufType type = detail::gguf_type_of(value, false);
            detail::append_gguf_string(head, key);
            detail::append_bytes(head, static_cast<std::uint32_t>(type));
            detail::append_gguf_value(head, value, type);
        }
        Index offset = 0;
        for (const NamedTensor& tensor : tensors) {
            SMOLVLM_CHECK(1 <= tensor.shape.rank() && tensor.shape.rank() <= 4, ValueError, path, ": tensor \"",
                          tensor.name, "\" has the shape ", tensor.shape, ", expected 1 to 4 dimensions");
            detail::append_gguf_string(head, tensor.name);
            detail::append_bytes(head, static_cast<std::uint32_t>(tensor.shape.rank()));
            for (int axis = tensor.shape.rank() - 1; axis >= 0; --axis)
                detail::append_bytes(head, static_cast<std::uint64_t>(tensor.shape[axis]));
            detail::append_bytes(head, detail::ggml_number(tensor.dtype));
            detail::append_bytes(head, static_cast<std::uint64_t>(offset));
            announced_.push_back({tensor.name, tensor.dtype, tensor.shape, {}});
            offset = detail::aligned(offset + bytes_of(tensor.dtype, tensor.shape), alignment);
        }
        file_.write(head + padding(static_cast<Index>(head.size())));
    }

    /// All bytes of the next announced tensor. Throws ValueError when they are not as many as its shape needs, or the
    /// disk is full.
    void write(std::span<const std::byte> bytes) {
        SMOLVLM_CHECK(next_ < announced_.size(), ValueError, path_, ": only ", announced_.size(), " tensors announced");
        const NamedTensor& tensor = announced_[next_++];
        const auto size = static_cast<Index>(bytes.size());
        SMOLVLM_CHECK(size == bytes_of(tensor.dtype, tensor.shape), ValueError, path_, ": tensor \"", tensor.name,
                      "\": ", size, " bytes do not hold ", tensor.dtype, ' ', tensor.shape);
        file_.write(bytes);
        file_.write(padding(size));
    }

    /// Makes the file appear. Throws ValueError when tensors are still to be written.
    void commit() {
        SMOLVLM_CHECK(next_ == announced_.size(), ValueError, path_, ": ", next_, " of ", announced_.size(),
                      " tensors written");
        file_.commit();
    }

private:
    static constexpr Index alignment = detail::gguf_default_alignment;
    static std::string padding(Index size) {
        return std::string(std::size_t(detail::aligned(size, alignment) - size), '\0');
    }

    std::string path_;
    AtomicFile file_;
    std::vector<NamedTensor> announced_;
    std::size_t next_ = 0;
};

/// The metadata and the tensors as one file, atomically. Throws ValueError.
inline void save_gguf(const std::string& path, const Json& metadata, const std::vector<NamedTensor>& tensors) {
    GgufWriter writer(path, metadata, tensors);
    for (const NamedTensor& tensor : tensors) writer.write(tensor.bytes);
    writer.commit();
}

}  // namespace smolvlm
