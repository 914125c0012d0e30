#pragma once
/// What people and models say to each other: turns made of texts and pictures in any order.

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace smolvlm {

struct ContentPart {
    enum Kind { text, image, video, frame } kind = text;
    std::string value;  // the text itself; of an image its file, or whatever name the caller knows it by
    double fps = 1;     // of a video: pictures a second in its folder

    /// A picture, which `<image>` stands for: an image, or a frame of a video, which is never cut into tiles.
    bool is_picture() const { return kind == image || kind == frame; }
};

struct Message {
    std::string role;  // "user", "assistant", "system"
    std::vector<ContentPart> content;

    Message() = default;
    Message(std::string role_name, std::vector<ContentPart> parts)
        : role(std::move(role_name)), content(std::move(parts)) {}
    /// A message of text alone.
    Message(std::string role_name, std::string text) : role(std::move(role_name)) {
        content.push_back({ContentPart::text, std::move(text)});
    }
};

using Conversation = std::vector<Message>;

/// Its images and frames, in order.
inline std::vector<ContentPart> pictures_of(const Conversation& conversation) {
    std::vector<ContentPart> pictures;
    for (const Message& message : conversation)
        for (const ContentPart& part : message.content)
            if (part.is_picture()) pictures.push_back(part);
    return pictures;
}

}  // namespace smolvlm
