// A folder of pictures as a video: their order, what is written around them, and refusals. The rest: golden.cpp.

#include <doctest/doctest.h>

#include <smolvlm/tokenizer/chat_template.hpp>
#include <smolvlm/tokenizer/image_prompt.hpp>
#include <smolvlm/tokenizer/video_prompt.hpp>

#include "support/temp_dir.hpp"
#include "tokenizer/support.hpp"

using namespace smolvlm;
using testing::contains;
using testing::error_of;

namespace {

/// Six pictures' names, in this order as a video, and two files that are no pictures.
std::vector<std::string> make_folder(const testing::TempDir& dir) {
    for (const char* name : {"b7.png", "10.png", "9.JPG", "2.png", "02.png", "notes.txt", "a.bmp", "clip.mp4"})
        dir.write(name, "");
    return {dir / "02.png", dir / "2.png", dir / "9.JPG", dir / "10.png", dir / "a.bmp", dir / "b7.png"};
}

}  // namespace

TEST_CASE("video: the pictures of a folder come in the order of their names, numbers as numbers") {
    const testing::TempDir dir;
    const std::vector<std::string> expected = make_folder(dir);
    CHECK(frame_files(dir.path().string()) == expected);
}

TEST_CASE("video: every second frame of one at two a second, with its time before it") {
    const std::vector<ContentPart> parts = video_parts({"0", "1", "2", "3", "4", "5"}, 2, {});
    REQUIRE(parts.size() == 7);
    CHECK(parts[0].value ==
          "You are provided the following series of three frames from a 0:00:03 [H:MM:SS] video.\n\nFrame from 00:00:");
    CHECK(parts[1].kind == ContentPart::frame);
    CHECK(parts[1].value == "0");
    CHECK(parts[2].value == "\nFrame from 00:01:");
    CHECK(parts[3].value == "2");
    CHECK(parts[4].value == "\nFrame from 00:02:");
    CHECK(parts[5].value == "5");
    CHECK(parts[6].value == "\n\n");
}

TEST_CASE("video: at most max_frames, rising, the first and the last unless it is long") {
    Random random(3);
    for (int trial = 0; trial < 500; ++trial) {
        const Index total = 1 + random.below(5000), most = 1 + random.below(70);
        const double fps = 0.5 + random.below(60);
        const std::vector<Index> frames = sample_frames(total, fps, {1, most, 0});
        REQUIRE(!frames.empty());
        CHECK(static_cast<Index>(frames.size()) <= most);
        CHECK(std::ranges::adjacent_find(frames, std::ranges::greater_equal{}) == frames.end());
        CHECK(frames.back() < total);
        const bool whole = static_cast<double>(total) / fps <= static_cast<double>(most) + 2;
        if (whole && frames.size() > 1) CHECK((frames.front() == 0 && frames.back() == total - 1));
    }
}

TEST_CASE("video: outro texts follow its own last text, and a conversation without frames refuses to be written") {
    Conversation chat{{"user", video_parts({"0", "1"}, 1, {})}, {"assistant", "A cat runs."}};
    const Conversation with = with_media_text(chat, {"Intro ", "Now: "});
    REQUIRE(with[0].content.size() == chat[0].content.size() + 1);
    CHECK(with[0].content.back().value == "Now: ");
    chat[0].content = {{ContentPart::video, "folder"}};
    CHECK(contains(error_of([&] { ChatTemplate::smolvlm().render(chat); }), "message 1 of 2 holds the video 'folder'"));
}

TEST_CASE("video: folders that are none, folders without pictures and impossible rates are refused") {
    const testing::TempDir dir;
    CHECK(contains(error_of([&] { frame_files(dir / "no"); }), "expected a folder of pictures"));
    CHECK(contains(error_of([&] { frame_files(dir.path().string()); }), "holds no pictures"));
    CHECK(contains(error_of([&] { frame_files(dir.write("file.png", "")); }), "expected a folder of pictures"));
    for (const double fps : {0.0, -1.0, 1e9, std::numeric_limits<double>::quiet_NaN()})
        CHECK(contains(error_of([&] { sample_frames(10, fps, {}); }), "0.001 to 1000 a second"));
    CHECK(contains(error_of([&] { sample_frames(0, 1, {}); }), "expected at least one"));
    CHECK(contains(error_of([&] { sample_frames(5, 1, {1, 0, 0}); }), "expected positive numbers"));
    CHECK(contains(error_of([&] { number_in_words(1000000); }), "expected 0 to 999999"));
}
