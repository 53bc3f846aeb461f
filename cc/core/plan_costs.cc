#include "cc/core/plan_costs.h"

#include <algorithm>
#include <array>

#include "cc/core/plan_blocks.h"

namespace conv_transpose_nd {
namespace {

// Two FMAs per cycle, less what loads and edges cost. The constants were fitted
// to a Sapphire Rapids core; they only rank the families.
constexpr double kChannelLanesRate = 1.85;
constexpr double kPixelLanesRate = 1.1;
constexpr double kTransposedPixelLanesRate = 1.6;
constexpr double kPixelTilesRate = 1.4;
constexpr double kWinogradRate = 2.0;
constexpr double kPositionsRate = 1.6;
constexpr double kAllTapsRate = 1.85;
constexpr double kWinogradGradRate = 1.9;

// What is left of a rate by tiles of one vector of columns: they load as often
// as they multiply.
double OneVectorShare(double columns, int64_t lanes) {
  return columns <= lanes ? 0.78 : 1.0;
}

// A cost per weight, of accumulators' size, of a filter that lies in a level-2
// cache, in a level-3 cache, or in memory; part of it lies in memory between
// the sizes that are left of a level-3 cache when it is shared and when not.
double ByFilterSize(double weights, double level2, double level3,
                    double memory) {
  constexpr double kLevel2 = 1 << 20, kLeastLevel3 = 12 << 20,
                   kMostLevel3 = 32 << 20;
  const double bytes = 4 * weights;
  if (bytes <= kLevel2) return level2;
  const double share = (bytes - kLeastLevel3) / (kMostLevel3 - kLeastLevel3);
  return level3 + (memory - level3) * std::clamp(share, 0.0, 1.0);
}

// Cycles per weight to read a filter.
double ReadCycles(double weights) {
  return ByFilterSize(weights, 0.0, 0.1, 0.6);
}

// Cycles per weight to pack a filter, or to read one that is packed.
double PackCycles(const Plan& plan, double weights) {
  return plan.filter_is_packed ? ReadCycles(weights)
                               : ByFilterSize(weights, 0.4, 0.8, 2.3);
}

}  // namespace

double ChannelLanesCost(const Plan& plan) {
  const Gather& gather = plan.gather;
  const int64_t lanes = Lanes(plan);
  const double columns = RoundUp(gather.columns, lanes);
  const double rows = PhaseRows(plan);
  const double padded_rows = RoundUp(PhaseRows(plan), 2);
  // Pairs of channels are one product, and one word of the packed filter.
  const double depth =
      plan.channel_lanes.pairs ? CeilDiv(gather.depth, 2) : gather.depth;
  const double products = plan.multiply_adds / gather.depth * depth /
                          gather.columns / lanes * columns * padded_rows / rows;
  const double filter = static_cast<double>(gather.filter_taps) * depth *
                        columns * plan.geometry.groups;
  double cycles = products / kChannelLanesRate / OneVectorShare(columns, lanes);
  if (plan.channel_lanes.rows_by_tap) {
    // The sums are visited for each tap, or more often.
    const int64_t filter_rows = plan.channel_lanes.filter_rows;
    const int64_t visits =
        filter_rows == 0 ? 1 : CeilDiv(gather.depth, filter_rows);
    cycles += plan.multiply_adds / gather.depth / lanes * visits * 2.0;
  } else if (!plan.batch_inner) {
    cycles *= BorderWaste(plan, TileRows(plan));
  }
  cycles += plan.channel_lanes.filter_rows > 0
                ? filter * ReadCycles(filter) *
                      CeilDiv(PhaseRows(plan), plan.channel_lanes.row_block)
                : filter * PackCycles(plan, filter);
  // Rows that have to be gathered, for each block of panels; elements that have
  // to be scattered.
  const double source_reads = plan.multiply_adds / gather.columns;
  if (gather.source.channel != 1) cycles += source_reads * 1.5;
  if (IsNarrow(plan.dtype) && plan.channel_lanes.convert_source) {
    cycles += source_reads * 0.15;
  }
  const double result =
      rows * plan.phases * gather.columns * plan.geometry.groups;
  // Pairs of columns that fill no whole tile take the way through a buffer.
  const int64_t panel = gather.columns > lanes ? 2 * lanes : lanes;
  const bool direct = gather.columns % panel == 0 ||
                      (!plan.channel_lanes.pairs && !IsNarrow(plan.dtype));
  const double store = direct ? 0.1 : 0.9;
  cycles += result * (gather.result.channel != 1 ? 2.0 : store);
  // Finding rows, for each tap that is inside.
  double finding = plan.multiply_adds / gather.depth / gather.columns * 4.0;
  if (plan.operation == Operation::kInputGrad) {
    // Taps of the innermost axis count as depth; each run of them begins anew.
    const AxisPhases& inner = gather.axis[plan.geometry.rank - 1];
    const auto run = static_cast<double>(std::max<int64_t>(1, MaxTaps(inner)));
    cycles += rows * PhaseTaps(plan) / run * (columns / lanes) * 3.0;
    finding /= run;
  }
  // Visiting the tile, per group of twelve rows and panel.
  return cycles + finding +
         rows * plan.phases * plan.geometry.groups *
             (8.0 + 4.0 * columns / (2 * lanes));
}

// Rows of the register tiles that so many columns take; a single one loads as
// often as it multiplies.
double PixelLanesRows(int64_t columns) {
  constexpr std::array<double, 12> kRest = {0, 2, 3, 4, 4,  6,
                                            6, 8, 8, 9, 12, 12};
  const int64_t rest = columns % 12;
  return static_cast<double>(columns - rest) + kRest[rest];
}

// Reading the filter anew for each line of windows, a row per column.
double ReadPerLine(const Plan& plan) {
  const Gather& gather = plan.gather;
  double lines =
      static_cast<double>(plan.geometry.batch) *
      static_cast<double>(CeilDiv(MaxCount(gather.axis[plan.geometry.rank - 1]),
                                  plan.pixel_lanes.positions));
  for (int a = 0; a < plan.geometry.rank - 1; ++a) {
    lines *= static_cast<double>(MaxCount(gather.axis[a]));
  }
  const double weights = static_cast<double>(gather.filter_taps) *
                         gather.depth * gather.columns * plan.geometry.groups;
  return lines * weights * ByFilterSize(weights, 0.05, 0.4, 1.2);
}

// Of windows that are kept, sums in registers over all taps.
double KeptWindowsCost(const Plan& plan, double window_elements) {
  const Gather& gather = plan.gather;
  const PixelLanesBlocks& blocks = plan.pixel_lanes;
  const int inner = plan.geometry.rank - 1;
  const double positions = MaxCount(gather.axis[inner]);
  const double padded = RoundUp(MaxCount(gather.axis[inner]), Lanes(plan));
  // Lines of a work unit read mostly the same windows.
  double filled = 1;
  if (inner > 0) {
    const auto lines = static_cast<double>(blocks.lines[inner - 1].size());
    const auto unit = static_cast<double>(blocks.unit_lines);
    const auto step = static_cast<double>(gather.axis[inner - 1].source_step);
    filled = std::min(1.0, (lines + (unit - 1) * step) / (lines * unit));
  }
  const double result = PhaseRows(plan) * static_cast<double>(plan.phases) *
                        gather.columns * plan.geometry.groups;
  return plan.multiply_adds / Lanes(plan) * padded / positions *
             PixelLanesRows(gather.columns) /
             static_cast<double>(gather.columns) / kChannelLanesRate +
         window_elements * filled * 0.6 +
         result * (0.5 + 0.1 * PhaseTaps(plan));
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
  const double copy_filter =
      blocks.copy_filter && !plan.filter_is_packed
          ? 4.0 * static_cast<double>(gather.filter_taps) *
                static_cast<double>(blocks.filter_tap_stride)
          : 0.0;
  if (blocks.windows > 0) {
    return copy_filter + ReadPerLine(plan) +
           KeptWindowsCost(plan, window_elements);
  }
  // Channels side by side: lines are transposed into the windows, and sums into
  // the result.
  const bool transposed = gather.source.channel == 1 &&
                          gather.result.channel == 1 && !IsNarrow(plan.dtype);
  const double window = adjacent                              ? 0.1
                        : !transposed                         ? 0.3
                        : gather.axis[inner].source_step == 1 ? 0.4
                                                              : 0.6;
  double cycles = plan.multiply_adds / lanes * padded / positions;
  // Fewer than four rows per shift leave sums waiting for each other.
  cycles /= transposed ? kTransposedPixelLanesRate : kPixelLanesRate;
  if (transposed) cycles += ReadPerLine(plan);
  cycles += window_elements * window;
  const double result = PhaseRows(plan) * static_cast<double>(plan.phases) *
                        gather.columns * plan.geometry.groups;
  // Visiting the sums: once per shift and line.
  cycles += result * (transposed ? 0.5 + 0.25 * PhaseTaps(plan)
                                 : 1.0 + 0.1 * PhaseTaps(plan));
  // Runs of fewer channels than the result has visit its cache lines again.
  if (blocks.columns < gather.columns) cycles += result * 8.0;
  return cycles + copy_filter;
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
             CeilDiv(gather.columns, plan.pixel_tiles.columns) +
         // Sums are stored one by one.
         rows * plan.phases * gather.columns * plan.geometry.groups * 2.0;
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
  double filter = 0, read_again = 0, products = 0, sources = 0, results = 0;
  double all_tiles = 0;
  for (int64_t p = 0; p < plan.phases; ++p) {
    const WinogradPhase phase(blocks, plan.geometry.rank, p);
    const double components = static_cast<double>(phase.components);
    const double tiles = static_cast<double>(phase.tiles) * plan.geometry.batch;
    const double depth = static_cast<double>(phase.classes) * blocks.depth;
    const double weights = components * depth * columns;
    filter += weights;
    all_tiles += tiles;
    // Each block of tiles but the first reads a phase's filter once more.
    read_again +=
        weights * ByFilterSize(weights, 0.0, 0.0, 0.6) *
        static_cast<double>(CeilDiv(blocks.max_tiles, blocks.tile_block) - 1);
    products += components * depth * columns * tiles / lanes;
    sources += components * depth * tiles / lanes;
    results += components * columns * tiles / lanes;
  }
  double cycles = products / kWinogradRate / OneVectorShare(columns, lanes);
  // The transforms, per vector and component; channels that fill no whole
  // vector are copied first.
  cycles += (sources + results) * 5.0;
  // Finding a tile and its place in the result, however few its channels.
  cycles += all_tiles * 110.0;
  if (gather.depth % lanes != 0) cycles += sources * 3.0;
  // Transforming the filter: as packing it, per transformed weight.
  cycles += filter * 1.3 * PackCycles(plan, filter) + read_again;
  // Columns that fill no whole tile take the way through a buffer.
  if (gather.columns % (blocks.vectors * lanes) != 0) {
    cycles += PhaseRows(plan) * static_cast<double>(plan.phases) *
              gather.columns * 0.9;
  }
  // Chosen only where it clearly pays: its error is larger than that of direct
  // sums.
  return cycles * 1.1;
}

double CopiedRowsCost(const Plan& plan) {
  const ConvTransposeGeometry& geometry = plan.geometry;
  const CopiedRowsBlocks& blocks = plan.copied_rows;
  const CopiedLines& lines = plan.copied_lines;
  const int64_t lanes = Lanes(plan);
  const int64_t columns = geometry.in_channels;
  const double depth = static_cast<double>(NumElements(geometry.FilterDims())) /
                       static_cast<double>(columns);
  const int64_t positions = NumElements(geometry.InputDims()) / columns;
  const double chunks = CeilDiv(positions, lines.chunk);
  const double rows = chunks * static_cast<double>(RoundUp(lines.slots, 2));
  const double padded = RoundUp(columns, lanes);
  double cycles = rows * depth * padded / lanes / kChannelLanesRate /
                  OneVectorShare(static_cast<double>(columns), lanes);
  // Copying output_grad, line by line, for each combination of outer taps and
  // each block of columns; copying the filter, per chunk.
  const AxisGeometry& inner = geometry.axis[geometry.rank - 1];
  const double taps = depth / static_cast<double>(inner.filter) /
                      static_cast<double>(geometry.out_channels);
  const double pieces = lines.spread ? lines.chunk : lines.pieces;
  cycles += chunks * taps * CeilDiv(columns, blocks.column_block) *
            (pieces * 20.0 +
             static_cast<double>(lines.slots) * lines.step / lanes * 1.5);
  const double filter = depth * padded;
  cycles += filter * chunks *
            (!blocks.copy_right ? ReadCycles(filter)
                                : (filter <= (1 << 18) ? 0.1 : 0.3));
  // Visiting the sums, per vector.
  cycles += rows * padded / lanes *
            CeilDiv(static_cast<int64_t>(depth), blocks.row_block) * 8.0;
  return cycles;
}

double PositionsCost(const Plan& plan) {
  const ConvTransposeGeometry& geometry = plan.geometry;
  const int64_t lanes = Lanes(plan);
  const double columns = RoundUp(geometry.in_channels, lanes);
  if (plan.positions.all_taps) {
    const CopiedLines& lines = plan.copied_lines;
    const double positions =
        static_cast<double>(NumElements(geometry.InputDims())) /
        static_cast<double>(geometry.in_channels);
    const double copies =
        static_cast<double>(plan.positions.tiles) *
        (static_cast<double>(lines.step) / lanes * 1.5 +
         static_cast<double>(lines.pieces) / lines.chunk * 20.0);
    return plan.positions.rows_taken * columns / lanes / kAllTapsRate +
           positions * copies;
  }
  const double rows = RoundUp(geometry.out_channels, 4);
  double cycles = plan.multiply_adds / geometry.in_channels /
                  geometry.out_channels * rows * columns / lanes /
                  kPositionsRate / (plan.positions.pairs ? 2 : 1);
  // Visiting the sums of each tap, chunk by chunk.
  const double positions =
      static_cast<double>(NumElements(geometry.InputDims())) /
      static_cast<double>(geometry.in_channels);
  return cycles + static_cast<double>(plan.gather.filter_taps) * rows *
                      columns / lanes *
                      std::max(1.0, positions / kPositionBlock) * 3.0;
}

double WinogradGradCost(const Plan& plan) {
  const ConvTransposeGeometry& geometry = plan.geometry;
  const WinogradGradBlocks& blocks = plan.winograd_grad;
  const int64_t lanes = Lanes(plan);
  const double rows = RoundUp(geometry.out_channels, 4);
  const double columns = RoundUp(geometry.in_channels, lanes);
  // Transformed sums of a large filter leave the caches before they are whole.
  const double filter = static_cast<double>(NumElements(geometry.FilterDims()));
  double cycles = filter * ByFilterSize(filter, 0.0, 0.5, 1.6);
  for (int64_t p = 0; p < plan.phases; ++p) {
    const WinogradPhase phase(plan.winograd, geometry.rank, p);
    const double tiles = static_cast<double>(phase.tiles) * geometry.batch;
    const double classes =
        static_cast<double>(phase.components) * phase.classes;
    const double sums = rows * columns / lanes;
    // Products; both operands' transforms, for each block of the other one's
    // channels; visits of the sums, and their transform back.
    const double transforms = columns / lanes * blocks.row_blocks +
                              CeilDiv(geometry.out_channels, lanes) *
                                  static_cast<double>(blocks.column_blocks);
    cycles += classes * (tiles * (sums / kWinogradGradRate + transforms * 6.0) +
                         std::max(1.0, tiles / blocks.chunk) * sums * 3.0 +
                         sums * blocks.splits * 3.0);
  }
  return cycles * 1.1;
}

}  // namespace conv_transpose_nd
