#pragma once
#include "generate_on.hpp"
#include "trace_on.hpp"

namespace cli {

template <smolvlm::CachingBackend B>
class AnswererOn : public Answerer {
public:
    AnswererOn(B& be, smolvlm::Checkpoint checkpoint)
        : be_(be), pipeline_{smolvlm::load_model(be, checkpoint.config, *checkpoint.weights),
                             std::move(checkpoint.processor), std::move(checkpoint.generation)},
          chat_(pipeline_) {}
    smolvlm::Answer answer(const smolvlm::Conversation& conversation, std::span<const smolvlm::Image> pictures,
                           const smolvlm::TileOptions& tiles, const smolvlm::AnswerOptions& options) override {
        return chat_.answer(be_, pipeline_.processor.prepare(conversation, pictures, tiles), options);
    }

private:
    B& be_;
    smolvlm::Pipeline<B> pipeline_;
    smolvlm::Chat<B> chat_;
};

template <smolvlm::CachingBackend B>
class EngineOn : public Engine {
public:
    template <class... Arguments>
    explicit EngineOn(Arguments... arguments) : be_(arguments...) {}
    std::unique_ptr<Answerer> open(const ModelFlags& model) override {
        return std::make_unique<AnswererOn<B>>(be_, model.open());
    }
    void generate(const GenerateRequest& request) override { generate_on(be_, request); }
    void trace(const TraceRequest& request) override { trace_on(be_, request); }

private:
    B be_;
};

}  // namespace cli
