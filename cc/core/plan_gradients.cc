// Blocks and memory of the families that only gradients have.
#include "cc/core/plan_blocks.h"

namespace conv_transpose_nd {
namespace {

// Fewer out_channels than this fill no pairs' register tiles.
constexpr int64_t kFewChannels = 12;

// Elements from one register tile's copy of a chunk to the next one's. Each row
// is written as whole vectors that would hold all rows of the tile, so that the
// last row of the last position reaches beyond it: not into what follows, which
// may have been written before.
int64_t LeftStep(const PositionsBlocks& blocks, int64_t lanes) {
  const int64_t beyond = blocks.rows - 1 + lanes - 1;
  return RoundUp(blocks.slots * blocks.rows + beyond, 16);
}

// Whether positions are multiplied in pairs: those of lines that lose little at
// their ends, by single taps.
bool TakesPairs(const Plan& plan) {
  constexpr int64_t kShortestLine = 6;
  const ConvTransposeGeometry& geometry = plan.geometry;
  return MultipliesPairs(plan) && !plan.positions.channelwise &&
         !plan.positions.all_taps &&
         geometry.axis[geometry.rank - 1].input >= kShortestLine;
}

// Words of a chunk: each line that it lies on may end with half a pair.
int64_t Slots(const Plan& plan) {
  const PositionsBlocks& blocks = plan.positions;
  if (!blocks.pairs) return blocks.chunk;
  const int64_t line = plan.geometry.axis[plan.geometry.rank - 1].input;
  const int64_t lines = CeilDiv(blocks.chunk - 1, line) + 1;
  return CeilDiv(blocks.chunk + lines, 2);
}

// Multiply-adds that register tiles of the filter gradient spend per position
// and column on `rows` rows, or could have spent: less than eight sums wait for
// their latency, and every tile begins anew with each line.
double PaddedRows(int64_t rows, const PositionsBlocks& blocks) {
  const int64_t whole =
      std::max<int64_t>(0, rows / blocks.rows - 1) * blocks.rows;
  double padded = static_cast<double>(whole) * (1 + 0.5 / blocks.rows);
  for (int64_t left = rows - whole; left > 0;) {
    const int tile = NextTile(left, blocks.rows);
    padded += std::max(tile, 8 / blocks.vectors) + 0.5;
    left -= tile;
  }
  return padded;
}

// What LineCopies takes of scratch. It writes whole vectors.
int64_t LineCopyBytes(const Plan& plan) {
  const CopiedLines& lines = plan.copied_lines;
  return RoundUp(lines.pieces * sizeof(LinePiece), 64) +
         RoundUp(lines.line_taps * lines.pieces, 64) +
         RoundUp((lines.line_taps * lines.line_step + Lanes(plan)) *
                     AccumulatorBytes(plan.dtype),
                 64);
}

// What a call's gradients copy of output_grad, with `beyond` positions behind a
// chunk's last; false where that would leave a level-2 cache.
bool PlanCopiedLines(Plan* plan, int64_t beyond) {
  const ConvTransposeGeometry& geometry = plan->geometry;
  CopiedLines& blocks = plan->copied_lines;
  const AxisGeometry& inner = geometry.axis[geometry.rank - 1];
  const int64_t element = AccumulatorBytes(plan->dtype);
  const int64_t lanes = Lanes(*plan);
  const int64_t columns = geometry.in_channels;
  const int64_t positions = NumElements(geometry.InputDims()) / columns;
  const int64_t extent = (inner.filter - 1) * inner.dilation + 1;
  // A line's copy would leave a level-2 cache by itself.
  if (extent > kMostScratchBytes / geometry.out_channels ||
      inner.stride > kMostScratchBytes / geometry.out_channels) {
    return false;
  }
  const int64_t line_depth = inner.filter * geometry.out_channels;
  blocks.reach = extent * geometry.out_channels;
  blocks.step = inner.stride * geometry.out_channels;
  blocks.gap =
      std::max<int64_t>(0, CeilDiv(extent - inner.stride, inner.stride));
  // Chunks of equal size, of whole lines where they are short. Two hundred
  // positions are worth a copy of a panel.
  const bool filter_grad = plan->operation == Operation::kFilterGrad;
  const auto set_chunk = [&] {
    // Gaps are multiplied, too, by the input gradient's tiles.
    const int64_t line = inner.input + (filter_grad ? 0 : blocks.gap);
    const int64_t fitting_lines = kPositionBlock / line;
    if (fitting_lines > 0) {
      const int64_t lines = positions / inner.input;
      blocks.chunk =
          CeilDiv(lines, CeilDiv(lines, fitting_lines)) * inner.input;
    } else {
      blocks.chunk = CeilDiv(inner.input, CeilDiv(inner.input, kPositionBlock));
    }
    blocks.pieces = CeilDiv(blocks.chunk - 1, inner.input) + 1;
    blocks.slots = blocks.chunk + (blocks.pieces - 1) * blocks.gap;
  };
  set_chunk();
  // Rows of a tile that are kilobytes apart share sets of a level-1 cache; and
  // copying each position by itself takes some cycles, as gaps do, or more
  // memory than they.
  const int64_t alone = RoundUp(blocks.reach, 16) + 16;
  const double gap_cycles = static_cast<double>(blocks.gap) / inner.input *
                            line_depth * CeilDiv(columns, lanes) / 2;
  const bool gaps_pay =
      filter_grad
          ? static_cast<double>(blocks.slots) * blocks.step <=
                static_cast<double>(blocks.chunk) * alone
          : gap_cycles <= 8.0 + static_cast<double>(blocks.reach) / lanes;
  blocks.spread = blocks.step * element >= 1024 || !gaps_pay;
  if (blocks.spread) {
    blocks.gap = 0;
    set_chunk();
    const auto part_bytes = [&] {
      const int64_t taps = inner.filter / blocks.parts;
      blocks.reach = ((taps - 1) * inner.dilation + 1) * geometry.out_channels;
      blocks.step = RoundUp(blocks.reach, 16) + 16;
      return blocks.chunk * blocks.step * element;
    };
    // As few parts as leave a level-2 cache some room.
    while (part_bytes() > 8 * kScratchBytes && filter_grad &&
           blocks.parts < inner.filter) {
      do ++blocks.parts;
      while (inner.filter % blocks.parts != 0);
    }
  }
  blocks.line_step =
      RoundUp((blocks.slots + beyond) * blocks.step + blocks.reach, 16);
  const int64_t outer_taps =
      NumElements(geometry.FilterDims()) / columns / line_depth * blocks.parts;
  const int64_t fitting = 2 * kScratchBytes / (blocks.line_step * element);
  blocks.line_taps = std::clamp<int64_t>(fitting, 1, outer_taps);
  return true;
}

// Whether register tiles take in_channels as rows: where so many vectors of a
// line's rows have fewer empty lanes. visits: pairs of positions and outer taps
// that are inside.
void PlanInputRows(double visits, int64_t line_rows, Plan* plan) {
  constexpr double kLeastGain = 1.1, kMostBytes = 2 * kScratchBytes;
  constexpr int64_t kMostChannels = 256;
  const ConvTransposeGeometry& geometry = plan->geometry;
  PositionsBlocks& blocks = plan->positions;
  const int64_t lanes = Lanes(*plan);
  const int64_t columns = geometry.in_channels;
  const AxisGeometry& inner = geometry.axis[geometry.rank - 1];
  if (columns % lanes == 0 || columns > kMostChannels || inner.dilation != 1) {
    return;
  }
  blocks.result_step = RoundUp(line_rows, lanes);
  const double bytes = static_cast<double>(blocks.tile_group) *
                       static_cast<double>(columns + blocks.rows) *
                       static_cast<double>(blocks.result_step) *
                       static_cast<double>(AccumulatorBytes(plan->dtype));
  if (bytes > kMostBytes) return;
  // In units of vectors.
  const double rows = visits * PaddedRows(columns, blocks) *
                      static_cast<double>(blocks.result_step);
  const double taken =
      blocks.rows_taken * static_cast<double>(RoundUp(columns, lanes));
  if (rows * kLeastGain > taken) return;
  blocks.input_rows = true;
  blocks.alike_rows = line_rows;
  blocks.rows_taken = rows / static_cast<double>(RoundUp(columns, lanes));
}

// Which rows of all taps take the same positions: zeros beyond the border
// against rows that fill no whole tile. Sets the estimate of products, too.
// False where most pairs of positions and taps lie outside: combinations of
// outer taps are all visited.
bool PlanAlikeRows(Plan* plan, int64_t block_taps) {
  constexpr double kLeastInside = 0.125;
  const ConvTransposeGeometry& geometry = plan->geometry;
  PositionsBlocks& blocks = plan->positions;
  const AxisGeometry& inner = geometry.axis[geometry.rank - 1];
  const int64_t line_taps = inner.filter / plan->copied_lines.parts;
  const int64_t line_rows = line_taps * geometry.out_channels;
  const double positions =
      static_cast<double>(NumElements(geometry.InputDims())) /
      static_cast<double>(geometry.in_channels);
  // Pairs of positions and taps: all, those inside as far as the outer axes go,
  // and those inside.
  const double all = positions * static_cast<double>(blocks.tiles * line_taps);
  const double inside = plan->multiply_adds /
                        static_cast<double>(geometry.in_channels) /
                        static_cast<double>(geometry.out_channels);
  if (inside < kLeastInside * all) return false;
  const double inner_share = TapsInside(InputPhases(inner)) /
                             static_cast<double>(inner.input) /
                             static_cast<double>(inner.filter);
  const auto rows_per_tap = [&](int64_t rows, int64_t taps) {
    return PaddedRows(rows, blocks) / static_cast<double>(taps);
  };
  const int64_t block_rows = block_taps * line_rows;
  const double of_block =
      all * rows_per_tap(block_rows, block_taps * line_taps);
  const double of_line =
      inside / inner_share * rows_per_tap(line_rows, line_taps);
  const double of_tap = inside * rows_per_tap(geometry.out_channels, 1);
  blocks.alike_rows = block_rows;
  blocks.rows_taken = of_block;
  if (of_line < blocks.rows_taken) {
    blocks.alike_rows = line_rows;
    blocks.rows_taken = of_line;
  }
  if (of_tap < blocks.rows_taken) {
    blocks.alike_rows = geometry.out_channels;
    blocks.rows_taken = of_tap;
  }
  PlanInputRows(inside / inner_share / static_cast<double>(line_taps),
                line_rows, plan);
  return true;
}

// Into how many shares of rows and columns work units are divided: into four
// units at least, and into more as long as the copies that each makes for
// itself are few beside its products.
int64_t AllTapsShares(const Plan& plan, int64_t units) {
  const ConvTransposeGeometry& geometry = plan.geometry;
  const CopiedLines& lines = plan.copied_lines;
  const double rows = static_cast<double>(NumElements(geometry.FilterDims())) /
                      static_cast<double>(geometry.in_channels);
  const double vectors = CeilDiv(geometry.in_channels, Lanes(plan));
  const double copied = static_cast<double>(plan.positions.tiles) *
                        (static_cast<double>(lines.step) / Lanes(plan) + 2.0);
  const auto most = static_cast<int64_t>(rows * vectors / (512.0 * copied));
  const int64_t wanted = CeilDiv(16, units);
  return std::clamp(most, CeilDiv(4, units), wanted);
}

// Of all taps at once: a block of rows is those of a combination of outer taps.
bool PlanAllTaps(Plan* plan) {
  const ConvTransposeGeometry& geometry = plan->geometry;
  PositionsBlocks& blocks = plan->positions;
  CopiedLines& lines = plan->copied_lines;
  if (geometry.groups != 1 || !PlanCopiedLines(plan, 0)) return false;
  const AxisGeometry& inner = geometry.axis[geometry.rank - 1];
  const int64_t element = AccumulatorBytes(plan->dtype);
  const int64_t lanes = Lanes(*plan);
  const int64_t columns = geometry.in_channels;
  // Half as many broadcasts, as in PlanChannelLanes; and six rows leave the
  // general registers what 12 do not.
  if (plan->target.registers >= 32 && columns % (4 * lanes) == 0) {
    blocks.vectors = 4;
    blocks.rows = 6;
  }
  const int64_t width = blocks.vectors * lanes;
  const int64_t filter_elements = NumElements(geometry.FilterDims());
  const int64_t line_rows = inner.filter / lines.parts * geometry.out_channels;
  const int64_t positions = NumElements(geometry.InputDims()) / columns;
  const int64_t chunks = CeilDiv(positions, lines.chunk);
  const int64_t kept = kPartialBytes / (filter_elements * element);
  blocks.splits = std::clamp<int64_t>(std::min(chunks, kept), 1, 16);
  blocks.tiles = filter_elements / columns / line_rows;
  // Two register tiles, or more, of rows.
  blocks.tile_group = std::min(
      blocks.tiles, std::max(CeilDiv(2 * blocks.rows, line_rows),
                             CeilDiv(blocks.tiles, 16 / blocks.splits)));
  lines.line_taps = std::min(lines.line_taps, blocks.tile_group);
  if (!PlanAlikeRows(plan, lines.line_taps)) return false;
  blocks.row_block = lines.line_taps * line_rows;
  blocks.slots = lines.chunk;
  // Whole vectors are read in place: calls of one to three out_channels
  // were 1.1 to 1.3 times as fast (a Zen 5 core).
  blocks.copy_right = IsNarrow(plan->dtype) || columns % lanes != 0 ||
                      geometry.data_format != DataFormat::kChannelsLast;
  // Few chunks and outer taps leave columns to share out, and then rows.
  int64_t units = CeilDiv(blocks.tiles, blocks.tile_group) * blocks.splits;
  const int64_t shares = blocks.input_rows ? 1 : AllTapsShares(*plan, units);
  const int64_t panels = CeilDiv(columns, width);
  const int64_t column_shares = std::max(
      CeilDiv(panels * width * blocks.slots * element, 4 * kScratchBytes),
      std::min(panels, shares));
  blocks.column_block = CeilDiv(panels, column_shares) * width;
  units *= CeilDiv(columns, blocks.column_block);
  blocks.row_share = blocks.row_block;
  if (shares > column_shares && lines.line_taps == blocks.tile_group) {
    const int64_t step =
        blocks.alike_rows < blocks.row_block ? blocks.alike_rows : blocks.rows;
    blocks.row_share = std::min(
        blocks.row_block,
        RoundUp(CeilDiv(blocks.row_block, CeilDiv(shares, column_shares)),
                step));
  }
  plan->units = units * CeilDiv(blocks.row_block, blocks.row_share);
  const int64_t right = blocks.copy_right ? blocks.column_block / width *
                                                (blocks.slots * width + lanes)
                                          : 0;
  const int64_t alike = blocks.row_block / blocks.alike_rows;
  plan->scratch_bytes =
      LineCopyBytes(*plan) +
      RoundUp(alike * (lines.pieces * sizeof(LineSpan) + sizeof(LineSpans)),
              64) +
      RoundUp((blocks.row_block + blocks.rows) * 8, 64) +
      RoundUp(right * element, 64);
  if (blocks.input_rows) {
    plan->scratch_bytes += RoundUp((columns + blocks.rows) * 8, 64) +
                           RoundUp(blocks.tile_group * (columns + blocks.rows) *
                                       blocks.result_step * element,
                                   64);
  }
  return plan->scratch_bytes <= kMostScratchBytes;
}

}  // namespace

void PlanPositions(Plan* plan, bool exact) {
  const ConvTransposeGeometry& geometry = plan->geometry;
  PositionsBlocks& blocks = plan->positions;
  const int64_t element = AccumulatorBytes(plan->dtype);
  const int64_t lanes = Lanes(*plan);
  const int64_t group_out = geometry.group_out_channels();
  const int64_t group_in = geometry.group_in_channels();
  const bool channels_last = geometry.data_format == DataFormat::kChannelsLast;
  int64_t taps = 1, positions = geometry.batch;
  for (int a = 0; a < geometry.rank; ++a) {
    taps *= geometry.axis[a].filter;
    positions *= geometry.axis[a].input;
  }
  blocks.channelwise =
      channels_last && group_out == 1 && group_in == 1 && geometry.groups > 1;
  blocks.vectors = group_in > lanes ? 2 : 1;
  blocks.rows = TileRows(*plan);
  const int64_t width = blocks.vectors * lanes;
  const int64_t filter_elements = NumElements(geometry.FilterDims());
  const auto share_sums = [&] {
    // A single sum goes straight into a result that holds it as it is.
    plan->shared_bytes =
        blocks.splits == 1 && !IsNarrow(plan->dtype)
            ? 0
            : RoundUp(blocks.splits * filter_elements * element, 64);
  };
  // Pairs are worth more than what single taps lose, where channels are many.
  blocks.all_taps = !exact && !blocks.channelwise &&
                    !(MultipliesPairs(*plan) && group_out >= kFewChannels) &&
                    PlanAllTaps(plan);
  if (blocks.all_taps) return share_sums();
  blocks.rows = TileRows(*plan);
  blocks.vectors = group_in > lanes ? 2 : 1;
  blocks.pairs = !exact && TakesPairs(*plan);
  const int64_t block = (blocks.pairs ? 2 : 1) * kPositionBlock;
  // Sixteen units: positions are split where that leaves each enough of them
  // and the partial sums stay small, so that a unit has many tiles and walks
  // the operands seldom.
  const int64_t partial_bytes = exact ? kFewPartialBytes : kPartialBytes;
  const int64_t kept =
      partial_bytes / std::max<int64_t>(1, filter_elements * element);
  blocks.splits =
      std::clamp<int64_t>(std::min(positions / (block / 2), kept), 1, 16);
  // Chunks of equal size, a little larger rather than one more.
  const int64_t range = CeilDiv(positions, blocks.splits);
  blocks.chunk = CeilDiv(range, CeilDiv(range, block + 16));
  blocks.slots = Slots(*plan);

  // Blocks of rows whose copy stays in a level-2 cache.
  const int64_t fitting = 3 * kScratchBytes / (blocks.slots * element);
  const int64_t row_blocks =
      CeilDiv(group_out, std::max<int64_t>(fitting, blocks.rows));
  blocks.row_block = RoundUp(CeilDiv(group_out, row_blocks), blocks.rows);
  blocks.left_step = LeftStep(blocks, lanes);
  blocks.tiles = blocks.channelwise ? taps
                                    : taps * geometry.groups *
                                          CeilDiv(group_out, blocks.row_block);
  blocks.tile_group =
      std::clamp<int64_t>(blocks.tiles * blocks.splits / 16, 1, blocks.tiles);
  // Rows of more than a panel lie so far apart that they collide in level-1
  // cache; a copy is read as it lies in memory, too.
  blocks.copy_right =
      !blocks.channelwise && (IsNarrow(plan->dtype) || !channels_last ||
                              group_in % lanes != 0 || group_in > width);
  blocks.column_block =
      std::min(RoundUp(group_in, width),
               RoundUp(4 * kScratchBytes / (blocks.slots * element), width));
  plan->units = CeilDiv(blocks.tiles, blocks.tile_group) * blocks.splits;
  share_sums();
  const int64_t left = blocks.row_block / blocks.rows * blocks.left_step;
  const int64_t right = blocks.copy_right ? blocks.column_block / width *
                                                (blocks.slots * width + lanes)
                                          : 0;
  plan->scratch_bytes = RoundUp(blocks.chunk * sizeof(PositionPiece), 64) +
                        RoundUp(std::max(blocks.chunk, blocks.slots) * 32, 64) +
                        RoundUp(left * element, 64) +
                        RoundUp(right * element, 64);
  if (blocks.channelwise) {
    plan->scratch_bytes += RoundUp(2 * geometry.groups * element, 64);
  }
}

bool PlanCopiedRows(Plan* plan) {
  const ConvTransposeGeometry& geometry = plan->geometry;
  if (plan->operation != Operation::kInputGrad || IsNarrow(plan->dtype) ||
      geometry.groups != 1 ||
      geometry.data_format != DataFormat::kChannelsLast) {
    return false;
  }
  CopiedRowsBlocks& blocks = plan->copied_rows;
  const CopiedLines& lines = plan->copied_lines;
  const AxisGeometry& inner = geometry.axis[geometry.rank - 1];
  const int64_t element = AccumulatorBytes(plan->dtype);
  const int64_t lanes = Lanes(*plan);
  const int64_t columns = geometry.in_channels;
  const int64_t positions = NumElements(geometry.InputDims()) / columns;
  blocks.vectors = columns > lanes ? 2 : 1;
  blocks.rows = TileRows(*plan);
  // The last tile reads beyond the last position.
  if (!PlanCopiedLines(plan, blocks.rows)) return false;
  const int64_t width = blocks.vectors * lanes;
  // Few positions wait for the filter to come from memory: a few of its rows at
  // a time are read whole. 33 MB: 3.2 ms for 4.8.
  const bool few = lines.chunk <= 3 * blocks.rows;
  const int64_t block_depth =
      lines.line_taps * inner.filter * geometry.out_channels;
  blocks.row_block =
      CeilDiv(block_depth,
              CeilDiv(block_depth, few ? kPositionBlock / 4 : kPositionBlock));
  // What fits a level-1 cache as a whole is read in place.
  blocks.copy_right = !few && columns > width &&
                      blocks.row_block * columns * element > 24 * 1024;
  // Few positions leave the columns to share out.
  const int64_t chunks = CeilDiv(positions, lines.chunk);
  const int64_t shares =
      std::clamp<int64_t>(columns / (4 * width), 1, CeilDiv(2, chunks));
  blocks.column_block = RoundUp(CeilDiv(columns, shares), width);
  plan->units = chunks * CeilDiv(columns, blocks.column_block);
  plan->packed_bytes = 0;
  plan->shared_bytes = BiasBytes(*plan);
  plan->scratch_bytes = RoundUp(blocks.row_block * width * element, 64) +
                        RoundUp(blocks.row_block * 8, 64) +
                        LineCopyBytes(*plan) +
                        RoundUp((lines.slots + blocks.rows) * 8, 64) +
                        RoundUp((columns + width) * element, 64);
  return plan->scratch_bytes <= kMostScratchBytes;
}

}  // namespace conv_transpose_nd
