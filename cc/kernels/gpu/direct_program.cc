#include "cc/kernels/gpu/direct_program.h"

#include <algorithm>
#include <limits>
#include <mutex>
#include <numeric>
#include <set>
#include <string>
#include <tuple>
#include <utility>

namespace conv_transpose_nd {
namespace gpu {
namespace {

static_assert(kMaxAxes == kMaxRank, "params.h and geometry.h");
static_assert(static_cast<int>(Activation::kRelu) == 1 &&
                  static_cast<int>(Activation::kSilu) == 9,
              "Activate in device.cuh names the enumerators by value");

constexpr int kThreads = 256;
// Blocks take several items each beyond this.
constexpr int64_t kMaxBlocks = int64_t{1} << 20;
// Threads per multiprocessor that hide the latency of memory.
constexpr int64_t kResidentThreads = 2048;
// Partial sums of a filter gradient need no more than this.
constexpr int64_t kMaxPartialBytes = int64_t{64} << 20;

// a * b, or a number too large for anything.
int64_t Product(int64_t a, int64_t b) {
  constexpr int64_t kLarge = int64_t{1} << 62;
  return b != 0 && a > kLarge / b ? kLarge : a * b;
}

// x with a * x = 1 (mod modulus), for coprime a and modulus.
int64_t Inverse(int64_t a, int64_t modulus) {
  int64_t r0 = modulus, r1 = a % modulus, x0 = 0, x1 = 1;
  while (r1 != 0) {
    const int64_t q = r0 / r1;
    std::tie(r0, r1) = std::make_pair(r1, r0 - q * r1);
    std::tie(x0, x1) = std::make_pair(x1, x0 - q * x1);
  }
  return x0 < 0 ? x0 + modulus : x0;
}

template <typename I>
Axis<I> Narrowed(const Axis<int64_t>& axis) {
  return {static_cast<I>(axis.input),    static_cast<I>(axis.filter),
          static_cast<I>(axis.output),   static_cast<I>(axis.stride),
          static_cast<I>(axis.dilation), static_cast<I>(axis.pad_before),
          static_cast<I>(axis.gcd),      static_cast<I>(axis.inverse)};
}

template <typename I>
void SetAxes(const ConvTransposeGeometry& geometry, Axis<I>* axes) {
  for (int a = 0; a < kMaxAxes; ++a) {
    axes[a] = a < geometry.rank ? Narrowed<I>(MakeAxis(geometry.axis[a]))
                                : Axis<I>{1, 1, 1, 1, 1, 0, 1, 0};
  }
}

template <typename I>
TensorStrides<I> Narrowed(const ElementStrides& strides, int rank) {
  TensorStrides<I> result{};
  result.batch = static_cast<I>(strides.batch);
  result.channel = static_cast<I>(strides.channel);
  for (int a = 0; a < rank; ++a) {
    result.axis[a] = static_cast<I>(strides.axis[a]);
  }
  return result;
}

Launch ItemsLaunch(const std::string& kernel, int64_t items) {
  Launch launch;
  launch.module = "direct";
  launch.kernel = KernelName(kernel);
  launch.grid[0] = static_cast<uint32_t>(
      std::min((items + kThreads - 1) / kThreads, kMaxBlocks));
  launch.block[0] = kThreads;
  return launch;
}

template <typename I>
DirectParams<I> GatherParams(Operation operation,
                             const ConvTransposeGeometry& geometry, bool fill) {
  const bool forward = operation == Operation::kConvTranspose;
  DirectParams<I> p{};
  p.elements = ResultElements(operation, geometry);
  p.rank = geometry.rank;
  p.forward = forward;
  p.channels_last = geometry.data_format == DataFormat::kChannelsLast;
  p.activation = forward ? static_cast<int32_t>(geometry.activation) : 0;
  const int64_t group_in = geometry.group_in_channels();
  const int64_t group_out = geometry.group_out_channels();
  p.depth = static_cast<I>(fill ? 0 : forward ? group_in : group_out);
  p.columns = static_cast<I>(forward ? group_out : group_in);
  p.channels =
      static_cast<I>(forward ? geometry.out_channels : geometry.in_channels);
  p.source =
      Narrowed<I>(forward ? InputStrides(geometry) : OutputStrides(geometry),
                  geometry.rank);
  p.depth_stride = static_cast<I>(forward ? 1 : geometry.in_channels);
  p.column_stride = static_cast<I>(forward ? geometry.in_channels : 1);
  p.group_stride = static_cast<I>(group_in);
  int64_t step = group_out * geometry.in_channels;
  for (int a = geometry.rank - 1; a >= 0; --a) {
    p.filter_axis[a] = static_cast<I>(step);
    step *= geometry.axis[a].filter;
  }
  SetAxes(geometry, p.axis);
  return p;
}

Launch GatherLaunch(Operation operation, const ConvTransposeGeometry& geometry,
                    DType dtype, const std::string& width, bool fill) {
  Launch launch =
      ItemsLaunch(std::string("ct_direct_") + Suffix(dtype) + "_" + width,
                  ResultElements(operation, geometry));
  launch.params =
      width == "i32"
          ? BytesOf(GatherParams<int32_t>(operation, geometry, fill))
          : BytesOf(GatherParams<int64_t>(operation, geometry, fill));
  return launch;
}

template <typename I>
std::vector<char> FilterGradParams(const ConvTransposeGeometry& geometry,
                                   int64_t splits, int64_t rows_per_split) {
  DirectFilterGradParams<I> p{};
  p.elements = ResultElements(Operation::kFilterGrad, geometry);
  p.rank = geometry.rank;
  p.splits = static_cast<int32_t>(splits);
  p.rows = static_cast<I>(geometry.batch * geometry.axis[0].input);
  p.rows_per_split = static_cast<I>(rows_per_split);
  p.in_channels = static_cast<I>(geometry.in_channels);
  p.group_in = static_cast<I>(geometry.group_in_channels());
  p.group_out = static_cast<I>(geometry.group_out_channels());
  p.input = Narrowed<I>(InputStrides(geometry), geometry.rank);
  p.output = Narrowed<I>(OutputStrides(geometry), geometry.rank);
  SetAxes(geometry, p.axis);
  return BytesOf(p);
}

Program FilterGradProgram(const ConvTransposeGeometry& geometry, DType dtype,
                          const DeviceInfo& device, const char* width) {
  Program program;
  const int64_t elements = ResultElements(Operation::kFilterGrad, geometry);
  const int64_t rows = geometry.batch * geometry.axis[0].input;
  const int64_t sum_bytes = dtype == DType::kDouble ? 8 : 4;
  // As many ranges of rows as fill the device.
  int64_t splits = device.multiprocessors * kResidentThreads /
                   std::max<int64_t>(elements, 1);
  splits = std::min(splits, kMaxPartialBytes / sum_bytes / elements);
  splits = std::max<int64_t>(1, std::min(splits, rows));
  const int64_t rows_per_split = (rows + splits - 1) / splits;
  if (rows > 0) splits = (rows + rows_per_split - 1) / rows_per_split;
  Launch launch = ItemsLaunch(
      std::string("ct_direct_filter_grad_") + Suffix(dtype) + "_" + width,
      elements * splits);
  launch.params =
      std::string(width) == "i32"
          ? FilterGradParams<int32_t>(geometry, splits, rows_per_split)
          : FilterGradParams<int64_t>(geometry, splits, rows_per_split);
  program.launches.push_back(std::move(launch));
  if (splits > 1) {
    program.workspace_bytes = elements * splits * sum_bytes;
    program.launches.push_back(
        ReduceLaunch(dtype, elements, static_cast<int32_t>(splits), 0));
  }
  return program;
}

}  // namespace

const char* KernelName(const std::string& name) {
  static std::mutex mutex;
  static auto* names = new std::set<std::string>;
  const std::lock_guard<std::mutex> lock(mutex);
  return names->insert(name).first->c_str();
}

const char* Suffix(DType dtype) {
  switch (dtype) {
    case DType::kHalf:
      return "half";
    case DType::kBFloat16:
      return "bfloat16";
    case DType::kDouble:
      return "double";
    default:
      return "float";
  }
}

Axis<int64_t> MakeAxis(const AxisGeometry& axis) {
  const int64_t gcd = std::gcd(axis.stride, axis.dilation);
  const int64_t period = axis.stride / gcd;
  return {
      axis.input,    axis.filter,
      axis.output,   axis.stride,
      axis.dilation, axis.pad_before,
      gcd,           period == 1 ? 0 : Inverse(axis.dilation / gcd, period)};
}

bool FitsInt32(const ConvTransposeGeometry& geometry) {
  constexpr int64_t kLimit = std::numeric_limits<int32_t>::max();
  const ElementStrides in = InputStrides(geometry);
  const ElementStrides out = OutputStrides(geometry);
  int64_t filter_step = geometry.group_out_channels() * geometry.in_channels;
  bool fits = NumElements(geometry.InputDims()) < kLimit &&
              NumElements(geometry.FilterDims()) < kLimit &&
              NumElements(geometry.OutputDims()) < kLimit;
  for (int a = geometry.rank - 1; a >= 0 && fits; --a) {
    const AxisGeometry& axis = geometry.axis[a];
    const int64_t step = std::max(axis.stride, axis.dilation);
    // Positions, and the distance of neighbours in memory.
    const int64_t reach = Product(axis.input + 1, axis.stride) +
                          Product(axis.filter + 1, axis.dilation) +
                          axis.output + std::abs(axis.pad_before);
    const int64_t distance =
        std::max({in.axis[a], out.axis[a], filter_step, int64_t{1}});
    fits = reach < kLimit && Product(step, distance) < kLimit;
    filter_step = Product(filter_step, axis.filter);
  }
  return fits;
}

DirectParams<int32_t> GatherParams32(Operation operation,
                                     const ConvTransposeGeometry& geometry) {
  return GatherParams<int32_t>(operation, geometry, /*fill=*/false);
}

Launch FillLaunch(Operation operation, const ConvTransposeGeometry& geometry,
                  DType dtype) {
  return GatherLaunch(operation, geometry, dtype,
                      FitsInt32(geometry) ? "i32" : "i64", /*fill=*/true);
}

Launch ReduceLaunch(DType dtype, int64_t elements, int32_t splits,
                    int64_t offset) {
  Launch launch =
      ItemsLaunch(std::string("ct_reduce_") + Suffix(dtype), elements);
  ReduceParams p{};
  p.elements = elements;
  p.offset = offset;
  p.splits = splits;
  launch.params = BytesOf(p);
  return launch;
}

Program DirectProgram(Operation operation,
                      const ConvTransposeGeometry& geometry, DType dtype,
                      const DeviceInfo& device, bool wide) {
  Program program;
  const int64_t elements = ResultElements(operation, geometry);
  if (elements == 0) {
    program.reason = "nothing to do: the result is empty";
    return program;
  }
  const char* width = !wide && FitsInt32(geometry) ? "i32" : "i64";
  if (operation == Operation::kFilterGrad) {
    program = FilterGradProgram(geometry, dtype, device, width);
  } else {
    program.launches.push_back(
        GatherLaunch(operation, geometry, dtype, width, /*fill=*/false));
  }
  program.reason = std::string("direct: a thread per element, ") + width;
  return program;
}

}  // namespace gpu
}  // namespace conv_transpose_nd
