#pragma once
/// A conversation in JSON, as `--chat` files and the lines of training data hold it:
///
///     {"messages": [{"role": "user", "content": [{"type": "image", "path": "cat.png"},
///                                                {"type": "text", "text": "What is this?"}]},
///                   {"role": "assistant", "content": "A cat."}]}
///
/// A content that is a string is one text. A video is a folder of pictures, {"type": "video", "path": "cat", "fps": 25};
/// without "fps" they are a second apart. Throws FormatError: where, which message and item, found, expected.

#include <smolvlm/io/json.hpp>
#include <smolvlm/tokenizer/conversation.hpp>

namespace smolvlm {

/// Who may speak: roles that a model was trained on, or any that its template can write.
enum class Roles { trained, any };

/// `where` (a file and line) begins the messages. Images and videos carry their "path" as it is written.
inline Conversation parse_chat(const Json& json, const std::string& where, Roles roles = Roles::trained) {
    Conversation chat;
    for (const Json& entry : get_array(json, "messages", where)) {
        const std::string message = join(where, ": message ", chat.size() + 1);
        chat.emplace_back(get<std::string>(entry, "role", message), std::vector<ContentPart>{});
        const std::string& role = chat.back().role;
        const bool known = roles == Roles::any ? !role.empty() : role == "user" || role == "assistant" || role == "system";
        SMOLVLM_CHECK(known, FormatError, message, ": \"role\" is ", in_quotes(role),
                      ", expected \"user\", \"assistant\" or \"system\"");
        std::vector<ContentPart>& parts = chat.back().content;
        const Json* const content = find(entry, "content", message);
        if (content && content->is_string()) {
            parts.push_back({ContentPart::text, content->get<std::string>()});
            continue;
        }
        for (const Json& item : get_array(entry, "content", message)) {
            const std::string place = join(message, ", item ", parts.size() + 1);
            const auto type = get<std::string>(item, "type", place);
            if (type == "text") {
                parts.push_back({ContentPart::text, get<std::string>(item, "text", place)});
            } else if (type == "image") {
                parts.push_back({ContentPart::image, get<std::string>(item, "path", place)});
            } else {
                SMOLVLM_CHECK(type == "video", FormatError, place, ": \"type\" is ", in_quotes(type),
                              ", expected \"text\", \"image\" or \"video\"");
                const auto fps = get_or<double>(item, "fps", place, 1.0);
                SMOLVLM_CHECK(fps >= 0.001 && fps <= 1000, FormatError, place, ": \"fps\" is ", fps,
                              ", expected the pictures a second, 0.001 to 1000");
                parts.push_back({ContentPart::video, get<std::string>(item, "path", place), fps});
            }
        }
        SMOLVLM_CHECK(!parts.empty(), FormatError, message, ": \"content\" is empty, expected a text or an image");
    }
    SMOLVLM_CHECK(!chat.empty(), FormatError, where, ": \"messages\" is empty, expected at least one message");
    return chat;
}

}  // namespace smolvlm
