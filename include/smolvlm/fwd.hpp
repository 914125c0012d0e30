#pragma once
/// Names without definitions, for headers that only mention them: no Eigen, no JSON, no layer is included.
///
///     template <CachingBackend B> std::string caption(B&, const Pipeline<B>&, const Image&);
///
/// Backends are not among them: a concept cannot be asked about a class that is only declared, so whoever writes
/// SmolVLM<Cpu<float>> includes cpu/cpu.hpp.

#include <smolvlm/backend/concept.hpp>

namespace smolvlm {

// The model and what runs it.
struct ModelConfig;
template <Backend B>
struct SmolVLM;
template <CachingBackend B>
class KvCache;
template <CachingBackend B>
struct Pipeline;
template <CachingBackend B>
class Chat;
struct AnswerOptions;
struct Answer;
struct AnswerObserver;

// Text and pictures.
class Tokenizer;
class Image;
struct Processor;
struct Prompt;

// Files.
class Safetensors;
class Gguf;
struct Checkpoint;

}  // namespace smolvlm
