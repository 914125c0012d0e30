#pragma once
/// What runs the model. The model code is one template; each Engine is an instance of it on one backend, compiled in a
/// file of its own (engine_*.cpp), so that the commands themselves compile in a second.

#include <memory>
#include <optional>
#include <smolvlm/pipeline.hpp>

#include "inputs.hpp"

namespace smolvlm {
enum class Precision : std::uint8_t;    // cpu/packed_weight.hpp, which nvcc cannot read
enum class CacheFormat : std::uint8_t;  // cpu/slab.hpp, likewise
}

namespace cli {

/// Where to compute, and what to hold the weights in.
struct EngineFlags {
    std::string backend = "cpu", dtype, kv_cache;  // dtype: empty until resolve()
    int threads = smolvlm::default_threads();

    void declare(Arguments& arguments);
    /// Without --dtype the model's own precision, else f32. Throws ValueError when --dtype contradicts the model.
    void resolve(const ModelFlags& model);
    /// What matrices are converted to; nothing: they stay as in the file.
    std::optional<smolvlm::DType> weight_dtype() const;
    /// What they are multiplied in.
    smolvlm::Precision precision() const;
    /// What keys and values of earlier tokens are kept as.
    std::optional<smolvlm::CacheFormat> cache_format() const;
};

struct GenerateRequest {
    ModelFlags model;
    EngineFlags engine;
    ImageFlags images;
    std::vector<Talk> talks;  // none: a chat with whoever sits at the terminal
    std::string system;       // of that chat
    MediaFlags media;         // and of its first turn
    smolvlm::AnswerOptions options;
    bool json = false;
};

struct TraceRequest {
    ModelFlags model;
    EngineFlags engine;
    std::string input, output;
};

/// A model that answers one question after the other. What a question has in common with the one before, a picture for
/// instance, is not read again.
class Answerer {
public:
    virtual ~Answerer() = default;
    virtual smolvlm::Answer answer(const smolvlm::Conversation& conversation, std::span<const smolvlm::Image> pictures,
                                   const smolvlm::TileOptions& tiles, const smolvlm::AnswerOptions& options) = 0;
};

class Engine {
public:
    virtual ~Engine() = default;
    virtual std::unique_ptr<Answerer> open(const ModelFlags& model) = 0;  // must not outlive the engine
    virtual void generate(const GenerateRequest& request) = 0;
    virtual void trace(const TraceRequest& request) = 0;
};

std::unique_ptr<Engine> make_engine(const EngineFlags& flags);

// engine_cpu_float.cpp, engine_cpu_double.cpp, engine_ref.cpp
std::unique_ptr<Engine> make_cpu_float(int threads, smolvlm::Precision precision, std::optional<smolvlm::CacheFormat> cache);
std::unique_ptr<Engine> make_cpu_double(int threads);
std::unique_ptr<Engine> make_ref_float();
std::unique_ptr<Engine> make_ref_double();
// engine_cuda.cu, in a program that is built with CUDA; else refuses
std::unique_ptr<Engine> make_cuda(const EngineFlags& flags);

}  // namespace cli
