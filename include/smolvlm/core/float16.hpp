#pragma once
/// half (IEEE binary16) and bfloat16 as storage types. Arithmetic happens in float: conversion up is exact, conversion
/// down rounds to nearest, ties to even, and keeps NaN a NaN.

#include <bit>
#include <cstdint>

namespace smolvlm {

struct bfloat16 {
    std::uint16_t bits = 0;

    bfloat16() = default;
    explicit constexpr bfloat16(float value) {
        const auto u = std::bit_cast<std::uint32_t>(value);
        if ((u & 0x7fffffffu) > 0x7f800000u)
            bits = static_cast<std::uint16_t>((u >> 16) | 0x40u);  // a quiet NaN
        else
            bits = static_cast<std::uint16_t>((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
    }
    constexpr operator float() const { return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16); }
    static constexpr bfloat16 from_bits(std::uint16_t bits) {
        bfloat16 value;
        value.bits = bits;
        return value;
    }
};

struct half {
    std::uint16_t bits = 0;

    half() = default;
    explicit constexpr half(float value) {
        const auto u = std::bit_cast<std::uint32_t>(value);
        const std::uint32_t sign = (u >> 16) & 0x8000u;
        const std::uint32_t magnitude = u & 0x7fffffffu;
        std::uint32_t result = 0;
        if (magnitude > 0x7f800000u) {
            result = 0x7e00u;  // NaN
        } else if (magnitude >= 0x477ff000u) {
            result = 0x7c00u;  // rounds to 65536 or more: infinity
        } else if (magnitude >= 0x38800000u) {
            result = (magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;  // normal
        } else if (magnitude > 0x33000000u) {
            // Subnormal: shift the significand with its hidden bit to units of 2^-24, rounding to even.
            const std::uint32_t exponent = magnitude >> 23;
            const std::uint32_t significand = (magnitude & 0x7fffffu) | 0x800000u;
            const std::uint32_t shift = 126u - exponent;
            const std::uint32_t kept = significand >> shift;
            const std::uint32_t rest = significand & ((1u << shift) - 1u);
            const std::uint32_t half_way = 1u << (shift - 1u);
            result = kept + ((rest > half_way || (rest == half_way && (kept & 1u))) ? 1u : 0u);
        }
        bits = static_cast<std::uint16_t>(sign | result);
    }
    constexpr operator float() const {
        const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000u) << 16;
        const std::uint32_t magnitude = bits & 0x7fffu;
        if (magnitude >= 0x7c00u) return std::bit_cast<float>(sign | 0x7f800000u | (magnitude & 0x3ffu) << 13);
        if (magnitude >= 0x0400u) return std::bit_cast<float>(sign | ((magnitude << 13) + 0x38000000u));
        const float value = static_cast<float>(magnitude) * 0x1p-24f;  // subnormal or zero: exact
        return sign ? -value : value;
    }
    static constexpr half from_bits(std::uint16_t bits) {
        half value;
        value.bits = bits;
        return value;
    }
};

static_assert(sizeof(half) == 2 && sizeof(bfloat16) == 2);

}  // namespace smolvlm
