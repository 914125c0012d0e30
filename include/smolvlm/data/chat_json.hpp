#pragma once
/// A conversation in JSON, as `--chat` files and the lines of training data hold it:
///
///     {"messages": [{"role": "user", "content": [{"type": "image", "path": "cat.png"},
///                                                {"type": "text", "text": "What is this?"}]},
///                   {"role": "assistant", "content": "A cat."}]}
///
/// A content that is a string is one text. Throws FormatError: where, which message and item, found, expected.

#include <smolvlm/io/json.hpp>
#include <smolvlm/tokenizer/conversation.hpp>

namespace smolvlm {

/// `where` (a file and line) begins the messages. Image parts carry their "path" as it is written.
inline Conversation parse_chat(const Json& json, const std::string& where) {
    Conversation chat;
    for (const Json& entry : get_array(json, "messages", where)) {
        const std::string message = join(where, ": message ", chat.size() + 1);
        chat.emplace_back(get<std::string>(entry, "role", message), std::vector<ContentPart>{});
        const std::string& role = chat.back().role;
        SMOLVLM_CHECK(role == "user" || role == "assistant" || role == "system", FormatError, message, ": \"role\" is ",
                      in_quotes(role), ", expected \"user\", \"assistant\" or \"system\"");
        std::vector<ContentPart>& parts = chat.back().content;
        const Json* const content = find(entry, "content", message);
        if (content && content->is_string()) {
            parts.push_back({ContentPart::text, content->get<std::string>()});
            continue;
        }
        for (const Json& item : get_array(entry, "content", message)) {
            const std::string place = join(message, ", item ", parts.size() + 1);
            const auto type = get<std::string>(item, "type", place);
            SMOLVLM_CHECK(type == "text" || type == "image", FormatError, place, ": \"type\" is ", in_quotes(type),
                          ", expected \"text\" or \"image\"");
            if (type == "text")
                parts.push_back({ContentPart::text, get<std::string>(item, "text", place)});
            else
                parts.push_back({ContentPart::image, get<std::string>(item, "path", place)});
        }
        SMOLVLM_CHECK(!parts.empty(), FormatError, message, ": \"content\" is empty, expected a text or an image");
    }
    SMOLVLM_CHECK(!chat.empty(), FormatError, where, ": \"messages\" is empty, expected at least one message");
    return chat;
}

}  // namespace smolvlm
