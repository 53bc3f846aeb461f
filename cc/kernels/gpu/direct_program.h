// Programs of direct.cu, which run any geometry.
#ifndef CONV_TRANSPOSE_ND_KERNELS_GPU_DIRECT_PROGRAM_H_
#define CONV_TRANSPOSE_ND_KERNELS_GPU_DIRECT_PROGRAM_H_

#include "cc/kernels/gpu/index.h"
#include "cc/kernels/gpu/params.h"
#include "cc/kernels/gpu/program.h"

namespace conv_transpose_nd {
namespace gpu {

// Every offset and every value that index.h computes is below 2^31.
bool FitsInt32(const ConvTransposeGeometry& geometry);

Axis<int64_t> MakeAxis(const AxisGeometry& axis);

// The parameters of a transposed convolution or an input gradient, which must
// fit in 32 bits.
DirectParams<int32_t> GatherParams32(Operation operation,
                                     const ConvTransposeGeometry& geometry);

// "half", "bfloat16", "float" or "double": part of the names of kernels.
const char* Suffix(DType dtype);

// wide: with 64-bit indices also where 32 bits would do, for tests.
Program DirectProgram(Operation operation,
                      const ConvTransposeGeometry& geometry, DType dtype,
                      const DeviceInfo& device, bool wide = false);

// The launch that fills the result of a transposed convolution or an input
// gradient as if there were no products.
Launch FillLaunch(Operation operation, const ConvTransposeGeometry& geometry,
                  DType dtype);

// The launch that adds `splits` partial sums of each element, which start at
// `offset` bytes of the workspace.
Launch ReduceLaunch(DType dtype, int64_t elements, int32_t splits,
                    int64_t offset);

// Launch::kernel lives as long as the process.
const char* KernelName(const std::string& name);

template <typename P>
std::vector<char> BytesOf(const P& params) {
  const char* begin = reinterpret_cast<const char*>(&params);
  return std::vector<char>(begin, begin + sizeof(P));
}

}  // namespace gpu
}  // namespace conv_transpose_nd

#endif  // CONV_TRANSPOSE_ND_KERNELS_GPU_DIRECT_PROGRAM_H_
