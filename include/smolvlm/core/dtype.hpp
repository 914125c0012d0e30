#pragma once
/// Element types as files store them. Block-quantised types (GGUF) hold `block_elements` values in `block_bytes` bytes.

#include <cstddef>
#include <cstring>
#include <optional>
#include <string_view>

#include <smolvlm/core/float16.hpp>
#include <smolvlm/core/shape.hpp>

namespace smolvlm {

enum class DType : std::uint8_t {
    f64, f32, f16, bf16,                                                 // floating
    i64, i32, i16, i8, u8, boolean,                                      // integers: no weights
    q8_0, q4_0, q4_1, q5_0, q5_1, iq4_nl, q2_k, q3_k, q4_k, q5_k, q6_k,  // block-quantised
};

struct DTypeInfo {
    std::string_view name;  // as safetensors and GGUF spell it
    Index block_elements;
    Index block_bytes;
};

constexpr DTypeInfo info(DType dtype) {
    switch (dtype) {
        case DType::f64: return {"F64", 1, 8};
        case DType::f32: return {"F32", 1, 4};
        case DType::f16: return {"F16", 1, 2};
        case DType::bf16: return {"BF16", 1, 2};
        case DType::i64: return {"I64", 1, 8};
        case DType::i32: return {"I32", 1, 4};
        case DType::i16: return {"I16", 1, 2};
        case DType::i8: return {"I8", 1, 1};
        case DType::u8: return {"U8", 1, 1};
        case DType::boolean: return {"BOOL", 1, 1};
        case DType::q8_0: return {"Q8_0", 32, 34};
        case DType::q4_0: return {"Q4_0", 32, 18};
        case DType::q4_1: return {"Q4_1", 32, 20};
        case DType::q5_0: return {"Q5_0", 32, 22};
        case DType::q5_1: return {"Q5_1", 32, 24};
        case DType::iq4_nl: return {"IQ4_NL", 32, 18};
        case DType::q2_k: return {"Q2_K", 256, 84};
        case DType::q3_k: return {"Q3_K", 256, 110};
        case DType::q4_k: return {"Q4_K", 256, 144};
        case DType::q5_k: return {"Q5_K", 256, 176};
        case DType::q6_k: return {"Q6_K", 256, 210};
    }
    return {"?", 1, 1};
}

constexpr bool is_floating(DType dtype) { return dtype <= DType::bf16; }
constexpr bool is_quantized(DType dtype) { return dtype >= DType::q8_0; }

inline void append_piece(std::string& text, DType dtype) { text += info(dtype).name; }

/// The dtype of that name ("F32"), or nothing.
constexpr std::optional<DType> dtype_named(std::string_view name) {
    for (auto d = DType::f64; d <= DType::q6_k; d = static_cast<DType>(static_cast<int>(d) + 1))
        if (info(d).name == name) return d;
    return std::nullopt;
}

/// The dtype of a C++ element type.
template <class T>
constexpr DType dtype_of = [] {
    if constexpr (std::is_same_v<T, double>) return DType::f64;
    else if constexpr (std::is_same_v<T, float>) return DType::f32;
    else if constexpr (std::is_same_v<T, half>) return DType::f16;
    else if constexpr (std::is_same_v<T, bfloat16>) return DType::bf16;
    else if constexpr (std::is_same_v<T, std::int64_t>) return DType::i64;
    else if constexpr (std::is_same_v<T, std::int32_t>) return DType::i32;
    else if constexpr (std::is_same_v<T, std::uint8_t>) return DType::u8;
    else static_assert(sizeof(T) == 0, "no file dtype for this element type");
}();

/// Bytes of a tensor [.., cols] of that dtype, whose rows are whole blocks. Throws ShapeError on overflow or a cut block.
inline Index bytes_of(DType dtype, const Shape& shape) {
    const DTypeInfo d = info(dtype);
    SMOLVLM_CHECK(d.block_elements == 1 || shape.back() % d.block_elements == 0, ShapeError, "a row of ", shape.back(),
                  " elements is no multiple of the ", d.block_elements, "-element blocks of ", d.name);
    Index bytes = 0;
    SMOLVLM_CHECK(!__builtin_mul_overflow(shape.numel() / d.block_elements, d.block_bytes, &bytes), ShapeError,
                  "tensor of shape ", shape, " is too large");
    return bytes;
}

namespace detail {

/// A value at any address; files align nothing.
template <class T>
T load(const std::byte* source) {
    T value;
    std::memcpy(&value, source, sizeof value);
    return value;
}
template <class T>
void store(std::byte* target, T value) {
    std::memcpy(target, &value, sizeof value);
}

}  // namespace detail

}  // namespace smolvlm
