// Several conversations at once: every weight is read once for all of them. Then a second turn, for which only the new
// words are read: pictures and words of the first are still in the cache.
//
//     09_batch MODEL PICTURE...     asks the same of each picture

#include <cstdio>

#include <smolvlm/image/load_stb.hpp>
#include <smolvlm/smolvlm.hpp>

using namespace smolvlm;

int main(int argc, char** argv) {
    if (argc < 3) {
        std::fprintf(stderr, "usage: %s MODEL PICTURE...\n", argv[0]);
        return 2;
    }
    try {
        Cpu<float> backend;
        const auto vlm = load(backend, argv[1]);
        const std::vector<std::string> paths(argv + 2, argv + argc);
        AnswerOptions options;
        options.max_new_tokens = 30;

        std::vector<Conversation> talks;
        for (const std::string& path : paths)
            talks.push_back({{"user", {{ContentPart::image, path}, {ContentPart::text, "What is in this picture?"}}}});

        Chat chat(vlm, static_cast<Index>(talks.size()));
        for (const char* const next : {"Why do you think so?", ""}) {
            std::vector<Prompt> prompts;
            for (std::size_t i = 0; i < talks.size(); ++i) {
                const Image picture = load_image(paths[i]);  // only its frames stay in the prompt
                prompts.push_back(vlm.processor.prepare(talks[i], {&picture, 1}));
            }
            const std::vector<Answer> answers = chat.answer(backend, prompts, options);
            for (std::size_t i = 0; i < talks.size(); ++i) {
                std::printf("%s (%lld of %lld tokens known before):%s\n", paths[i].c_str(),
                            static_cast<long long>(answers[i].reused_tokens),
                            static_cast<long long>(answers[i].prompt_tokens), answers[i].text.c_str());
                talks[i].push_back(vlm.processor.chat_template.reply(answers[i].text));
                talks[i].push_back({"user", next});
            }
        }
    } catch (const Error& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 2;
    }
}
