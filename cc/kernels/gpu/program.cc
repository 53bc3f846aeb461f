#include "cc/kernels/gpu/program.h"

#include <algorithm>

#include "cc/kernels/gpu/direct_program.h"

namespace conv_transpose_nd {
namespace gpu {

Program MakeProgram(Operation operation, const ConvTransposeGeometry& geometry,
                    DType dtype, const DeviceInfo& device, bool allow_tf32,
                    bool aligned) {
  (void)allow_tf32;
  (void)aligned;
  return DirectProgram(operation, geometry, dtype, device);
}

}  // namespace gpu
}  // namespace conv_transpose_nd
