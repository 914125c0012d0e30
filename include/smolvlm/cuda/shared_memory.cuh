#pragma once
/// shared_memory<Tile>(): the block's shared memory, seen as the one struct that the kernel declares for it. Its size is the
/// launch's argument, so sizeof(Tile) is said once. 128 bytes of alignment: what bulk copies need, and no kernel of the
/// file pays more than that.

namespace smolvlm::cuda {

#if defined(__CUDACC__)
template <class Tile>
__device__ Tile& shared_memory() {
    static_assert(alignof(Tile) <= 128 && std::is_trivially_copyable_v<Tile>);
    extern __shared__ __align__(128) unsigned char smolvlm_shared_bytes[];
    return *reinterpret_cast<Tile*>(smolvlm_shared_bytes);
}
#else
template <class Tile>
Tile& shared_memory() {
    static_assert(alignof(Tile) <= 128 && std::is_trivially_copyable_v<Tile>);
    return *static_cast<Tile*>(emulation::shared_bytes(sizeof(Tile)));
}
#endif

}  // namespace smolvlm::cuda
