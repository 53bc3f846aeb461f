// The implicit-GEMM kernels as the host sees them: which of them serve a dtype
// on a device, what they cost, and how they are launched.
#ifndef CONV_TRANSPOSE_ND_KERNELS_GPU_GEMM_KERNELS_H_
#define CONV_TRANSPOSE_ND_KERNELS_GPU_GEMM_KERNELS_H_

#include <string>
#include <vector>

#include "cc/kernels/gpu/gemm_params.h"
#include "cc/kernels/gpu/program.h"

namespace conv_transpose_nd {
namespace gpu {

// One of the ways to multiply, with one size of tile.
struct GemmKernel {
  const char* module;
  std::string name;  // without operation and tile
  int tile;          // rows, and columns
  int threads;
  int depth;  // of a block: what a stage of shared memory holds
  int64_t shared_bytes;
  double weight;  // time of a product, in no particular unit
};

// vectors: both operands may be read 16 bytes at a time.
std::vector<GemmKernel> GemmKernels(DType dtype, const DeviceInfo& device,
                                    bool allow_tf32, bool vectors);

// `blocks` of depth in `count` ranges of `each`, the last one shorter.
struct DepthRanges {
  int64_t count = 1;
  int64_t each = 0;
};
// wanted: 0 for as many ranges as let `tiles` tiles fill the device, each worth
// its sums, of which a range has `range_bytes`.
DepthRanges MakeRanges(int64_t blocks, int64_t tiles, int64_t range_bytes,
                       int64_t wanted, const DeviceInfo& device);

// Seconds in no particular unit.
double GemmCost(const GemmKernel& kernel, int64_t tiles,
                const DepthRanges& ranges, const DeviceInfo& device);

// flat: see gemm_flat.cuh. Not all kernels have that.
bool HasFlat(const GemmKernel& kernel);
Launch GemmLaunch(const GemmKernel& kernel, Operation operation, bool flat,
                  int64_t tiles, const GemmParams& params);

// The launch that adds the ranges of a gather, whose parameters are otherwise
// those of the launch before.
Launch GemmSumLaunch(const GemmKernel& kernel, DType dtype, int64_t tiles,
                     GemmParams params);

std::string Describe(const GemmKernel& kernel, int64_t tiles);

}  // namespace gpu
}  // namespace conv_transpose_nd

#endif  // CONV_TRANSPOSE_ND_KERNELS_GPU_GEMM_KERNELS_H_
