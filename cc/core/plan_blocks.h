// Blocks and memory of each kernel family. Internal to the plan.
#ifndef CONV_TRANSPOSE_ND_CORE_PLAN_BLOCKS_H_
#define CONV_TRANSPOSE_ND_CORE_PLAN_BLOCKS_H_

#include <algorithm>
#include <cstdint>

#include "cc/core/plan.h"

namespace conv_transpose_nd {

// Half of a level-2 cache of 512 KB to 2 MB: what a work unit may keep of the
// packed filter.
inline constexpr int64_t kFilterBlockBytes = 384 * 1024;
// Scratch that stays in a level-2 cache.
inline constexpr int64_t kScratchBytes = 128 * 1024;
// More than this leaves a level-2 cache altogether.
inline constexpr int64_t kMostScratchBytes = 16 * kScratchBytes;
// What partial sums of a filter gradient may take, and what beside scratch of 2
// MB.
inline constexpr int64_t kPartialBytes = int64_t{4} << 20;
inline constexpr int64_t kFewPartialBytes = 7 * (int64_t{1} << 18);
// Multiply-adds below which a work unit is not worth handing to another thread:
// about 20 us.
inline constexpr double kUnitMultiplyAdds = 1 << 20;

inline int64_t AccumulatorBytes(DType dtype) {
  return dtype == DType::kDouble ? 8 : 4;
}
// Widened before it is computed with.
inline bool IsNarrow(DType dtype) {
  return dtype == DType::kHalf || dtype == DType::kBFloat16;
}
// Whether the target multiplies pairs of what the call computes with.
inline bool MultipliesPairs(const Plan& plan) {
  return plan.dtype == DType::kBFloat16 && plan.target.bfloat16_products == 2;
}
inline int64_t Lanes(const Plan& plan) {
  return plan.target.vector_bytes / AccumulatorBytes(plan.dtype);
}
// Rows of a register tile: 12 x 2 accumulators, 2 vectors of weights and a
// broadcast fit 32 vector registers, and 12 row pointers the 15 general ones;
// with 16 vector registers 6 x 2 is what fits. 12 x 2 ran 10 % faster than 8 x
// 2 on a Sapphire Rapids core.
inline int TileRows(const Plan& plan) {
  return plan.target.registers >= 32 ? 12 : 6;
}
// Bias as accumulators, in front of everything else in the shared workspace.
inline int64_t BiasBytes(const Plan& plan) {
  return RoundUp(plan.geometry.out_channels * AccumulatorBytes(plan.dtype), 64);
}

// Largest number of taps, and of positions, of any phase of the axis.
int64_t MaxTaps(const AxisPhases& axis);
int64_t MaxCount(const AxisPhases& axis);
// Positions and taps of the largest phase of the gather.
int64_t PhaseRows(const Plan& plan);
int64_t PhaseTaps(const Plan& plan);

// Multiply-adds that tiles of so many rows along the innermost axis take, per
// one that lands inside; whether rows along the batch, which take none beyond,
// fill tiles instead.
double BorderWaste(const Plan& plan, int64_t tile_rows);
bool RowsAlongBatch(const Plan& plan);

// Plans that sort the taps of an axis keep some 150 bytes of each: a filter of
// 2^22 positions took pixel_lanes 4 s and 600 MB, for a call of milliseconds.
bool TapsAreFew(const Plan& plan);

// Each fills its part of the plan, units, shared_bytes and scratch_bytes; false
// where the family cannot, or should not, run the call.
bool PlanChannelLanes(Plan* plan);
bool PlanPixelLanes(Plan* plan);
bool PlanPixelTiles(Plan* plan);
bool PlanTapLanes(Plan* plan);
bool PlanWinograd(Plan* plan);
bool PlanWinogradGrad(Plan* plan);
bool PlanCopiedRows(Plan* plan);
void PlanChannelwise(Plan* plan);
// exact: only products of operands, no zeros beyond the border.
void PlanPositions(Plan* plan, bool exact);

}  // namespace conv_transpose_nd

#endif  // CONV_TRANSPOSE_ND_CORE_PLAN_BLOCKS_H_
