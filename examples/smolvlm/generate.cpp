// smolvlm generate: pictures and a conversation in, the answer out.

#include <unistd.h>

#include <cstdlib>
#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "commands.hpp"
#include "console.hpp"
#include "engine.hpp"

namespace cli {

using namespace smolvlm;

int generate(const Words& words) {
    constexpr double infinity = std::numeric_limits<double>::infinity();
    GenerateRequest request;
    ConversationFlags conversation;
    SamplingOptions& sampling = request.options.sampling;
    Arguments arguments(
        "generate",
        "Answers a conversation. The text streams to standard output, progress and speed go to standard error.\n"
        "Several --chat files are answered together as one batch. Without --prompt and --chat, at a terminal,\n"
        "there is a chat: /image FILE or /video FOLDER adds to the next turn, /reset begins anew, /quit ends.\n"
        "Its pictures are read while their question is typed.");
    request.model.declare(arguments);
    conversation.declare(arguments);
    arguments.section("Answer");
    arguments.integer("--max-new-tokens", request.options.max_new_tokens, 0, 1 << 30,
                      "end after N tokens (default 256)");
    arguments.toggle("--ignore-eos", request.options.ignore_eos, "do not end at the model's end token");
    arguments.toggle(
        "--json", request.json,
        "print one object instead: {\"text\", \"ids\" (the new ones), \"prompt_tokens\", \"image_tokens\", "
        "\"timings\" (seconds; decode_s: all tokens after the first), \"peak_memory_bytes\"}; with several --chat "
        "an array of them");
    arguments.real("--temperature", sampling.temperature, 0, infinity, false,
                   "0 takes the most likely token, more varies more (default 0)");
    arguments.integer("--top-k", sampling.top_k, 0, 1 << 30,
                      "choose among the N most likely tokens, 0: all (default 0)");
    arguments.real("--top-p", sampling.top_p, 0, 1, true,
                   "choose among the most likely tokens that together have probability X (default 1)");
    arguments.real("--min-p", sampling.min_p, 0, 1, false,
                   "leave out tokens less likely than X times the most likely one (default 0)");
    arguments.real("--repetition-penalty", sampling.repetition_penalty, 0, infinity, true,
                   "above 1: tokens already in the text become less likely (default 1)");
    arguments.integer("--seed", sampling.seed, std::uint64_t(0), std::numeric_limits<std::uint64_t>::max(),
                      "the same seed gives the same answer everywhere (default 0)");
    request.images.declare(arguments);
    request.engine.declare(arguments);
    if (!arguments.parse(words)) return print(arguments.help()), 0;
    request.model.default_to_tiny_reader();
    request.model.check();
    request.options.images = request.images.tiles;

    if (conversation.given()) {
        request.talks = conversation.talks();
    } else {
        SMOLVLM_CHECK(
            !conversation.raw && !request.json && ::isatty(STDIN_FILENO) == 1, ValueError,
            "--prompt or --chat is missing, expected what the user says (a chat without them needs a terminal)");
        request.system = conversation.system.value_or("");
        request.media = conversation.media;
    }
    for (const char* flag : {"--top-k", "--top-p", "--min-p", "--seed"})
        if (arguments.given(flag) && sampling.temperature == 0 && !request.json)
            report(join("note: ", flag, " changes nothing at --temperature 0"));
#ifdef __GLIBC__
    // Large blocks that are given back, as after the last picture, go to the system at once and not when the heap's end is
    // free, which is never.
    ::mallopt(M_MMAP_THRESHOLD, 1 << 20);
#endif
    request.engine.resolve(request.model);
    make_engine(request.engine)->generate(request);
    return 0;
}

}  // namespace cli
