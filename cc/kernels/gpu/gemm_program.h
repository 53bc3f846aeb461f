// Programs of the implicit-GEMM kernels.
#ifndef CONV_TRANSPOSE_ND_KERNELS_GPU_GEMM_PROGRAM_H_
#define CONV_TRANSPOSE_ND_KERNELS_GPU_GEMM_PROGRAM_H_

#include <optional>

#include "cc/kernels/gpu/gemm_params.h"
#include "cc/kernels/gpu/program.h"

namespace conv_transpose_nd {
namespace gpu {

struct GemmOptions {
  bool allow_tf32 = false;
  bool aligned = true;
  // Rows and columns of a tile, 64 or 128; 0: what takes least time.
  int tile = 0;
  // Ranges of depth; 0: as many as fill the device.
  int splits = 0;
};

// None where the result is empty, no product reaches it, or a table or an index
// would be too large.
std::optional<Program> GemmProgram(Operation operation,
                                   const ConvTransposeGeometry& geometry,
                                   DType dtype, const DeviceInfo& device,
                                   const GemmOptions& options);

}  // namespace gpu
}  // namespace conv_transpose_nd

#endif  // CONV_TRANSPOSE_ND_KERNELS_GPU_GEMM_PROGRAM_H_
