#include "cc/kernels/gpu/gemm_program.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <string>
#include <utility>

#include "cc/core/phase.h"
#include "cc/kernels/gpu/direct_program.h"
#include "cc/kernels/gpu/gemm_kernels.h"

namespace conv_transpose_nd {
namespace gpu {
namespace {

constexpr int64_t kMaxInt32 = std::numeric_limits<int32_t>::max();
// Coordinates of rows that do not exist are -2^30 (kOutside in gemm.cuh).
constexpr int64_t kMaxReach = int64_t{1} << 30;
constexpr int64_t kMaxPhases = 4096;
constexpr int64_t kMaxTaps = 65536;
// Of what follows the tables in the workspace, in bytes.
constexpr int64_t kAlignment = 256;

int64_t Blocks(int64_t length, int64_t block) {
  return (length + block - 1) / block;
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

// Depths below are gathered by taps and channels together.
constexpr int64_t kMinDepth = 8;

// Every channel of the source has its own taps of depth 1.
void Flatten(const GemmParams& p, int64_t depth, Tables* tables) {
  std::vector<GemmTap> taps;
  for (const GemmTap& tap : tables->taps) {
    for (int64_t d = 0; d < depth; ++d) {
      taps.push_back(tap);
      taps.back().source += d * p.source_channel;
      taps.back().filter += d * p.filter_depth;
    }
  }
  for (GemmPhase& phase : tables->phases) {
    phase.first_tap *= static_cast<int32_t>(depth);
    phase.taps *= static_cast<int32_t>(depth);
  }
  tables->taps = std::move(taps);
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
  p.vector_first = aligned && last && walk.depth % chunk == 0 &&
                   walk.source_channels % chunk == 0;
  p.vector_second = aligned && geometry.group_in_channels() % chunk == 0;
  p.vector_result = aligned && last && walk.columns % chunk == 0 &&
                    walk.result_channels % chunk == 0;
  p.rows_adjacent = !last;
  return p;
}

int64_t SumBytes(DType dtype) { return dtype == DType::kDouble ? 8 : 4; }

// The kernel that takes least time, and the ranges of depth that it gets.
struct Choice {
  bool found = false;
  GemmKernel kernel;
  int64_t tiles = 0;  // of one range
  DepthRanges ranges;
};

// tiles(kernel), blocks(kernel): of depth, of the longest sum;
// range_bytes(kernel, tiles): of the sums of one range.
template <typename Tiles, typename DepthBlocks, typename RangeBytes>
Choice Choose(DType dtype, const DeviceInfo& device, const GemmOptions& options,
              const GemmParams& p, bool flat, const Tiles& tiles,
              const DepthBlocks& blocks, const RangeBytes& range_bytes) {
  Choice best;
  const bool vectors = !flat && p.vector_first && p.vector_second;
  for (const GemmKernel& kernel :
       GemmKernels(dtype, device, options.allow_tf32, vectors)) {
    if (options.tile != 0 && kernel.tile != options.tile) continue;
    if (flat && !HasFlat(kernel)) continue;
    if (kernel.shared_bytes > device.shared_bytes_per_block) continue;
    Choice choice{true, kernel, tiles(kernel), {}};
    choice.ranges =
        MakeRanges(blocks(kernel), choice.tiles,
                   range_bytes(kernel, choice.tiles), options.splits, device);
    if (choice.tiles * choice.ranges.count > kMaxInt32) continue;
    if (!best.found ||
        GemmCost(kernel, choice.tiles, choice.ranges, device) <
            GemmCost(best.kernel, best.tiles, best.ranges, device)) {
      best = choice;
    }
  }
  return best;
}

// The launch that multiplies, and the one that adds its ranges of depth, whose
// sums follow the tables in the workspace.
void AddGather(const Choice& choice, Operation operation, bool flat,
               DType dtype, GemmParams p, Program* program) {
  const int64_t ranges = choice.ranges.count;
  const int64_t side = choice.kernel.tile;
  p.splits = static_cast<int32_t>(ranges);
  if (ranges > 1) {
    p.store_partials = 1;
    p.partials = Blocks(program->workspace_bytes, kAlignment) * kAlignment;
    program->workspace_bytes =
        p.partials + ranges * choice.tiles * side * side * SumBytes(dtype);
  }
  Launch launch = GemmLaunch(choice.kernel, operation, flat, choice.tiles, p);
  launch.grid[1] = static_cast<uint32_t>(ranges);
  program->launches.push_back(std::move(launch));
  if (ranges > 1) {
    program->launches.push_back(
        GemmSumLaunch(choice.kernel, dtype, choice.tiles, p));
  }
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
  GemmParams p = GatherParams(operation, geometry, walk, 16 / SizeOf(dtype),
                              options.aligned);
  const bool flat =
      operation == Operation::kInputGrad && walk.depth < kMinDepth;
  if (flat) {
    Flatten(p, walk.depth, &tables);
    p.depth = 1;
  }
  // The phase of most taps is the first.
  const int64_t longest = tables.phases[0].taps;
  const Choice choice = Choose(
      dtype, device, options, p, flat,
      [&](const GemmKernel& kernel) {
        return CountTiles(tables, geometry.groups, columns, kernel.tile);
      },
      [&](const GemmKernel& kernel) {
        return flat ? Blocks(longest, kernel.depth)
                    : longest * Blocks(walk.depth, kernel.depth);
      },
      [&](const GemmKernel& kernel, int64_t tiles) {
        return tiles * kernel.tile * kernel.tile * SumBytes(dtype);
      });
  if (!choice.found) return {};
  p.columns = static_cast<int32_t>(columns);
  p.column_tiles = static_cast<int32_t>(Blocks(columns, choice.kernel.tile));
  p.phases = static_cast<int32_t>(tables.phases.size());
  p.folds = static_cast<int32_t>(tables.folds.size());
  int64_t first = 0;
  for (GemmPhase& phase : tables.phases) {
    phase.first_tile = static_cast<int32_t>(first);
    first += Blocks(phase.rows, choice.kernel.tile) * p.groups * p.column_tiles;
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
  AddGather(choice, operation, flat, dtype, p, &program);
  program.reason = Describe(choice.kernel, choice.tiles) + ", " +
                   std::to_string(tables.phases.size()) + " phases, " +
                   std::to_string(tables.folds.size()) + " folded";
  if (flat) program.reason += ", depth of taps";
  if (choice.ranges.count > 1) {
    program.reason +=
        ", " + std::to_string(choice.ranges.count) + " ranges of depth";
  }
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
  const Choice choice = Choose(
      dtype, device, options, p, /*flat=*/false,
      [&](const GemmKernel& kernel) {
        return taps * geometry.groups * Blocks(p.rows, kernel.tile) *
               Blocks(p.columns, kernel.tile);
      },
      [&](const GemmKernel& kernel) { return Blocks(positions, kernel.depth); },
      [&](const GemmKernel&, int64_t) { return p.elements * SumBytes(dtype); });
  if (!choice.found) return {};
  const int64_t splits = choice.ranges.count;
  const int64_t tiles = choice.tiles * splits;
  p.row_tiles = static_cast<int32_t>(Blocks(p.rows, choice.kernel.tile));
  p.column_tiles = static_cast<int32_t>(Blocks(p.columns, choice.kernel.tile));
  p.splits = static_cast<int32_t>(splits);
  p.blocks_per_split = static_cast<int32_t>(choice.ranges.each);
  p.store_partials = splits > 1;
  Program program;
  program.launches.push_back(GemmLaunch(choice.kernel, Operation::kFilterGrad,
                                        /*flat=*/false, tiles, p));
  if (splits > 1) {
    program.workspace_bytes = splits * p.elements * SumBytes(dtype);
    program.launches.push_back(
        ReduceLaunch(dtype, p.elements, p.splits, /*offset=*/0));
  }
  program.reason = Describe(choice.kernel, tiles) + ", " +
                   std::to_string(splits) + " ranges of positions";
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
