#pragma once
/// A video is a folder of pictures, in the order of their names. The model reads some of them, each one frame without
/// tiles, with their times between them:
///
///     You are provided the following series of nine frames from a 0:00:09 [H:MM:SS] video.\n
///     \nFrame from 00:00:<image>\nFrame from 00:01:<image> ... \n\n
///
/// About one frame a second, the first and the last among them; where that is more than max_frames, so many at equal
/// distances. Source: transformers, processing_smolvlm.py and video_processing_smolvlm.py.

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include <smolvlm/core/error.hpp>
#include <smolvlm/core/shape.hpp>
#include <smolvlm/tokenizer/conversation.hpp>

namespace smolvlm {

/// What a checkpoint says of videos ("video_sampling"); the defaults are SmolVLM2's.
struct VideoRule {
    double fps = 1;          // frames read of a second
    Index max_frames = 64;   // and at most so many of the whole
    Index longest_edge = 0;  // pixels after the first resize; 0: as wide as a tile
};

/// Which of `total` pictures, taken video_fps a second, are read: rising, each once.
inline std::vector<Index> sample_frames(Index total, double video_fps, const VideoRule& rule) {
    SMOLVLM_CHECK(total > 0 && video_fps >= 0.001 && video_fps <= 1000, ValueError, "video: ", total, " pictures, ",
                  video_fps, " a second; expected at least one, and 0.001 to 1000 a second");
    SMOLVLM_CHECK(rule.fps > 0 && rule.max_frames > 0, ValueError, "video: ", rule.fps, " frames of a second and at most ",
                  rule.max_frames, " are asked for; expected positive numbers");
    const double seconds = static_cast<double>(total) / video_fps, most = static_cast<double>(rule.max_frames);
    const auto frames = static_cast<Index>(std::clamp(std::nearbyint(rule.fps * seconds), 1.0, most));
    Index first = 0, last = total - 1;
    if (seconds - 2 > most * rule.fps) {  // of a long video the first and the last second are left out
        first = static_cast<Index>(video_fps);
        last = std::min(static_cast<Index>(static_cast<double>(total) - video_fps), total - 1);
        if (first >= last) first = 0, last = total - 1;
    }
    std::vector<Index> result;
    const double step = frames > 1 ? static_cast<double>(last - first) / static_cast<double>(frames - 1) : 0;
    for (Index i = 0; i < frames; ++i) {
        const bool end = i > 0 && i == frames - 1;
        const Index frame = end ? last : first + static_cast<Index>(static_cast<double>(i) * step);
        if (result.empty() || frame != result.back()) result.push_back(frame);
    }
    return result;
}

/// 64 -> "sixty-four", 1234 -> "one thousand, two hundred and thirty-four"; 0 <= n < 1,000,000.
inline std::string number_in_words(Index n) {
    static constexpr std::array<const char*, 20> small{
        "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
        "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"};
    static constexpr std::array<const char*, 10> tens{"", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy",
                                                      "eighty", "ninety"};
    SMOLVLM_CHECK(n >= 0 && n < 1000000, ValueError, "number in words: ", n, ", expected 0 to 999999");
    if (n < 20) return small[static_cast<std::size_t>(n)];
    if (n < 100) return join(tens[static_cast<std::size_t>(n / 10)], n % 10 ? "-" + number_in_words(n % 10) : "");
    if (n < 1000)
        return number_in_words(n / 100) + " hundred" + (n % 100 ? " and " + number_in_words(n % 100) : "");
    const Index rest = n % 1000;
    return number_in_words(n / 1000) + " thousand" +
           (rest == 0 ? "" : (rest < 100 ? " and " : ", ") + number_in_words(rest));
}

namespace detail {

inline std::string two_digits(Index n) { return join(n < 10 ? "0" : "", n); }

/// Python's str(timedelta(seconds=...)): 0:00:09, or 1 day, 2:03:04.
inline std::string duration_text(Index seconds) {
    const Index days = seconds / 86400, hours = seconds / 3600 % 24;
    return join(days == 0 ? "" : join(days, days == 1 ? " day, " : " days, "), hours, ':', two_digits(seconds / 60 % 60),
                ':', two_digits(seconds % 60));
}

/// By name, where numbers in it count as numbers: 2.png comes before 10.png.
inline bool name_comes_before(std::string_view a, std::string_view b) {
    const auto digit = [](char c) { return c >= '0' && c <= '9'; };
    const auto number = [&](std::string_view& from) {
        const std::size_t end = std::min(from.find_first_not_of("0123456789"), from.size());
        std::string_view digits = from.substr(0, end);
        digits.remove_prefix(std::min(digits.find_first_not_of('0'), digits.size()));
        from.remove_prefix(end);
        return digits;
    };
    const std::string_view whole_a = a, whole_b = b;
    while (!a.empty() && !b.empty()) {
        if (digit(a[0]) && digit(b[0])) {
            const std::string_view x = number(a), y = number(b);
            if (x != y) return x.size() != y.size() ? x.size() < y.size() : x < y;
        } else {
            if (a[0] != b[0]) return a[0] < b[0];
            a.remove_prefix(1), b.remove_prefix(1);
        }
    }
    return a.size() != b.size() ? a.size() < b.size() : whole_a < whole_b;
}

}  // namespace detail

/// The pictures in a folder, in the order of a video. Throws ValueError when it is none, or has none.
inline std::vector<std::string> frame_files(const std::string& folder) {
    std::error_code error;
    std::vector<std::string> names;
    for (std::filesystem::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
        std::string ending = at->path().extension().string();
        std::ranges::transform(ending, ending.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? char(c + 32) : c; });
        if (ending == ".png" || ending == ".jpg" || ending == ".jpeg" || ending == ".bmp" || ending == ".gif")
            names.push_back(at->path().filename().string());
    }
    SMOLVLM_CHECK(!error, ValueError, "video ", folder, ": ", error.message(),
                  "; expected a folder of pictures (ffmpeg -i VIDEO -vf fps=1 FOLDER/%04d.png makes one)");
    SMOLVLM_CHECK(!names.empty(), ValueError, "video ", folder,
                  ": holds no pictures; expected files that end in .png, .jpg, .jpeg, .bmp or .gif");
    std::ranges::sort(names, detail::name_comes_before);
    for (std::string& name : names) name = folder + '/' + name;
    return names;
}

/// What stands for a video in a message: texts, and the frames that are read.
inline std::vector<ContentPart> video_parts(const std::vector<std::string>& files, double video_fps,
                                            const VideoRule& rule) {
    const auto total = static_cast<Index>(files.size());
    const std::vector<Index> frames = sample_frames(total, video_fps, rule);
    const auto seconds = [&](Index frame) { return static_cast<Index>(static_cast<double>(frame) / video_fps); };
    std::string text = join("You are provided the following series of ", number_in_words(std::ssize(frames)),
                            " frames from a ", detail::duration_text(seconds(total)), " [H:MM:SS] video.\n");
    std::vector<ContentPart> parts;
    for (const Index frame : frames) {
        const Index s = seconds(frame);
        text += join("\nFrame from ", detail::two_digits(s / 60), ':', detail::two_digits(s % 60), ':');
        parts.push_back({ContentPart::text, std::exchange(text, {})});
        parts.push_back({ContentPart::frame, files[static_cast<std::size_t>(frame)]});
    }
    parts.push_back({ContentPart::text, "\n\n"});
    return parts;
}

/// The conversation with every video, a folder, replaced by its texts and frames.
inline Conversation with_frames(Conversation conversation, const VideoRule& rule) {
    for (Message& message : conversation) {
        std::vector<ContentPart> parts;
        for (ContentPart& part : message.content)
            if (part.kind == ContentPart::video)
                std::ranges::move(video_parts(frame_files(part.value), part.fps, rule), std::back_inserter(parts));
            else
                parts.push_back(std::move(part));
        message.content = std::move(parts);
    }
    return conversation;
}

}  // namespace smolvlm
