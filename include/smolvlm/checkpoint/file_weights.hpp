#pragma once
/// Parameters that lie in tensor files under names of their own: what Hugging Face folders and GGUF pairs have in
/// common.

#include <smolvlm/checkpoint/panel_file.hpp>
#include <smolvlm/checkpoint/weights.hpp>

namespace smolvlm {

/// Rows of a query or key projection from GGUF's order to Hugging Face's. llama.cpp rotates neighbours (2j, 2j + 1) of
/// a head, transformers rotates j and j + K/2; so its converter put row j + K/2 of every head next to row j. Undone
/// here:
///
///     head of K = 6 rows      GGUF  0 3 1 4 2 5   ->   0 1 2 3 4 5
///
/// Rows are moved as bytes, so quantised ones stay as they are. weight [heads * K, D]; heads is H of queries, G of
/// keys. Source: llama.cpp, convert_hf_to_gguf.py, LlamaModel.permute.
inline HostWeight unpermute_rope_rows(const HostWeight& weight, Index heads) {
    const Index rows = weight.rows();
    SMOLVLM_CHECK(heads > 0 && rows % (2 * heads) == 0, ShapeError, "unpermute: ", rows, " rows are not ", heads,
                  " heads of an even number of rows");
    const Index K = rows / heads, half = K / 2;
    const auto row_bytes = static_cast<std::size_t>(weight.row_bytes());
    HostWeight out{weight.dtype, weight.shape(), Storage::allocate(static_cast<std::size_t>(rows) * row_bytes)};
    for (Index row = 0; row < rows; ++row) {
        const Index head = row / K, j = row % K;
        const Index stored = head * K + (j < half ? 2 * j : 2 * (j - half) + 1);
        std::memcpy(out.storage.data() + row * weight.row_bytes(), weight.row_bytes_at(stored), row_bytes);
    }
    return out;
}

/// The other way round: from Hugging Face's order to GGUF's.
inline HostWeight permute_rope_rows(const HostWeight& weight, Index heads) {
    const Index rows = weight.rows();
    SMOLVLM_CHECK(heads > 0 && rows % (2 * heads) == 0, ShapeError, "permute: ", rows, " rows are not ", heads,
                  " heads of an even number of rows");
    const Index K = rows / heads, half = K / 2;
    const auto row_bytes = static_cast<std::size_t>(weight.row_bytes());
    HostWeight out{weight.dtype, weight.shape(), Storage::allocate(static_cast<std::size_t>(rows) * row_bytes)};
    for (Index row = 0; row < rows; ++row) {
        const Index head = row / K, j = row % K;
        const Index ours = head * K + (j % 2 == 0 ? j / 2 : half + j / 2);
        std::memcpy(out.storage.data() + row * weight.row_bytes(), weight.row_bytes_at(ours), row_bytes);
    }
    return out;
}

class FileWeights final : public WeightSource {
public:
    explicit FileWeights(std::string where) : where_(std::move(where)) {}

    /// The parameter `name` is the tensor `stored` of that file; rope_heads > 0: its rows are in GGUF's order of so
    /// many heads. Throws FormatError when the name is taken.
    void add(const std::string& name, std::shared_ptr<const TensorFile> file, const std::string& stored,
             Index rope_heads = 0) {
        const bool is_new = shapes_.emplace(name, file->at(stored).shape).second;
        SMOLVLM_CHECK(is_new, FormatError, where_, ": two tensors hold ", name);
        places_[name] = {std::move(file), stored, rope_heads, IntegerFormat::none};
    }
    /// The same for a tensor that holds panels.
    void add_panels(const std::string& name, std::shared_ptr<const TensorFile> file, const std::string& stored,
                    const PanelFile::Entry& entry) {
        add(name, std::move(file), stored);
        shapes_[name] = entry.shape;
        places_[name].panels = entry.format;
    }

    const std::string& where() const override { return where_; }
    const std::map<std::string, Shape>& shapes() const override { return shapes_; }

    HostWeight weight(const std::string& name) const override {
        const Place& place = places_.at(name);
        if (const auto held = panels(name)) return held->rows(default_threads());
        const DType dtype = place.file->at(place.stored).dtype;
        SMOLVLM_CHECK(is_floating(dtype) || is_quantized(dtype), FormatError, place.file->path(), ": tensor ",
                      in_quotes(place.stored), " is ", dtype, ", expected a floating or quantised type");
        const HostWeight weight = place.file->host_weight(place.stored);
        return place.rope_heads > 0 ? unpermute_rope_rows(weight, place.rope_heads) : weight;
    }
    std::optional<PanelWeight> panels(const std::string& name) const override {
        const Place& place = places_.at(name);
        if (place.panels == IntegerFormat::none) return std::nullopt;
        Storage bytes = place.file->host_weight(place.stored).storage;
        if (reinterpret_cast<std::uintptr_t>(bytes.data()) % 64 != 0) {  // somebody else's file
            const Storage aligned = Storage::allocate(bytes.capacity());
            std::memcpy(aligned.data(), bytes.data(), bytes.capacity());
            bytes = aligned;
        }
        return PanelWeight{place.panels, shapes_.at(name), std::move(bytes)};
    }
    void release(const std::string& name) const override {
        const Place& place = places_.at(name);
        place.file->release(place.stored);
    }

private:
    struct Place {
        std::shared_ptr<const TensorFile> file;
        std::string stored;
        Index rope_heads = 0;
        IntegerFormat panels = IntegerFormat::none;
    };

    std::string where_;
    std::map<std::string, Shape> shapes_;
    std::map<std::string, Place> places_;
};

}  // namespace smolvlm
