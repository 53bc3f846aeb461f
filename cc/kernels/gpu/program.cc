#include "cc/kernels/gpu/program.h"

#include <algorithm>
#include <optional>

#include "cc/kernels/gpu/channels_program.h"
#include "cc/kernels/gpu/direct_program.h"
#include "cc/kernels/gpu/gemm_program.h"

namespace conv_transpose_nd {
namespace gpu {
namespace {

// A tile of the implicit GEMM has at least 64 rows and 64 columns, and takes 8
// units of depth or more at a time. Estimates: no device has run them.
constexpr int64_t kMinGemmChannels = 9;
constexpr int64_t kMinGemmDepth = 8;

bool GemmPays(Operation operation, const ConvTransposeGeometry& geometry) {
  const int64_t in = geometry.group_in_channels();
  const int64_t out = geometry.group_out_channels();
  switch (operation) {
    case Operation::kInputGrad:
      return in >= kMinGemmChannels && out >= kMinGemmDepth;
    case Operation::kFilterGrad:
      return in >= kMinGemmChannels && out >= kMinGemmChannels;
    default:
      return in >= kMinGemmDepth && out >= kMinGemmChannels;
  }
}

}  // namespace

Program MakeProgram(Operation operation, const ConvTransposeGeometry& geometry,
                    DType dtype, const DeviceInfo& device, bool allow_tf32,
                    bool aligned) {
  if (GemmPays(operation, geometry)) {
    GemmOptions options;
    options.allow_tf32 = allow_tf32;
    options.aligned = aligned;
    std::optional<Program> program =
        GemmProgram(operation, geometry, dtype, device, options);
    if (program) return *std::move(program);
  }
  std::optional<Program> program =
      ChannelsProgram(operation, geometry, dtype, aligned);
  if (program) return *std::move(program);
  return DirectProgram(operation, geometry, dtype, device);
}

}  // namespace gpu
}  // namespace conv_transpose_nd
