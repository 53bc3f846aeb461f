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
  return RoundUp(blocks.chunk * blocks.rows + beyond, 16);
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
  blocks.chunk = std::min(positions, kPositionBlock);

  // Blocks of rows whose copy stays in a level-2 cache.
  const int64_t rows = blocks.all_taps ? taps * group_out : group_out;
  const int64_t fitting = 3 * kScratchBytes / (blocks.chunk * element);
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

  const int64_t filter_elements = NumElements(geometry.FilterDims());
  // Sixteen units: positions are split where that leaves each enough of them
  // and the partial sums stay small, so that a unit has many tiles and walks
  // the operands seldom.
  const int64_t kept =
      (int64_t{4} << 20) / std::max<int64_t>(1, filter_elements * element);
  blocks.splits = std::clamp<int64_t>(
      std::min(positions / (kPositionBlock / 2), kept), 1, 16);
  blocks.tile_group =
      std::clamp<int64_t>(blocks.tiles * blocks.splits / 16, 1, blocks.tiles);
  // Rows of more than a panel lie so far apart that they collide in level-1
  // cache; a copy is read as it lies in memory, too.
  blocks.copy_right =
      !blocks.channelwise && (IsNarrow(plan->dtype) || !channels_last ||
                              group_in % lanes != 0 || group_in > width);
  blocks.column_block =
      std::min(RoundUp(group_in, width),
               RoundUp(4 * kScratchBytes / (blocks.chunk * element), width));
  plan->units = CeilDiv(blocks.tiles, blocks.tile_group) * blocks.splits;
  // A single sum goes straight into a result that holds it as it is.
  plan->shared_bytes =
      blocks.splits == 1 && !IsNarrow(plan->dtype)
          ? 0
          : RoundUp(blocks.splits * filter_elements * element, 64);
  const int64_t left = blocks.row_block / blocks.rows * blocks.left_step;
  const int64_t right = blocks.copy_right ? blocks.column_block / width *
                                                (blocks.chunk * width + lanes)
                                          : 0;
  plan->scratch_bytes = RoundUp(blocks.chunk * sizeof(PositionPiece), 64) +
                        RoundUp(blocks.runs * sizeof(TapRun), 64) +
                        RoundUp(blocks.chunk * 32, 64) +
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
  PositionsBlocks& blocks = plan->positions;
  const int64_t element = AccumulatorBytes(plan->dtype);
  const int64_t lanes = Lanes(*plan);
  const int64_t columns = geometry.in_channels;
  const int64_t depth = NumElements(geometry.FilterDims()) / columns;
  const int64_t positions = NumElements(geometry.InputDims()) / columns;
  blocks.vectors = columns > lanes ? 2 : 1;
  blocks.rows = TileRows(*plan);
  const int64_t width = blocks.vectors * lanes;
  blocks.all_taps = true;
  // Chunks of equal size. Two hundred positions are worth a copy of a panel.
  blocks.chunk = RoundUp(CeilDiv(positions, CeilDiv(positions, kPositionBlock)),
                         blocks.rows);
  // Few positions wait for the filter to come from memory: a few of its rows at
  // a time are read whole. 33 MB: 3.2 ms for 4.8.
  const bool few = blocks.chunk <= 3 * blocks.rows;
  blocks.copy_right = !few && columns > width;
  const int64_t depth_blocks =
      CeilDiv(depth, few ? kPositionBlock / 4 : kPositionBlock);
  blocks.row_block = RoundUp(CeilDiv(depth, depth_blocks), blocks.rows);
  blocks.left_step = LeftStep(blocks, lanes);
  blocks.runs = blocks.row_block;
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
      RoundUp(blocks.chunk * sizeof(PositionPiece), 64) +
      RoundUp(blocks.runs * sizeof(TapRun), 64) +
      RoundUp(blocks.chunk * 32, 64) +
      RoundUp(blocks.row_block / blocks.rows * blocks.left_step * element, 64);
  return true;
}

}  // namespace conv_transpose_nd
