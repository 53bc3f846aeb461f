// Hopper's matrix instruction for a warpgroup (four warps), one function each:
// PTX here, loops over shared memory in the tests' emulator. It multiplies two
// shared tiles that descriptors name and adds to registers, asynchronously:
// sums are out of bounds from the first Wgmma until WaitWgmma, which therefore
// takes them, as FenceWgmma does, so that no compiler moves a use across.
#ifndef CONV_TRANSPOSE_ND_KERNELS_GPU_WGMMA_CUH_
#define CONV_TRANSPOSE_ND_KERNELS_GPU_WGMMA_CUH_

#include "cc/kernels/gpu/warp.cuh"

namespace conv_transpose_nd {
namespace gpu {

// Of a tile with the 128-byte swizzle: bits 4 to 6 of an address are those
// xored with bits 7 to 9. `leading` and `stride`: bytes between blocks of 8
// rows of 128 bytes, as SwizzledTile in gemm_wgmma.cu has them. Lengths are in
// units of 16 bytes (PTX ISA, "Matrix descriptor format").
CT_DEVICE uint64_t WgmmaDescriptor(uint32_t address, uint32_t leading,
                                   uint32_t stride) {
  constexpr uint64_t kSwizzle128 = 1;
  return uint64_t{(address & 0x3ffff) >> 4} | uint64_t{leading >> 4} << 16 |
         uint64_t{stride >> 4} << 32 | kSwizzle128 << 62;
}

#ifndef CONV_TRANSPOSE_ND_EMULATED

// Makes what this thread wrote to shared memory, and what its cp.async did,
// visible to wgmma, which reads by another path; before a barrier.
CT_DEVICE void FenceSharedForWgmma() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

#define CT_SUM4(i) "+f"(s[i]), "+f"(s[i + 1]), "+f"(s[i + 2]), "+f"(s[i + 3])
#define CT_SUM16(i) CT_SUM4(i), CT_SUM4(i + 4), CT_SUM4(i + 8), CT_SUM4(i + 12)
#define CT_SUMS CT_SUM16(0), CT_SUM16(16), CT_SUM16(32), CT_SUM16(48)

// Orders accesses of sums and of shared memory before the Wgmma that follow.
CT_DEVICE void FenceWgmma(float (&s)[64]) {
  asm volatile("wgmma.fence.sync.aligned;" : CT_SUMS::"memory");
}
CT_DEVICE void CommitWgmma() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
CT_DEVICE void WaitWgmma(float (&s)[64]) {
  asm volatile("wgmma.wait_group.sync.aligned 0;" : CT_SUMS::"memory");
}

// sums of 64 x 128 += a * b, depth 16. Lane l of warp w has those of rows
// 16 * w + l / 4 (s[4 * j], s[4 * j + 1]) and 8 more (s[4 * j + 2], s[4 * j +
// 3]), columns 8 * j + 2 * (l % 4) and the next. kAlongRows, kAlongColumns: not
// the depth but rows or columns are adjacent in shared memory.
#define CT_WGMMA(name, types)                                                 \
  template <int kAlongRows, int kAlongColumns>                                \
  CT_DEVICE void name(float(&s)[64], uint64_t a, uint64_t b) {                \
    asm volatile(                                                             \
        "{\n.reg .pred p;\nsetp.eq.u32 p, 0, 0;\n"                            \
        "wgmma.mma_async.sync.aligned.m64n128k16.f32." types                  \
        " {%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, " \
        "%15, %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, "   \
        "%28, %29, %30, %31, %32, %33, %34, %35, %36, %37, %38, %39, %40, "   \
        "%41, %42, %43, %44, %45, %46, %47, %48, %49, %50, %51, %52, %53, "   \
        "%54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "                 \
        "%64, %65, p, 1, 1, %66, %67;\n}"                                     \
        : CT_SUMS                                                             \
        : "l"(a), "l"(b), "n"(kAlongRows), "n"(kAlongColumns)                 \
        : "memory");                                                          \
  }
CT_WGMMA(WgmmaHalf, "f16.f16")
CT_WGMMA(WgmmaBFloat16, "bf16.bf16")
#undef CT_WGMMA
#undef CT_SUMS
#undef CT_SUM16
#undef CT_SUM4

#endif  // CONV_TRANSPOSE_ND_EMULATED

}  // namespace gpu
}  // namespace conv_transpose_nd

#endif  // CONV_TRANSPOSE_ND_KERNELS_GPU_WGMMA_CUH_
