// Blocks and memory of the families that only gradients have.
#include "cc/core/plan_blocks.h"

namespace conv_transpose_nd {
namespace {

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

// Multiply-adds that a register tile of the filter gradient spends per position
// on `rows` rows, beyond whole tiles: the next larger compiled tile.
int64_t PaddedRows(int64_t rows, int64_t tile_rows) {
  const int64_t rest = rows % tile_rows;
  int64_t padded = tile_rows;
  for (const int64_t size : {8, 6, 4, 2, 1}) {
    if (size < tile_rows && size >= rest) padded = size;
  }
  return rows - rest + (rest == 0 ? 0 : padded);
}

// Rows of one tap fill register tiles badly where out_channels are few; rows
// over all taps multiply zeros beyond the border.
bool TakesAllTaps(const Plan& plan, int64_t taps, int64_t positions) {
  const ConvTransposeGeometry& geometry = plan.geometry;
  if (geometry.groups != 1) return false;
  const int64_t tile_rows = plan.positions.rows;
  const int64_t group_out = geometry.group_out_channels();
  const double exact = plan.multiply_adds / geometry.in_channels / group_out *
                       PaddedRows(group_out, tile_rows);
  const double all =
      static_cast<double>(positions) * PaddedRows(taps * group_out, tile_rows);
  // Small tiles wait for the latency of their sums, and every tap visits its
  // columns by itself.
  const double latency =
      group_out < 8 ? 8.0 / std::min<int64_t>(group_out, 8) : 1.0;
  return all < exact * latency;
}

// Register tiles of rows that read columns in place.
constexpr int64_t kTilesInPlace = 4;

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
  blocks.all_taps = !exact && TakesAllTaps(*plan, taps, positions);
  blocks.pairs = !exact && TakesPairs(*plan);
  const int64_t block = (blocks.pairs ? 2 : 1) * kPositionBlock;
  const int64_t filter_elements = NumElements(geometry.FilterDims());
  // Sixteen units: positions are split where that leaves each enough of them
  // and the partial sums stay small, so that a unit has many tiles and walks
  // the operands seldom.
  const int64_t partial_bytes = exact ? kFewPartialBytes : int64_t{4} << 20;
  const int64_t kept =
      partial_bytes / std::max<int64_t>(1, filter_elements * element);
  blocks.splits =
      std::clamp<int64_t>(std::min(positions / (block / 2), kept), 1, 16);
  // Chunks of equal size, a little larger rather than one more.
  const int64_t range = CeilDiv(positions, blocks.splits);
  blocks.chunk = CeilDiv(range, CeilDiv(range, block + 16));
  blocks.slots = Slots(*plan);

  // Blocks of rows whose copy stays in a level-2 cache.
  const int64_t rows = blocks.all_taps ? taps * group_out : group_out;
  const int64_t fitting = 3 * kScratchBytes / (blocks.slots * element);
  const int64_t row_blocks =
      CeilDiv(rows, std::max<int64_t>(fitting, blocks.rows));
  blocks.row_block = RoundUp(CeilDiv(rows, row_blocks), blocks.rows);
  blocks.left_step = LeftStep(blocks, lanes);
  blocks.runs =
      blocks.all_taps ? blocks.row_block : blocks.row_block / blocks.rows;
  blocks.tiles = blocks.channelwise
                     ? taps
                     : (blocks.all_taps ? 1 : taps * geometry.groups) *
                           CeilDiv(rows, blocks.row_block);

  blocks.tile_group =
      std::clamp<int64_t>(blocks.tiles * blocks.splits / 16, 1, blocks.tiles);
  // Rows of more than a panel lie so far apart that they collide in level-1
  // cache; a copy is read as it lies in memory, too. It pays where more than a
  // few register tiles of rows read it: with up to four, calls of one to three
  // out_channels are 1.1 to 1.3 times as fast without (a Zen 5 core).
  const bool many = !blocks.all_taps || rows > kTilesInPlace * blocks.rows;
  blocks.copy_right = !blocks.channelwise &&
                      (IsNarrow(plan->dtype) || !channels_last ||
                       group_in % lanes != 0 || (group_in > width && many));
  blocks.column_block =
      std::min(RoundUp(group_in, width),
               RoundUp(4 * kScratchBytes / (blocks.slots * element), width));
  plan->units = CeilDiv(blocks.tiles, blocks.tile_group) * blocks.splits;
  // A single sum goes straight into a result that holds it as it is.
  plan->shared_bytes =
      blocks.splits == 1 && !IsNarrow(plan->dtype)
          ? 0
          : RoundUp(blocks.splits * filter_elements * element, 64);
  const int64_t left = blocks.row_block / blocks.rows * blocks.left_step;
  const int64_t right = blocks.copy_right ? blocks.column_block / width *
                                                (blocks.slots * width + lanes)
                                          : 0;
  plan->scratch_bytes = RoundUp(blocks.chunk * sizeof(PositionPiece), 64) +
                        RoundUp(blocks.runs * sizeof(TapRun), 64) +
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
  const AxisGeometry& inner = geometry.axis[geometry.rank - 1];
  const int64_t element = AccumulatorBytes(plan->dtype);
  const int64_t lanes = Lanes(*plan);
  const int64_t columns = geometry.in_channels;
  const int64_t depth = NumElements(geometry.FilterDims()) / columns;
  const int64_t positions = NumElements(geometry.InputDims()) / columns;
  const int64_t extent = (inner.filter - 1) * inner.dilation + 1;
  // A line's copy would leave a level-2 cache by itself.
  if (extent > kMostScratchBytes / geometry.out_channels ||
      inner.stride > kMostScratchBytes / geometry.out_channels) {
    return false;
  }
  blocks.vectors = columns > lanes ? 2 : 1;
  blocks.rows = TileRows(*plan);
  const int64_t width = blocks.vectors * lanes;
  const int64_t line_depth = inner.filter * geometry.out_channels;
  blocks.reach = extent * geometry.out_channels;
  blocks.step = inner.stride * geometry.out_channels;
  blocks.gap =
      std::max<int64_t>(0, CeilDiv(extent - inner.stride, inner.stride));
  // Rows of a tile that are kilobytes apart share sets of a level-1 cache; and
  // copying each position by itself takes some cycles, as gaps do.
  const double gap_cycles = static_cast<double>(blocks.gap) / inner.input *
                            line_depth * CeilDiv(columns, lanes) / 2;
  blocks.spread = blocks.step * element >= 1024 ||
                  gap_cycles > 8.0 + static_cast<double>(blocks.reach) / lanes;
  if (blocks.spread) {
    blocks.step = RoundUp(blocks.reach, 16) + 16;
    blocks.gap = 0;
  }
  // Chunks of equal size, of whole lines where they are short. Two hundred
  // positions are worth a copy of a panel.
  const int64_t fitting_lines = kPositionBlock / (inner.input + blocks.gap);
  if (fitting_lines > 0) {
    const int64_t lines = positions / inner.input;
    blocks.chunk = CeilDiv(lines, CeilDiv(lines, fitting_lines)) * inner.input;
  } else {
    blocks.chunk = CeilDiv(inner.input, CeilDiv(inner.input, kPositionBlock));
  }
  blocks.pieces = CeilDiv(blocks.chunk - 1, inner.input) + 1;
  blocks.slots = blocks.chunk + (blocks.pieces - 1) * blocks.gap;
  // The last tile reads beyond the last position.
  blocks.line_step =
      RoundUp((blocks.slots + blocks.rows) * blocks.step + blocks.reach, 16);
  const int64_t outer_taps = depth / line_depth;
  const int64_t fitting = 2 * kScratchBytes / (blocks.line_step * element);
  blocks.line_taps = std::clamp<int64_t>(fitting, 1, outer_taps);
  // Few positions wait for the filter to come from memory: a few of its rows at
  // a time are read whole. 33 MB: 3.2 ms for 4.8.
  const bool few = blocks.chunk <= 3 * blocks.rows;
  const int64_t block_depth = blocks.line_taps * line_depth;
  blocks.row_block =
      CeilDiv(block_depth,
              CeilDiv(block_depth, few ? kPositionBlock / 4 : kPositionBlock));
  // What fits a level-1 cache as a whole is read in place.
  blocks.copy_right = !few && columns > width &&
                      blocks.row_block * columns * element > 24 * 1024;
  // Few positions leave the columns to share out.
  const int64_t chunks = CeilDiv(positions, blocks.chunk);
  const int64_t shares =
      std::clamp<int64_t>(columns / (4 * width), 1, CeilDiv(2, chunks));
  blocks.column_block = RoundUp(CeilDiv(columns, shares), width);
  plan->units = chunks * CeilDiv(columns, blocks.column_block);
  plan->packed_bytes = 0;
  plan->shared_bytes = BiasBytes(*plan);
  plan->scratch_bytes =
      RoundUp(blocks.row_block * width * element, 64) +
      RoundUp(blocks.row_block * 8, 64) +
      RoundUp(blocks.pieces * sizeof(LinePiece), 64) +
      RoundUp((blocks.slots + blocks.rows) * 8, 64) +
      RoundUp((columns + width) * element, 64) +
      RoundUp(blocks.line_taps * blocks.line_step * element, 64);
  return plan->scratch_bytes <= kMostScratchBytes;
}

}  // namespace conv_transpose_nd
