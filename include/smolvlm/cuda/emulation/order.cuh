#pragma once
/// What is known to come before what. The emulation does all work at once, in the order in which the host asks for it; a
/// device may do the work of two streams in any order that no event and no waiting of the host forbids. So every stream keeps
/// a vector clock (Fidge 1988; Mattern 1989), how much of every stream's work is done before its next, and every block of
/// memory who has written and read it: a use that may come too early or too late is refused, whatever order it had here.

#include <algorithm>
#include <cstdint>
#include <map>

namespace smolvlm::cuda::emulation {

/// Of each stream, how many of its works are done.
struct Clock {
    std::map<unsigned, std::uint64_t> done;

    void learn(const Clock& other) {
        for (const auto& [stream, count] : other.done) done[stream] = std::max(done[stream], count);
    }
    bool knows(unsigned stream, std::uint64_t count) const {
        const auto found = done.find(stream);
        return count == 0 || (found != done.end() && found->second >= count);
    }
};

struct StreamHandle {
    unsigned id = 0;
    Clock clock;
};
struct EventHandle {
    Clock clock;
};

enum class Use { read, write };

/// Who has used some memory, by which work.
class Uses {
public:
    /// Notes that the stream's latest work uses the memory. Returns the number of a stream whose use is not known to be over, or 0.
    unsigned note(const StreamHandle& by, Use use) {
        const auto now = by.clock.done.at(by.id);
        if (!by.clock.knows(writer_, written_)) return writer_;
        if (use == Use::read) {
            read_.done[by.id] = now;
            return 0;
        }
        for (const auto& [stream, count] : read_.done)
            if (!by.clock.knows(stream, count)) return stream;
        writer_ = by.id;
        written_ = now;
        read_.done.clear();
        return 0;
    }

private:
    unsigned writer_ = 0;
    std::uint64_t written_ = 0;
    Clock read_;
};

}  // namespace smolvlm::cuda::emulation
