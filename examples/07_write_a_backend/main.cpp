// A backend of your own: begin with the definitions, then replace one operation after the other. This one counts what
// matrix products and attention cost, and so tells where the work of an answer goes. No layer knows of it.
//
//     07_write_a_backend MODEL PICTURE

#include <cstdio>

#include <smolvlm/checkpoint/load.hpp>
#include <smolvlm/image/load_stb.hpp>
#include <smolvlm/ref/ref.hpp>

using namespace smolvlm;

struct Counting : Ref<float> {
    double products = 0, attended = 0;  // multiply-adds

    Tensor linear(const Tensor& x, const Weight& w, const Tensor& bias) {
        products += static_cast<double>(x.shape()[0] * w.shape().numel());
        return Ref::linear(x, w, bias);
    }
    Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, Heads heads, const Segments& segments) {
        for (const Segment& s : segments)  // as if every token saw every key
            attended += 2.0 * static_cast<double>(s.n * s.keys * q.shape()[1]);
        return Ref::attention(q, k, v, heads, segments);
    }
    // ... and so on with all operations of backend/concept.hpp, until nothing is left of Ref.
};
static_assert(CachingBackend<Counting>);  // says which operation is missing, if one is

/// Prints and forgets the counts at the end of each stage of an answer.
struct Stages : AnswerObserver {
    Counting& be;
    const char* stage = "prompt";

    explicit Stages(Counting& backend) : be(backend) {}
    void on_frame(Index done, Index) override { report(join("picture, frame ", done).c_str()); }
    bool on_text(Index, std::string_view) override { return report(std::exchange(stage, "new text")), true; }
    void report(const char* what) {
        std::printf("%-20s %10.3f million multiply-adds, and %.3f in attention\n", what, be.products / 1e6,
                    be.attended / 1e6);
        be.products = be.attended = 0;
    }
};

int main(int argc, char** argv) {
    if (argc != 3) {
        std::fprintf(stderr, "usage: %s MODEL PICTURE\n", argv[0]);
        return 2;
    }
    try {
        Counting be;
        const auto vlm = load(be, argv[1]);
        const Image picture = load_image(argv[2]);
        const Conversation chat{{"user", {{ContentPart::image, argv[2]}, {ContentPart::text, "What is this?"}}}};
        AnswerOptions options;
        options.max_new_tokens = 4;
        options.images.no_split = true;  // one frame: definitions are not fast
        Stages stages(be);
        vlm.answer(be, chat, {&picture, 1}, options, &stages);
    } catch (const Error& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 2;
    }
}
