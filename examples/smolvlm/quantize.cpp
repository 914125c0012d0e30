// smolvlm quantize: a checkpoint with quantised weights, as a GGUF pair or as a folder that loads without packing.

#include <smolvlm/checkpoint/save_gguf_pair.hpp>
#include <smolvlm/checkpoint/save_panels.hpp>
#include <smolvlm/cpu/cpu.hpp>

#include "commands.hpp"
#include "console.hpp"
#include "inputs.hpp"

namespace cli {

using namespace smolvlm;

int quantize(const Words& words) {
    ModelFlags flags;
    std::string output, dtype = "q8_0", format = "gguf";
    Arguments arguments(
        "quantize",
        "Writes a checkpoint with quantised weights.\n"
        "  gguf         the pair that this program and llama.cpp load: OUT/model-Q8_0.gguf with the\n"
        "               decoder's matrices in blocks of 32 weights, OUT/mmproj-F16.gguf with the vision\n"
        "               tower. Vectors stay F32; a matrix whose rows are no whole blocks becomes F16.\n"
        "  safetensors  a folder as on the hub for this program alone, all matrices as they are\n"
        "               multiplied: it loads at once, and `generate --model OUT` runs in that precision.\n"
        "               A matrix whose rows are no whole blocks stays as it is.");
    arguments.positional("MODEL", flags.model, "the checkpoint: a Hugging Face folder or a .gguf file");
    arguments.positional("OUT", output, "the folder to write; must not be there yet, or be empty");
    arguments.choice("--format", {"gguf", "safetensors"}, format, "what to write (default gguf)");
    arguments.choice(
        "--dtype", {"q8_0", "q4_0", "q4_1", "f16", "int8", "bf16"}, dtype,
        "a block: q8_0 8.5 bits a weight, q4_1 5, q4_0 4.5, f16 unquantised; int8: 8 bits and a scale a row; "
        "bf16 unquantised. gguf takes the first four, safetensors q8_0, q4_0, int8 and bf16 (default q8_0)");
    arguments.text("--mmproj", "FILE", flags.mmproj, "the vision tower's file, where MODEL is a .gguf");
    if (!arguments.parse(words)) return print(arguments.help()), 0;
    SMOLVLM_CHECK(flags.mmproj.empty() || flags.model.ends_with(".gguf"), ValueError, flags.model,
                  ": an mmproj file goes with a .gguf model, this is a folder");

    if (format == "safetensors") {
        const auto panels = integer_format_named(dtype);
        SMOLVLM_CHECK(panels, ValueError, "--dtype ", dtype,
                      " is for --format gguf, expected q8_0, q4_0, int8 or bf16 with --format safetensors");
        // The path is that of the panels' layout; nothing is multiplied here, so any processor will do.
        Cpu<float> be(default_threads(), CpuPath::avx512bf16, dtype == "int8" ? Precision::int8 : Precision::native);
        save_panels(be, flags.open(), output, *panels, {.copy_from = flags.model, .mmproj = flags.mmproj});
        return 0;
    }
    const auto held = dtype_named(dtype == "q8_0"   ? "Q8_0"
                                  : dtype == "q4_0" ? "Q4_0"
                                  : dtype == "q4_1" ? "Q4_1"
                                                    : "F16");
    SMOLVLM_CHECK(dtype != "int8" && dtype != "bf16", ValueError, "--dtype ", dtype,
                  " is for --format safetensors, expected q8_0, q4_0, q4_1 or f16 with --format gguf");
    save_gguf_pair(flags.model, flags.mmproj, output, {.dtype = *held});
    return 0;
}

}  // namespace cli
