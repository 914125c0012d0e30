// The kernels of Cpu<float> and Cpu<double>, compiled here once for the program, the tests and the benchmarks.

#include <smolvlm/cpu/cpu.hpp>
#include <smolvlm/cpu/instances.hpp>

SMOLVLM_CPU_KERNELS(template, float)
SMOLVLM_CPU_KERNELS(template, double)
