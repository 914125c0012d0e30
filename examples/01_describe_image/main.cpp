// A picture and a question in, an answer out, piece by piece as it comes.
//
//     01_describe_image MODEL PICTURE [QUESTION]     MODEL: a folder as on the hub, or a .gguf file

#include <cstdio>

#include <smolvlm/image/load_stb.hpp>
#include <smolvlm/smolvlm.hpp>

using namespace smolvlm;

/// Called while the answer grows.
struct Screen : AnswerObserver {
    void on_frame(Index done, Index total) override {
        std::fprintf(stderr, "frame %lld of %lld\n", static_cast<long long>(done), static_cast<long long>(total));
    }
    bool on_text(Index, std::string_view piece) override {
        std::fwrite(piece.data(), 1, piece.size(), stdout);
        return std::fflush(stdout) == 0;  // false would end the answer
    }
};

int main(int argc, char** argv) {
    if (argc < 3 || argc > 4) {
        std::fprintf(stderr, "usage: %s MODEL PICTURE [QUESTION]\n", argv[0]);
        return 2;
    }
    try {
        Cpu<float> backend;
        const auto vlm = load(backend, argv[1]);
        const Image picture = load_image(argv[2]);
        const char* const question = argc == 4 ? argv[3] : "Can you describe this image?";
        const Conversation chat{{"user", {{ContentPart::image, argv[2]}, {ContentPart::text, question}}}};

        AnswerOptions options;
        options.max_new_tokens = 100;
        options.sampling = {.temperature = 0.7, .top_p = 0.9, .seed = 1};  // without this line: the likeliest words
        Screen screen;
        const Answer answer = vlm.answer(backend, chat, {&picture, 1}, options, &screen);
        std::printf("\n\n%lld tokens of picture and question, %zu of the answer\n",
                    static_cast<long long>(answer.prompt_tokens), answer.ids.size());
    } catch (const Error& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 2;
    }
}
