// smolvlm quantize: a checkpoint as a GGUF pair with quantised weights.

#include <smolvlm/checkpoint/save_gguf_pair.hpp>

#include "commands.hpp"
#include "console.hpp"

namespace cli {

using namespace smolvlm;

int quantize(const Words& words) {
    std::string model, output, mmproj, dtype = "q8_0";
    Arguments arguments("quantize",
                        "Writes a checkpoint as the GGUF pair that this program and llama.cpp load:\n"
                        "OUT/model-Q8_0.gguf with the decoder's matrices in blocks of 32 weights, and\n"
                        "OUT/mmproj-F16.gguf with the vision tower. Vectors stay F32; a matrix whose rows are no\n"
                        "whole blocks becomes F16.");
    arguments.positional("MODEL", model, "the checkpoint: a Hugging Face folder or a .gguf file");
    arguments.positional("OUT", output, "the folder to write; must not be there yet, or be empty");
    arguments.choice("--dtype", {"q8_0", "q4_0", "q4_1", "f16"}, dtype,
                     "a block: q8_0 8.5 bits a weight, q4_1 5, q4_0 4.5, f16 unquantised (default q8_0)");
    arguments.text("--mmproj", "FILE", mmproj, "the vision tower's file, where MODEL is a .gguf");
    if (!arguments.parse(words)) return print(arguments.help()), 0;

    const DType held = dtype == "q8_0"   ? DType::q8_0
                       : dtype == "q4_0" ? DType::q4_0
                       : dtype == "q4_1" ? DType::q4_1
                                         : DType::f16;
    SMOLVLM_CHECK(mmproj.empty() || model.ends_with(".gguf"), ValueError, model,
                  ": an mmproj file goes with a .gguf model, this is a folder");
    save_gguf_pair(model, mmproj, output, {.dtype = held});
    return 0;
}

}  // namespace cli
