#include "cc/core/plan.h"

#include <algorithm>
#include <cstdlib>
#include <sstream>
#include <utility>

#include "cc/core/plan_blocks.h"

namespace conv_transpose_nd {
namespace {

Gather MakeGather(Operation operation, const ConvTransposeGeometry& geometry) {
  Gather gather;
  const bool forward = operation == Operation::kConvTranspose;
  const int64_t group_in = geometry.group_in_channels();
  const int64_t group_out = geometry.group_out_channels();
  gather.depth = forward ? group_in : group_out;
  gather.columns = forward ? group_out : group_in;
  gather.source = forward ? InputStrides(geometry) : OutputStrides(geometry);
  gather.result = forward ? OutputStrides(geometry) : InputStrides(geometry);
  for (int a = geometry.rank - 1; a >= 0; --a) {
    gather.axis[a] = forward ? OutputPhases(geometry.axis[a])
                             : InputPhases(geometry.axis[a]);
    gather.filter_step[a] = gather.filter_taps;
    gather.filter_taps *= geometry.axis[a].filter;
  }
  gather.tap_stride = group_out * geometry.in_channels;
  gather.depth_stride = forward ? 1 : geometry.in_channels;
  gather.column_stride = forward ? geometry.in_channels : 1;
  gather.group_stride = group_in;
  return gather;
}

// Multiply-adds per axis pair summed exactly: taps that land inside, over all
// result positions.
double CountTaps(const AxisPhases& axis) {
  double taps = 0;
  for (const Phase& phase : axis.phases) {
    for (const Tap& tap : phase.taps) {
      const int64_t step = axis.source_step;
      const int64_t first =
          std::max<int64_t>(0, CeilDiv(-tap.source_offset, step));
      const int64_t last = std::min(
          phase.count, CeilDiv(axis.source_length - tap.source_offset, step));
      taps += static_cast<double>(std::max<int64_t>(0, last - first));
    }
  }
  return taps;
}

double CountMultiplyAdds(const ConvTransposeGeometry& geometry) {
  double count = static_cast<double>(geometry.batch) * geometry.in_channels *
                 geometry.group_out_channels();
  for (int a = 0; a < geometry.rank; ++a)
    count *= CountTaps(InputPhases(geometry.axis[a]));
  return count;
}

bool HasProducts(const Plan& plan) {
  const ConvTransposeGeometry& geometry = plan.geometry;
  return NumElements(geometry.InputDims()) > 0 &&
         NumElements(geometry.FilterDims()) > 0 &&
         NumElements(geometry.OutputDims()) > 0;
}

int64_t ResultElements(const Plan& plan) {
  switch (plan.operation) {
    case Operation::kInputGrad:
      return NumElements(plan.geometry.InputDims());
    case Operation::kFilterGrad:
      return NumElements(plan.geometry.FilterDims());
    default:
      return NumElements(plan.geometry.OutputDims());
  }
}

// Estimated cycles of one core, by family; what the choice is made on.
struct Costs {
  double channel_lanes;
  double pixel_lanes;
  double pixel_tiles;
};

// Two FMAs per cycle, less what loads and edges cost. The constants were fitted
// to a Sapphire Rapids core; they only rank the families.
constexpr double kChannelLanesRate = 1.85;
constexpr double kPixelLanesRate = 1.1;
constexpr double kPixelTilesRate = 1.4;
constexpr double kWinogradRate = 2.0;
constexpr int64_t kWinogradDepth = 16;
// Cycles per weight to pack a filter, or to read one that is packed: in a
// level-2 cache, a level-3 cache, and memory.
double PackCycles(const Plan& plan, double weights) {
  const double bytes = 4 * weights;
  if (plan.filter_is_packed) {
    return bytes <= (1 << 20) ? 0.0 : (bytes <= (12 << 20) ? 0.1 : 0.6);
  }
  return bytes <= (1 << 20) ? 0.4 : (bytes <= (12 << 20) ? 0.8 : 2.3);
}

double ChannelLanesCost(const Plan& plan) {
  const Gather& gather = plan.gather;
  const int64_t lanes = Lanes(plan);
  const double columns = RoundUp(gather.columns, lanes);
  const double rows = PhaseRows(plan);
  const double padded_rows = RoundUp(PhaseRows(plan), 2);
  const double products = plan.multiply_adds / gather.columns / lanes *
                          columns * padded_rows / rows;
  const double filter = static_cast<double>(gather.filter_taps) * gather.depth *
                        columns * plan.geometry.groups;
  double cycles = products / kChannelLanesRate;
  if (!RowsAlongBatch(plan)) {
    cycles *= BorderWaste(plan, plan.target.registers >= 32 ? 12 : 6);
  }
  cycles += filter * PackCycles(plan, filter);
  // Rows that have to be gathered, for each block of panels; elements that have
  // to be scattered.
  const double source_reads = plan.multiply_adds / gather.columns;
  if (gather.source.channel != 1) cycles += source_reads * 1.5;
  if (IsNarrow(plan.dtype)) cycles += source_reads * 0.15;
  const double result =
      rows * plan.phases * gather.columns * plan.geometry.groups;
  // Columns that fill no whole tile take the way through a buffer.
  const int64_t panel = gather.columns > lanes ? 2 * lanes : lanes;
  const double store = gather.columns % panel == 0 ? 0.1 : 0.9;
  cycles += result * (gather.result.channel != 1 ? 2.0 : store);
  if (plan.operation == Operation::kInputGrad) {
    // Taps of the innermost axis count as depth; each run of them begins anew.
    const AxisPhases& inner = gather.axis[plan.geometry.rank - 1];
    cycles += rows * PhaseTaps(plan) / std::max<int64_t>(1, MaxTaps(inner)) *
              (columns / lanes) * 3.0;
  }
  // Finding rows and visiting the tile, per group of twelve rows and panel.
  return cycles + rows * plan.phases * plan.geometry.groups *
                      (8.0 + 4.0 * columns / (2 * lanes));
}

double PixelLanesCost(const Plan& plan) {
  const Gather& gather = plan.gather;
  const int inner = plan.geometry.rank - 1;
  const int64_t lanes = Lanes(plan);
  const double positions = MaxCount(gather.axis[inner]);
  const double padded = RoundUp(MaxCount(gather.axis[inner]), lanes);
  const PixelLanesBlocks& blocks = plan.pixel_lanes;
  double lines = static_cast<double>(plan.geometry.batch) * gather.depth *
                 plan.geometry.groups;
  for (int a = 0; a < inner; ++a) {
    lines *=
        static_cast<double>(MaxCount(gather.axis[a])) * blocks.lines[a].size();
  }
  const double window_elements = lines * CeilDiv(positions, blocks.positions) *
                                 blocks.window * blocks.residues.size() *
                                 CeilDiv(gather.columns, blocks.columns);
  // Their product may not fit in int64.
  const bool adjacent =
      gather.source.axis[inner] == 1 && gather.axis[inner].source_step == 1;
  double cycles = plan.multiply_adds / lanes * padded / positions;
  // Fewer than four rows per shift leave sums waiting for each other.
  cycles /= kPixelLanesRate;
  cycles += window_elements * (adjacent ? 0.1 : 0.3);
  const double result = PhaseRows(plan) * static_cast<double>(plan.phases) *
                        gather.columns * plan.geometry.groups;
  // Visiting the sums: once per shift and line.
  cycles += result * (1.0 + 0.1 * PhaseTaps(plan));
  // Runs of fewer channels than the result has visit its cache lines again.
  if (blocks.columns < gather.columns) cycles += result * 8.0;
  if (blocks.copy_filter && !plan.filter_is_packed) {
    cycles += 4.0 * static_cast<double>(gather.filter_taps) *
              blocks.filter_tap_stride;
  }
  return cycles;
}

double PixelTilesCost(const Plan& plan) {
  const Gather& gather = plan.gather;
  const double width = plan.pixel_tiles.vectors * Lanes(plan);
  const double rows = PhaseRows(plan);
  const double tiles = CeilDiv(rows, width);
  const double filter = static_cast<double>(gather.filter_taps) * gather.depth *
                        gather.columns * plan.geometry.groups;
  // The last columns that do not fill a group of four take a group each.
  const double columns = gather.columns + 3 * (gather.columns % 4);
  return plan.multiply_adds / Lanes(plan) * tiles * width / rows * columns /
             gather.columns / kPixelTilesRate +
         filter * tiles * 0.3 +
         plan.multiply_adds / gather.columns *
             CeilDiv(gather.columns, plan.pixel_tiles.columns);
}

double TapLanesCost(const Plan& plan) {
  const Gather& gather = plan.gather;
  const ConvTransposeGeometry& geometry = plan.geometry;
  const TapLanesBlocks& blocks = plan.tap_lanes;
  const int64_t lanes = Lanes(plan);
  const int64_t taps = gather.filter_taps * blocks.columns;
  double sources = static_cast<double>(geometry.batch) * geometry.groups *
                   blocks.column_blocks;
  double results = sources * blocks.columns;
  double lines = sources;
  for (int a = 0; a < geometry.rank; ++a) {
    const AxisGeometry& axis = geometry.axis[a];
    // Neighbouring units both multiply what reaches both.
    const double overlap =
        static_cast<double>(blocks.blocks[a] - 1) *
        std::min<int64_t>(axis.input,
                          (axis.filter - 1) * axis.dilation / axis.stride);
    const bool inner = a == geometry.rank - 1;
    sources *=
        static_cast<double>(axis.input) + (inner ? overlap : 0.3 * overlap);
    if (!inner) lines *= static_cast<double>(axis.input) + overlap;
    results *= static_cast<double>(axis.output);
  }
  const double vectors = CeilDiv(taps, lanes);
  // A single vector of columns: as many loads as products.
  const double rate = blocks.vectors == 2 ? 1.8 : 1.55;
  double cycles = sources * vectors * gather.depth / rate;
  // Storing the products, and adding them to the lines: transposed, or run by
  // run, from a level-2 cache where a unit's lines are that long.
  const int64_t run = blocks.run_taps * blocks.columns;
  const double runs = static_cast<double>(taps) / run;
  const double add = blocks.lines * blocks.line > 8192 ? 4.0 : 1.6;
  cycles += sources * vectors * 0.7;
  cycles += blocks.transposed
                ? sources * vectors * 7.0
                : sources * runs * (1.0 + add * CeilDiv(run, lanes));
  cycles += lines * runs * 25.0;
  if (gather.source.channel != 1) cycles += sources * gather.depth * 0.6;
  if (IsNarrow(plan.dtype)) cycles += sources * gather.depth * 0.3;
  // Starting the lines and storing them.
  cycles += results * (gather.result.channel != 1 ? 2.0 : 1.0);
  const double filter = static_cast<double>(geometry.groups) *
                        blocks.column_blocks * taps * gather.depth;
  return cycles + filter * (gather.columns < lanes && !plan.filter_is_packed
                                ? 1.0
                                : PackCycles(plan, filter));
}

double WinogradCost(const Plan& plan) {
  const Gather& gather = plan.gather;
  const WinogradBlocks& blocks = plan.winograd;
  const int64_t lanes = Lanes(plan);
  const double columns = RoundUp(gather.columns, lanes);
  double filter = 0, products = 0, sources = 0, results = 0;
  for (int64_t p = 0; p < plan.phases; ++p) {
    int64_t rest = p;
    double components = 1, classes = 1, tiles = plan.geometry.batch;
    for (int a = plan.geometry.rank - 1; a >= 0; --a) {
      const int64_t count = blocks.axis[a].size();
      const WinogradAxis& axis = blocks.axis[a][rest % count];
      rest /= count;
      components *= axis.components();
      classes *= static_cast<double>(axis.classes.size());
      tiles *= static_cast<double>(axis.tiles);
    }
    const double depth = classes * static_cast<double>(blocks.depth);
    filter += components * depth * columns;
    products += components * depth * columns * tiles / lanes;
    sources += components * depth * tiles / lanes;
    results += components * columns * tiles / lanes;
  }
  double cycles = products / kWinogradRate;
  // The transforms, per vector and component.
  cycles += (sources + results) * 5.0;
  // Transforming the filter: as packing it, per transformed weight.
  cycles += filter * 1.3 * PackCycles(plan, filter);
  // Columns that fill no whole tile take the way through a buffer.
  if (gather.columns % (blocks.vectors * lanes) != 0) {
    cycles += PhaseRows(plan) * static_cast<double>(plan.phases) *
              gather.columns * 0.9;
  }
  // Chosen only where it clearly pays: its error is larger than that of direct
  // sums.
  return cycles * 1.1;
}

bool CanCopyRows(const Plan& plan) {
  return plan.operation == Operation::kInputGrad && !IsNarrow(plan.dtype) &&
         plan.geometry.groups == 1 &&
         plan.geometry.data_format == DataFormat::kChannelsLast;
}

double CopiedRowsCost(const Plan& plan) {
  const PositionsBlocks& blocks = plan.positions;
  const int64_t lanes = Lanes(plan);
  const int64_t columns = plan.geometry.in_channels;
  const double depth =
      static_cast<double>(NumElements(plan.geometry.FilterDims())) /
      static_cast<double>(columns);
  const int64_t positions = NumElements(plan.geometry.InputDims()) / columns;
  const double chunks = CeilDiv(positions, blocks.chunk);
  const double rows = RoundUp(positions, 2);
  const double padded = RoundUp(columns, lanes);
  double cycles = rows * depth * padded / lanes / kChannelLanesRate;
  // Copying output_grad, per run of it, for each block of columns; copying the
  // filter, per chunk.
  const double run = std::min<double>(
      blocks.rows, static_cast<double>(plan.geometry.out_channels) *
                       plan.geometry.axis[plan.geometry.rank - 1].filter);
  cycles += rows * depth / run * 2.5 * CeilDiv(columns, blocks.column_block);
  const double filter = depth * padded;
  cycles += filter * chunks * (filter <= (1 << 18) ? 0.1 : 0.3);
  // Visiting the sums, per vector.
  cycles += rows * padded / lanes *
            CeilDiv(static_cast<int64_t>(depth), blocks.row_block) * 6.0;
  return cycles * 1.15;
}

// The pixel-lanes plan keeps some 150 bytes per tap of an axis, and sorts them:
// a filter of 2^22 positions took it 4 s and 600 MB, for a call of
// milliseconds.
bool TapsAreFew(const Plan& plan) {
  constexpr int64_t kMaxTaps = 1 << 14;
  for (int a = 0; a < plan.geometry.rank; ++a) {
    if (plan.geometry.axis[a].filter > kMaxTaps) return false;
  }
  return true;
}

bool IsChannelwise(const Plan& plan) {
  const Gather& gather = plan.gather;
  return gather.depth == 1 && gather.columns == 1 && plan.geometry.groups > 1 &&
         gather.source.channel == 1 && gather.result.channel == 1;
}

// CONV_TRANSPOSE_ND_ALGORITHM=direct: no transformed domain.
bool DirectOnly() {
  static const bool direct = [] {
    const char* value = std::getenv("CONV_TRANSPOSE_ND_ALGORITHM");
    return value != nullptr && std::string(value) == "direct";
  }();
  return direct;
}

void Take(KernelFamily family, void (*fill)(Plan*), Plan* plan) {
  plan->family = family;
  fill(plan);
}

// Picks the family with the lowest estimated cost; the reason lists them all.
void ChooseGatherFamily(KernelFamily wanted, Plan* plan) {
  if (IsChannelwise(*plan) &&
      (wanted == KernelFamily::kNone || wanted == KernelFamily::kChannelwise)) {
    plan->reason = "one channel per group: lanes along channels";
    return Take(KernelFamily::kChannelwise, PlanChannelwise, plan);
  }
  double channel_lanes = ChannelLanesCost(*plan);
  Plan pixel_lanes_plan = *plan;
  double pixel_lanes = 1e300;
  if (TapsAreFew(*plan)) {
    PlanPixelLanes(&pixel_lanes_plan);
    pixel_lanes = PixelLanesCost(pixel_lanes_plan);
  }
  // A window or the sums of all phases that outgrow a level-2 cache.
  if (pixel_lanes_plan.scratch_bytes > 16 * kScratchBytes) pixel_lanes = 1e300;
  Plan pixel_tiles_plan = *plan;
  double pixel_tiles = 1e300;
  if (plan->gather.depth_stride == 1 && !IsNarrow(plan->dtype)) {
    PlanPixelTiles(&pixel_tiles_plan);
    pixel_tiles = PixelTilesCost(pixel_tiles_plan);
  }
  Plan tap_lanes_plan = *plan;
  double tap_lanes = 1e300;
  if (PlanTapLanes(&tap_lanes_plan) &&
      tap_lanes_plan.scratch_bytes <= 16 * kScratchBytes) {
    tap_lanes = TapLanesCost(tap_lanes_plan);
  }
  Plan winograd_plan = *plan;
  double winograd = 1e300;
  if ((DirectOnly() || plan->gather.depth < kWinogradDepth) &&
      wanted != KernelFamily::kWinograd) {
    // The user asked for sums in the order of the definition, or they are so
    // short that their neighbours' rounding would outweigh their own.
  } else if (PlanWinograd(&winograd_plan)) {
    winograd = WinogradCost(winograd_plan);
  }
  Plan copied_rows_plan = *plan;
  double copied_rows = 1e300;
  if (CanCopyRows(*plan)) {
    PlanCopiedRows(&copied_rows_plan);
    copied_rows = CopiedRowsCost(copied_rows_plan);
  }
  if (wanted == KernelFamily::kChannelLanes) channel_lanes = -1;
  if (wanted == KernelFamily::kCopiedRows && copied_rows < 1e300) {
    copied_rows = -1;
  }
  if (wanted == KernelFamily::kPixelLanes && pixel_lanes < 1e300) {
    pixel_lanes = -1;
  }
  if (wanted == KernelFamily::kPixelTiles && pixel_tiles < 1e300) {
    pixel_tiles = -1;
  }
  if (wanted == KernelFamily::kTapLanes && tap_lanes < 1e300) tap_lanes = -1;
  if (wanted == KernelFamily::kWinograd && winograd < 1e300) winograd = -1;
  std::ostringstream reason;
  reason.precision(3);
  reason << "estimated cycles: channel_lanes " << channel_lanes
         << ", pixel_lanes " << pixel_lanes << ", pixel_tiles " << pixel_tiles
         << ", tap_lanes " << tap_lanes << ", winograd " << winograd;
  if (copied_rows < 1e300) reason << ", copied_rows " << copied_rows;
  const double best = std::min({channel_lanes, pixel_lanes, pixel_tiles,
                                tap_lanes, winograd, copied_rows});
  if (best == winograd || best == copied_rows) {
    Plan exact = *plan;
    Take(KernelFamily::kChannelLanes, PlanChannelLanes, &exact);
    const bool copies = best == copied_rows;
    *plan = std::move(copies ? copied_rows_plan : winograd_plan);
    plan->family = copies ? KernelFamily::kCopiedRows : KernelFamily::kWinograd;
    // The exact run starts over in the same workspace.
    plan->scratch_bytes = std::max(plan->scratch_bytes, exact.scratch_bytes);
    plan->shared_bytes =
        std::max(plan->shared_bytes, exact.shared_bytes + plan->packed_bytes);
    plan->exact = std::make_shared<const Plan>(std::move(exact));
  } else if (best == channel_lanes) {
    Take(KernelFamily::kChannelLanes, PlanChannelLanes, plan);
  } else if (best == pixel_lanes) {
    *plan = std::move(pixel_lanes_plan);
    plan->family = KernelFamily::kPixelLanes;
  } else if (best == tap_lanes) {
    *plan = std::move(tap_lanes_plan);
    plan->family = KernelFamily::kTapLanes;
  } else {
    *plan = std::move(pixel_tiles_plan);
    plan->family = KernelFamily::kPixelTiles;
  }
  plan->reason = reason.str();
}

void ChoosePositions(Plan* plan) {
  plan->family = KernelFamily::kPositions;
  Plan exact = *plan;
  PlanPositions(plan, false);
  plan->reason = "filter gradient, rows over one tap";
  if (!plan->positions.all_taps) return;
  plan->reason = "filter gradient, rows over all taps";
  PlanPositions(&exact, true);
  exact.reason = "filter gradient, again without zeros beyond the border";
  plan->scratch_bytes = std::max(plan->scratch_bytes, exact.scratch_bytes);
  plan->shared_bytes = std::max(plan->shared_bytes, exact.shared_bytes);
  plan->exact = std::make_shared<const Plan>(std::move(exact));
}

}  // namespace

const char* KernelFamilyName(KernelFamily family) {
  static constexpr const char* kNames[] = {
      "none",      "fill",     "channel_lanes", "pixel_lanes", "pixel_tiles",
      "tap_lanes", "winograd", "channelwise",   "copied_rows", "positions"};
  return kNames[static_cast<int>(family)];
}

Plan MakePlan(Operation operation, const ConvTransposeGeometry& geometry,
              DType dtype, const TargetInfo& target, KernelFamily wanted,
              bool filter_is_packed) {
  Plan plan;
  plan.filter_is_packed = filter_is_packed;
  plan.operation = operation;
  plan.dtype = dtype;
  plan.target = target;
  plan.geometry = geometry;
  if (ResultElements(plan) == 0) {
    plan.reason = "the result is empty";
    return plan;
  }
  if (!HasProducts(plan)) {
    plan.family = KernelFamily::kFill;
    plan.shared_bytes = BiasBytes(plan);
    plan.reason = "an operand is empty: no product contributes";
    return plan;
  }
  plan.multiply_adds = CountMultiplyAdds(geometry);
  if (plan.multiply_adds == 0) {
    plan.family = KernelFamily::kFill;
    plan.shared_bytes = BiasBytes(plan);
    plan.reason = "no tap lands inside: no product contributes";
    return plan;
  }
  if (operation == Operation::kFilterGrad) {
    ChoosePositions(&plan);
    return plan;
  }
  plan.gather = MakeGather(operation, geometry);
  for (int a = 0; a < geometry.rank; ++a) {
    plan.phases *= static_cast<int64_t>(plan.gather.axis[a].phases.size());
    plan.fill_first |= plan.gather.axis[a].CoveredPositions() <
                       plan.gather.axis[a].result_length;
  }
  ChooseGatherFamily(wanted, &plan);
  return plan;
}

std::string Plan::ToString() const {
  std::ostringstream text;
  static constexpr const char* kOperations[] = {"conv_transpose", "input_grad",
                                                "filter_grad"};
  text << kOperations[static_cast<int>(operation)]
       << " family=" << KernelFamilyName(family) << " target=" << target.name
       << " phases=" << phases << " units=" << units
       << " multiply_adds=" << multiply_adds << " shared_bytes=" << shared_bytes
       << " scratch_bytes=" << scratch_bytes << " reason=\"" << reason << "\"";
  return text.str();
}

}  // namespace conv_transpose_nd
