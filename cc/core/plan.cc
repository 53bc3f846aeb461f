#include "cc/core/plan.h"

#include <algorithm>
#include <sstream>

namespace conv_transpose_nd {
namespace {

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }
int64_t RoundUp(int64_t a, int64_t b) { return CeilDiv(a, b) * b; }

int64_t AccumulatorBytes(DType dtype) {
  return dtype == DType::kDouble ? 8 : 4;
}

// Half of a level-2 cache of 512 KB to 2 MB: what a work unit may keep of the
// packed filter.
constexpr int64_t kFilterBlockBytes = 384 * 1024;
// Scratch that stays in a level-1 cache of 32 KB together with what streams
// past it.
constexpr int64_t kNearBytes = 24 * 1024;
// Scratch that stays in a level-2 cache.
constexpr int64_t kScratchBytes = 128 * 1024;
// Multiply-adds below which a work unit is not worth handing to another thread:
// about 20 us.
constexpr double kUnitMultiplyAdds = 1 << 20;

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

int64_t MaxTaps(const AxisPhases& axis) {
  size_t taps = 0;
  for (const Phase& phase : axis.phases)
    taps = std::max(taps, phase.taps.size());
  return taps;
}

int64_t MaxCount(const AxisPhases& axis) {
  int64_t count = 0;
  for (const Phase& phase : axis.phases) count = std::max(count, phase.count);
  return count;
}

int64_t Lanes(const Plan& plan) {
  return plan.target.vector_bytes / AccumulatorBytes(plan.dtype);
}

bool Narrow(DType dtype) {
  return dtype == DType::kHalf || dtype == DType::kBFloat16;
}

// Bias as accumulators, in front of everything else in the shared workspace.
int64_t BiasBytes(const Plan& plan) {
  return RoundUp(plan.geometry.out_channels * AccumulatorBytes(plan.dtype), 64);
}

void PlanChannelLanes(Plan* plan) {
  const Gather& gather = plan->gather;
  ChannelLanesBlocks& blocks = plan->channel_lanes;
  const int64_t element = AccumulatorBytes(plan->dtype);
  const int64_t lanes = Lanes(*plan);
  blocks.vectors = gather.columns > lanes ? 2 : 1;
  // 12 x 2 accumulators, 2 vectors of weights and a broadcast fit 32 vector
  // registers, and 12 row pointers the 15 general ones; with 16 vector
  // registers 6 x 2 is what fits. 12 x 2 ran 10 % faster than 8 x 2 on a
  // Sapphire Rapids core.
  blocks.rows = plan->target.registers >= 32 ? 12 : 6;
  const int64_t panel_columns = blocks.vectors * lanes;
  blocks.panels = CeilDiv(gather.columns, panel_columns);
  blocks.convert_source = Narrow(plan->dtype) || gather.source.channel != 1;

  int64_t taps = 1, rows = plan->geometry.batch;
  for (int a = 0; a < plan->geometry.rank; ++a) {
    taps *= MaxTaps(gather.axis[a]);
    rows *= MaxCount(gather.axis[a]);
  }
  const int64_t panel_bytes =
      std::max<int64_t>(1, taps * gather.depth) * panel_columns * element;
  blocks.panel_block =
      std::clamp<int64_t>(kFilterBlockBytes / panel_bytes, 1, blocks.panels);
  blocks.depth_block = gather.depth;
  blocks.tap_block =
      std::clamp<int64_t>(1024 / blocks.rows, 1, std::max<int64_t>(taps, 1));
  if (blocks.convert_source) {
    blocks.depth_block = std::min<int64_t>(gather.depth, 1024);
    const int64_t tap_bytes = blocks.rows * blocks.depth_block * element;
    blocks.tap_block =
        std::clamp<int64_t>(kScratchBytes / tap_bytes, 1, blocks.tap_block);
  }
  // Units of about 64 rows, fewer where the work of a unit is large enough
  // without.
  const double row_work = static_cast<double>(taps) * gather.depth *
                          panel_columns * blocks.panel_block;
  const int64_t wanted =
      static_cast<int64_t>(kUnitMultiplyAdds / std::max(row_work, 1.0)) + 1;
  blocks.row_block =
      RoundUp(std::clamp<int64_t>(wanted, 4 * blocks.rows, 256), blocks.rows);

  plan->units = plan->geometry.groups * plan->phases *
                CeilDiv(blocks.panels, blocks.panel_block) *
                CeilDiv(std::max<int64_t>(rows, 1), blocks.row_block);
  const int64_t packed_bytes = plan->geometry.groups * blocks.panels *
                               gather.filter_taps * gather.depth *
                               panel_columns * element;
  // A filter that stays in a level-2 cache as a whole may be read by all phases
  // of a row block in turn; the source rows then stay near, too.
  blocks.phases_first = packed_bytes <= 2 * kFilterBlockBytes;
  plan->shared_bytes = BiasBytes(*plan) + packed_bytes;
  const int64_t pointers =
      RoundUp(blocks.tap_block * (blocks.rows + 1) * 8, 64);
  const int64_t zeros = RoundUp(blocks.depth_block * element, 64);
  const int64_t converted = blocks.convert_source
                                ? RoundUp(blocks.tap_block * blocks.rows *
                                              blocks.depth_block * element,
                                          64)
                                : 0;
  const int64_t tiles =
      blocks.rows * panel_columns * blocks.panel_block * element;
  plan->scratch_bytes = pointers + zeros + converted + RoundUp(tiles, 64);
}

int64_t FloorDiv(int64_t a, int64_t b) {
  return a >= 0 ? a / b : -CeilDiv(-a, b);
}

// Sorts the taps of the innermost axis into window rows. Returns the span of
// their shifts.
int64_t MakeWindowTaps(const AxisPhases& axis, PixelLanesBlocks* blocks) {
  int64_t lowest = INT64_MAX, highest = INT64_MIN;
  for (const Phase& phase : axis.phases) {
    blocks->taps.emplace_back();
    for (const Tap& tap : phase.taps) {
      const int64_t quotient = FloorDiv(tap.source_offset, axis.source_step);
      const int64_t residue = tap.source_offset - quotient * axis.source_step;
      auto slot =
          std::find(blocks->residues.begin(), blocks->residues.end(), residue);
      if (slot == blocks->residues.end())
        slot = blocks->residues.insert(slot, residue);
      blocks->taps.back().push_back(
          {tap.filter_index, slot - blocks->residues.begin(), quotient});
      lowest = std::min(lowest, quotient);
      highest = std::max(highest, quotient);
    }
  }
  if (lowest > highest) return 0;
  for (auto& taps : blocks->taps) {
    for (WindowTap& tap : taps) tap.shift -= lowest;
  }
  blocks->lowest = lowest;
  return highest - lowest;
}

void PlanPixelLanes(Plan* plan) {
  const Gather& gather = plan->gather;
  PixelLanesBlocks& blocks = plan->pixel_lanes;
  const int inner = plan->geometry.rank - 1;
  const AxisPhases& axis = gather.axis[inner];
  const int64_t element = AccumulatorBytes(plan->dtype);
  const int64_t lanes = Lanes(*plan);
  const int64_t span = MakeWindowTaps(axis, &blocks);
  const int64_t positions = MaxCount(axis);
  // Eight vectors per block keep eight sums in flight even with a single
  // column.
  blocks.positions = std::min(RoundUp(positions, lanes), 8 * lanes);
  blocks.window = RoundUp(blocks.positions + span, lanes);
  const int64_t phases = std::max<int64_t>(1, axis.phases.size());
  blocks.columns = std::clamp<int64_t>(
      2 * kScratchBytes / (phases * blocks.positions * element), 1,
      std::min<int64_t>(gather.columns, 64));

  int64_t outer_taps = 1, outer_positions = 1;
  for (int a = 0; a < inner; ++a) {
    outer_taps *= std::max<int64_t>(MaxTaps(gather.axis[a]), 1);
    outer_positions *= plan->operation == Operation::kConvTranspose
                           ? plan->geometry.axis[a].output
                           : plan->geometry.axis[a].input;
  }
  const int64_t slots = std::max<int64_t>(1, blocks.residues.size());
  const int64_t row_bytes = blocks.window * slots * element;
  blocks.depth_block =
      std::clamp<int64_t>(kScratchBytes / row_bytes, 1, gather.depth);
  blocks.tap_block = std::clamp<int64_t>(
      kScratchBytes / (row_bytes * blocks.depth_block), 1, outer_taps);
  plan->units = plan->geometry.batch * plan->geometry.groups * outer_positions *
                CeilDiv(positions, blocks.positions) *
                CeilDiv(gather.columns, blocks.columns);
  plan->shared_bytes = BiasBytes(*plan);
  const int64_t windows =
      RoundUp(blocks.tap_block * blocks.depth_block * row_bytes, 64);
  const int64_t sums =
      RoundUp(phases * blocks.columns * blocks.positions * element, 64);
  const int64_t taps = RoundUp(blocks.tap_block * 24, 64);
  plan->scratch_bytes = windows + sums + taps;
}

void PlanPositions(Plan* plan) {
  const ConvTransposeGeometry& geometry = plan->geometry;
  PositionsBlocks& blocks = plan->positions;
  const int64_t element = AccumulatorBytes(plan->dtype);
  const int64_t lanes = Lanes(*plan);
  const int64_t group_out = geometry.group_out_channels();
  blocks.vectors = geometry.group_in_channels() > lanes ? 2 : 1;
  blocks.rows = plan->target.registers >= 32 ? 8 : 6;
  blocks.convert =
      Narrow(plan->dtype) || geometry.data_format == DataFormat::kChannelsFirst;
  blocks.row_block =
      std::min<int64_t>(RoundUp(group_out, blocks.rows), 8 * blocks.rows);

  int64_t taps = 1, positions = geometry.batch;
  for (int a = 0; a < geometry.rank; ++a) {
    taps *= geometry.axis[a].filter;
    positions *= geometry.axis[a].input;
  }
  const int64_t tiles =
      taps * geometry.groups * CeilDiv(group_out, blocks.row_block);
  const int64_t filter_elements = NumElements(geometry.FilterDims());
  // Split the positions where the filter alone gives too few units, while the
  // partial sums stay small against the operands.
  if (tiles < 16 && positions > 4 * kPositionBlock) {
    blocks.splits =
        std::min(CeilDiv(16, tiles), positions / (4 * kPositionBlock));
    const int64_t fitting =
        (int64_t{4} << 20) / std::max<int64_t>(1, filter_elements * element);
    blocks.splits = std::max<int64_t>(1, std::min(blocks.splits, fitting));
  }
  plan->units = tiles * blocks.splits;
  plan->shared_bytes = RoundUp(blocks.splits * filter_elements * element, 64);
  const int64_t pointers = RoundUp(kPositionBlock * 16, 64);
  const int64_t converted =
      RoundUp(kPositionBlock * blocks.row_block * element, 64) +
      RoundUp(kPositionBlock * blocks.vectors * lanes * element, 64);
  plan->scratch_bytes = pointers + converted;
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

// Lanes along channels need channels next to each other, and enough of them to
// fill a vector; lanes along positions serve the rest.
bool PreferChannelLanes(const Plan& plan, std::string* reason) {
  const Gather& gather = plan.gather;
  const int64_t lanes = Lanes(plan);
  if (gather.result.channel != 1) {
    *reason = "channels of the result are not adjacent: lanes along positions";
    return false;
  }
  const int64_t positions = MaxCount(gather.axis[plan.geometry.rank - 1]);
  const double channel_fill =
      static_cast<double>(gather.columns) / RoundUp(gather.columns, lanes);
  const double pixel_fill = static_cast<double>(positions) /
                            RoundUp(std::max<int64_t>(positions, 1), lanes);
  std::ostringstream text;
  text << gather.columns << " columns fill "
       << static_cast<int>(100 * channel_fill) << " % of their lanes, "
       << positions << " positions " << static_cast<int>(100 * pixel_fill)
       << " % of theirs";
  *reason = text.str();
  return channel_fill >= 0.5 || channel_fill >= pixel_fill;
}

}  // namespace

const char* KernelFamilyName(KernelFamily family) {
  switch (family) {
    case KernelFamily::kFill:
      return "fill";
    case KernelFamily::kChannelLanes:
      return "channel_lanes";
    case KernelFamily::kPixelLanes:
      return "pixel_lanes";
    case KernelFamily::kPositions:
      return "positions";
    default:
      return "none";
  }
}

Plan MakePlan(Operation operation, const ConvTransposeGeometry& geometry,
              DType dtype, const TargetInfo& target) {
  Plan plan;
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
  if (operation == Operation::kFilterGrad) {
    plan.family = KernelFamily::kPositions;
    PlanPositions(&plan);
    plan.reason = "filter gradient";
    return plan;
  }
  plan.gather = MakeGather(operation, geometry);
  for (int a = 0; a < geometry.rank; ++a) {
    plan.phases *= static_cast<int64_t>(plan.gather.axis[a].phases.size());
  }
  if (PreferChannelLanes(plan, &plan.reason)) {
    plan.family = KernelFamily::kChannelLanes;
    PlanChannelLanes(&plan);
  } else {
    plan.family = KernelFamily::kPixelLanes;
    PlanPixelLanes(&plan);
  }
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
