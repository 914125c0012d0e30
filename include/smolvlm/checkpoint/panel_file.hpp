#pragma once
/// Checkpoints whose matrices lie in the file as they are multiplied: loading borrows them from the map and packs
/// nothing.
///
///     smolvlm quantize --format safetensors --dtype q8_0 MODEL OUT
///
/// OUT is a folder as on the hub; only its model.safetensors is special. There a matrix [M, K] is a tensor of U8
///
///     [ceil(M / 48), bytes of a panel]        a panel: core/integer_layout.hpp
///
/// that begins at a multiple of 64 bytes in the file, and "__metadata__" says what it is:
///
///     "smolvlm_panels": "1"                              the version of this layout
///     "precision": "q8_0"                                what matrices are multiplied in: bf16, int8, q8_0 or q4_0
///     "panels:lm_head.weight": "q8_0 49280x576"          for each such tensor its format and the shape that it stands
///     for
///
/// A trailing shape, [768, 3, 16, 16] of the embedding of patches, counts as [768, 768]. All other tensors are what
/// they are in any checkpoint: vectors, matrices whose rows are no whole blocks of 32, and beside bf16 a table of tokens
/// that is no head as well. config.json names the precision once more, under "quantization_config", where other programs
/// look for what they do not know.

#include <charconv>
#include <smolvlm/core/panel_weight.hpp>
#include <smolvlm/io/safetensors.hpp>

namespace smolvlm {

/// Of those that files hold.
inline constexpr std::array<std::string_view, 5> integer_format_names{"none", "int8", "q8_0", "q4_0", "bf16"};

inline void append_piece(std::string& text, IntegerFormat format) {
    text += integer_format_names[static_cast<std::size_t>(format)];
}

/// The format of that name ("int8"), none included, or nothing.
constexpr std::optional<IntegerFormat> integer_format_named(std::string_view name) {
    for (std::size_t i = 1; i < integer_format_names.size(); ++i)
        if (integer_format_names[i] == name) return static_cast<IntegerFormat>(i);
    return std::nullopt;
}

/// What a file of panels says about itself.
struct PanelFile {
    struct Entry {
        IntegerFormat format = IntegerFormat::none;
        Shape shape;
    };
    IntegerFormat precision = IntegerFormat::none;  // none: a file without panels
    std::map<std::string, Entry> entries;           // by the name of the tensor

    static constexpr std::string_view version_key = "smolvlm_panels", version = "1", prefix = "panels:";

    /// Checks the metadata against the tensors. Throws FormatError.
    static PanelFile of(const Safetensors& file);
    /// The metadata that says it.
    Safetensors::Metadata metadata() const {
        Safetensors::Metadata text{{std::string(version_key), std::string(version)}, {"precision", join(precision)}};
        for (const auto& [name, entry] : entries) {
            std::string value = join(entry.format);
            for (int axis = 0; axis < entry.shape.rank(); ++axis) value += join(axis ? 'x' : ' ', entry.shape[axis]);
            text[std::string(prefix) + name] = value;
        }
        return text;
    }
};

namespace detail {

inline constexpr Index largest_panel_extent = (Index(1) << 31) - 1;  // sizes of panels stay far below 2^63

/// "q8_0 49280x576"
inline PanelFile::Entry parse_panel_entry(std::string_view text, const std::string& where) {
    const std::size_t space = std::min(text.find(' '), text.size());
    const auto format = integer_format_named(text.substr(0, space));
    SMOLVLM_CHECK(format, FormatError, where, ": ", in_quotes(text),
                  " begins with no known format, expected int8, q8_0, q4_0 or bf16");
    PanelFile::Entry entry{*format, {}};
    Index numel = 1;
    for (std::size_t at = space; at < text.size();) {
        Index extent = 0;
        const char* const begin = text.data() + at + 1;
        const auto [end, error] = std::from_chars(begin, text.data() + text.size(), extent);
        const bool separated = text[at] == (entry.shape.rank() == 0 ? ' ' : 'x');
        SMOLVLM_CHECK(separated && error == std::errc() && extent > 0 &&
                          numel <= largest_panel_extent * largest_panel_extent / extent &&
                          extent <= largest_panel_extent && entry.shape.rank() < Shape::max_rank,
                      FormatError, where, ": ", in_quotes(text),
                      " is no format and shape, expected such as \"q8_0 49280x576\"");
        numel *= extent;
        entry.shape.push_back(extent);
        at = static_cast<std::size_t>(end - text.data());
    }
    SMOLVLM_CHECK(entry.shape.rank() >= 2 && numel / entry.shape[0] <= largest_panel_extent, FormatError, where, ": ",
                  in_quotes(text), " is no matrix, expected such as \"q8_0 49280x576\"");
    const PanelWeight weight{entry.format, entry.shape, {}};
    SMOLVLM_CHECK(!weight.layout().has_blocks() || weight.K() % 32 == 0, FormatError, where, ": rows of ", weight.K(),
                  " are no whole blocks of 32, which ", entry.format, " is made of");
    return entry;
}

}  // namespace detail

inline PanelFile PanelFile::of(const Safetensors& file) {
    PanelFile panels;
    const Safetensors::Metadata& text = file.metadata();
    const auto found = text.find(std::string(version_key));
    if (found == text.end()) return panels;
    SMOLVLM_CHECK(found->second == version, FormatError, file.path(), ": its panels are of version ",
                  in_quotes(found->second), ", this program reads version ", in_quotes(version));
    const auto named = text.find("precision");
    const auto precision = named == text.end() ? std::nullopt : integer_format_named(named->second);
    SMOLVLM_CHECK(precision, FormatError, file.path(), ": __metadata__: \"precision\" is ",
                  named == text.end() ? "missing" : in_quotes(named->second), ", expected int8, q8_0, q4_0 or bf16");
    panels.precision = *precision;
    for (const auto& [key, value] : text) {
        if (!key.starts_with(prefix)) continue;
        const std::string name = key.substr(prefix.size());
        const std::string where = join(file.path(), ": __metadata__: panels of ", in_quotes(name));
        const Entry entry = detail::parse_panel_entry(value, where);
        const TensorInfo* const tensor = file.find(name);
        SMOLVLM_CHECK(tensor, FormatError, where, ": the file has no tensor of that name");
        const PanelWeight weight{entry.format, entry.shape, {}};
        const Shape expected{weight.panels(), weight.layout().panel_bytes()};
        SMOLVLM_CHECK(tensor->dtype == DType::u8 && tensor->shape == expected, FormatError, where, ": ",
                      in_quotes(value), " takes U8 ", expected, ", the tensor is ", tensor->dtype, ' ', tensor->shape);
        panels.entries[name] = entry;
    }
    return panels;
}

}  // namespace smolvlm
