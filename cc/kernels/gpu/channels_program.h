// Programs of channels.cu.
#ifndef CONV_TRANSPOSE_ND_KERNELS_GPU_CHANNELS_PROGRAM_H_
#define CONV_TRANSPOSE_ND_KERNELS_GPU_CHANNELS_PROGRAM_H_

#include <optional>

#include "cc/kernels/gpu/program.h"

namespace conv_transpose_nd {
namespace gpu {

// None unless the result has few channels, or each is a group of its own, up to
// rank 3.
std::optional<Program> ChannelsProgram(Operation operation,
                                       const ConvTransposeGeometry& geometry,
                                       DType dtype, bool aligned);

}  // namespace gpu
}  // namespace conv_transpose_nd

#endif  // CONV_TRANSPOSE_ND_KERNELS_GPU_CHANNELS_PROGRAM_H_
