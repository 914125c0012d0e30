// smolvlm trace: every intermediate tensor of one pass through the model.

#include "commands.hpp"
#include "console.hpp"
#include "engine.hpp"

namespace cli {

using namespace smolvlm;

int trace(const Words& words) {
    TraceRequest request;
    Arguments arguments(
        "trace",
        "Runs one batch through the model and writes every intermediate tensor as safetensors. B sequences of T\n"
        "tokens, up to I frames each; padding is left out of the computation, its rows of the output are zero,\n"
        "and frames whose pixels are all zero count as absent. Without pixel_values, <image> tokens are embedded\n"
        "like any other. Outputs have the type of the run (F32, or F64 with --dtype f64); R is the number of\n"
        "frames that are there, P of patches in a frame.\n"
        "  in   input_ids I64 [B, T]; optional: attention_mask I64 [B, T], pixel_values F32 [B, I, 3, H, W],\n"
        "       pixel_attention_mask I64 [B, I, H, W]\n"
        "  out  vision.position_ids I64 [R, P]; vision.embeddings, vision.layer.N, vision.post_layernorm [R, P, D];\n"
        "       connector [R, tokens, D]; text.inputs_embeds, text.layer.N, text.norm, logits [B, T, D]\n"
        "With --dtype f64 a pixel value that is a byte's in either of transformers' two roundings, 2 f32(x/255) - 1\n"
        "(Pillow) or (x - 127.5) / 127.5 (torchvision), is read as the second: they are up to 6e-8 apart, more\n"
        "than such a run is compared to. All other values are read as they are.");
    request.model.declare(arguments);
    arguments.text("--input", "I.safetensors", request.input, "the batch");
    arguments.text("--output", "O.safetensors", request.output, "the file to write");
    request.engine.declare(arguments);
    if (!arguments.parse(words)) return print(arguments.help()), 0;
    request.model.check();
    SMOLVLM_CHECK(!request.input.empty(), ValueError,
                  "--input is missing, expected a .safetensors file with input_ids");
    SMOLVLM_CHECK(!request.output.empty(), ValueError, "--output is missing, expected the name of the file to write");
    request.engine.resolve(request.model);
    make_engine(request.engine)->trace(request);
    return 0;
}

}  // namespace cli
