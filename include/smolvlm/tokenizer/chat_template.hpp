#pragma once
/// From a conversation to the one string that the model reads. Two ways of writing turns are known:
///
///     SmolVLM   <|im_start|>System: You are brief.<end_of_utterance>\n        one start, then turns
///               User:<image>What is this?<end_of_utterance>\nAssistant:       no space where an image comes first
///     ChatML    <|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n    SmolLM2, text alone
///
/// Checkpoints carry a Jinja program for it; from_jinja recognises those of the two families by their text, runs none.

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include <smolvlm/core/error.hpp>
#include <smolvlm/tokenizer/conversation.hpp>

namespace smolvlm {

struct ChatTemplate {
    enum class Style { smolvlm, chatml };

    Style style = Style::smolvlm;
    std::string start = "<|im_start|>";           // SmolVLM: once, in front of everything; ChatML: of every turn
    std::string turn_end = "<end_of_utterance>";  // base models: <|endoftext|>
    std::string default_system;                   // ChatML: what a conversation without a system message begins with

    static ChatTemplate smolvlm() { return {}; }
    static ChatTemplate chatml(std::string default_system = "") {
        return {Style::chatml, "<|im_start|>", "<|im_end|>", std::move(default_system)};
    }
    /// Throws ValueError when the program is none of the known ones; `where` (a file and key) begins the message.
    static ChatTemplate from_jinja(std::string_view program, std::string_view where);

    /// The prompt; with `generation_prompt` it ends where the assistant's answer begins. An image or frame becomes
    /// `<image>`. Throws ValueError for a message without content, for a video (video_prompt.hpp makes frames of it), and
    /// for an image in a ChatML conversation.
    std::string render(const Conversation& conversation, bool generation_prompt = true) const {
        return style == Style::smolvlm ? render_smolvlm(conversation, generation_prompt)
                                       : render_chatml(conversation, generation_prompt);
    }

    /// An answer as the model wrote it, as a turn of the conversation that goes on. SmolVLM's template writes the space
    /// that the model itself wrote first; with two of them the turn would be other tokens than those the cache holds.
    Message reply(std::string_view answer) const {
        if (style == Style::smolvlm && answer.starts_with(' ')) answer.remove_prefix(1);
        return {"assistant", std::string(answer)};
    }

private:
    std::string render_smolvlm(const Conversation& conversation, bool generation_prompt) const;
    std::string render_chatml(const Conversation& conversation, bool generation_prompt) const;
};

/// Python's str.capitalize for ASCII: the first letter upper-case, all others lower-case. Other letters stay.
inline std::string capitalize(std::string text) {
    for (std::size_t i = 0; i < text.size(); ++i) {
        char& c = text[i];
        if (i == 0 && c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
        if (i != 0 && c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    }
    return text;
}

inline std::string ChatTemplate::render_smolvlm(const Conversation& conversation, bool generation_prompt) const {
    std::string prompt = start;
    for (std::size_t i = 0; i < conversation.size(); ++i) {
        const Message& message = conversation[i];
        SMOLVLM_CHECK(!message.content.empty(), ValueError, "chat: message ", i + 1, " of ", conversation.size(),
                      " (role '", message.role, "') has no content, expected at least one text or image");
        prompt += capitalize(message.role) + (message.content.front().kind == ContentPart::image ? ":" : ": ");
        for (const ContentPart& part : message.content) {
            SMOLVLM_CHECK(part.kind != ContentPart::video, ValueError, "chat: message ", i + 1, " of ",
                          conversation.size(), " holds the video '", part.value, "'; with_frames makes pictures of it");
            prompt += part.is_picture() ? "<image>" : part.value;
        }
        prompt += turn_end + '\n';
    }
    if (generation_prompt) prompt += "Assistant:";
    return prompt;
}

inline std::string ChatTemplate::render_chatml(const Conversation& conversation, bool generation_prompt) const {
    std::string prompt;
    const auto begin_turn = [&](std::string_view role) { prompt.append(start).append(role) += '\n'; };
    const auto end_turn = [&] { prompt.append(turn_end) += '\n'; };
    if (!default_system.empty() && !conversation.empty() && conversation.front().role != "system") {
        begin_turn("system");
        prompt += default_system;
        end_turn();
    }
    for (std::size_t i = 0; i < conversation.size(); ++i) {
        begin_turn(conversation[i].role);
        for (const ContentPart& part : conversation[i].content) {
            SMOLVLM_CHECK(part.kind == ContentPart::text, ValueError, "chat: message ", i + 1, " of ",
                          conversation.size(),
                          " holds an image, but this model's chat template (ChatML) knows text alone");
            prompt += part.value;
        }
        end_turn();
    }
    if (generation_prompt) begin_turn("assistant");
    return prompt;
}

namespace detail {

/// A Jinja program in one spelling: no white space inside {{ }} and {% %} but in strings, escaped line breaks as line
/// breaks, and without the white space that transformers has Jinja drop (trim_blocks, lstrip_blocks).
inline std::string canonical_jinja(std::string_view program) {
    std::string out;
    char quote = 0;       // inside a string: its delimiter
    bool inside = false;  // {{ }} or {% %}
    for (std::size_t i = 0; i < program.size(); ++i) {
        const char c = program[i];
        const std::string_view two = program.substr(i, 2);
        if (quote) {
            if (two == "\\n")
                out += '\n', ++i;
            else if (c == quote)
                out += '\'', quote = 0;
            else
                out += c;
        } else if (!inside && (two == "{{" || two == "{%")) {
            if (two == "{%") {
                const std::size_t text_end = out.find_last_not_of(" \t");
                if (text_end == out.npos || out[text_end] == '\n') out.resize(text_end + 1);
            }
            out += two, ++i, inside = true;
        } else if (inside && (two == "}}" || two == "%}")) {
            out += two, ++i, inside = false;
            if (two == "%}" && i + 1 < program.size() && program[i + 1] == '\n') ++i;
        } else if (inside && (c == '\'' || c == '"')) {
            out += '\'', quote = c;
        } else if (!inside || !(c == ' ' || c == '\t' || c == '\n' || c == '\r')) {
            out += c;
        }
    }
    return out;
}

/// Reads a canonical program from the left.
struct JinjaMatcher {
    std::string_view rest;

    bool take(std::string_view program) {
        const std::string expected = canonical_jinja(program);
        if (rest.substr(0, expected.size()) != expected) return false;
        rest.remove_prefix(expected.size());
        return true;
    }
    /// The text up to `stop`, which stays; empty when there is no `stop`.
    std::string take_until(std::string_view stop) {
        const std::size_t length = std::min(rest.find(stop), rest.size());
        const std::string text(rest.substr(0, length));
        rest.remove_prefix(length);
        return text;
    }
};

inline bool match_smolvlm(JinjaMatcher program, ChatTemplate& result) {
    result = ChatTemplate::smolvlm();
    result.start = program.take_until("{");
    if (!program.take("{% for message in messages %}{{message['role'] | capitalize}}"
                      "{% if message['content'][0]['type'] == 'image' %}{{':'}}{% else %}{{': '}}{% endif %}"
                      "{% for line in message['content'] %}{% if line['type'] == 'text' %}{{line['text']}}"
                      "{% elif line['type'] == 'image' %}{{ '<image>' }}"))
        return false;
    program.take("{% elif line['type'] == 'video' %}{{ '<video>' }}");
    if (!program.take("{% endif %}{% endfor %}")) return false;
    result.turn_end = program.take_until("\n");
    return result.turn_end.find('{') == std::string::npos && program.take("\n{% endfor %}") &&
           program.take("{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}") && program.rest.empty();
}

inline bool match_chatml(JinjaMatcher program, ChatTemplate& result) {
    result = ChatTemplate::chatml();
    if (!program.take("{% for message in messages %}")) return false;
    if (program.take("{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\n")) {
        result.default_system = program.take_until("<|im_end|>");
        if (!program.take("<|im_end|>\n'}}{% endif %}")) return false;
    }
    return program.take("{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}") &&
           program.take("{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}") &&
           program.rest.empty();
}

}  // namespace detail

inline ChatTemplate ChatTemplate::from_jinja(std::string_view program, std::string_view where) {
    std::string canonical = detail::canonical_jinja(program);
    if (canonical.ends_with('\n')) canonical.pop_back();  // as Jinja does
    ChatTemplate result;
    if (detail::match_smolvlm({canonical}, result) || detail::match_chatml({canonical}, result)) return result;
    std::string beginning(program.substr(0, 60));
    std::replace(beginning.begin(), beginning.end(), '\n', ' ');
    fail<ValueError>(where, ": unknown chat template '", beginning,
                     "...'; known are SmolVLM's (one <|im_start|>, turns 'User: ...<end_of_utterance>' or with another "
                     "end) and SmolLM2's ChatML ('<|im_start|>user', with or without a default system message)");
}

}  // namespace smolvlm
