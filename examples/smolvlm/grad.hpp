#pragma once
/// smolvlm grad. The differentiated model is compiled once for the fast backend and once for the definitions
/// (grad_cpu.cpp, grad_ref.cpp), apart from the engines, so that no file takes long.

#include "inputs.hpp"

namespace cli {

struct GradRequest {
    ModelFlags model;
    std::string input, output, backend = "cpu", dtype = "f32";
    int threads = smolvlm::default_threads();
};

void grad_cpu(const GradRequest& request);
void grad_ref(const GradRequest& request);

}  // namespace cli
