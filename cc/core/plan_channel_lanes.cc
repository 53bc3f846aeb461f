// Blocks and memory of the channel-lanes family.
#include "cc/core/plan_blocks.h"

namespace conv_transpose_nd {
namespace {

// What a work unit that finds its rows first may keep of the packed filter. Its
// rows visit a part of it before the next is read, from whatever cache.
constexpr int64_t kFoundFilterBytes = 1152 * 1024;
// Part of the filter that stays in a level-1 cache beside the rows of a tile.
constexpr int64_t kFilterPartBytes = 32 * 1024;
// Rows of such a work unit, and how many of them are found together: that takes
// as long as multiplying a tile of 64 channels where it is done tile by tile.
constexpr int64_t kFoundRowBlock = 120;
constexpr int64_t kLeastFoundRowBlock = 24;
constexpr int64_t kFoundRows = 60;
// Beyond these taps, what surrounds a tile does not weigh.
constexpr int64_t kMostFoundTaps = 8;
// Where they are sorted by tap instead: a visit of the sums weighs little, and
// rows of all taps fit in scratch.
constexpr int64_t kSortedTileRows = 6;
constexpr int64_t kLeastSortedDepth = 64;
constexpr int64_t kMostSortedTaps = 64;

// Rows that follow each other in one work unit: enough work, not too few units.
int64_t RowBlock(double row_multiply_adds, int64_t tile_rows) {
  const int64_t wanted = static_cast<int64_t>(kUnitMultiplyAdds /
                                              std::max(row_multiply_adds, 1.0));
  return RoundUp(std::clamp<int64_t>(wanted, 4 * tile_rows, 252), tile_rows);
}

// Phases of the axis, if all have the same length and one tap on the same
// source position each; else 1.
int64_t FoldablePhases(const AxisPhases& axis) {
  for (const Phase& phase : axis.phases) {
    if (phase.count != axis.phases[0].count || phase.taps.size() != 1 ||
        phase.taps[0].source_offset != axis.phases[0].taps[0].source_offset) {
      return 1;
    }
  }
  return std::max<int64_t>(1, axis.phases.size());
}

// Taps of the axis whose source elements and filter positions are adjacent, if
// that holds for all; else 1.
int64_t MergeableTaps(const Gather& gather, int inner) {
  const AxisPhases& axis = gather.axis[inner];
  if (axis.phases.size() != 1 || gather.source.channel != 1 ||
      gather.source.axis[inner] != gather.depth) {
    return 1;
  }
  const std::vector<Tap>& taps = axis.phases[0].taps;
  for (size_t t = 1; t < taps.size(); ++t) {
    if (taps[t].source_offset != taps[t - 1].source_offset + 1 ||
        taps[t].filter_index != taps[t - 1].filter_index + 1) {
      return 1;
    }
  }
  return static_cast<int64_t>(taps.size());
}

// Whether all columns are in whole panels.
bool FillsPanels(const Plan& plan) {
  return plan.gather.columns % (Lanes(plan) * plan.channel_lanes.vectors) == 0;
}

// Whether rows are read, and sums stored, as they are: vectors of a type that
// is computed in, or pairs.
bool ReadsAndStoresVectors(const Plan& plan) {
  const Gather& gather = plan.gather;
  const Activation activation = plan.geometry.activation;
  return (plan.dtype == DType::kFloat || plan.dtype == DType::kDouble ||
          plan.channel_lanes.pairs) &&
         !plan.channel_lanes.convert_source && gather.result.channel == 1 &&
         (activation == Activation::kNone || activation == Activation::kRelu) &&
         (!plan.channel_lanes.pairs || FillsPanels(plan));
}

// Whether a work unit finds all its rows first, which pays where tiles lose
// little beyond the border: many rows then share what is found for them.
bool FindsRowsFirst(const Plan& plan) {
  return !plan.batch_inner && PhaseTaps(plan) <= kMostFoundTaps &&
         BorderWaste(plan, TileRows(plan)) <= 1.1;
}

// Whether the filter, of few rows of the result, is better read where it lies
// than packed: its columns are neighbours.
bool ReadsFilterInPlace(const Plan& plan) {
  return !plan.filter_is_packed && plan.gather.column_stride == 1 &&
         plan.channel_lanes.folded == 1;
}

// Whether it sorts them by tap, which pays where tiles lose more than it takes
// to visit the sums for each tap, or where it spares packing a filter that few
// rows read. 1.4 to 1.6 times faster on 7 x 7 and 8 x 8 positions.
bool SortsRowsByTap(const Plan& plan) {
  return (BorderWaste(plan, kSortedTileRows) > 1.05 ||
          (ReadsFilterInPlace(plan) && PhaseRows(plan) <= kFoundRowBlock)) &&
         plan.gather.depth >= kLeastSortedDepth &&
         plan.gather.filter_taps <= kMostSortedTaps;
}

// A kilobyte of each row, or what leaves four units: both the core's and the
// kernel's own prefetching then follow rows. Tiles visit their sums once per
// 128 rows.
void PlanFilterInPlace(Plan* plan) {
  constexpr int64_t kRowBytes = 1024, kRows = 128, kFetched = 128;
  ChannelLanesBlocks& blocks = plan->channel_lanes;
  if (!ReadsFilterInPlace(*plan)) return;
  const int64_t panel_bytes =
      blocks.vectors * static_cast<int64_t>(plan->target.vector_bytes);
  blocks.panel_block = std::clamp<int64_t>(kRowBytes / panel_bytes, 1,
                                           CeilDiv(blocks.panels, 4));
  // What a tile fetches ends with a row.
  const int64_t fetched =
      std::max<int64_t>(1, blocks.panel_block * panel_bytes / kFetched);
  blocks.filter_rows = fetched * CeilDiv(kRows, fetched);
}

void PlanFoundRows(Plan* plan) {
  ChannelLanesBlocks& blocks = plan->channel_lanes;
  const int64_t rows = PhaseRows(*plan);
  // Blocks of equal size. Few of them leave the panels to share out; the rows
  // only where there would be fewer than four units, for all of these read the
  // same filter.
  const int64_t wanted = static_cast<int64_t>(
      std::clamp(plan->multiply_adds / kUnitMultiplyAdds, 1.0, 16.0));
  int64_t row_blocks = CeilDiv(rows, kFoundRowBlock);
  const int64_t units =
      plan->geometry.groups * (plan->phases / blocks.folded) * row_blocks;
  const int64_t panels = blocks.panels * blocks.folded;
  const int64_t shares = std::min(panels, CeilDiv(wanted, units));
  blocks.panel_block = std::min(blocks.panel_block, CeilDiv(panels, shares));
  row_blocks *= CeilDiv(std::min<int64_t>(wanted, 4), units * shares);
  row_blocks = std::clamp<int64_t>(rows / kLeastFoundRowBlock, 1, row_blocks);
  blocks.row_block = RoundUp(CeilDiv(rows, row_blocks), blocks.rows);
  if (blocks.rows_by_tap) {
    PlanFilterInPlace(plan);
    blocks.found_rows = std::min(kFoundRows, blocks.row_block);
    blocks.tap_block = PhaseTaps(*plan);
    blocks.found_bytes =
        8 *
        ((1 + blocks.found_rows) * blocks.tap_block + blocks.row_block +
         plan->gather.filter_taps * (1 + 2 * (blocks.row_block + blocks.rows)) +
         blocks.filter_rows);
    return;
  }
  // A tile takes the taps that any of the rows found together needs.
  blocks.found_rows = BorderWaste(*plan, kFoundRows) <= 1.01
                          ? std::min(kFoundRows, blocks.row_block)
                          : blocks.rows;
  const int64_t tiles = blocks.row_block / blocks.rows;
  blocks.found_bytes =
      tiles * ChannelLanesBlocks::kFoundTileBytes +
      8 * (tiles * blocks.tap_block + blocks.row_block +
           blocks.tap_block * (blocks.found_rows + blocks.row_block));
}

}  // namespace

bool PlanChannelLanes(Plan* plan) {
  const Gather& gather = plan->gather;
  ChannelLanesBlocks& blocks = plan->channel_lanes;
  const int64_t element = AccumulatorBytes(plan->dtype);
  const int64_t lanes = Lanes(*plan);
  // In words of accumulators' size: pairs of channels, else channels.
  const bool pairs = MultipliesPairs(*plan) && gather.depth > 1;
  blocks.pairs = pairs;
  const int64_t depth = pairs ? CeilDiv(gather.depth, 2) : gather.depth;
  // The last channel of an odd depth would pair up with a neighbour's.
  blocks.convert_source =
      gather.source.channel != 1 ||
      (pairs ? gather.depth % 2 == 1 : IsNarrow(plan->dtype));
  blocks.vectors = gather.columns > lanes ? 2 : 1;
  blocks.rows = TileRows(*plan);
  blocks.folded = FoldablePhases(gather.axis[plan->geometry.rank - 1]);
  const bool vectors = ReadsAndStoresVectors(*plan);
  blocks.rows_by_tap =
      vectors && !pairs && FillsPanels(*plan) && SortsRowsByTap(*plan);
  plan->batch_inner = !blocks.rows_by_tap && RowsAlongBatch(*plan);
  const bool found = blocks.rows_by_tap || (vectors && FindsRowsFirst(*plan));
  // Six rows of four vectors take half as many broadcasts as twelve of two: 223
  // GFLOP/s for 207 of 243, from a level-1 cache of a Sapphire Rapids core.
  // Pairs pass the filter at once: half as fast from a level-2 cache.
  const int64_t wide_panel_bytes =
      PhaseTaps(*plan) * depth * 4 * plan->target.vector_bytes;
  if (found && plan->target.registers >= 32 &&
      gather.columns % (4 * lanes) == 0 &&
      (!pairs || wide_panel_bytes <= kFilterPartBytes)) {
    blocks.vectors = 4;
    blocks.rows = 6;
  }
  const int64_t panel_columns = blocks.vectors * lanes;
  blocks.panels = CeilDiv(gather.columns, panel_columns);

  const int64_t taps = PhaseTaps(*plan);
  const int64_t panel_bytes =
      std::max<int64_t>(1, taps * depth) * panel_columns * element;
  const int64_t all_panels = blocks.panels * blocks.folded;
  blocks.panel_block = std::clamp<int64_t>(
      (found ? kFoundFilterBytes : kFilterBlockBytes) / panel_bytes, 1,
      all_panels);
  blocks.depth_block = depth;
  blocks.tap_block =
      std::clamp<int64_t>(1024 / blocks.rows, 1, std::max<int64_t>(taps, 1));
  if (blocks.convert_source) {
    blocks.depth_block = std::min<int64_t>(depth, 1024);
    const int64_t tap_bytes = blocks.rows * blocks.depth_block * element;
    blocks.tap_block =
        std::clamp<int64_t>(kScratchBytes / tap_bytes, 1, blocks.tap_block);
  } else if (!blocks.rows_by_tap) {
    blocks.merged = MergeableTaps(gather, plan->geometry.rank - 1);
  }
  blocks.row_block = RowBlock(
      static_cast<double>(taps) * depth * panel_columns * blocks.panel_block,
      blocks.rows);
  if (found) PlanFoundRows(plan);

  plan->units = plan->geometry.groups * (plan->phases / blocks.folded) *
                CeilDiv(all_panels, blocks.panel_block) *
                CeilDiv(PhaseRows(*plan), blocks.row_block);
  const int64_t packed_bytes = plan->geometry.groups * blocks.panels *
                               gather.filter_taps * depth * panel_columns *
                               element;
  // A filter that stays in a level-2 cache as a whole may be read by all phases
  // of a row block in turn; the source rows then stay near, too.
  blocks.phases_first = packed_bytes <= 2 * kFilterBlockBytes;
  plan->packed_bytes = blocks.filter_rows > 0 ? 0 : RoundUp(packed_bytes, 64);
  plan->shared_bytes = BiasBytes(*plan) + plan->packed_bytes;
  const int64_t pointers =
      RoundUp(blocks.tap_block * (2 * blocks.rows + 1) * 8, 64);
  const int64_t zeros =
      RoundUp(blocks.depth_block * blocks.merged * element, 64);
  const int64_t converted = blocks.convert_source
                                ? RoundUp(blocks.tap_block * blocks.rows *
                                              blocks.depth_block * element,
                                          64)
                                : 0;
  const int64_t tiles =
      blocks.rows * panel_columns * blocks.panel_block * element;
  plan->scratch_bytes = pointers + zeros + converted +
                        RoundUp(found ? blocks.found_bytes : tiles, 64);
  return true;
}

}  // namespace conv_transpose_nd
