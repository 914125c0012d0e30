#pragma once
/// A picture file's bytes under a name, read with bounds: every access outside is a FormatError that says where.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include <smolvlm/core/shape.hpp>

namespace smolvlm::detail {

class FileBytes {
public:
    FileBytes(std::span<const std::uint8_t> bytes, std::string_view name) : bytes_(bytes), name_(name) {}

    Index size() const { return static_cast<Index>(bytes_.size()); }
    const std::string& name() const { return name_; }
    std::span<const std::uint8_t> all() const { return bytes_; }

    std::span<const std::uint8_t> slice(Index offset, Index length) const {
        SMOLVLM_CHECK(offset >= 0 && length >= 0 && offset <= size() && length <= size() - offset, FormatError, name_,
                      ": truncated: ", length, " bytes expected at offset ", offset, ", but the file has ", size());
        return bytes_.subspan(static_cast<std::size_t>(offset), static_cast<std::size_t>(length));
    }
    unsigned u8(Index at) const { return slice(at, 1)[0]; }
    unsigned le16(Index at) const { return u8(at) | u8(at + 1) << 8; }
    unsigned be16(Index at) const { return u8(at) << 8 | u8(at + 1); }
    std::uint32_t le32(Index at) const { return le16(at) | static_cast<std::uint32_t>(le16(at + 2)) << 16; }
    std::uint32_t be32(Index at) const { return static_cast<std::uint32_t>(be16(at)) << 16 | be16(at + 2); }
    bool has(Index at, std::string_view text) const {
        if (at < 0 || at > size() || static_cast<Index>(text.size()) > size() - at) return false;
        for (std::size_t i = 0; i < text.size(); ++i)
            if (bytes_[static_cast<std::size_t>(at) + i] != static_cast<std::uint8_t>(text[i])) return false;
        return true;
    }

private:
    std::span<const std::uint8_t> bytes_;
    std::string name_;
};

}  // namespace smolvlm::detail
