#include "cc/core/phase.h"

#include <algorithm>

namespace conv_transpose_nd {
namespace {

// Some j in [0, count) has 0 <= j * step + offset < length. The source
// positions are `step` apart, so it is not enough that their hull meets [0,
// length).
bool ReadsSource(int64_t offset, int64_t count, int64_t step, int64_t length) {
  const int64_t first = offset >= 0 ? 0 : (-offset + step - 1) / step;
  return first < count && first * step + offset < length;
}

}  // namespace

AxisPhases OutputPhases(const AxisGeometry& axis) {
  AxisPhases result;
  result.source_length = axis.input;
  result.result_step = axis.stride;
  const int64_t phases = std::min(axis.stride, axis.output);
  result.phases.reserve(phases);
  for (int64_t first = 0; first < phases; ++first) {
    result.phases.push_back(
        {first, (axis.output - first + axis.stride - 1) / axis.stride, {}});
  }
  for (int64_t k = 0; k < axis.filter; ++k) {
    // First output >= 0 with o + pad_before = k * dilation (mod stride).
    const int64_t shift = (k * axis.dilation - axis.pad_before) % axis.stride;
    const int64_t first = shift < 0 ? shift + axis.stride : shift;
    if (first >= phases) continue;
    const int64_t offset =
        (first + axis.pad_before - k * axis.dilation) / axis.stride;
    Phase& phase = result.phases[first];
    if (ReadsSource(offset, phase.count, 1, axis.input))
      phase.taps.push_back({k, offset});
  }
  return result;
}

AxisPhases InputPhases(const AxisGeometry& axis) {
  AxisPhases result;
  result.source_length = axis.output;
  result.source_step = axis.stride;
  if (axis.input == 0) return result;
  Phase phase{0, axis.input, {}};
  for (int64_t k = 0; k < axis.filter; ++k) {
    const int64_t offset = k * axis.dilation - axis.pad_before;
    if (ReadsSource(offset, axis.input, axis.stride, axis.output)) {
      phase.taps.push_back({k, offset});
    }
  }
  result.phases.push_back(std::move(phase));
  return result;
}

}  // namespace conv_transpose_nd
