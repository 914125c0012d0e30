// smolvlm convert: a checkpoint as a Hugging Face folder with weights of another width.

#include <smolvlm/checkpoint/load.hpp>
#include <smolvlm/checkpoint/save.hpp>
#include <smolvlm/ref/ref.hpp>

#include "commands.hpp"
#include "inputs.hpp"

namespace cli {

using namespace smolvlm;

int convert(const Words& words) {
    ModelFlags flags;
    std::string output, dtype = "bf16";
    Arguments arguments("convert",
                        "Writes a checkpoint as a Hugging Face folder that transformers loads: from another width of\n"
                        "weights, from a GGUF pair, or from a training run's checkpoint, whose optimiser stays behind.");
    flags.declare(arguments);
    arguments.text("--output", "DIR", output, "the folder to write; must not be there yet");
    arguments.choice("--dtype", {"f32", "f16", "bf16"}, dtype, "width of the weights (default bf16)");
    if (!arguments.parse(words)) return print(arguments.help()), 0;
    SMOLVLM_CHECK(!output.empty(), ValueError, "--output is missing, expected the folder to write");

    const Checkpoint checkpoint = flags.open();
    Ref<float> be;  // holds every weight as the file does
    const auto model = load_model(be, checkpoint.config, *checkpoint.weights);
    const DType held = dtype == "f32" ? DType::f32 : dtype == "f16" ? DType::f16 : DType::bf16;
    save(be, model, checkpoint.generation, output,
         {.dtype = held, .copy_from = flags.model, .mmproj = flags.mmproj});
    return 0;
}

}  // namespace cli
