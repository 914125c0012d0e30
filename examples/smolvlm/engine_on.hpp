#pragma once
#include "generate_on.hpp"
#include "trace_on.hpp"

namespace cli {

template <smolvlm::CachingBackend B>
class EngineOn : public Engine {
public:
    template <class... Arguments>
    explicit EngineOn(Arguments... arguments) : be_(arguments...) {}
    void generate(const GenerateRequest& request) override { generate_on(be_, request); }
    void trace(const TraceRequest& request) override { trace_on(be_, request); }

private:
    B be_;
};

}  // namespace cli
