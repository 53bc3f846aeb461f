// One axis of a gather: result position -> phase -> taps. Step 4 of the path of
// a call.
//
// The transposed convolution and its input gradient are the same walk with the
// roles of input and output exchanged: every result position sums over taps
// that each read one source position.
//   transposed convolution: result = output, source = input; one phase per
//   stride residue. input gradient:         result = input,  source =
//   output_grad; a single phase with all taps.
#ifndef CONV_TRANSPOSE_ND_CORE_PHASE_H_
#define CONV_TRANSPOSE_ND_CORE_PHASE_H_

#include <cstdint>
#include <vector>

#include "cc/core/geometry.h"

namespace conv_transpose_nd {

// Filter position `filter_index` multiplies source position j * source_step +
// source_offset, where j counts the positions of the phase. Only taps that are
// inside the source for some j.
struct Tap {
  int64_t filter_index;
  int64_t source_offset;
};

// Result positions first + j * result_step, 0 <= j < count.
struct Phase {
  int64_t first;
  int64_t count;
  std::vector<Tap> taps;  // ascending in filter_index, never empty
};

// Only phases that have taps: no product reaches the positions of the others.
struct AxisPhases {
  int64_t source_length = 0;
  int64_t result_length = 0;
  int64_t source_step = 1;
  int64_t result_step = 1;
  std::vector<Phase> phases;

  // Result positions that belong to a phase with taps.
  int64_t CoveredPositions() const;
};

// Taps [begin, end) of a phase.
struct TapRange {
  int64_t begin, end;

  int64_t size() const { return end - begin; }
};

// Taps that hold all those which positions first <= j <= last of the phase find
// inside the source, and no other where first == last: source_offset rises or
// falls with filter_index. By bisection, for a filter may be far longer than
// its source.
TapRange InsideTaps(const AxisPhases& axis, const Phase& phase, int64_t first,
                    int64_t last);

// Pairs of a result position and a tap that it finds inside the source, over
// all phases. A double: they may be more than int64 counts.
double TapsInside(const AxisPhases& axis);

// Phases of an output axis: output o has phase (o + pad_before) mod stride,
// uses the taps k with k * dilation = phase (mod stride) and reads input (o +
// pad_before - k * dilation) / stride. Ordered by first output position.
AxisPhases OutputPhases(const AxisGeometry& axis);

// The one phase of an input axis: input i reads output_grad i * stride + k *
// dilation - pad_before.
AxisPhases InputPhases(const AxisGeometry& axis);

}  // namespace conv_transpose_nd

#endif  // CONV_TRANSPOSE_ND_CORE_PHASE_H_
