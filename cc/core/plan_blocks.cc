#include "cc/core/plan_blocks.h"

#include <map>
#include <utility>

namespace conv_transpose_nd {
namespace {

// Sorts the taps of the innermost axis into shifts of window rows. Returns the
// span of the shifts.
int64_t MakeShifts(const AxisPhases& axis, PixelLanesBlocks* blocks) {
  std::map<std::pair<int64_t, int64_t>, std::vector<PhaseTap>> shifts;
  int64_t lowest = INT64_MAX, highest = INT64_MIN;
  for (size_t p = 0; p < axis.phases.size(); ++p) {
    for (const Tap& tap : axis.phases[p].taps) {
      const int64_t quotient = FloorDiv(tap.source_offset, axis.source_step);
      const int64_t residue = tap.source_offset - quotient * axis.source_step;
      shifts[{residue, quotient}].push_back(
          {static_cast<int64_t>(p), tap.filter_index});
      lowest = std::min(lowest, quotient);
      highest = std::max(highest, quotient);
    }
  }
  if (shifts.empty()) return 0;
  blocks->lowest = lowest;
  for (auto& [key, taps] : shifts) {
    if (blocks->residues.empty() || blocks->residues.back() != key.first) {
      blocks->residues.push_back(key.first);
    }
    const int64_t slot = blocks->residues.size() - 1;
    blocks->shifts.push_back({slot, key.second - lowest, std::move(taps)});
  }
  return highest - lowest;
}

// The source positions that the phases of an outer axis read, and who reads
// them.
std::vector<SourceLine> MakeLines(const AxisPhases& axis) {
  std::map<int64_t, std::vector<PhaseTap>> lines;
  for (size_t p = 0; p < axis.phases.size(); ++p) {
    for (const Tap& tap : axis.phases[p].taps) {
      lines[tap.source_offset].push_back(
          {static_cast<int64_t>(p), tap.filter_index});
    }
  }
  std::vector<SourceLine> result;
  for (auto& [offset, taps] : lines) {
    result.push_back({offset, std::move(taps)});
  }
  return result;
}

// Rows of the tap-lanes family that are multiplied together, at most, and what
// they may take of a level-1 cache.
constexpr int64_t kMostRows = 96;
constexpr int64_t kRowsBytes = 24 * 1024;
// Sums of a line, where there are lines beside it.
constexpr int64_t kMostLine = 4096;

}  // namespace

int64_t MaxTaps(const AxisPhases& axis) {
  size_t taps = 0;
  for (const Phase& phase : axis.phases) {
    taps = std::max(taps, phase.taps.size());
  }
  return taps;
}

int64_t MaxCount(const AxisPhases& axis) {
  int64_t count = 0;
  for (const Phase& phase : axis.phases) count = std::max(count, phase.count);
  return count;
}

int64_t PhaseRows(const Plan& plan) {
  int64_t rows = plan.geometry.batch;
  for (int a = 0; a < plan.geometry.rank; ++a) {
    rows *= MaxCount(plan.gather.axis[a]);
  }
  return rows;
}

int64_t PhaseTaps(const Plan& plan) {
  int64_t taps = 1;
  for (int a = 0; a < plan.geometry.rank; ++a) {
    taps *= MaxTaps(plan.gather.axis[a]);
  }
  return taps;
}

bool TapsAreFew(const Plan& plan) {
  constexpr int64_t kMaxTaps = 1 << 14;
  for (int a = 0; a < plan.geometry.rank; ++a) {
    if (plan.geometry.axis[a].filter > kMaxTaps) return false;
  }
  return true;
}

// Multiply-adds with the taps beyond the border, per multiply-add without, of
// tiles whose rows run along the innermost axis: a tile takes what any of its
// rows needs, and those of a short line lie on several.
double BorderWaste(const Plan& plan, int64_t tile_rows) {
  double waste = 1;
  int64_t line = 1;
  for (int a = plan.geometry.rank - 1; a >= 0 && line < tile_rows; --a) {
    const AxisPhases& axis = plan.gather.axis[a];
    double all = 0;
    for (const Phase& phase : axis.phases) {
      all += static_cast<double>(phase.count) *
             static_cast<double>(phase.taps.size());
    }
    // Longer lines have tiles that lie inside.
    line *= std::max<int64_t>(1, MaxCount(axis));
    const double share = std::min(1.0, 1.5 * tile_rows / line);
    waste *= 1 + share * (all / std::max(TapsInside(axis), 1.0) - 1);
  }
  return waste;
}

bool RowsAlongBatch(const Plan& plan) {
  const int tile_rows = TileRows(plan);
  return 2 * plan.geometry.batch >= tile_rows &&
         BorderWaste(plan, tile_rows) > 1.1;
}

// Windows of all source lines that a line of the result reads, if they are to
// be kept: columns fill register tiles by themselves, and the next line of the
// result reads most of them again.
int64_t KeptWindows(const Plan& plan, int64_t row_bytes) {
  constexpr int64_t kLeastColumns = 5, kMostWindows = 32, kMostShifts = 32,
                    kMostPhases = 16;
  const Gather& gather = plan.gather;
  const PixelLanesBlocks& blocks = plan.pixel_lanes;
  if (gather.columns < kLeastColumns || blocks.depth_block < gather.depth ||
      gather.source.channel != 1 || gather.result.channel != 1 ||
      blocks.outer_phases > kMostPhases / blocks.inner_phases ||
      static_cast<int64_t>(blocks.shifts.size()) > kMostShifts) {
    return 0;
  }
  int64_t windows = 1;
  for (int a = 0; a < plan.geometry.rank - 1; ++a) {
    const auto lines = static_cast<int64_t>(blocks.lines[a].size());
    if (lines > kMostWindows / windows) return 0;
    windows *= lines;
  }
  return windows * gather.depth * row_bytes <= 2 * kScratchBytes ? windows : 0;
}

bool PlanPixelLanes(Plan* plan) {
  if (!TapsAreFew(*plan)) return false;
  const Gather& gather = plan->gather;
  const ConvTransposeGeometry& geometry = plan->geometry;
  PixelLanesBlocks& blocks = plan->pixel_lanes;
  const int inner = geometry.rank - 1;
  const AxisPhases& axis = gather.axis[inner];
  const int64_t element = AccumulatorBytes(plan->dtype);
  const int64_t lanes = Lanes(*plan);
  const int64_t span = MakeShifts(axis, &blocks);
  blocks.inner_phases = axis.phases.size();
  int64_t outer_positions = 1;
  for (int a = 0; a < inner; ++a) {
    blocks.lines[a] = MakeLines(gather.axis[a]);
    blocks.outer_phases *= gather.axis[a].phases.size();
    outer_positions *= MaxCount(gather.axis[a]);
  }

  const int64_t positions = MaxCount(axis);
  // Eight vectors per block keep eight sums in flight even with a single row.
  blocks.positions = std::min(RoundUp(positions, lanes), 8 * lanes);
  blocks.window = RoundUp(blocks.positions + span, lanes);
  const int64_t phases = blocks.outer_phases * blocks.inner_phases;
  blocks.columns = std::clamp<int64_t>(
      kScratchBytes / (phases * blocks.positions * element), 1, gather.columns);
  const int64_t row_bytes =
      blocks.window * std::max<int64_t>(1, blocks.residues.size()) * element;
  blocks.depth_block =
      std::clamp<int64_t>(kScratchBytes / row_bytes, 1, gather.depth);

  blocks.copy_filter = gather.depth_stride != 1 || IsNarrow(plan->dtype);
  blocks.filter_tap_stride = gather.depth * gather.columns * geometry.groups;
  blocks.filter_column_stride =
      blocks.copy_filter ? gather.depth : gather.column_stride;
  blocks.filter_group_stride =
      blocks.copy_filter ? gather.columns * gather.depth : gather.group_stride;

  blocks.windows = KeptWindows(*plan, row_bytes);
  const int64_t lines = geometry.batch * geometry.groups * outer_positions *
                        CeilDiv(positions, blocks.positions) *
                        CeilDiv(gather.columns, blocks.columns);
  if (blocks.windows > 0) {
    blocks.unit_lines = std::clamp<int64_t>(lines / 16, 1, 8);
  }
  plan->units = CeilDiv(lines, blocks.unit_lines);
  if (blocks.copy_filter) {
    plan->packed_bytes =
        RoundUp(gather.filter_taps * blocks.filter_tap_stride * element, 64);
  }
  plan->shared_bytes = BiasBytes(*plan) + plan->packed_bytes;
  const int64_t kept = std::max<int64_t>(1, blocks.windows);
  const int64_t windows = RoundUp(kept * blocks.depth_block * row_bytes, 64);
  const int64_t sums =
      RoundUp(phases * blocks.columns * blocks.positions * element, 64);
  const int64_t rows = RoundUp(2 * (phases * blocks.columns + 16) * 8, 64);
  const int64_t combinations = RoundUp(2 * blocks.outer_phases * 8, 64);
  plan->scratch_bytes = windows + sums + rows + combinations;
  if (blocks.windows > 0) {
    plan->scratch_bytes +=
        RoundUp(blocks.windows * PixelLanesBlocks::kWindowBytes, 64) +
        RoundUp(blocks.windows * blocks.outer_phases *
                    PixelLanesBlocks::kVisitBytes,
                64) +
        RoundUp(PhaseTaps(*plan) * PixelLanesBlocks::kTapBytes, 64);
  }
  return plan->scratch_bytes <= kMostScratchBytes;
}

bool PlanPixelTiles(Plan* plan) {
  const Gather& gather = plan->gather;
  if (gather.depth_stride != 1 || IsNarrow(plan->dtype)) return false;
  PixelTilesBlocks& blocks = plan->pixel_tiles;
  const int64_t element = AccumulatorBytes(plan->dtype);
  const int64_t lanes = Lanes(*plan);
  const int64_t rows = PhaseRows(*plan);
  const int64_t most = plan->target.registers >= 32 ? 4 : 2;
  // As many vectors as the rows fill, in tiles of equal size.
  const int64_t tiles = CeilDiv(rows, most * lanes);
  blocks.vectors = static_cast<int>(CeilDiv(CeilDiv(rows, tiles), lanes));
  if (blocks.vectors == 3 && most < 4) blocks.vectors = 2;
  const int64_t width = blocks.vectors * lanes;
  // A tap's transposed rows stay in a level-2 cache while the filter streams
  // past; long runs along depth keep the filter's memory pages open.
  blocks.depth_block =
      std::clamp<int64_t>(kScratchBytes / (width * element), 1, gather.depth);
  const int64_t column_blocks = std::clamp<int64_t>(gather.columns / 32, 1, 8);
  blocks.columns = RoundUp(CeilDiv(gather.columns, column_blocks), 4);
  plan->units = plan->geometry.groups * plan->phases * CeilDiv(rows, width) *
                CeilDiv(gather.columns, blocks.columns);
  plan->shared_bytes = BiasBytes(*plan);
  plan->scratch_bytes = RoundUp(blocks.depth_block * width * element, 64) +
                        RoundUp(blocks.columns * (width + 1) * element, 64) +
                        RoundUp((width + 1) * 8, 64);
  return true;
}

// Result positions of a work unit along each axis: from the innermost outwards,
// until there is enough to do or the sums leave a level-2 cache.
void BlockLines(Plan* plan) {
  const ConvTransposeGeometry& geometry = plan->geometry;
  TapLanesBlocks& blocks = plan->tap_lanes;
  const int inner = geometry.rank - 1;
  const int64_t reach =
      (geometry.axis[inner].filter - 1) * geometry.axis[inner].dilation;
  const int64_t sums = 4 * kScratchBytes / AccumulatorBytes(plan->dtype);
  const double wanted = std::clamp(
      plan->multiply_adds / 8, kUnitMultiplyAdds / 4, kUnitMultiplyAdds * 16);
  double multiply_adds = plan->multiply_adds / blocks.column_blocks /
                         geometry.batch / geometry.groups;
  for (int a = 0; a < geometry.rank; ++a) {
    multiply_adds /= static_cast<double>(geometry.axis[a].output);
  }
  int64_t left = sums / blocks.columns;
  int64_t units = blocks.column_blocks * geometry.batch * geometry.groups;
  for (int a = inner; a >= 0; --a) {
    const AxisGeometry& axis = geometry.axis[a];
    // Whole strides; a unit's edges cost as much as its reach beyond them.
    const int64_t least = (axis.filter - 1) * axis.dilation + axis.stride;
    const int64_t useful =
        static_cast<int64_t>(std::min(wanted / multiply_adds, 1e12)) + 1;
    const int64_t fitting = a == inner ? left - 2 * reach : left;
    int64_t block = std::max(8 * least, useful);
    // Longer lines would leave room for few, and these share their sources.
    if (a == inner && a > 0) {
      block = std::min(block, std::max(8 * least, kMostLine / blocks.columns));
    }
    block = std::min({block, std::max<int64_t>(fitting, 1), axis.output});
    // Of equal size.
    blocks.blocks[a] = CeilDiv(axis.output, block);
    units *= blocks.blocks[a];
    // Three or five units keep two threads waiting for the last; four or six
    // cost each of them a little more.
    if (a == 0 && units < 8 && units % 2 == 1 && units > 1 &&
        axis.output / (blocks.blocks[0] + 1) >= 3 * least) {
      ++blocks.blocks[0];
    }
    block = CeilDiv(axis.output, blocks.blocks[a]);
    blocks.block[a] = std::min(RoundUp(block, axis.stride), axis.output);
    blocks.blocks[a] = CeilDiv(axis.output, blocks.block[a]);
    multiply_adds *= static_cast<double>(blocks.block[a]);
    const int64_t width = blocks.block[a] + (a == inner ? 2 * reach : 0);
    left = std::max<int64_t>(1, left / width);
    if (a < inner) blocks.lines *= blocks.block[a];
  }
  const int64_t width = blocks.block[inner] + 2 * reach;
  blocks.line = RoundUp(width * blocks.columns, 16);
  if (blocks.transposed) {
    const int64_t stride = geometry.axis[inner].stride;
    blocks.phase = RoundUp(CeilDiv(width + stride, stride), Lanes(*plan));
    blocks.line = blocks.phase * stride * blocks.columns;
    blocks.residues.resize(stride);
    for (int64_t k = 0; k < geometry.axis[inner].filter; ++k) {
      const int64_t position = k * geometry.axis[inner].dilation;
      blocks.residues[position % stride].push_back({k, position / stride});
    }
  }
}

// Source positions that are multiplied together: they and a panel of the filter
// stay in a level-1 cache. Whole lines where these are short.
int64_t TapLanesRows(const Plan& plan) {
  const ConvTransposeGeometry& geometry = plan.geometry;
  const TapLanesBlocks& blocks = plan.tap_lanes;
  const int inner = geometry.rank - 1;
  const AxisGeometry& axis = geometry.axis[inner];
  const int64_t reach = (axis.filter - 1) * axis.dilation;
  const int64_t line =
      std::min(axis.input, CeilDiv(blocks.block[inner] + reach, axis.stride));
  int64_t lines = 1;
  for (int a = 0; a < inner; ++a) {
    lines = std::min<int64_t>(kMostRows, lines * geometry.axis[a].input);
  }
  const int64_t row_bytes = plan.gather.depth * AccumulatorBytes(plan.dtype);
  const int64_t most =
      std::clamp<int64_t>(kRowsBytes / row_bytes, kMostRows / 2, kMostRows);
  return line <= most ? line * std::min(lines, most / line) : most;
}

bool PlanTapLanes(Plan* plan) {
  const Gather& gather = plan->gather;
  const ConvTransposeGeometry& geometry = plan->geometry;
  const AxisGeometry& inner = geometry.axis[geometry.rank - 1];
  const int64_t element = AccumulatorBytes(plan->dtype);
  const int64_t lanes = Lanes(*plan);
  // Beyond these the sums of a unit would outgrow what it may keep.
  constexpr int64_t kMaxReach = 1 << 16;
  if (plan->operation != Operation::kConvTranspose ||
      inner.filter > kMaxReach || inner.dilation > kMaxReach / inner.filter ||
      gather.filter_taps > kMaxReach || gather.columns > kMaxReach) {
    return false;
  }
  TapLanesBlocks& blocks = plan->tap_lanes;
  blocks.rows = TileRows(*plan);
  blocks.convert_source = IsNarrow(plan->dtype) || gather.source.channel != 1;
  blocks.column_blocks = gather.columns >= 128 ? gather.columns / 64 : 1;
  blocks.columns = CeilDiv(gather.columns, blocks.column_blocks);
  blocks.column_blocks = CeilDiv(gather.columns, blocks.columns);
  blocks.run_taps = inner.dilation == 1 ? inner.filter : 1;
  blocks.passes = CeilDiv(blocks.run_taps, inner.stride);
  const int64_t columns = gather.filter_taps * blocks.columns;
  blocks.vectors = columns > lanes ? 2 : 1;
  const int64_t panel_columns = blocks.vectors * lanes;
  blocks.panels = CeilDiv(columns, panel_columns);
  const int64_t product_bytes =
      4 * blocks.rows * blocks.panels * panel_columns * element;
  // Whole vectors are added; neighbours that share one would wait for each
  // other.
  blocks.transposed = inner.stride <= lanes &&
                      inner.stride * blocks.columns < lanes &&
                      product_bytes <= 2 * kScratchBytes;
  if (blocks.transposed) blocks.outer_taps = gather.filter_taps / inner.filter;
  BlockLines(plan);

  int64_t outer_units = 1;
  for (int a = 0; a < geometry.rank; ++a) outer_units *= blocks.blocks[a];
  blocks.row_block = TapLanesRows(*plan);
  blocks.row_step = RoundUp(blocks.row_block, lanes);
  blocks.panel_block =
      blocks.transposed
          ? blocks.panels
          : std::clamp<int64_t>(
                kScratchBytes / 4 / (blocks.row_step * panel_columns * element),
                1, blocks.panels);

  plan->units =
      geometry.batch * geometry.groups * blocks.column_blocks * outer_units;
  const int64_t block_columns =
      (blocks.panels - 1) * panel_columns +
      ((columns - 1) % panel_columns < lanes ? lanes : panel_columns);
  plan->packed_bytes = RoundUp(geometry.groups * blocks.column_blocks *
                                   block_columns * gather.depth * element,
                               64);
  plan->shared_bytes = BiasBytes(*plan) + plan->packed_bytes;
  const int64_t sums =
      RoundUp((blocks.lines * blocks.line + lanes) * element, 64);
  const int64_t products = RoundUp(
      (blocks.row_step * blocks.panel_block * panel_columns + lanes) * element,
      64);
  if (blocks.transposed) {
    blocks.transposed_elements =
        std::max(blocks.row_step * blocks.panel_block * panel_columns,
                 blocks.line + lanes * lanes);
  }
  const int64_t converted =
      blocks.convert_source
          ? RoundUp(blocks.row_block * gather.depth * element, 64)
          : 0;
  plan->scratch_bytes =
      sums + products + converted +
      RoundUp(blocks.transposed_elements * element, 64) +
      RoundUp(2 * (blocks.row_block + 16) * 8, 64) +
      RoundUp(blocks.row_block * TapLanesBlocks::kSegmentBytes, 64) +
      RoundUp(blocks.outer_taps * TapLanesBlocks::kVisitBytes, 64) +
      RoundUp(blocks.panels, 64);
  // Positions that no tap reaches are lines' sums, too.
  plan->fill_first = false;
  return plan->scratch_bytes <= kMostScratchBytes;
}

void PlanChannelwise(Plan* plan) {
  const Gather& gather = plan->gather;
  ChannelwiseBlocks& blocks = plan->channelwise;
  const int inner = plan->geometry.rank - 1;
  const AxisPhases& axis = gather.axis[inner];
  const int64_t element = AccumulatorBytes(plan->dtype);
  blocks.lines = plan->geometry.batch;
  for (int a = 0; a < inner; ++a) {
    blocks.outer_taps *= MaxTaps(gather.axis[a]);
    blocks.lines *= gather.axis[a].CoveredPositions();
  }
  // Source and result of a piece stay near level-1 cache while the vectors of
  // channels take their turns; what an input gradient reads lies longer in
  // level-2 cache, and long runs of it are fetched ahead. Some pieces are work
  // enough for a unit.
  const int64_t phases = static_cast<int64_t>(axis.phases.size());
  const int64_t position_bytes =
      (phases + std::min<int64_t>(axis.source_step, 64)) *
      plan->geometry.groups * element;
  const int64_t piece_bytes = phases == 1 ? 65536 : 32768;
  const int64_t positions = MaxCount(axis);
  blocks.line_pieces =
      CeilDiv(positions, std::max<int64_t>(16, piece_bytes / position_bytes));
  blocks.piece = CeilDiv(positions, blocks.line_pieces);
  blocks.unit_lines =
      std::max<int64_t>(1, 131072 / (blocks.piece * position_bytes));
  plan->units = CeilDiv(blocks.lines, blocks.unit_lines) * blocks.line_pieces;
  if (IsNarrow(plan->dtype)) {
    plan->packed_bytes =
        RoundUp(gather.filter_taps * plan->geometry.groups * element, 64);
  }
  plan->shared_bytes = BiasBytes(*plan) + plan->packed_bytes;
  plan->scratch_bytes = RoundUp(2 * blocks.outer_taps * 8, 64) +
                        RoundUp(2 * plan->geometry.groups * element, 64);
}

}  // namespace conv_transpose_nd
