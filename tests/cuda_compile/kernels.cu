// Every kernel of the CUDA backend: all ops of Cuda<T> for its three number types. tests/cuda_compile.sh makes this a cubin for
// each architecture and reads what the assembler made of it.

#include <smolvlm/cuda/cuda.cuh>

template class smolvlm::cuda::FusedOps<float>;
template class smolvlm::cuda::FusedOps<smolvlm::half>;
template class smolvlm::cuda::FusedOps<smolvlm::bfloat16>;
template class smolvlm::Cuda<float>;
template class smolvlm::Cuda<smolvlm::half>;
template class smolvlm::Cuda<smolvlm::bfloat16>;
