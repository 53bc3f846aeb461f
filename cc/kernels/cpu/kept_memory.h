// Memory of freed results and workspaces, for the next that fit: touching fresh
// pages takes as long as a small call computes.
#ifndef CONV_TRANSPOSE_ND_KERNELS_CPU_KEPT_MEMORY_H_
#define CONV_TRANSPOSE_ND_KERNELS_CPU_KEPT_MEMORY_H_

#include <cstdint>

namespace conv_transpose_nd {

// A block of that many bytes, or of some more, on a boundary of 64; null where
// there is no memory. Not initialized.
void* AllocateBlock(int64_t bytes) noexcept;

// Frees a block, or keeps it; null: nothing. Up to 512 MB are kept, or as many
// as CONV_TRANSPOSE_ND_KEPT_MB says.
void ReleaseBlock(void* block) noexcept;

// Frees the blocks that are kept; how many bytes these were.
int64_t FreeKeptBlocks() noexcept;

}  // namespace conv_transpose_nd

#endif  // CONV_TRANSPOSE_ND_KERNELS_CPU_KEPT_MEMORY_H_
