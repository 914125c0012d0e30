#include <doctest/doctest.h>

#include <smolvlm/tokenizer/chat_template.hpp>

#include "tokenizer/support.hpp"

using namespace smolvlm;
using testing::contains;
using testing::error_of;

namespace {

const std::string smolvlm_jinja =
    "<|im_start|>{% for message in messages %}{{message['role'] | capitalize}}"
    "{% if message['content'][0]['type'] == 'image' %}{{':'}}{% else %}{{': '}}{% endif %}"
    "{% for line in message['content'] %}{% if line['type'] == 'text' %}{{line['text']}}"
    "{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}<end_of_utterance>\n{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}";

const std::string chatml_jinja =
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\n"
    "You are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

const ContentPart picture{ContentPart::image, "cat.png"};

std::string replaced(std::string text, const std::string& from, const std::string& to) {
    const std::size_t at = text.find(from);
    REQUIRE(at != text.npos);
    return text.replace(at, from.size(), to);
}

}  // namespace

TEST_CASE("chat: one start, a capital, a space unless an image comes first, and the place for the answer") {
    const auto chat = ChatTemplate::smolvlm();
    CHECK(chat.render({{"user", "Hi"}}) == "<|im_start|>User: Hi<end_of_utterance>\nAssistant:");
    CHECK(chat.render({{"user", {picture, {ContentPart::text, "What?"}}}}) ==
          "<|im_start|>User:<image>What?<end_of_utterance>\nAssistant:");
    CHECK(chat.render({{"user", {{ContentPart::text, "What?"}, picture, picture}}}, false) ==
          "<|im_start|>User: What?<image><image><end_of_utterance>\n");
    CHECK(chat.render({{"system", "Be brief."}, {"user", "Hi"}, {"assistant", " Yo"}, {"user", "?"}}) ==
          "<|im_start|>System: Be brief.<end_of_utterance>\nUser: Hi<end_of_utterance>\n"
          "Assistant:  Yo<end_of_utterance>\n"
          "User: ?<end_of_utterance>\nAssistant:");
    CHECK(chat.render({}) == "<|im_start|>Assistant:");
}

TEST_CASE("chat: roles are capitalized as Python does, the rest in lower case") {
    CHECK(capitalize("user") == "User");
    CHECK(capitalize("sYSTEM") == "System");
    CHECK(capitalize("") == "");
    CHECK(capitalize("\xC3\xA9tAT") == "\xC3\xA9tat");
}

TEST_CASE("chat: ChatML begins with its own system message unless there is one") {
    const auto chat = ChatTemplate::from_jinja(chatml_jinja, "t");
    const std::string system =
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n";
    CHECK(chat.render({{"user", "Hi"}}) == system + "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
    CHECK(chat.render({{"system", "S"}, {"user", "Hi"}}, false) ==
          "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n");
    CHECK(contains(error_of([&] { chat.render({{"user", {picture}}}); }), "message 1 of 1 holds an image"));
}

TEST_CASE("chat: the known Jinja programs are recognised, with whatever start and end of turn they have") {
    auto chat = ChatTemplate::from_jinja(smolvlm_jinja, "t");
    CHECK(chat.style == ChatTemplate::Style::smolvlm);
    CHECK(chat.start == "<|im_start|>");
    CHECK(chat.turn_end == "<end_of_utterance>");
    chat = ChatTemplate::from_jinja(replaced(smolvlm_jinja, "<end_of_utterance>", "<|endoftext|>"), "t");
    CHECK(chat.render({{"user", "Hi"}}) == "<|im_start|>User: Hi<|endoftext|>\nAssistant:");
    chat = ChatTemplate::from_jinja(replaced(smolvlm_jinja, "<|im_start|>", "<|begin_of_text|>"), "t");
    CHECK(chat.render({{"user", "Hi"}}) == "<|begin_of_text|>User: Hi<end_of_utterance>\nAssistant:");
    // A video line, as transformers' built-in template has; other spacing; line breaks written as escapes.
    const std::string video = "{{ '<image>' }}{% elif line['type'] == 'video' %}{{ '<video>' }}";
    CHECK_NOTHROW(ChatTemplate::from_jinja(replaced(smolvlm_jinja, "{{ '<image>' }}", video), "t"));
    CHECK_NOTHROW(ChatTemplate::from_jinja(replaced(smolvlm_jinja, "{{':'}}", "{{ \":\" }}") + "\n", "t"));
    chat = ChatTemplate::from_jinja(replaced(chatml_jinja, "system\nYou", "system\\nYou"), "t");
    CHECK(contains(chat.render({{"user", "Hi"}}), "<|im_start|>system\nYou are"));
    const std::size_t begin = chatml_jinja.find("{% if loop"), end = chatml_jinja.find("{{'<|im_start|>' + message");
    chat = ChatTemplate::from_jinja(chatml_jinja.substr(0, begin) + chatml_jinja.substr(end), "t");
    CHECK(chat.render({{"user", "Hi"}}) == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
}

TEST_CASE("chat: any other Jinja program is refused, and the message names what is known") {
    for (const std::string& other :
         {std::string("{{ messages }}"), std::string(), std::string("{"), smolvlm_jinja + "x", chatml_jinja + "x",
          replaced(smolvlm_jinja, "Assistant:", "Model:"), replaced(smolvlm_jinja, " | capitalize", " | upper"),
          replaced(chatml_jinja, "message['role'] +", "message['role'] | trim +"), smolvlm_jinja.substr(0, 200)}) {
        const std::string error = error_of([&] { ChatTemplate::from_jinja(other, "chat_template.json"); });
        CHECK(contains(error, "chat_template.json: unknown chat template"));
        CHECK(contains(error, "SmolLM2's ChatML"));
        CHECK_FALSE(contains(error, "\n"));
    }
}

TEST_CASE("chat: a message without content is refused") {
    const Conversation silent{{"user", "Hi"}, {"assistant", std::vector<ContentPart>{}}};
    const std::string error = error_of([&] { ChatTemplate::smolvlm().render(silent); });
    CHECK(contains(error, "message 2 of 2 (role 'assistant') has no content"));
}

TEST_CASE("chat: a reply in the next prompt is the text that the model wrote, its leading space included") {
    for (const ChatTemplate& chat : {ChatTemplate::smolvlm(), ChatTemplate::chatml()})
        for (const std::string answer : {" A cat.", "A cat."}) {
            if (chat.style == ChatTemplate::Style::smolvlm && answer[0] != ' ') continue;  // the template adds a space
            const Conversation asked{{"user", "What?"}};
            const std::string read = chat.render(asked) + answer;
            CHECK(chat.render({asked[0], chat.reply(answer), {"user", "Why?"}}).starts_with(read));
        }
    CHECK(ChatTemplate::smolvlm().reply("A cat.").content[0].value == "A cat.");
}
