// Forms, blocks and memory of minimal filtering.
#include <limits>
#include <map>
#include <utility>

#include "cc/core/plan_blocks.h"

namespace conv_transpose_nd {
namespace {

// Taps by the residue of the source position that they read, in source order:
// position of the residue's line -> filter_index.
using ResidueTaps = std::map<int64_t, std::map<int64_t, int64_t>>;

ResidueTaps SortByResidue(const Phase& phase, int64_t source_step) {
  ResidueTaps residues;
  for (const Tap& tap : phase.taps) {
    const int64_t line = FloorDiv(tap.source_offset, source_step);
    residues[tap.source_offset - line * source_step][line] = tap.filter_index;
  }
  return residues;
}

// The distance of neighbouring taps where it is the same for all, 0 where it is
// not.
int64_t TapDistance(const ResidueTaps& residues) {
  int64_t distance = 1;
  bool known = false;
  for (const auto& [residue, lines] : residues) {
    for (auto next = lines.begin(), tap = next++; next != lines.end();
         tap = next++) {
      if (known && next->first - tap->first != distance) return 0;
      distance = next->first - tap->first;
      known = true;
    }
  }
  return distance;
}

WinogradAxis TransformTaps(const ResidueTaps& residues, int64_t source_step,
                           int64_t count, int64_t step, int outputs, int taps) {
  WinogradAxis axis;
  axis.outputs = outputs;
  axis.taps = taps;
  axis.step = taps == 1 ? 1 : step;
  axis.tiles = axis.step * CeilDiv(CeilDiv(count, axis.step), outputs);
  for (const auto& [residue, lines] : residues) {
    int filled = taps;
    for (const auto& [line, filter_index] : lines) {
      if (filled == taps) {
        axis.classes.push_back({line * source_step + residue, {-1, -1, -1}});
        filled = 0;
      }
      axis.classes.back().filter_index[filled++] = filter_index;
    }
  }
  return axis;
}

// Chooses F(outputs, taps) for one phase of one axis: the fewest products.
WinogradAxis MakeWinogradAxis(const Phase& phase, int64_t source_step) {
  const ResidueTaps residues = SortByResidue(phase, source_step);
  const int64_t step = TapDistance(residues);
  WinogradAxis best =
      TransformTaps(residues, source_step, phase.count, 1, 1, 1);
  const auto products = [](const WinogradAxis& axis) {
    return axis.tiles * axis.components() *
           static_cast<int64_t>(axis.classes.size());
  };
  static constexpr int kForms[][2] = {{2, 2}, {2, 3}, {3, 2}};
  for (const auto& [outputs, taps] : kForms) {
    if (step == 0) break;
    WinogradAxis axis =
        TransformTaps(residues, source_step, phase.count, step, outputs, taps);
    if (products(axis) < products(best)) best = std::move(axis);
  }
  return best;
}

// The forms of all axes; false where none of them saves a product, or the
// kernels do not run the call.
bool SetForms(const Plan& plan, WinogradBlocks* blocks) {
  const Gather& gather = plan.gather;
  const int rank = plan.geometry.rank;
  if (plan.dtype == DType::kInt32 || plan.geometry.groups != 1 ||
      gather.source.channel != 1 || rank > 3 || plan.phases > 64 ||
      !TapsAreFew(plan)) {
    return false;
  }
  bool transforms = false;
  for (int a = 0; a < rank; ++a) {
    for (const Phase& phase : gather.axis[a].phases) {
      blocks->axis[a].push_back(
          MakeWinogradAxis(phase, gather.axis[a].source_step));
      transforms |= blocks->axis[a].back().taps > 1;
    }
  }
  return transforms;
}

// Whether every tap of the filter is in a class: those that land nowhere have
// no phase.
bool HasAllTaps(const Plan& plan, const WinogradBlocks& blocks) {
  for (int a = 0; a < plan.geometry.rank; ++a) {
    int64_t taps = 0;
    for (const WinogradAxis& axis : blocks.axis[a]) {
      for (const WinogradClass& taps_of : axis.classes) {
        for (int t = 0; t < axis.taps; ++t)
          taps += taps_of.filter_index[t] >= 0;
      }
    }
    if (taps != plan.geometry.axis[a].filter) return false;
  }
  return true;
}

// A phase's transformed filter up to this size stays in a level-3 cache while
// blocks of tiles take their turns.
constexpr int64_t kCachedFilterBytes = int64_t{8} << 20;

// Transformed sources, products, and a row of zeros.
int64_t ScratchBytes(const WinogradBlocks& blocks, int64_t lanes,
                     int64_t element) {
  const int64_t tiles = blocks.max_components * blocks.tile_block;
  return RoundUp(tiles * (blocks.depth_block + lanes) * element, 64) +
         RoundUp(blocks.panel_block * tiles * blocks.panel_columns * element,
                 64) +
         RoundUp(blocks.depth * element, 64);
}

int64_t Units(const Plan& plan, const WinogradBlocks& blocks) {
  return plan.phases * CeilDiv(blocks.max_tiles, blocks.tile_block) *
         CeilDiv(blocks.panels, blocks.panel_block);
}

// A filter that comes from memory is read once per block of tiles: these are
// made as large as scratch allows. Fewer panels share a transformed source,
// which then comes from a level-3 cache. (A layer of 1024 channels on 16
// images, 100 MB: 45 and 34 ms.)
void WidenTileBlocks(const Plan& plan, WinogradBlocks* blocks) {
  constexpr int64_t kMostTiles = 256;
  constexpr int64_t kFewUnits = 4;
  WinogradBlocks wide = *blocks;
  wide.panel_block = std::min<int64_t>(blocks->panel_block, 4);
  const auto fits = [&] {
    return ScratchBytes(wide, Lanes(plan), AccumulatorBytes(plan.dtype)) <=
           kMostScratchBytes * 7 / 4;
  };
  wide.tile_block =
      RoundUp(std::min(kMostTiles, blocks->max_tiles), blocks->rows);
  while (wide.tile_block > blocks->tile_block && !fits()) {
    wide.tile_block -= blocks->rows;
  }
  // Of equal size.
  const int64_t count = CeilDiv(blocks->max_tiles, wide.tile_block);
  wide.tile_block = RoundUp(CeilDiv(blocks->max_tiles, count), blocks->rows);
  if (wide.tile_block <= blocks->tile_block) return;
  if (Units(plan, wide) < kFewUnits) {
    wide.panel_block = std::min<int64_t>(wide.panel_block, 2);
  }
  if (Units(plan, wide) >= kFewUnits) *blocks = wide;
}

// Cycles of a chunk's tile per component and lane, for blocks of so many
// out_channels and in_channels: two FMAs per cycle less their loads, what is
// transformed, and the visits of the sums.
double GradCycles(int64_t rows, int64_t columns, int64_t chunk) {
  const double sums = static_cast<double>(rows) * columns;
  return sums * 0.55 + (columns + rows) * 3.0 +
         sums * 2.0 / static_cast<double>(chunk);
}

// Blocks of the cheapest work units whose operands and sums stay in a level-2
// cache.
void SetGradBlocks(const Plan& plan, const WinogradBlocks& winograd,
                   WinogradGradBlocks* blocks) {
  const int64_t kElements = 13 * kScratchBytes / AccumulatorBytes(plan.dtype);
  constexpr int64_t kLeastChunk = 8;
  constexpr int64_t kMostChunk = 160;
  // Of rows and of columns: larger ones leave no room for a chunk.
  constexpr int64_t kMostBlock = 512;
  const int64_t out = plan.geometry.out_channels;
  const int64_t in = plan.geometry.in_channels;
  const int64_t width = winograd.panel_columns;
  // The smallest, if none fits.
  blocks->row_block = winograd.rows;
  blocks->column_block = width;
  blocks->chunk = std::min(kLeastChunk, winograd.max_tiles);
  double least = std::numeric_limits<double>::infinity();
  for (int64_t o = CeilDiv(std::min(out, kMostBlock), winograd.rows); o > 0;
       --o) {
    const int64_t rows = o * winograd.rows;
    for (int64_t i = CeilDiv(std::min(in, kMostBlock), width); i > 0; --i) {
      const int64_t columns = i * width;
      const int64_t room = kElements / winograd.max_components - rows * columns;
      const int64_t chunk = std::min(room / (rows + columns), kMostChunk);
      if (chunk < kLeastChunk) continue;
      const double cycles = static_cast<double>(CeilDiv(out, rows)) *
                            static_cast<double>(CeilDiv(in, columns)) *
                            GradCycles(rows, columns, chunk);
      if (cycles >= least) continue;
      least = cycles;
      blocks->row_block = rows;
      blocks->column_block = columns;
      blocks->chunk = std::min(chunk, winograd.max_tiles);
    }
  }
  blocks->row_blocks = CeilDiv(out, blocks->row_block);
  blocks->column_blocks = CeilDiv(in, blocks->column_block);
}

}  // namespace

bool PlanWinograd(Plan* plan) {
  const Gather& gather = plan->gather;
  const int rank = plan->geometry.rank;
  const int64_t element = AccumulatorBytes(plan->dtype);
  const int64_t lanes = Lanes(*plan);
  WinogradBlocks blocks;
  if (!SetForms(*plan, &blocks)) return false;
  blocks.rows = std::min(TileRows(*plan), 8);
  blocks.vectors = gather.columns > lanes ? 2 : 1;
  blocks.panel_columns = blocks.vectors * lanes;
  blocks.panels = CeilDiv(gather.columns, blocks.panel_columns);
  blocks.panel_block = std::min<int64_t>(blocks.panels, 8);
  blocks.depth = RoundUp(gather.depth, lanes);
  int64_t packed = 0, phase_filter = 0, max_depth = 0;
  for (int64_t p = 0; p < plan->phases; ++p) {
    blocks.filter_offset.push_back(packed);
    const WinogradPhase phase(blocks, rank, p);
    const int64_t weights = phase.components * phase.columns * blocks.panels;
    packed += weights;
    phase_filter = std::max(phase_filter, weights);
    blocks.max_components = std::max(blocks.max_components, phase.components);
    blocks.max_tiles =
        std::max(blocks.max_tiles, plan->geometry.batch * phase.tiles);
    max_depth = std::max(max_depth, phase.classes * blocks.depth);
  }
  blocks.depth_block = std::min<int64_t>(max_depth, 256);
  // The transformed source of a unit stays in a level-2 cache; the more tiles,
  // the less often the filter streams past.
  const int64_t tile_bytes =
      blocks.max_components * (blocks.depth_block + lanes) * element;
  blocks.tile_block = RoundUp(
      std::clamp<int64_t>(4 * kScratchBytes / tile_bytes, blocks.rows, 48),
      blocks.rows);
  // Enough units for the threads of a small machine.
  while (Units(*plan, blocks) < 8 && blocks.tile_block > blocks.rows) {
    blocks.tile_block -= blocks.rows;
  }
  if (phase_filter * element > kCachedFilterBytes) {
    WidenTileBlocks(*plan, &blocks);
  }
  // Phases read the same source: it is fetched once where a level-2 cache holds
  // the filter of all of them.
  blocks.phases_first = packed * element <= 2 * kFilterBlockBytes;
  plan->winograd = blocks;
  plan->units = Units(*plan, blocks);
  plan->packed_bytes = RoundUp(packed * element, 64);
  plan->shared_bytes = BiasBytes(*plan) + plan->packed_bytes;
  plan->scratch_bytes = ScratchBytes(blocks, lanes, element);
  return true;
}

WinogradGradSteps::WinogradGradSteps(const Plan& plan) {
  const WinogradBlocks& winograd = plan.winograd;
  const WinogradGradBlocks& blocks = plan.winograd_grad;
  const int64_t lanes = Lanes(plan);
  // No step is a power of two: what lies that far apart shares few sets of a
  // level-1 cache. The last register tile may read rows beyond its own.
  left_tile = RoundUp(blocks.row_block, lanes) + lanes;
  left = blocks.chunk * left_tile + winograd.rows;
  left = RoundUp(left, lanes);
  right_panel = blocks.chunk * winograd.panel_columns + lanes;
  right = blocks.column_block / winograd.panel_columns * right_panel;
  sums_row = blocks.column_block + lanes;
  sums = blocks.row_block * sums_row;
}

bool PlanWinogradGrad(Plan* plan) {
  const ConvTransposeGeometry& geometry = plan->geometry;
  const int64_t element = AccumulatorBytes(plan->dtype);
  const int64_t lanes = Lanes(*plan);
  WinogradBlocks winograd;
  WinogradGradBlocks blocks;
  if (plan->gather.result.channel != 1 || !SetForms(*plan, &winograd) ||
      !HasAllTaps(*plan, winograd)) {
    return false;
  }
  winograd.rows = TileRows(*plan);
  winograd.vectors = geometry.in_channels > lanes ? 2 : 1;
  winograd.panel_columns = winograd.vectors * lanes;
  int results = 1;
  for (int64_t p = 0; p < plan->phases; ++p) {
    const WinogradPhase phase(winograd, geometry.rank, p);
    winograd.max_components =
        std::max(winograd.max_components, phase.components);
    winograd.max_tiles =
        std::max(winograd.max_tiles, geometry.batch * phase.tiles);
    blocks.classes = std::max(blocks.classes, phase.classes);
    results =
        std::max(results, phase.axis[0]->outputs * phase.axis[1]->outputs *
                              phase.axis[2]->outputs);
  }
  SetGradBlocks(*plan, winograd, &blocks);
  // Sixteen units, as of positions, where partial sums stay small.
  const int64_t units =
      plan->phases * blocks.classes * blocks.row_blocks * blocks.column_blocks;
  const int64_t filter_elements = NumElements(geometry.FilterDims());
  const int64_t kept = kFewPartialBytes / (filter_elements * element);
  const int64_t chunks = winograd.max_tiles / (2 * blocks.chunk);
  blocks.splits =
      std::clamp<int64_t>(std::min({CeilDiv(16, units), kept, chunks}), 1, 16);
  // Three units keep two threads waiting for the last.
  if (blocks.splits > 1 && units * blocks.splits < 8 &&
      units * blocks.splits % 2 == 1) {
    --blocks.splits;
  }
  // Chunks of equal size.
  const int64_t range = CeilDiv(winograd.max_tiles, blocks.splits);
  blocks.chunk = CeilDiv(range, CeilDiv(range, blocks.chunk));
  plan->winograd = winograd;
  plan->winograd_grad = blocks;
  plan->units = units * blocks.splits;
  plan->shared_bytes =
      blocks.splits == 1 && !IsNarrow(plan->dtype)
          ? 0
          : RoundUp(blocks.splits * filter_elements * element, 64);
  const WinogradGradSteps steps(*plan);
  plan->scratch_bytes =
      RoundUp(winograd.max_components *
                  (steps.left + steps.right + steps.sums) * element,
              64) +
      RoundUp(blocks.chunk * 8, 64) +
      RoundUp(std::max(blocks.row_block, blocks.column_block) * element, 64) +
      2 * results * blocks.chunk * 8;
  return true;
}

}  // namespace conv_transpose_nd
