#pragma once
/// What people and models say to each other: turns made of texts and pictures in any order.

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace smolvlm {

struct ContentPart {
    enum Kind { text, image } kind = text;
    std::string value;  // the text itself; of an image its file, or whatever name the caller knows it by
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

}  // namespace smolvlm
