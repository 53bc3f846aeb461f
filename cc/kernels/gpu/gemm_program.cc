#include "cc/kernels/gpu/gemm_program.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <string>
#include <utility>

#include "cc/core/phase.h"
#include "cc/kernels/gpu/direct_program.h"

namespace conv_transpose_nd {
namespace gpu {
namespace {

constexpr int64_t kMaxInt32 = std::numeric_limits<int32_t>::max();
// Coordinates of rows that do not exist are -2^30 (kOutside in gemm.cuh).
constexpr int64_t kMaxReach = int64_t{1} << 30;
constexpr int64_t kMaxPhases = 4096;
constexpr int64_t kMaxTaps = 65536;
constexpr int64_t kMaxPartialBytes = int64_t{64} << 20;
// Depth blocks that a range of a filter gradient has at least: it also costs a
// tile of stores and loads.
constexpr int64_t kMinBlocksPerSplit = 8;

int64_t Blocks(int64_t length, int64_t block) {
  return (length + block - 1) / block;
}

// One of the kernels' ways to multiply, with one size of tile.
struct Kernel {
  const char* module;
  std::string name;  // without operation and tile
  int tile;
  int threads;
  int depth;
  int64_t shared_bytes;
};

constexpr int64_t kRowTableBytes = 16 + 4 * kMaxAxes;  // per row

Kernel FmaKernel(const std::string& name, int tile, int depth,
                 int64_t sum_bytes) {
  const int64_t padding = 4;  // kPadding in gemm_fma.cu
  return {"gemm_fma",
          name,
          tile,
          256,
          depth,
          tile * kRowTableBytes + 4 * depth * (tile + padding) * sum_bytes};
}

Kernel MmaKernel(const std::string& name, int tile, int element_bytes) {
  const int64_t stages = 4, depth_bytes = 64;  // as in gemm_mma.cu
  return {"gemm_mma",
          name,
          tile,
          tile == 128 ? 256 : 128,
          static_cast<int>(depth_bytes) / element_bytes,
          tile * kRowTableBytes + stages * 2 * tile * depth_bytes};
}

std::vector<Kernel> KernelsFor(DType dtype, const DeviceInfo& device,
                               bool allow_tf32) {
  if (device.compute_capability >= 80) {
    if (dtype == DType::kHalf) {
      return {MmaKernel("half", 128, 2), MmaKernel("half", 64, 2)};
    }
    if (dtype == DType::kBFloat16) {
      return {MmaKernel("bfloat16", 128, 2), MmaKernel("bfloat16", 64, 2)};
    }
    if (dtype == DType::kFloat && allow_tf32) {
      return {MmaKernel("tf32", 128, 4), MmaKernel("tf32", 64, 4)};
    }
  }
  switch (dtype) {
    case DType::kHalf:
      return {FmaKernel("half_fma", 64, 16, 4)};
    case DType::kBFloat16:
      return {FmaKernel("bfloat16_fma", 64, 16, 4)};
    case DType::kDouble:
      return {FmaKernel("double", 64, 8, 8)};
    default:
      return {FmaKernel("float", 128, 8, 4), FmaKernel("float", 64, 16, 4)};
  }
}

const char* KindName(Operation operation) {
  switch (operation) {
    case Operation::kInputGrad:
      return "input_grad";
    case Operation::kFilterGrad:
      return "filter_grad";
    default:
      return "forward";
  }
}

// Seconds in no particular unit: waves of blocks times the time of one. Tiles
// of 64 read twice as much per product.
double Cost(const Kernel& kernel, int64_t tiles, const DeviceInfo& device) {
  const double area = static_cast<double>(kernel.tile) * kernel.tile;
  const double waves =
      static_cast<double>(Blocks(tiles, device.multiprocessors));
  return waves * area * (kernel.tile == 64 ? 1.4 : 1.0);
}

// The phases of all axes together.
struct Walk {
  std::array<AxisPhases, kMaxRank> axis;
  ElementStrides source, result;
  std::array<int64_t, kMaxRank> filter_axis{};
  int64_t depth = 0, columns = 0;
  int64_t source_channels = 0, result_channels = 0;
};

Walk MakeWalk(Operation operation, const ConvTransposeGeometry& geometry) {
  const bool forward = operation == Operation::kConvTranspose;
  Walk walk;
  int64_t step = geometry.group_out_channels() * geometry.in_channels;
  for (int a = geometry.rank - 1; a >= 0; --a) {
    walk.axis[a] = forward ? OutputPhases(geometry.axis[a])
                           : InputPhases(geometry.axis[a]);
    walk.filter_axis[a] = step;
    step *= geometry.axis[a].filter;
  }
  walk.source = forward ? InputStrides(geometry) : OutputStrides(geometry);
  walk.result = forward ? OutputStrides(geometry) : InputStrides(geometry);
  const int64_t in = geometry.group_in_channels();
  const int64_t out = geometry.group_out_channels();
  walk.depth = forward ? in : out;
  walk.columns = forward ? out : in;
  walk.source_channels = forward ? geometry.in_channels : geometry.out_channels;
  walk.result_channels = forward ? geometry.out_channels : geometry.in_channels;
  return walk;
}

bool Fits(const ConvTransposeGeometry& geometry) {
  for (int a = 0; a < geometry.rank; ++a) {
    const AxisGeometry& axis = geometry.axis[a];
    if (axis.input >= kMaxReach || axis.output >= kMaxReach ||
        axis.filter >= kMaxReach || axis.stride >= kMaxReach ||
        axis.dilation >= kMaxReach || std::abs(axis.pad_before) >= kMaxReach) {
      return false;
    }
    const int64_t reach = (axis.input + 1) * axis.stride +
                          (axis.filter + 1) * axis.dilation + axis.output +
                          std::abs(axis.pad_before);
    if (reach >= kMaxReach) return false;
  }
  return geometry.in_channels < kMaxReach && geometry.out_channels < kMaxReach;
}

struct Tables {
  std::vector<GemmPhase> phases;
  std::vector<GemmFold> folds;
  std::vector<GemmTap> taps;
};

// Calls visit(index of each axis) for every combination.
template <typename Visit>
void ForEach(int rank, const std::array<int64_t, kMaxRank>& lengths,
             const Visit& visit) {
  std::array<int64_t, kMaxRank> at{};
  for (int a = 0; a < rank; ++a) {
    if (lengths[a] == 0) return;
  }
  while (true) {
    visit(at);
    int a = rank - 1;
    while (a >= 0 && ++at[a] == lengths[a]) at[a--] = 0;
    if (a < 0) return;
  }
}

bool TablesAreSmall(const Walk& walk, int rank) {
  int64_t phases = 1, taps = 1;
  for (int a = 0; a < rank; ++a) {
    int64_t axis_taps = 0;
    for (const Phase& phase : walk.axis[a].phases) {
      axis_taps += static_cast<int64_t>(phase.taps.size());
    }
    phases *= static_cast<int64_t>(walk.axis[a].phases.size());
    taps *= axis_taps;
    if (phases > kMaxPhases || taps > kMaxTaps) return false;
  }
  return phases > 0;
}

Tables MakeTables(const Walk& walk, int rank, int64_t batch) {
  Tables tables;
  std::array<int64_t, kMaxRank> phase_counts{};
  for (int a = 0; a < rank; ++a) {
    phase_counts[a] = static_cast<int64_t>(walk.axis[a].phases.size());
  }
  ForEach(rank, phase_counts, [&](const std::array<int64_t, kMaxRank>& at) {
    GemmPhase phase{};
    int64_t rows = batch;
    std::array<int64_t, kMaxRank> tap_counts{};
    for (int a = 0; a < rank; ++a) {
      const Phase& part = walk.axis[a].phases[at[a]];
      phase.result += part.first * walk.result.axis[a];
      phase.count[a] = static_cast<int32_t>(part.count);
      tap_counts[a] = static_cast<int64_t>(part.taps.size());
      rows = rows > kMaxInt32 ? rows : rows * part.count;
    }
    phase.rows =
        static_cast<int32_t>(std::min<int64_t>(rows, kMaxInt32));  // checked
    phase.first_tap = static_cast<int32_t>(tables.taps.size());
    ForEach(rank, tap_counts, [&](const std::array<int64_t, kMaxRank>& t) {
      GemmTap tap{};
      for (int a = 0; a < rank; ++a) {
        const Tap& part = walk.axis[a].phases[at[a]].taps[t[a]];
        tap.source += part.source_offset * walk.source.axis[a];
        tap.filter += part.filter_index * walk.filter_axis[a];
        tap.offset[a] = static_cast<int32_t>(part.source_offset);
      }
      tables.taps.push_back(tap);
    });
    phase.taps = static_cast<int32_t>(tables.taps.size()) - phase.first_tap;
    tables.phases.push_back(phase);
  });
  // Heaviest first, so that the last blocks are short.
  std::stable_sort(
      tables.phases.begin(), tables.phases.end(),
      [](const GemmPhase& a, const GemmPhase& b) { return a.taps > b.taps; });
  tables.folds.push_back({0, 0});
  return tables;
}

// Phases of one tap each that read the same source positions (a filter no
// longer than its stride) become columns of one phase.
void Fold(Tables* tables) {
  const GemmPhase& first = tables->phases[0];
  const GemmTap& tap = tables->taps[first.first_tap];
  for (const GemmPhase& phase : tables->phases) {
    const GemmTap& other = tables->taps[phase.first_tap];
    if (phase.taps != 1 ||
        std::memcmp(phase.count, first.count, sizeof(first.count)) != 0 ||
        std::memcmp(other.offset, tap.offset, sizeof(tap.offset)) != 0) {
      return;
    }
  }
  std::vector<GemmFold> folds;
  for (const GemmPhase& phase : tables->phases) {
    folds.push_back({tables->taps[phase.first_tap].filter - tap.filter,
                     phase.result - first.result});
  }
  const GemmPhase kept = first;
  const GemmTap kept_tap = tap;
  tables->phases = {kept};
  tables->phases[0].first_tap = 0;
  tables->taps = {kept_tap};
  tables->folds = std::move(folds);
}

int64_t CountTiles(const Tables& tables, int64_t groups, int64_t columns,
                   int tile) {
  int64_t tiles = 0;
  for (const GemmPhase& phase : tables.phases) {
    tiles += Blocks(phase.rows, tile) * groups * Blocks(columns, tile);
  }
  return tiles;
}

template <typename T>
void Append(const std::vector<T>& values, std::vector<char>* bytes) {
  const char* begin = reinterpret_cast<const char*>(values.data());
  bytes->insert(bytes->end(), begin, begin + values.size() * sizeof(T));
}

Launch MakeLaunch(const Kernel& kernel, Operation operation, int64_t tiles,
                  const GemmParams& params) {
  Launch launch;
  launch.module = kernel.module;
  launch.kernel =
      KernelName("ct_gemm_" + kernel.name + "_" + KindName(operation) + "_" +
                 std::to_string(kernel.tile));
  launch.grid[0] = static_cast<uint32_t>(tiles);
  launch.block[0] = static_cast<uint32_t>(kernel.threads);
  launch.shared_bytes = static_cast<uint32_t>(kernel.shared_bytes);
  launch.params = BytesOf(params);
  return launch;
}

std::string Describe(const Kernel& kernel, int64_t tiles) {
  return "gemm: " + kernel.name + ", " + std::to_string(tiles) + " tiles of " +
         std::to_string(kernel.tile) + " x " + std::to_string(kernel.tile);
}

GemmParams GatherParams(Operation operation,
                        const ConvTransposeGeometry& geometry, const Walk& walk,
                        int64_t chunk, bool aligned) {
  const bool forward = operation == Operation::kConvTranspose;
  const bool last = geometry.data_format == DataFormat::kChannelsLast;
  GemmParams p{};
  p.source_batch = walk.source.batch;
  p.source_channel = walk.source.channel;
  p.result_batch = walk.result.batch;
  p.result_channel = walk.result.channel;
  for (int a = 0; a < geometry.rank; ++a) {
    p.source_step[a] = static_cast<int32_t>(walk.axis[a].source_step);
    p.source_length[a] = static_cast<int32_t>(walk.axis[a].source_length);
    p.source_axis[a] = walk.source.axis[a] * walk.axis[a].source_step;
    p.result_axis[a] = walk.result.axis[a] * walk.axis[a].result_step;
  }
  p.filter_depth = forward ? 1 : geometry.in_channels;
  p.filter_column = forward ? geometry.in_channels : 1;
  p.filter_group = geometry.group_in_channels();
  p.source_group = walk.depth * walk.source.channel;
  p.result_group = walk.columns * walk.result.channel;
  p.rank = geometry.rank;
  p.groups = static_cast<int32_t>(geometry.groups);
  p.activation = forward ? static_cast<int32_t>(geometry.activation) : 0;
  p.depth = static_cast<int32_t>(walk.depth);
  p.fold = static_cast<int32_t>(walk.columns);
  p.splits = 1;
  p.vector_first = aligned && last && walk.depth % chunk == 0 &&
                   walk.source_channels % chunk == 0;
  p.vector_second = aligned && geometry.group_in_channels() % chunk == 0;
  p.vector_result = aligned && last && walk.columns % chunk == 0 &&
                    walk.result_channels % chunk == 0;
  p.rows_adjacent = !last;
  return p;
}

std::optional<Program> GatherProgram(Operation operation,
                                     const ConvTransposeGeometry& geometry,
                                     DType dtype, const DeviceInfo& device,
                                     const GemmOptions& options) {
  const Walk walk = MakeWalk(operation, geometry);
  if (walk.depth == 0 || !TablesAreSmall(walk, geometry.rank)) return {};
  Tables tables = MakeTables(walk, geometry.rank, geometry.batch);
  for (const GemmPhase& phase : tables.phases) {
    if (phase.rows >= kMaxReach) return {};
  }
  if (operation == Operation::kConvTranspose) Fold(&tables);
  const int64_t columns =
      walk.columns * static_cast<int64_t>(tables.folds.size());
  if (columns >= kMaxReach) return {};
  const Kernel* best = nullptr;
  int64_t tiles = 0;
  const std::vector<Kernel> kernels =
      KernelsFor(dtype, device, options.allow_tf32);
  for (const Kernel& kernel : kernels) {
    if (options.tile != 0 && kernel.tile != options.tile) continue;
    if (kernel.shared_bytes > device.shared_bytes_per_block) continue;
    const int64_t count =
        CountTiles(tables, geometry.groups, columns, kernel.tile);
    if (count > kMaxInt32) continue;
    if (best == nullptr ||
        Cost(kernel, count, device) < Cost(*best, tiles, device)) {
      best = &kernel;
      tiles = count;
    }
  }
  if (best == nullptr) return {};
  GemmParams p = GatherParams(operation, geometry, walk, 16 / SizeOf(dtype),
                              options.aligned);
  p.columns = static_cast<int32_t>(columns);
  p.column_tiles = static_cast<int32_t>(Blocks(columns, best->tile));
  p.phases = static_cast<int32_t>(tables.phases.size());
  p.folds = static_cast<int32_t>(tables.folds.size());
  int64_t first = 0;
  for (GemmPhase& phase : tables.phases) {
    phase.first_tile = static_cast<int32_t>(first);
    first += Blocks(phase.rows, best->tile) * p.groups * p.column_tiles;
  }
  Program program;
  std::vector<char> bytes;
  Append(tables.phases, &bytes);
  Append(tables.folds, &bytes);
  Append(tables.taps, &bytes);
  p.tables_are_here = bytes.size() <= sizeof(p.tables);
  if (p.tables_are_here) {
    std::memcpy(p.tables, bytes.data(), bytes.size());
  } else {
    program.workspace_bytes = static_cast<int64_t>(bytes.size());
    program.constants = std::move(bytes);
  }
  bool covered = true;
  for (int a = 0; a < geometry.rank; ++a) {
    covered = covered &&
              walk.axis[a].CoveredPositions() == walk.axis[a].result_length;
  }
  if (!covered) {
    program.launches.push_back(FillLaunch(operation, geometry, dtype));
  }
  program.launches.push_back(MakeLaunch(*best, operation, tiles, p));
  program.reason = Describe(*best, tiles) + ", " +
                   std::to_string(tables.phases.size()) + " phases, " +
                   std::to_string(tables.folds.size()) + " folded";
  return program;
}

GemmParams FilterGradParams(const ConvTransposeGeometry& geometry,
                            int64_t chunk, bool aligned) {
  const bool last = geometry.data_format == DataFormat::kChannelsLast;
  const ElementStrides in = InputStrides(geometry);
  const ElementStrides out = OutputStrides(geometry);
  const int64_t group_in = geometry.group_in_channels();
  const int64_t group_out = geometry.group_out_channels();
  GemmParams p{};
  p.source_batch = in.batch;
  p.source_channel = in.channel;
  p.source_group = group_in * in.channel;
  p.gradient_batch = out.batch;
  p.gradient_channel = out.channel;
  p.gradient_group = group_out * out.channel;
  for (int a = 0; a < geometry.rank; ++a) {
    const AxisGeometry& axis = geometry.axis[a];
    p.source_axis[a] = in.axis[a];
    p.gradient_axis[a] = out.axis[a];
    p.filter_length[a] = static_cast<int32_t>(axis.filter);
    p.stride[a] = static_cast<int32_t>(axis.stride);
    p.dilation[a] = static_cast<int32_t>(axis.dilation);
    p.pad_before[a] = static_cast<int32_t>(axis.pad_before);
    p.output_length[a] = static_cast<int32_t>(axis.output);
    p.input_length[a] = MakeDivisor(static_cast<uint32_t>(axis.input));
  }
  p.filter_row = geometry.in_channels;
  p.result_channel = 1;
  p.result_group = group_in;
  p.elements = NumElements(geometry.FilterDims());
  p.rank = geometry.rank;
  p.groups = static_cast<int32_t>(geometry.groups);
  p.rows = static_cast<int32_t>(group_out);
  p.columns = p.fold = static_cast<int32_t>(group_in);
  p.vector_first = aligned && last && group_out % chunk == 0 &&
                   geometry.out_channels % chunk == 0;
  p.vector_second = aligned && last && group_in % chunk == 0;
  p.vector_result = aligned && group_in % chunk == 0;
  p.folds = 1;  // a table of zeros
  p.tables_are_here = 1;
  return p;
}

std::optional<Program> FilterGradProgram(const ConvTransposeGeometry& geometry,
                                         DType dtype, const DeviceInfo& device,
                                         const GemmOptions& options) {
  int64_t positions = geometry.batch, taps = 1;
  for (int a = 0; a < geometry.rank; ++a) {
    positions *= geometry.axis[a].input;
    taps *= geometry.axis[a].filter;
  }
  if (positions == 0 || positions >= kMaxReach || taps >= kMaxReach) return {};
  GemmParams p =
      FilterGradParams(geometry, 16 / SizeOf(dtype), options.aligned);
  p.depth = static_cast<int32_t>(positions);
  const int64_t sum_bytes = dtype == DType::kDouble ? 8 : 4;
  const Kernel* best = nullptr;
  int64_t tiles = 0, splits = 0, per_split = 0;
  const std::vector<Kernel> kernels =
      KernelsFor(dtype, device, options.allow_tf32);
  for (const Kernel& kernel : kernels) {
    if (options.tile != 0 && kernel.tile != options.tile) continue;
    if (kernel.shared_bytes > device.shared_bytes_per_block) continue;
    const int64_t count = taps * geometry.groups * Blocks(p.rows, kernel.tile) *
                          Blocks(p.columns, kernel.tile);
    const int64_t blocks = Blocks(positions, kernel.depth);
    int64_t wanted = options.splits;
    if (wanted == 0) {
      wanted = std::min({2 * device.multiprocessors / count,
                         blocks / kMinBlocksPerSplit,
                         kMaxPartialBytes / sum_bytes / p.elements});
    }
    wanted = std::max<int64_t>(1, std::min(wanted, blocks));
    const int64_t each = Blocks(blocks, wanted);
    const int64_t ranges = Blocks(blocks, each);
    if (count * ranges > kMaxInt32) continue;
    // Time of the slowest range: of all positions over the number of ranges.
    if (best == nullptr || Cost(kernel, count * ranges, device) / ranges <
                               Cost(*best, tiles, device) / splits) {
      best = &kernel;
      tiles = count * ranges;
      splits = ranges;
      per_split = each;
    }
  }
  if (best == nullptr) return {};
  p.row_tiles = static_cast<int32_t>(Blocks(p.rows, best->tile));
  p.column_tiles = static_cast<int32_t>(Blocks(p.columns, best->tile));
  p.splits = static_cast<int32_t>(splits);
  p.blocks_per_split = static_cast<int32_t>(per_split);
  Program program;
  program.launches.push_back(
      MakeLaunch(*best, Operation::kFilterGrad, tiles, p));
  if (splits > 1) {
    program.workspace_bytes = splits * p.elements * sum_bytes;
    program.launches.push_back(
        ReduceLaunch(dtype, p.elements, p.splits, /*offset=*/0));
  }
  program.reason = Describe(*best, tiles) + ", " + std::to_string(splits) +
                   " ranges of positions";
  return program;
}

}  // namespace

std::optional<Program> GemmProgram(Operation operation,
                                   const ConvTransposeGeometry& geometry,
                                   DType dtype, const DeviceInfo& device,
                                   const GemmOptions& options) {
  if (ResultElements(operation, geometry) == 0 || !Fits(geometry)) return {};
  return operation == Operation::kFilterGrad
             ? FilterGradProgram(geometry, dtype, device, options)
             : GatherProgram(operation, geometry, dtype, device, options);
}

}  // namespace gpu
}  // namespace conv_transpose_nd
