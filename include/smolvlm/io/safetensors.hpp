#pragma once
/// Safetensors files: an 8-byte length, a JSON header, then the tensors' bytes without gaps.
///
///     | n (u64) | {"__metadata__": {..}, "name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}} | data |
///
/// Source: huggingface/safetensors, safetensors/src/tensor.rs. Like there, tensors must cover the data exactly: an
/// overlap or a gap is an error, so that a file cannot hide anything. A checkpoint may be cut into several files
/// ("shards"), which model.safetensors.index.json lists: {"weight_map": {"name": "model-00001-of-00002.safetensors"}}.

#include <set>

#include <smolvlm/io/atomic_file.hpp>
#include <smolvlm/io/json.hpp>
#include <smolvlm/io/tensor_file.hpp>

namespace smolvlm {

class Safetensors : public TensorFile {
public:
    using Metadata = std::map<std::string, std::string>;

    /// One .safetensors file. Throws FormatError for anything malformed.
    static Safetensors open(const std::string& path) {
        Safetensors file(path);
        file.read(MappedFile::open(path));
        return file;
    }

    /// The weights of a checkpoint folder: model.safetensors, or the shards of model.safetensors.index.json.
    static Safetensors open_folder(const std::string& folder) {
        const std::string single = folder + "/model.safetensors", index = single + ".index.json";
        const bool has_index = ::access(index.c_str(), F_OK) == 0;
        return ::access(single.c_str(), F_OK) == 0 || !has_index ? open(single) : open_shards(folder, index);
    }

    /// The free text in the header ("__metadata__"); of shards, that of the first.
    const Metadata& metadata() const { return metadata_; }

private:
    static constexpr Index max_header_bytes = 32 << 20;

    explicit Safetensors(std::string path) : TensorFile(std::move(path)) {}

    void read(std::shared_ptr<const MappedFile> file) {
        const Index size = file->size();
        SMOLVLM_CHECK(size >= 8, FormatError, path(), ": ", size, " bytes are too few for a safetensors file");
        const auto declared = detail::load<std::uint64_t>(file->data());
        const auto limit = static_cast<std::uint64_t>(std::min(size - 8, max_header_bytes));
        SMOLVLM_CHECK(declared <= limit, FormatError, path(), ": byte 0: a header of ", declared,
                      " bytes is announced, but the file has ", size, " bytes and headers at most ", max_header_bytes);
        const auto header_size = static_cast<Index>(declared);
        const Json header =
            parse_json({reinterpret_cast<const char*>(file->data()) + 8, declared}, path() + ": header");
        SMOLVLM_CHECK(header.is_object(), FormatError, path(), ": header: expected an object of tensors, found ",
                      detail::describe(header));

        const Index data_size = size - 8 - header_size;
        std::vector<std::pair<Index, Index>> spans;  // [begin, end) of every tensor
        for (const auto& [name, entry] : header.items()) {
            if (name == "__metadata__") {
                SMOLVLM_CHECK(entry.is_object(), FormatError, path(), ": __metadata__ is ", detail::describe(entry),
                              ", expected an object");
                for (const auto& [key, value] : entry.items())
                    metadata_[key] = value_as<std::string>(value, in_quotes(key), path() + ": __metadata__");
                continue;
            }
            TensorInfo tensor = parse_entry(entry, path() + ": tensor " + in_quotes(name), data_size);
            spans.emplace_back(tensor.offset, tensor.offset + tensor.size);
            tensor.file = file;
            tensor.offset += 8 + header_size;
            add(name, std::move(tensor));
        }
        std::sort(spans.begin(), spans.end());
        Index covered = 0;
        for (const auto& [begin, end] : spans) {
            SMOLVLM_CHECK(begin == covered, FormatError, path(), ": data byte ", std::min(begin, covered), ": ",
                          begin < covered ? "two tensors overlap" : "a gap between two tensors");
            covered = end;
        }
        SMOLVLM_CHECK(covered == data_size, FormatError, path(), ": the tensors cover ", covered, " of ", data_size,
                      " data bytes");
    }

    static TensorInfo parse_entry(const Json& entry, const std::string& where, Index data_size) {
        TensorInfo tensor;
        const std::string dtype = get<std::string>(entry, "dtype", where);
        const auto known = dtype_named(dtype);
        SMOLVLM_CHECK(known && !is_quantized(*known), FormatError, where, ": unknown dtype ", in_quotes(dtype));
        tensor.dtype = *known;

        const Json& extents = get_array(entry, "shape", where);
        SMOLVLM_CHECK(extents.size() <= Shape::max_rank, FormatError, where, ": ", extents.size(),
                      " dimensions, at most ", Shape::max_rank, " are supported");
        for (const Json& extent : extents) {
            const Index n = value_as<Index>(extent, "an extent of the shape", where);
            SMOLVLM_CHECK(n >= 0, FormatError, where, ": negative extent ", n);
            tensor.shape.push_back(n);
        }
        if (extents.empty()) tensor.shape = Shape{1};

        const Json& offsets = get_array(entry, "data_offsets", where);
        SMOLVLM_CHECK(offsets.size() == 2, FormatError, where, ": expected two data_offsets, found ", offsets.size());
        const Index begin = value_as<Index>(offsets[0], "a data offset", where);
        const Index end = value_as<Index>(offsets[1], "a data offset", where);
        SMOLVLM_CHECK(0 <= begin && begin <= end && end <= data_size, FormatError, where, ": data_offsets [", begin,
                      ", ", end, "] do not lie within the ", data_size, " data bytes");
        tensor.offset = begin;
        tensor.size = end - begin;
        Index expected = -1;
        try {
            expected = bytes_of(tensor.dtype, tensor.shape);
        } catch (const ShapeError&) {  // more elements than can be counted
        }
        SMOLVLM_CHECK(expected == tensor.size, FormatError, where, ": ", tensor.size, " bytes do not hold ",
                      tensor.dtype, ' ', tensor.shape);
        return tensor;
    }

    /// A checkpoint must not be able to name files outside its folder.
    static bool is_shard_name(std::string_view name) {
        constexpr std::string_view forbidden("/\\\0", 3);
        return name.ends_with(".safetensors") && name.find_first_of(forbidden) == name.npos;
    }

    static Safetensors open_shards(const std::string& folder, const std::string& index_path) {
        const Json index = parse_json(read_text_file(index_path, max_header_bytes), index_path);
        const Json& weight_map = get_object(index, "weight_map", index_path);
        std::set<std::string> shards;
        for (const auto& [name, value] : weight_map.items()) {
            const std::string shard = value_as<std::string>(value, "the shard of " + in_quotes(name), index_path);
            SMOLVLM_CHECK(is_shard_name(shard), FormatError, index_path, ": the shard of ", in_quotes(name), " is ",
                          detail::describe(value), ", expected the name of a .safetensors file in the same folder");
            shards.insert(shard);
        }
        SMOLVLM_CHECK(!shards.empty(), FormatError, index_path, ": lists no tensors");
        Safetensors all(index_path);
        for (const std::string& shard : shards) {
            const Safetensors part = open(folder + '/' + shard);
            if (all.metadata_.empty()) all.metadata_ = part.metadata_;
            all.add_all(part);
        }
        for (const auto& [name, value] : weight_map.items())
            SMOLVLM_CHECK(all.find(name) && all.find(name)->file->path() == folder + '/' + value.get<std::string>(),
                          FormatError, index_path, ": tensor ", in_quotes(name), " is not in ",
                          printable(value.get<std::string>()));
        return all;
    }

    Metadata metadata_;
};

/// Writes one safetensors file tensor by tensor, so that a whole model need not be in memory: the header comes first,
/// then the bytes of each announced tensor in the same order, then commit(). Until then nothing stands under that name.
class SafetensorsWriter {
public:
    /// Announces the tensors; their `bytes` are not looked at. Throws ValueError.
    SafetensorsWriter(const std::string& path, const std::vector<NamedTensor>& tensors,
                      const Safetensors::Metadata& metadata = {})
        : path_(path), file_(path) {
        Json header = Json::object();
        if (!metadata.empty()) header["__metadata__"] = metadata;
        Index offset = 0;
        for (const NamedTensor& tensor : tensors) {
            SMOLVLM_CHECK(!is_quantized(tensor.dtype), ValueError, path, ": safetensors hold no ", tensor.dtype);
            const Index size = bytes_of(tensor.dtype, tensor.shape);
            Json shape = Json::array();
            for (int axis = 0; axis < tensor.shape.rank(); ++axis) shape.push_back(tensor.shape[axis]);
            const bool is_new = header
                                    .emplace(tensor.name, Json{{"dtype", info(tensor.dtype).name},
                                                               {"shape", shape},
                                                               {"data_offsets", {offset, offset + size}}})
                                    .second;
            SMOLVLM_CHECK(is_new, ValueError, path, ": tensor \"", tensor.name, "\" given twice");
            sizes_.push_back(size);
            offset += size;
        }
        std::string text = header.dump();
        text.resize((text.size() + 8 + 63) / 64 * 64 - 8, ' ');  // the data begin at a multiple of 64
        const auto length = static_cast<std::uint64_t>(text.size());
        file_.write(std::as_bytes(std::span(&length, 1)));
        file_.write(text);
        skip_complete();
    }

    /// The bytes of the next announced tensor, whole or piece by piece. Throws ValueError when they are too many, or
    /// the disk is full.
    void write(std::span<const std::byte> bytes) {
        const auto n = static_cast<Index>(bytes.size());
        if (n == 0) return;
        SMOLVLM_CHECK(next_ < sizes_.size() && n <= sizes_[next_] - written_, ValueError, path_, ": tensor ", next_,
                      " of ", sizes_.size(), " got ", written_ + n, " bytes");
        file_.write(bytes);
        written_ += n;
        skip_complete();
    }

    /// Makes the file appear. Throws ValueError when tensors are still to be written.
    void commit() {
        SMOLVLM_CHECK(next_ == sizes_.size(), ValueError, path_, ": ", next_, " of ", sizes_.size(),
                      " tensors written");
        file_.commit();
    }

private:
    /// On to the first tensor that still lacks bytes.
    void skip_complete() {
        for (; next_ < sizes_.size() && written_ == sizes_[next_]; ++next_) written_ = 0;
    }

    std::string path_;
    AtomicFile file_;
    std::vector<Index> sizes_;
    std::size_t next_ = 0;  // the tensor being written, and how much of it is
    Index written_ = 0;
};

/// The tensors as one file, largest elements first so that all are aligned. Throws ValueError.
inline void save_safetensors(const std::string& path, std::vector<NamedTensor> tensors,
                             const Safetensors::Metadata& metadata = {}) {
    std::stable_sort(tensors.begin(), tensors.end(), [](const NamedTensor& a, const NamedTensor& b) {
        return info(a.dtype).block_bytes > info(b.dtype).block_bytes;
    });
    SafetensorsWriter writer(path, tensors, metadata);
    for (const NamedTensor& tensor : tensors) writer.write(tensor.bytes);
    writer.commit();
}

}  // namespace smolvlm
