#pragma once
/// Lists of ids turned round on the host, so that every place of a result is written by one thread only.

#include <algorithm>
#include <numeric>
#include <vector>

#include <smolvlm/backend/segments.hpp>

namespace smolvlm::cuda {

/// Row `from` of one matrix goes to row `to` of another.
struct Move {
    std::int32_t to, from;
};
/// Of a list of rows, places begin .. end - 1 are added up in row `to`.
struct Sum {
    std::int32_t to, begin, end;
};
/// Of row n of a ragged batch: its position in its sequence, and the row of the cache that is its.
struct RowPlace {
    std::int32_t position, cache_row;
};

/// i -> ids[i] without the writers that a later one overwrites.
inline std::vector<Move> last_writers(Ids ids, Index rows) {
    std::vector<std::int32_t> writer(static_cast<std::size_t>(rows), -1);
    for (std::size_t i = 0; i < ids.size(); ++i) writer[static_cast<std::size_t>(ids[i])] = static_cast<std::int32_t>(i);
    std::vector<Move> moves;
    for (std::size_t i = 0; i < ids.size(); ++i)
        if (writer[static_cast<std::size_t>(ids[i])] == static_cast<std::int32_t>(i))
            moves.push_back({ids[i], static_cast<std::int32_t>(i)});
    return moves;
}

/// The way back: which row of the result each written row goes to, and the rows that nothing was written to.
struct WrittenRows {
    std::vector<Move> taken, kept;

    WrittenRows(Ids ids, Index rows) : taken(last_writers(ids, rows)) {
        std::vector<bool> written(static_cast<std::size_t>(rows), false);
        for (auto& [to, from] : taken) {
            written[static_cast<std::size_t>(to)] = true;
            std::swap(to, from);
        }
        for (std::int32_t r = 0; r < rows; ++r)
            if (!written[static_cast<std::size_t>(r)]) kept.push_back({r, r});
    }
};

/// Who reads each row that is read at all, in the order of the ids.
struct ReadersOfRows {
    std::vector<Sum> sums;
    std::vector<std::int32_t> sources;

    explicit ReadersOfRows(Ids ids) : sources(ids.size()) {
        std::iota(sources.begin(), sources.end(), 0);
        const auto id = [&](std::int32_t i) { return ids[static_cast<std::size_t>(i)]; };
        std::ranges::stable_sort(sources, {}, id);
        for (std::size_t i = 0; i < sources.size(); ++i) {
            const auto place = static_cast<std::int32_t>(i);
            if (sums.empty() || sums.back().to != id(sources[i])) sums.push_back({id(sources[i]), place, place});
            ++sums.back().end;
        }
    }
};

/// Targets that count, as a divisor: at least 1.
inline Index counted_targets(Ids targets) {
    return std::max<Index>(1, static_cast<Index>(targets.size()) - std::ranges::count(targets, ignore_index));
}

}  // namespace smolvlm::cuda
