#pragma once
/// The input of a trace: a padded batch as transformers takes it, and the same without its padding.

#include <cmath>
#include <smolvlm/io/tensor_file.hpp>
#include <smolvlm/model/config.hpp>

namespace cli {

struct Batch {
    smolvlm::Index sequences = 0, columns = 0;  // B, T
    std::vector<std::int32_t> ids;              // [N] of all sequences, padding left out
    std::vector<smolvlm::Index> lengths;        // of each sequence that has tokens
    std::vector<smolvlm::Index> places;         // [N] b * T + t of each token

    std::vector<smolvlm::Index> frames;  // those that count, among all B * I
    bool has_pixels = false;             // with pixel_values, even if no frame of them counts
    smolvlm::Index channels = 0, height = 0, width = 0;
    smolvlm::HostTensor<std::int64_t> pixel_mask;  // [frames, height, width]

    /// [frames, C, height, width]. In double precision bytes are recognised, see exact_pixel.
    template <class T>
    smolvlm::HostTensor<T> pixels(const smolvlm::TensorFile& file) const {
        const smolvlm::HostTensor<T> all = file.tensor<T>("pixel_values");
        const smolvlm::Index size = channels * height * width;
        smolvlm::HostTensor<T> kept({static_cast<smolvlm::Index>(frames.size()), channels, height, width});
        T* to = kept.data();
        for (const smolvlm::Index frame : frames) to = std::copy_n(all.data() + frame * size, size, to);
        if constexpr (std::is_same_v<T, double>)
            for (double& value : kept.flat()) value = exact_pixel(value);
        return kept;
    }
    /// transformers' two image processors write the byte x as two floats up to 6e-8 apart: 2 f32(x/255) - 1 (Pillow)
    /// and (x - 127.5) / 127.5 (torchvision). A run in double precision, there to compare to 1e-9, takes both for the
    /// second.
    static double exact_pixel(double value) {
        const double byte = std::round((value + 1) * 127.5);
        if (!(byte >= 0 && byte <= 255)) return value;
        const float pillow = 2 * static_cast<float>(byte * (1.0 / 255)) - 1;
        return value == static_cast<double>(pillow) ? static_cast<double>((static_cast<float>(byte) - 127.5f) / 127.5f)
                                                    : value;
    }
    /// Rows of tokens [N, D] -> [B, T, D] with zeros for padding.
    template <class T>
    smolvlm::HostTensor<T> with_padding(const smolvlm::HostTensor<T>& rows) const {
        const smolvlm::Index D = rows.shape().back();
        auto padded = smolvlm::HostTensor<T>::zeros({sequences, columns, D});
        for (std::size_t n = 0; n < places.size(); ++n)
            std::copy_n(rows.data() + static_cast<smolvlm::Index>(n) * D, D, padded.data() + places[n] * D);
        return padded;
    }
};

/// Throws FormatError for tensors of other shapes or types, ValueError for a mask with a hole in it.
Batch read_batch(const smolvlm::TensorFile& file, const smolvlm::ModelConfig& config);

/// Names and shapes of everything in a trace, in the order in which it is computed.
using TraceShapes = std::vector<std::pair<std::string, smolvlm::Shape>>;
TraceShapes trace_shapes(const Batch& batch, const smolvlm::ModelConfig& config);

}  // namespace cli
