#pragma once
/// GGUF files, versions 2 and 3, as llama.cpp writes them: typed metadata, then tensors with their dtypes and shapes,
/// then the tensors' bytes, each at a multiple of the alignment. Little-endian throughout.
///
///     | "GGUF" | version u32 | tensors u64 | keys u64 |
///     | key: string | type u32 | value |  ..       string: length u64, bytes;  array: type u32, length u64, values
///     | name: string | rank u32 | extents u64.. | type u32 | offset u64 |  ..      extents: ours reversed
///     | padding | data |
///
/// Source: ggml, docs/gguf.md and src/gguf.cpp. Metadata becomes JSON, so that the typed getters of io/json.hpp read
/// it; every length is compared with the bytes that are left before anything is allocated.

#include <smolvlm/io/json.hpp>
#include <smolvlm/io/tensor_file.hpp>

namespace smolvlm {

namespace detail {

enum class GgufType : std::uint32_t { u8, i8, u16, i16, u32, i32, f32, boolean, string, array, u64, i64, f64 };

/// ggml's numbers of the tensor types that we read.
struct GgmlType {
    std::uint32_t number;
    DType dtype;
};
inline constexpr GgmlType ggml_types[] = {
    {0, DType::f32},   {1, DType::f16},  {2, DType::q4_0},  {3, DType::q4_1},  {6, DType::q5_0},    {7, DType::q5_1},
    {8, DType::q8_0},  {10, DType::q2_k}, {11, DType::q3_k}, {12, DType::q4_k}, {13, DType::q5_k},   {14, DType::q6_k},
    {20, DType::iq4_nl}, {24, DType::i8}, {25, DType::i16},  {26, DType::i32},  {27, DType::i64},    {28, DType::f64},
    {30, DType::bf16},
};

inline constexpr Index gguf_default_alignment = 32;

constexpr Index aligned(Index offset, Index alignment) { return (offset + alignment - 1) / alignment * alignment; }

/// A place in a mapped file that never passes its end.
class GgufCursor {
public:
    explicit GgufCursor(const MappedFile& file) : file_(file) {}

    Index offset() const { return offset_; }
    Index left() const { return file_.size() - offset_; }

    template <class T>
    T number() {
        require(sizeof(T));
        const T value = load<T>(file_.data() + offset_);
        offset_ += static_cast<Index>(sizeof(T));
        return value;
    }
    /// A count of things that take at least `least_bytes` each, hence not more than fit into the rest of the file.
    Index count(std::string_view what, Index least_bytes) {
        const auto n = number<std::uint64_t>();
        SMOLVLM_CHECK(n <= static_cast<std::uint64_t>(left() / least_bytes), FormatError, file_.path(), ": byte ",
                      offset_ - 8, ": ", n, ' ', what, " are announced, but only ", left(), " bytes follow");
        return static_cast<Index>(n);
    }
    std::string string() {
        const Index length = count("characters", 1);
        std::string text(reinterpret_cast<const char*>(file_.data()) + offset_, static_cast<std::size_t>(length));
        offset_ += length;
        return text;
    }
    /// A 64-bit size or offset.
    Index index(std::string_view what) {
        const auto n = number<std::uint64_t>();
        SMOLVLM_CHECK(n <= static_cast<std::uint64_t>(INT64_MAX), FormatError, what, " is ", n);
        return static_cast<Index>(n);
    }
    std::string where() const { return file_.path() + ": byte " + std::to_string(offset_); }

private:
    void require(std::size_t bytes) const {
        SMOLVLM_CHECK(left() >= static_cast<Index>(bytes), FormatError, where(), ": the file ends where ", bytes,
                      " more bytes are expected");
    }

    const MappedFile& file_;
    Index offset_ = 0;
};

/// One metadata value. `budget` bounds the array elements of the whole file, for each takes more memory than its bytes
/// here.
inline Json read_gguf_value(GgufCursor& in, std::uint32_t type, std::string_view key, Index& budget, int depth = 0) {
    switch (static_cast<GgufType>(type)) {
        case GgufType::u8: return in.number<std::uint8_t>();
        case GgufType::i8: return in.number<std::int8_t>();
        case GgufType::u16: return in.number<std::uint16_t>();
        case GgufType::i16: return in.number<std::int16_t>();
        case GgufType::u32: return in.number<std::uint32_t>();
        case GgufType::i32: return in.number<std::int32_t>();
        case GgufType::f32: return in.number<float>();
        case GgufType::boolean: return in.number<std::uint8_t>() != 0;
        case GgufType::string: return in.string();
        case GgufType::u64: return in.number<std::uint64_t>();
        case GgufType::i64: return in.number<std::int64_t>();
        case GgufType::f64: return in.number<double>();
        case GgufType::array: {
            SMOLVLM_CHECK(depth < 4, FormatError, in.where(), ": the key ", in_quotes(key), " nests arrays too deep");
            const auto element = in.number<std::uint32_t>();
            const Index n = in.count("array elements", element == static_cast<std::uint32_t>(GgufType::string) ? 8 : 1);
            SMOLVLM_CHECK(n <= budget, FormatError, in.where(), ": the key ", in_quotes(key), " has ", n,
                          " array elements, too many for all keys together");
            budget -= n;
            Json array = Json::array();
            for (Index i = 0; i < n; ++i) array.push_back(read_gguf_value(in, element, key, budget, depth + 1));
            return array;
        }
    }
    fail<FormatError>(in.where(), ": the key ", in_quotes(key), " has the unknown type ", type);
}

}  // namespace detail

class Gguf : public TensorFile {
public:
    /// Throws FormatError for anything malformed, and for tensor types that we do not read.
    static Gguf open(const std::string& path) {
        Gguf gguf(path);
        gguf.read(MappedFile::open(path));
        return gguf;
    }

    /// All keys as one flat object: {"general.architecture": "llama", "llama.block_count": 30, ..}. Strings may hold
    /// any bytes, not only UTF-8.
    const Json& metadata() const { return metadata_; }

private:
    static constexpr Index max_array_elements = 1 << 24, max_keys = 1 << 16, max_tensors = 1 << 20;

    explicit Gguf(std::string path) : TensorFile(std::move(path)) {}

    void read(const std::shared_ptr<const MappedFile>& file) {
        detail::GgufCursor in(*file);
        constexpr std::uint32_t magic = 'G' | 'G' << 8 | 'U' << 16 | 'F' << 24;
        SMOLVLM_CHECK(in.left() >= 24 && in.number<std::uint32_t>() == magic, FormatError, path(), ": is no GGUF file");
        const auto version = in.number<std::uint32_t>();
        SMOLVLM_CHECK(version == 2 || version == 3, FormatError, path(), ": byte 4: GGUF version ", version,
                      ", expected 2 or 3 in little-endian order");
        const Index tensor_count = in.count("tensors", 24);
        const Index key_count = in.count("keys", 13);
        SMOLVLM_CHECK(tensor_count <= max_tensors && key_count <= max_keys, FormatError, path(),
                      ": byte 8: ", tensor_count, " tensors and ", key_count, " keys are more than any model has");

        Index budget = max_array_elements;
        for (Index i = 0; i < key_count; ++i) {
            std::string key = in.string();
            const auto type = in.number<std::uint32_t>();
            Json value = detail::read_gguf_value(in, type, key, budget);
            SMOLVLM_CHECK(!metadata_.contains(key), FormatError, in.where(), ": the key ", in_quotes(key),
                          " appears twice");
            metadata_[std::move(key)] = std::move(value);
        }
        std::vector<std::pair<std::string, TensorInfo>> listed;
        for (Index i = 0; i < tensor_count; ++i) listed.push_back(read_tensor_info(in));

        const Index alignment = get_or<Index>(metadata_, "general.alignment", path(), detail::gguf_default_alignment);
        SMOLVLM_CHECK(alignment >= 8 && alignment % 8 == 0 && alignment <= 1 << 20, FormatError, path(),
                      ": \"general.alignment\" is ", alignment, ", expected a multiple of 8");
        place_tensors(file, std::move(listed), detail::aligned(in.offset(), alignment), alignment);
    }

    /// Name, dtype and shape; the offset is still relative to the data.
    std::pair<std::string, TensorInfo> read_tensor_info(detail::GgufCursor& in) const {
        std::pair<std::string, TensorInfo> named;
        auto& [name, tensor] = named;
        name = in.string();
        const std::string where = path() + ": tensor " + in_quotes(name);
        const auto rank = in.number<std::uint32_t>();
        SMOLVLM_CHECK(1 <= rank && rank <= 4, FormatError, where, " has ", rank, " dimensions, expected 1 to 4");
        std::array<Index, 4> extents{};
        for (std::uint32_t axis = 0; axis < rank; ++axis) extents[rank - 1 - axis] = in.index(where + ": an extent");
        for (std::uint32_t axis = 0; axis < rank; ++axis) tensor.shape.push_back(extents[axis]);

        const auto type = in.number<std::uint32_t>();
        const auto* const known = std::find_if(std::begin(detail::ggml_types), std::end(detail::ggml_types),
                                               [type](const detail::GgmlType& t) { return t.number == type; });
        SMOLVLM_CHECK(known != std::end(detail::ggml_types), FormatError, where, " has the ggml type ", type,
                      ", expected F32, F16, BF16, F64, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2_K to Q6_K, IQ4_NL or integers");
        tensor.dtype = known->dtype;
        tensor.offset = in.index(where + ": the offset");
        try {
            tensor.size = bytes_of(tensor.dtype, tensor.shape);
        } catch (const ShapeError& error) {
            fail<FormatError>(where, ": ", error.what());
        }
        return named;
    }

    /// Checks that all tensors lie aligned within the data and do not overlap, then takes them over.
    void place_tensors(const std::shared_ptr<const MappedFile>& file,
                       std::vector<std::pair<std::string, TensorInfo>> listed, Index data_begin, Index alignment) {
        std::sort(listed.begin(), listed.end(),
                  [](const auto& a, const auto& b) { return a.second.offset < b.second.offset; });
        const Index data_size = std::max<Index>(file->size() - data_begin, 0);
        Index free_from = 0;
        for (auto& [name, tensor] : listed) {
            SMOLVLM_CHECK(tensor.offset % alignment == 0, FormatError, path(), ": tensor ", in_quotes(name),
                          ": offset ", tensor.offset, " is no multiple of the alignment ", alignment);
            SMOLVLM_CHECK(tensor.size <= data_size && tensor.offset <= data_size - tensor.size, FormatError, path(),
                          ": tensor ", in_quotes(name), ": its ", tensor.size, " bytes at offset ", tensor.offset,
                          " do not lie within the ", data_size, " data bytes");
            SMOLVLM_CHECK(tensor.offset >= free_from, FormatError, path(), ": tensor ", in_quotes(name), " at offset ",
                          tensor.offset, " overlaps another");
            free_from = tensor.offset + tensor.size;
            tensor.offset += data_begin;
            tensor.file = file;
            add(std::move(name), std::move(tensor));
        }
    }

    Json metadata_ = Json::object();
};

}  // namespace smolvlm
