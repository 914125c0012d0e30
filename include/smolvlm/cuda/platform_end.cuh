/// Takes away again what platform.cuh defined; the last line of every kernel header. No #pragma once, like platform.cuh.

#if !defined(__CUDACC__)
#undef __global__
#undef __device__
#undef __host__
#undef __forceinline__
#undef __launch_bounds__
#undef __align__
#pragma GCC diagnostic pop
#endif
