#pragma once
/// The kernels of Cpu<T> compiled once in a program of several files. Without this every file that uses Cpu<T> compiles
/// them again, which is simplest, and takes half a minute each.
///
///     every file     -DSMOLVLM_CPU_KERNELS_ELSEWHERE     (cpu.hpp then only declares them)
///     one file       #include <smolvlm/cpu/cpu.hpp>
///                    #include <smolvlm/cpu/instances.hpp>
///                    SMOLVLM_CPU_KERNELS(template, float)
///                    SMOLVLM_CPU_KERNELS(template, double)

#define SMOLVLM_CPU_KERNELS(how, T)                                                                                    \
    namespace smolvlm::cpu {                                                                                           \
    how void linear<T>(In<T>, Maps<T>, CpuPath, const Team&);                                                          \
    how void add_mlp<GeluTanh, T>(In<T>, const Mlp<T>&, View<T>, CpuPath, const Team&);                                \
    how void add_mlp<SiluMul, T>(In<T>, const Mlp<T>&, View<T>, CpuPath, const Team&);                                 \
    how void linear_vjp<T>(In<T>, const PackedWeight<T>&, In<T>, Sink<T>, Sink<T>, Sink<T>, CpuPath, const Team&);     \
    how void norm<false, T>(In<T>, In<T>, In<T>, std::type_identity_t<T>, View<T>, CpuPath, int);                      \
    how void norm<true, T>(In<T>, In<T>, In<T>, std::type_identity_t<T>, View<T>, CpuPath, int);                       \
    how void add_norm<false, T>(View<T>, In<T>, In<T>, In<T>, std::type_identity_t<T>, View<T>, CpuPath, int);         \
    how void add_norm<true, T>(View<T>, In<T>, In<T>, In<T>, std::type_identity_t<T>, View<T>, CpuPath, int);          \
    how void norm_vjp<false, T>(In<T>, In<T>, std::type_identity_t<T>, In<T>, Sink<T>, Sink<T>, Sink<T>, CpuPath,      \
                                const Team&);                                                                          \
    how void norm_vjp<true, T>(In<T>, In<T>, std::type_identity_t<T>, In<T>, Sink<T>, Sink<T>, Sink<T>, CpuPath,       \
                               const Team&);                                                                           \
    how void rope<T>(In<T>, Index, RopeTable<T>&, const Segments&, View<T>, CpuPath, int);                             \
    how void rope_vjp<T>(Index, RopeTable<T>&, const Segments&, In<T>, Sink<T>, CpuPath, int);                         \
    how void attention<T, T>(In<T>, KeptRows<T>, KeptRows<T>, Heads, const Segments&, View<T>, AttentionNumbers,       \
                             CpuPath, const Team&);                                                                    \
    how void attention<T, bfloat16>(In<T>, KeptRows<bfloat16>, KeptRows<bfloat16>, Heads, const Segments&, View<T>,    \
                                    AttentionNumbers, CpuPath, const Team&);                                           \
    how void attention<T, std::int8_t>(In<T>, KeptRows<std::int8_t>, KeptRows<std::int8_t>, Heads, const Segments&,    \
                                       View<T>, AttentionNumbers, CpuPath, const Team&);                               \
    how void attention_vjp<T>(In<T>, In<T>, In<T>, Heads, const Segments&, In<T>, Sink<T>, T*, T*, CpuPath,            \
                              const Team&);                                                                            \
    how void elementwise<GeluTanh, T>(In<T>, In<T>, View<T>, CpuPath, int);                                            \
    how void elementwise<SiluMul, T>(In<T>, In<T>, View<T>, CpuPath, int);                                             \
    how void elementwise<Add, T>(In<T>, In<T>, View<T>, CpuPath, int);                                                 \
    how void elementwise_vjp<GeluTanhVjp, T>(In<T>, In<T>, In<T>, Sink<T>, Sink<T>, CpuPath, int);                     \
    how void elementwise_vjp<SiluMulVjp, T>(In<T>, In<T>, In<T>, Sink<T>, Sink<T>, CpuPath, int);                      \
    how void gather_rows_vjp<T>(Ids, In<T>, View<T>, CpuPath, int);                                                    \
    how void scatter_rows_vjp<T>(Ids, In<T>, Sink<T>, Sink<T>, CpuPath, int);                                          \
    how void pixel_shuffle_vjp<T>(Index, Index, Index, In<T>, Sink<T>, CpuPath, int);                                  \
    how void cross_entropy<T>(In<T>, Ids, View<T>, CpuPath, const Team&);                                              \
    how void cross_entropy_vjp<T>(In<T>, Ids, T, Sink<T>, CpuPath, const Team&);                                       \
    }

#ifdef SMOLVLM_CPU_KERNELS_ELSEWHERE
SMOLVLM_CPU_KERNELS(extern template, float)
SMOLVLM_CPU_KERNELS(extern template, double)
#endif
