// Blocks and memory of each kernel family. Internal to the plan.
#ifndef CONV_TRANSPOSE_ND_CORE_PLAN_BLOCKS_H_
#define CONV_TRANSPOSE_ND_CORE_PLAN_BLOCKS_H_

#include <algorithm>
#include <cstdint>

#include "cc/core/plan.h"

namespace conv_transpose_nd {

inline int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }
inline int64_t RoundUp(int64_t a, int64_t b) { return CeilDiv(a, b) * b; }
inline int64_t FloorDiv(int64_t a, int64_t b) {
  return a >= 0 ? a / b : -CeilDiv(-a, b);
}

// Half of a level-2 cache of 512 KB to 2 MB: what a work unit may keep of the
// packed filter.
inline constexpr int64_t kFilterBlockBytes = 384 * 1024;
// Scratch that stays in a level-2 cache.
inline constexpr int64_t kScratchBytes = 128 * 1024;
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
inline int64_t Lanes(const Plan& plan) {
  return plan.target.vector_bytes / AccumulatorBytes(plan.dtype);
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

// Each fills its part of the plan, units, shared_bytes and scratch_bytes.
void PlanChannelLanes(Plan* plan);
void PlanCopiedRows(Plan* plan);
void PlanPixelLanes(Plan* plan);
void PlanPixelTiles(Plan* plan);
void PlanChannelwise(Plan* plan);
// False where the family cannot run the call.
bool PlanTapLanes(Plan* plan);
bool PlanWinograd(Plan* plan);
// exact: only products of operands, no zeros beyond the border.
void PlanPositions(Plan* plan, bool exact);

}  // namespace conv_transpose_nd

#endif  // CONV_TRANSPOSE_ND_CORE_PLAN_BLOCKS_H_
