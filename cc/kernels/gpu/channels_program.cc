#include "cc/kernels/gpu/channels_program.h"

#include <algorithm>
#include <string>
#include <utility>

#include "cc/kernels/gpu/direct_program.h"

namespace conv_transpose_nd {
namespace gpu {
namespace {

constexpr int64_t kThreads = 256;
constexpr int kLargestRank = 3;     // kAxes in channels.cu
constexpr int64_t kFewColumns = 8;  // its largest kColumns
// What a kernel has without opting in to more.
constexpr int64_t kSharedBytes = 48 << 10;

Program OneLaunch(const std::string& kernel, int64_t threads,
                  int64_t shared_bytes, const ChannelsParams& params) {
  Launch launch;
  launch.module = "channels";
  launch.kernel = KernelName(kernel);
  launch.grid[0] = static_cast<uint32_t>((threads + kThreads - 1) / kThreads);
  launch.block[0] = kThreads;
  launch.shared_bytes = static_cast<uint32_t>(shared_bytes);
  launch.params = BytesOf(params);
  Program program;
  program.launches.push_back(std::move(launch));
  return program;
}

}  // namespace

std::optional<Program> ChannelsProgram(Operation operation,
                                       const ConvTransposeGeometry& geometry,
                                       DType dtype, bool aligned) {
  const int64_t elements = ResultElements(operation, geometry);
  if (operation == Operation::kFilterGrad || geometry.rank > kLargestRank ||
      elements == 0 || !FitsInt32(geometry)) {
    return {};
  }
  const bool last = geometry.data_format == DataFormat::kChannelsLast;
  const int64_t chunk = 16 / SizeOf(dtype);
  ChannelsParams p{};
  p.gather = GatherParams32(operation, geometry);
  p.gather.elements = elements / p.gather.channels;
  p.positions = static_cast<int32_t>(p.gather.elements / geometry.batch);
  int64_t taps = 1;
  for (int a = 0; a < geometry.rank; ++a) taps *= geometry.axis[a].filter;
  p.taps = static_cast<int32_t>(taps);
  p.tap_stride = static_cast<int32_t>(geometry.group_out_channels() *
                                      geometry.in_channels);
  if (geometry.groups > 1) {
    if (p.gather.depth != 1 || p.gather.columns != 1 || !last || !aligned ||
        p.gather.channels % chunk != 0) {
      return {};
    }
    Program program = OneLaunch(std::string("ct_channelwise_") + Suffix(dtype),
                                elements / chunk, 0, p);
    program.reason = "channelwise: a thread per position and 16 bytes";
    return program;
  }
  if (p.gather.columns > kFewColumns || p.gather.depth == 0 || taps == 0) {
    return {};
  }
  const int64_t columns =
      p.gather.columns == 1 ? 1 : (p.gather.columns <= 4 ? 4 : 8);
  const int64_t bytes = taps * columns * (dtype == DType::kDouble ? 8 : 4);
  if (bytes * chunk > kSharedBytes) return {};
  int64_t depth = std::min<int64_t>(p.gather.depth, kSharedBytes / bytes);
  p.vector =
      aligned && p.gather.source.channel == 1 && p.gather.depth % chunk == 0;
  if (depth < p.gather.depth) depth -= depth % chunk;
  p.depth_block = static_cast<int32_t>(depth);
  Program program = OneLaunch(
      std::string("ct_few_") + Suffix(dtype) + "_" + std::to_string(columns),
      p.gather.elements, bytes * depth, p);
  program.reason = "few channels: a thread per position, the filter of " +
                   std::to_string(depth) + " channels in shared memory";
  return program;
}

}  // namespace gpu
}  // namespace conv_transpose_nd
