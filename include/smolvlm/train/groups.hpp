#pragma once
/// Which parameters are trained, and how fast: by their names.
///
///     vision           model.vision_model.*
///     connector        model.connector.*
///     embeddings       model.text_model.embed_tokens.weight, lm_head.weight
///     language_model   all other parts of the decoder

#include <array>
#include <string_view>
#include <vector>

#include <smolvlm/core/shape.hpp>

namespace smolvlm {

enum class ParameterGroup { vision, connector, language_model, embeddings };
inline constexpr std::array<const char*, 4> parameter_group_names{"vision", "connector", "language_model",
                                                                  "embeddings"};

inline ParameterGroup parameter_group(std::string_view name) {
    if (name.starts_with("model.vision_model.")) return ParameterGroup::vision;
    if (name.starts_with("model.connector.")) return ParameterGroup::connector;
    if (name == "model.text_model.embed_tokens.weight" || name == "lm_head.weight") return ParameterGroup::embeddings;
    return ParameterGroup::language_model;
}

/// Weight decay pulls matrices towards zero. Norm weights (which rest at one) and biases are left alone.
inline bool decays(const Shape& shape) { return shape.rank() > 1; }

/// True if the whole name fits the pattern, in which * stands for any characters and all others for themselves.
inline bool matches(std::string_view pattern, std::string_view name) {
    // The last star seen may swallow one more character whenever what follows it does not fit.
    std::size_t p = 0, n = 0, star = pattern.npos, retry = 0;
    while (n < name.size()) {
        if (p < pattern.size() && pattern[p] == '*') {
            star = p++;
            retry = n;
        } else if (p < pattern.size() && pattern[p] == name[n]) {
            ++p, ++n;
        } else if (star != pattern.npos) {
            p = star + 1;
            n = ++retry;
        } else {
            return false;
        }
    }
    while (p < pattern.size() && pattern[p] == '*') ++p;
    return p == pattern.size();
}

}  // namespace smolvlm
