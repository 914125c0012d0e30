// smolvlm prompt: what a conversation becomes before the model reads it.

#include "commands.hpp"
#include "console.hpp"
#include "inputs.hpp"

namespace cli {

using namespace smolvlm;

int prompt(const Words& words) {
    ModelFlags model;
    ConversationFlags conversation;
    ImageFlags image_flags;
    bool ids = false, no_generation_prompt = false;
    Arguments arguments(
        "prompt",
        "Prints the prompt that a conversation becomes: the chat template filled in, image tokens written out.\n"
        "Pictures are only measured. With several --chat files there is one prompt after the other.");
    model.declare(arguments);
    arguments.toggle("--ids", ids, "print its token ids, a JSON array, instead of the text");
    arguments.toggle("--no-generation-prompt", no_generation_prompt, "stop before the assistant's answer begins");
    conversation.declare(arguments);
    image_flags.declare(arguments);
    if (!arguments.parse(words)) return print(arguments.help()), 0;
    const std::vector<Talk> talks = conversation.talks();

    const Processor processor = model.open_processor();
    for (const Talk& asked : talks) {
        const Talk talk = asked.opened(image_flags.videos(processor));
        std::vector<ImageLayout> layouts;
        for (const ContentPart& part : talk.pictures()) {
            const Image picture = image_flags.load(part.value);  // one at a time
            const TilePlan plan = plan_tiles(picture.width(), picture.height(), processor.image.tile_rule(),
                                             processor.tiles_of(part.kind, image_flags.tiles));
            layouts.push_back({plan.rows, plan.cols});
        }
        const std::string text = processor.expand(talk.text(processor.chat_template, !no_generation_prompt), layouts);
        print((ids ? json_array(processor.tokenizer.encode(text)) : text) + '\n');
    }
    return 0;
}

}  // namespace cli
