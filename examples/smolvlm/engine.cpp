#include <smolvlm/cpu/packed_weight.hpp>
#include <smolvlm/cpu/slab.hpp>

#include "engine.hpp"

namespace cli {

using namespace smolvlm;

void EngineFlags::declare(Arguments& arguments) {
    arguments.section("Machine");
    arguments.choice(
        "--dtype", {"f32", "f64", "bf16", "f16", "int8", "q8_0", "q4_0", "q4_1"}, dtype,
        "what matrices are held in; f64 computes in double precision, all others in single. f32 leaves 16-bit and "
        "quantised weights as the file has them, since widening them on the way is exact. int8, q8_0 and q4_0 are the "
        "fast ones: matrices are multiplied as integers, activations being rounded to bytes, a scale for each row "
        "(int8) or each 32 of them (a q8_0 or q4_0 file too, if asked for by name). bf16 multiplies as bf16 or, where "
        "those are faster, as 16-bit integers, and is widened on processors that have neither (default: what the model "
        "was quantised to by smolvlm quantize --format safetensors, else f32)");
    arguments.choice("--kv-cache", {"exact", "bf16", "int8"}, kv_cache,
                     "what keys and values of earlier tokens are kept in: numbers as wide as those that are computed "
                     "with; half as wide, which decodes faster and takes half the memory; or bytes with a scale for each "
                     "token and head, about half as wide again, for long contexts (default exact with --dtype f32, f16 and "
                     "q4_1, else bf16)");
    arguments.choice("--backend", {"cpu", "cuda", "ref"}, backend,
                     "the fast kernels, those of an NVIDIA GPU (in f32, bf16, f16, or q8_0 and q4_0 beside bf16), or the "
                     "slow definitions they must agree with (default cpu)");
    arguments.integer("--threads", threads, 1, 1024, "threads to compute with (default: all the machine has)");
}

void EngineFlags::resolve(const ModelFlags& model) {
    const std::string held = model.precision();
    SMOLVLM_CHECK(held.empty() || dtype.empty() || dtype == held || dtype == "f32" || dtype == "f64", ValueError, "--dtype ",
                  dtype, ": the matrices in ", model.model, " are ", held, ", expected --dtype ", held,
                  ", or f32 or f64 for exact arithmetic with the weights as they are");
    if (dtype.empty()) dtype = held.empty() ? "f32" : held;
}

std::optional<DType> EngineFlags::weight_dtype() const {
    if (dtype.empty() || dtype == "f32" || dtype == "f64" || dtype == "int8") return std::nullopt;
    return dtype == "bf16"   ? DType::bf16
           : dtype == "f16"  ? DType::f16
           : dtype == "q8_0" ? DType::q8_0
           : dtype == "q4_0" ? DType::q4_0
                             : DType::q4_1;
}

Precision EngineFlags::precision() const {
    if (dtype == "int8") return Precision::int8;
    return dtype == "q8_0" || dtype == "q4_0" || dtype == "bf16" ? Precision::native : Precision::exact;
}

std::optional<CacheFormat> EngineFlags::cache_format() const {
    if (kv_cache.empty()) return std::nullopt;
    return kv_cache == "int8" ? CacheFormat::int8 : kv_cache == "bf16" ? CacheFormat::bf16 : CacheFormat::exact;
}

#ifndef SMOLVLM_CUDA
std::unique_ptr<Engine> make_cuda(const EngineFlags&) {
    fail<ValueError>("--backend cuda: this program was built without CUDA; build it with -DSMOLVLM_CUDA=ON where nvcc is, "
                     "or take --backend cpu");
}
#endif

std::unique_ptr<Engine> make_engine(const EngineFlags& flags) {
    SMOLVLM_CHECK(flags.kv_cache.empty() || flags.kv_cache == "exact" || (flags.backend == "cpu" && flags.dtype != "f64"),
                  ValueError, "--kv-cache ", flags.kv_cache, " is there for --backend cpu in single precision only, not for "
                  "--backend ", flags.backend, " --dtype ", flags.dtype);
    if (flags.backend == "cuda") return make_cuda(flags);
    if (flags.backend == "ref") return flags.dtype == "f64" ? make_ref_double() : make_ref_float();
    if (flags.dtype == "f64") return make_cpu_double(flags.threads);
    return make_cpu_float(flags.threads, flags.precision(), flags.cache_format());
}

}  // namespace cli
