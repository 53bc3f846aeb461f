// Forms, blocks and memory of minimal filtering.
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

}  // namespace

bool PlanWinograd(Plan* plan) {
  const Gather& gather = plan->gather;
  const int rank = plan->geometry.rank;
  const int64_t element = AccumulatorBytes(plan->dtype);
  const int64_t lanes = Lanes(*plan);
  if (plan->dtype != DType::kFloat || plan->geometry.groups != 1 ||
      gather.source.channel != 1 || rank > 3 || plan->phases > 64 ||
      !TapsAreFew(*plan)) {
    return false;
  }
  WinogradBlocks blocks;
  bool transforms = false;
  for (int a = 0; a < rank; ++a) {
    for (const Phase& phase : gather.axis[a].phases) {
      blocks.axis[a].push_back(
          MakeWinogradAxis(phase, gather.axis[a].source_step));
      transforms |= blocks.axis[a].back().taps > 1;
    }
  }
  if (!transforms) return false;
  blocks.rows = std::min(TileRows(*plan), 8);
  blocks.vectors = gather.columns > lanes ? 2 : 1;
  blocks.panel_columns = blocks.vectors * lanes;
  blocks.panels = CeilDiv(gather.columns, blocks.panel_columns);
  blocks.panel_block = std::min<int64_t>(blocks.panels, 8);
  blocks.depth = RoundUp(gather.depth, lanes);
  int64_t packed = 0, max_depth = 0;
  for (int64_t p = 0; p < plan->phases; ++p) {
    blocks.filter_offset.push_back(packed);
    const WinogradPhase phase(blocks, rank, p);
    packed += phase.components * phase.columns * blocks.panels;
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
  const auto units = [&] {
    return plan->phases * CeilDiv(blocks.max_tiles, blocks.tile_block) *
           CeilDiv(blocks.panels, blocks.panel_block);
  };
  // Enough units for the threads of a small machine.
  while (units() < 8 && blocks.tile_block > blocks.rows) {
    blocks.tile_block -= blocks.rows;
  }
  // Phases read the same source: it is fetched once where a level-2 cache holds
  // the filter of all of them.
  blocks.phases_first = packed * element <= 2 * kFilterBlockBytes;
  plan->winograd = blocks;
  plan->units = units();
  plan->packed_bytes = RoundUp(packed * element, 64);
  plan->shared_bytes = BiasBytes(*plan) + plan->packed_bytes;
  plan->scratch_bytes =
      RoundUp(blocks.tile_block * tile_bytes, 64) +
      RoundUp(blocks.panel_block * blocks.max_components * blocks.tile_block *
                  blocks.panel_columns * element,
              64) +
      RoundUp(blocks.depth * element, 64);
  return true;
}

}  // namespace conv_transpose_nd
