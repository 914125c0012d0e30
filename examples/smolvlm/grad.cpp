// smolvlm grad: the loss of a batch and its derivative by every parameter.

#include "grad.hpp"

#include "commands.hpp"
#include "console.hpp"

namespace cli {

using namespace smolvlm;

int grad(const Words& words) {
    GradRequest request;
    Arguments arguments(
        "grad",
        "Runs one batch through the model and back, and writes the loss and its gradient as safetensors. The loss is\n"
        "the mean of -log p(label) over all labels that count: those other than -100 whose token and the token before\n"
        "it are no padding. The label of a token is compared with what the model says at the token before it.\n"
        "  in   input_ids I64 [B, T], labels I64 [B, T]; optional: attention_mask I64 [B, T],\n"
        "       pixel_values F32 [B, I, 3, H, W], pixel_attention_mask I64 [B, I, H, W], as for trace\n"
        "  out  loss [1], and grad.NAME for every parameter, named and shaped as in the checkpoint");
    request.model.declare(arguments);
    arguments.text("--input", "I.safetensors", request.input, "the batch");
    arguments.text("--output", "O.safetensors", request.output, "the file to write");
    arguments.section("Machine");
    arguments.choice(
        "--dtype", {"f32", "f64"}, request.dtype,
        "precision of the computation and of what is written; weights are widened on the way (default f32)");
    arguments.choice("--backend", {"cpu", "ref"}, request.backend,
                     "the fast kernels, or the slow definitions they must agree with (default cpu)");
    arguments.integer("--threads", request.threads, 1, 1024, "threads to compute with (default: all the machine has)");
    if (!arguments.parse(words)) return print(arguments.help()), 0;
    request.model.check();
    SMOLVLM_CHECK(!request.input.empty(), ValueError,
                  "--input is missing, expected a .safetensors file with input_ids and labels");
    SMOLVLM_CHECK(!request.output.empty(), ValueError, "--output is missing, expected the name of the file to write");
    request.backend == "ref" ? grad_ref(request) : grad_cpu(request);
    return 0;
}

}  // namespace cli
