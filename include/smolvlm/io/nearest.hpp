#pragma once
/// What somebody may have meant who wrote a word that nobody knows: "lerning_rate" -> "learning_rate".

#include <algorithm>
#include <string_view>
#include <vector>

#include <smolvlm/core/error.hpp>

namespace smolvlm {

/// The candidate fewest edits away from `word` (Levenshtein's distance), or "" when none is near.
inline std::string_view nearest(std::string_view word, const std::vector<std::string_view>& candidates) {
    // Two rows of the distance table at a time.
    const auto distance = [](std::string_view a, std::string_view b) {
        std::vector<std::size_t> above(b.size() + 1), row(b.size() + 1);
        for (std::size_t j = 0; j <= b.size(); ++j) above[j] = j;
        for (std::size_t i = 0; i < a.size(); ++i) {
            row[0] = i + 1;
            for (std::size_t j = 0; j < b.size(); ++j)
                row[j + 1] = std::min({above[j + 1] + 1, row[j] + 1, above[j] + (a[i] == b[j] ? 0 : 1)});
            std::swap(above, row);
        }
        return above[b.size()];
    };
    std::string_view best;
    std::size_t fewest = std::max<std::size_t>(2, word.size() / 3) + 1;
    if (word.size() > 64) return best;
    for (const std::string_view candidate : candidates)
        if (const std::size_t edits = distance(word, candidate); edits < fewest) {
            fewest = edits;
            best = candidate;
        }
    return best;
}

}  // namespace smolvlm
