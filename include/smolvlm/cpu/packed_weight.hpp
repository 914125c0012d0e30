#pragma once
/// PackedWeight<T>: the matrix of a linear map in the order in which its kernels read it.
///
/// Floating types become panels of `panel_width` output rows, k by k, so that a register holds neighbouring outputs
/// and one stream of memory feeds both the matrix product and decoding:
///
///     w [M, K]                       panel 0                        panel 1
///     w00 w01 w02 ..                 w00 w10 w20 .. | w01 w11 w21 .. | ...      (rows beyond M are zeros)
///     w10 w11 w12 ..        ->       `--- k = 0 ---'  `--- k = 1 ---'
///
/// bf16 and f16 stay two bytes, f32 stays four in a Cpu<double>: widening is exact and happens in registers.
/// Block-quantised types stay as the file has them and are widened a panel at a time; or, where products may be those
/// of integers (Precision), they and int8 have panels of their own (core/integer_layout.hpp), which files may hold too.
/// Immutable, so threads may share one.

#include <optional>

#include <smolvlm/core/arena.hpp>
#include <smolvlm/core/panel_weight.hpp>
#include <smolvlm/cpu/integer_panels.hpp>
#include <smolvlm/cpu/turn.hpp>

namespace smolvlm {

/// What Cpu<float> multiplies matrices in. Everything else, attention too, is computed in floats in any case.
enum class Precision : std::uint8_t {
    exact,   // floats: weights are widened without loss, activations are taken as they are
    native,  // as wide as the weight is held: Q8_0 and Q4_0 meet activations rounded to bytes, a scale for each 32;
             // bf16 meets bf16 or becomes 16-bit integers, whichever products are the processor's fastest, or is widened
    int8,    // as native; and floating weights become bytes, a scale a row, and so do the activations they meet
};

}  // namespace smolvlm

namespace smolvlm::cpu {

/// Output rows in a panel: three registers of AVX-512. The same on every path, so a weight does not depend on it.
template <class T>
inline constexpr Index panel_width = 192 / static_cast<Index>(sizeof(T));

template <class T>
class PackedWeight {
public:
    PackedWeight() = default;
    /// Packs on `threads` threads, into `arena` if there is one. Throws ShapeError unless w is a matrix, ValueError unless
    /// it holds weights. A PackedWeight<double> is exact whatever `precision` says.
    explicit PackedWeight(const HostWeight& w, int threads = 1, Precision precision = Precision::exact,
                          CpuPath path = cpu_path(), Arena* arena = nullptr)
        : shape_(w.shape()), dtype_(w.dtype) {
        SMOLVLM_CHECK(shape_.rank() == 2, ShapeError, "weight: ", shape_, " is no matrix");
        SMOLVLM_CHECK(is_floating(dtype_) || is_quantized(dtype_), ValueError, "weight: a tensor of ", dtype_,
                      " holds no weights");
        if (std::is_same_v<T, float> && precision != Precision::exact && cols() <= longest_integer_sum)
            integers_ = {integer_format(dtype_, precision == Precision::int8, path), cols()};
        if (in_integers()) {
            pack_integers(w, threads, arena);
            return;
        }
        if (is_quantized(dtype_)) {
            storage_ = w.storage;
            return;
        }
        if (dtype_ == DType::f64 && sizeof(T) == 4) dtype_ = DType::f32;
        const std::size_t element = static_cast<std::size_t>(info(dtype_).block_bytes);
        storage_ = taken(static_cast<std::size_t>(panels() * cols() * panel_width<T>) * element, arena, element == 2);
        visit_panels([&](auto* packed) { pack(w, packed, threads); });
    }

    /// Panels are taken as they are if that precision multiplies such on that path, as words if it multiplies bf16 so, else as
    /// rows. Into `arena` if there is one, where decoding finds them in huge pages (a token of 256M in Q4_0: 7.0 ms instead of
    /// 9.4). in_place: those that are taken as they are stay where they lie, which may be a mapped file.
    explicit PackedWeight(const PanelWeight& w, int threads = 1, Precision precision = Precision::native,
                          CpuPath path = cpu_path(), Arena* arena = nullptr, bool in_place = false)
        : shape_{w.M(), w.K()}, dtype_(dtype_of_rows(w.format)), integers_(w.layout()), storage_(w.storage) {
        const IntegerFormat wanted = w.format != IntegerFormat::bf16 ? w.format
                                     : precision == Precision::int8  ? IntegerFormat::none
                                                                     : format_of_bf16(path);
        const bool rows = wanted == IntegerFormat::none || precision == Precision::exact || !std::is_same_v<T, float>;
        if (rows || cols() > longest_integer_sum) {
            *this = PackedWeight(w.rows(threads).reshaped(shape_), threads, precision, path, arena);
        } else if (wanted != w.format) {
            integers_.format = wanted;
            storage_ = taken(static_cast<std::size_t>(panels() * integers_.panel_bytes()), arena, true);
            parallel_for(threads, panels(), 1, [&](Index begin, Index end) {
                for (Index p = begin; p < end; ++p)
                    pairs_to_words(w.storage.data() + p * w.layout().panel_bytes(), integers_,
                                   storage_.data() + p * integers_.panel_bytes());
            });
        } else if (arena && !in_place) {
            const Index bytes = w.bytes();
            storage_ = arena->take_any(static_cast<std::size_t>(bytes));
            parallel_for(threads, bytes, Index(1) << 20, [&](Index begin, Index end) {
                std::memcpy(storage_.data() + begin, w.storage.data() + begin, static_cast<std::size_t>(end - begin));
            });
        }
    }

    /// A table of rows to be looked up, hardly ever multiplied: it stays as it lies, mostly in a file of which only the
    /// rows looked up are ever read. Each gets the value that it would have if the table were converted to `held` and packed.
    static PackedWeight table(const HostWeight& w, Precision precision, CpuPath path, std::optional<DType> held) {
        PackedWeight table;
        table.shape_ = w.shape();
        table.dtype_ = w.dtype;
        table.storage_ = w.storage;
        table.is_table_ = true;
        if (is_floating(w.dtype)) table.held_ = held;
        const bool fits = std::is_same_v<T, float> && w.cols() <= longest_integer_sum;
        if (fits && precision != Precision::exact)
            table.rounded_ = integer_format(table.held_.value_or(w.dtype), precision == Precision::int8, path);
        return table;
    }

    const Shape& shape() const { return shape_; }
    Index rows() const { return shape_[0]; }
    Index cols() const { return shape_[1]; }
    Index panels() const { return (rows() + panel_width<T> - 1) / panel_width<T>; }
    DType dtype() const { return dtype_; }
    /// How it is held: as floating panels, as integer panels, or as the rows of a file.
    bool in_panels() const { return is_floating(dtype_) && !in_integers() && !is_table_; }
    bool in_integers() const { return integers_.format != IntegerFormat::none; }
    bool in_file_rows() const { return (is_quantized(dtype_) || is_table_) && !in_integers(); }
    const IntegerLayout& integers() const { return integers_; }
    bool empty() const { return !storage_; }
    std::size_t bytes() const { return storage_.capacity(); }

    /// f(const W* panels) with the stored type W. Of a weight in_panels().
    template <class F>
    void with_panels(F&& f) const {
        visit_panels([&](auto* panels) { f(std::as_const(panels)); });
    }
    /// The bytes of row m of a weight in_file_rows(), which are of dtype().
    const std::byte* quantized_row(Index m) const {
        const DTypeInfo d = info(dtype_);
        return storage_.data() + m * (cols() / d.block_elements * d.block_bytes);
    }

    /// Panel p of a weight in_integers(), and the number that w[m, k] stands for; 0 for rows beyond the last.
    const std::byte* integer_panel(Index p) const { return storage_.data() + p * integers_.panel_bytes(); }
    /// A weight in_integers() as files hold it.
    PanelWeight panel_weight() const { return {integers_.format, shape_, storage_}; }
    T value(Index m, Index k) const {
        return T(integer_value(integers_, integer_panel(m / IntegerLayout::width), m % IntegerLayout::width, k));
    }

    /// out[0 .. K) = row m, widened.
    void row(Index m, T* out) const {
        if (in_integers())
            for (Index k = 0; k < cols(); ++k) out[k] = value(m, k);
        if (in_integers()) return;
        if (is_table_) return table_row(m, out);
        if (in_file_rows()) return dequantize_row(dtype_, quantized_row(m), cols(), out);
        const Index K = cols();
        with_panels([&](const auto* panels) {
            const auto* source = panels + m / panel_width<T> * K * panel_width<T> + m % panel_width<T>;
            for (Index k = 0; k < K; ++k) out[k] = static_cast<T>(source[k * panel_width<T>]);
        });
    }

private:
    void table_row(Index m, T* out) const {
        const Index K = cols();
        if (!held_) {
            dequantize_row(dtype_, quantized_row(m), K, out);
        } else {
            constexpr Index piece = 256;  // a multiple of every block that can be written
            float values[piece];
            std::byte bytes[piece * sizeof(double)];
            for (Index k = 0; k < K; k += piece) {
                const Index n = std::min(piece, K - k);
                dequantize_row(dtype_, quantized_row(m) + k * info(dtype_).block_bytes, n, values);
                quantize_row(*held_, values, n, bytes);
                dequantize_row(*held_, bytes, n, out + k);
            }
        }
        if constexpr (std::is_same_v<T, float>) {
            if (rounded_ == IntegerFormat::int16) dispatch<RoundThroughWords>(cpu_path(), out, K, most_word_weight);
            if (rounded_ != IntegerFormat::int8) return;
            // In place: the byte of k is written behind all floats still to be read, and read before its float is written.
            auto* const u = reinterpret_cast<std::uint8_t*>(out);
            float scale = 0;
            dispatch<detail::RoundRow>(cpu_path(), static_cast<const float*>(out), K, u, &scale);
            for (Index k = K; k-- > 0;) out[k] = scale * static_cast<float>(u[k] - 128);
        }
    }

    template <class F>
    void visit_panels(F&& f) const {
        switch (dtype_) {
            case DType::bf16: return f(reinterpret_cast<bfloat16*>(storage_.data()));
            case DType::f16: return f(reinterpret_cast<half*>(storage_.data()));
            case DType::f64:
                if constexpr (sizeof(T) == 8) return f(reinterpret_cast<double*>(storage_.data()));
                [[fallthrough]];
            default: return f(reinterpret_cast<float*>(storage_.data()));
        }
    }

    template <class W>
    void pack(const HostWeight& w, W* packed, int threads) const {
        constexpr Index width = panel_width<T>, strip = 64;  // a strip of k stays in the first cache while it is turned
        const Index K = cols(), M = rows();
        parallel_for(threads, panels(), 1, [&](Index begin, Index end) {
            W turned[strip];
            for (Index p = begin; p < end; ++p) {
                if (w.dtype == dtype_of<W> && (p + 1) * width <= M && sizeof(T) == 4) {
                    turn_panel<W>(w.row_bytes_at(p * width), std::min(width, M), packed + p * K * width);
                    continue;
                }
                for (Index k0 = 0; k0 < K; k0 += strip) {
                    const Index count = std::min(strip, K - k0);
                    W* const target = packed + (p * K + k0) * width;
                    for (Index c = 0; c < width; ++c) {
                        const Index m = p * width + c;
                        if (m < M)
                            dequantize_row(w.dtype, w.row_bytes_at(m) + k0 * info(w.dtype).block_bytes, count, turned);
                        else
                            std::fill_n(turned, count, W{});
                        for (Index k = 0; k < count; ++k) target[k * width + c] = turned[k];
                    }
                }
            }
        });
    }

    /// A whole panel of elements that are stored as the file has them: a matter of moving bits.
    template <class W>
    void turn_panel(const std::byte* from, Index count, W* panel) const {
        using Bits = std::conditional_t<sizeof(W) == 2, std::uint16_t, float>;
        static_assert(sizeof(W) == sizeof(Bits) || sizeof(T) == 8);
        if constexpr (sizeof(W) == sizeof(Bits))
            // Sixteen at a time, which divides 48, so of two-byte numbers half a register of AVX-512.
            dispatch<Turn>(sizeof(W) == 2 ? std::min(cpu_path(), CpuPath::avx2) : cpu_path(),
                           reinterpret_cast<const Bits*>(from), cols(), count, cols(),
                           reinterpret_cast<Bits*>(panel), panel_width<T>);
    }

    /// Wide weights may be those that are trained, and then new ones replace them at every step.
    static Storage taken(std::size_t bytes, Arena* arena, bool narrow) {
        return !arena ? Storage::allocate(bytes) : narrow ? arena->take_any(bytes) : arena->take(bytes);
    }

    void pack_integers(const HostWeight& w, int threads, Arena* arena) {
        constexpr Index width = IntegerLayout::width;
        const Index size = integers_.panel_bytes();
        storage_ = taken(static_cast<std::size_t>(panels() * size), arena, true);
        const Index workers = std::clamp<Index>(threads, 1, panels()), scratch = integer_scratch(integers_);
        std::vector<float> memory(static_cast<std::size_t>(workers * scratch));
        parallel_for(threads, workers, 1, [&](Index first, Index last) {
            for (Index p = panels() * first / workers; p < panels() * last / workers; ++p)
                pack_integer_panel(w.dtype, w.row_bytes_at(p * width), w.row_bytes(),
                                   std::min(width, rows() - p * width), integers_, storage_.data() + p * size,
                                   memory.data() + first * scratch);
        });
    }

    static constexpr Index longest_integer_sum = 1 << 16;  // of products of 8 by 8 bits that fits into 32

    Shape shape_;
    DType dtype_ = DType::f32;
    IntegerLayout integers_;
    Storage storage_;
    std::optional<DType> held_;  // of a table: what its rows are rounded to when they are looked up, and then
    IntegerFormat rounded_ = IntegerFormat::none;
    bool is_table_ = false;
};

}  // namespace smolvlm::cpu
