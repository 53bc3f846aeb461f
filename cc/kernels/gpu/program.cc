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

// A filter gradient of few channels fills little of its tiles: it is a GEMM if
// these have at most so many products for each that is wanted, by how much
// faster than a thread per element they are multiplied.
constexpr int64_t kMaxPadding = 5;
constexpr int64_t kMaxTensorCorePadding = 24;

bool FilterGradPays(int64_t in, int64_t out, bool tensor_cores) {
  if (in >= kMinGemmChannels && out >= kMinGemmChannels) return true;
  const int64_t tile = 64;
  const int64_t padded =
      (in + tile - 1) / tile * tile * ((out + tile - 1) / tile * tile);
  return padded <=
         in * out * (tensor_cores ? kMaxTensorCorePadding : kMaxPadding);
}

bool GemmPays(Operation operation, const ConvTransposeGeometry& geometry,
              bool tensor_cores) {
  const int64_t in = geometry.group_in_channels();
  const int64_t out = geometry.group_out_channels();
  int64_t taps = 1;
  for (int a = 0; a < geometry.rank; ++a) taps *= geometry.axis[a].filter;
  switch (operation) {
    case Operation::kInputGrad:
      return in >= kMinGemmChannels && taps * out >= kMinGemmDepth;
    case Operation::kFilterGrad:
      return FilterGradPays(in, out, tensor_cores);
    default:
      return in >= kMinGemmDepth && out >= kMinGemmChannels;
  }
}

}  // namespace

Program MakeProgram(Operation operation, const ConvTransposeGeometry& geometry,
                    DType dtype, const DeviceInfo& device, bool allow_tf32,
                    bool aligned) {
  const bool tensor_cores =
      device.compute_capability >= 80 &&
      (dtype == DType::kHalf || dtype == DType::kBFloat16 ||
       (dtype == DType::kFloat && allow_tf32));
  if (GemmPays(operation, geometry, tensor_cores)) {
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
