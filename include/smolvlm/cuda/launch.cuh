#pragma once
/// launch(stream, kernel, grid, block, shared, arguments...): kernel<<<grid, block, shared, stream>>>(arguments...), which only
/// nvcc can read. `block` threads, a multiple of 32; `shared` bytes, sizeof of the kernel's struct or 0. Arguments are
/// converted to the kernel's parameters. DeviceError names the function that launched.

#include <type_traits>

#include <smolvlm/cuda/calls.cuh>

#include <smolvlm/cuda/platform.cuh>

namespace smolvlm::cuda {

/// How many blocks, and who launches them.
struct Grid {
    Grid(dim3 size, Place from = {}) : blocks(size), place(from) {}
    Grid(unsigned across, Place from = {}) : blocks(across), place(from) {}
    dim3 blocks;
    Place place;
};

#if defined(__CUDACC__)

template <class... P>
void launch(Stream& stream, void (*kernel)(P...), Grid grid, unsigned block, std::size_t shared,
            std::type_identity_t<P>... arguments) {
    cudaError_t code = cudaSuccess;
    if (shared > std::size_t(48) << 10)  // more has to be asked for
        code = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared));
    if (code == cudaSuccess) {
        kernel<<<grid.blocks, block, shared, stream.handle>>>(arguments...);
        code = cudaGetLastError();
    }
    if (code != cudaSuccess) {
        cudaGetLastError();
        fail<DeviceError>("launch by ", grid.place, " failed: ", cudaGetErrorName(code), " (", cudaGetErrorString(code),
                          "): ", grid.blocks.x, " x ", grid.blocks.y, " x ", grid.blocks.z, " blocks of ", block,
                          " threads with ", shared, " bytes of shared memory");
    }
}

#else

template <class... P>
void launch(Stream& stream, void (*kernel)(P...), Grid grid, unsigned block, std::size_t shared,
            std::type_identity_t<P>... arguments) {
    const auto body = [&] { kernel(arguments...); };
    using Body = decltype(body);
    emulation::Pointer pointers[sizeof...(P) + 1];
    std::size_t count = 0;
    const auto note = [&](const auto& argument) {
        using A = std::remove_cvref_t<decltype(argument)>;
        if constexpr (std::is_pointer_v<A>)
            pointers[count++] = {argument, std::is_const_v<std::remove_pointer_t<A>> ? emulation::Use::read
                                                                                     : emulation::Use::write};
    };
    (note(arguments), ...);
    emulation::run_launch(stream.handle, grid.place, grid.blocks, block, shared, {pointers, count},
                          [](const void* all) { (*static_cast<Body*>(all))(); }, &body);
}

#endif

}  // namespace smolvlm::cuda

#include <smolvlm/cuda/platform_end.cuh>
