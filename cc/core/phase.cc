#include "cc/core/phase.h"

#include <algorithm>
#include <map>
#include <utility>

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

int64_t AxisPhases::CoveredPositions() const {
  int64_t covered = 0;
  for (const Phase& phase : phases) covered += phase.count;
  return covered;
}

TapRange InsideTaps(const AxisPhases& axis, const Phase& phase, int64_t first,
                    int64_t last) {
  const std::vector<Tap>& taps = phase.taps;
  const TapRange all{0, static_cast<int64_t>(taps.size())};
  // No tap of a source offset beyond these is inside for any of the positions.
  const int64_t lowest = -last * axis.source_step;
  const int64_t highest = axis.source_length - 1 - first * axis.source_step;
  const auto reachable = [&](const Tap& tap) {
    return lowest <= tap.source_offset && tap.source_offset <= highest;
  };
  if (reachable(taps.front()) && reachable(taps.back())) return all;
  const bool rising = taps.front().source_offset < taps.back().source_offset;
  const auto before = [&](const Tap& tap) {
    return rising ? tap.source_offset < lowest : tap.source_offset > highest;
  };
  const auto within = [&](const Tap& tap) {
    return rising ? tap.source_offset <= highest : tap.source_offset >= lowest;
  };
  const auto begin = std::partition_point(taps.begin(), taps.end(), before);
  const auto end = std::partition_point(begin, taps.end(), within);
  return {begin - taps.begin(), end - taps.begin()};
}

double TapsInside(const AxisPhases& axis) {
  double pairs = 0;
  for (const Phase& phase : axis.phases) {
    for (const Tap& tap : phase.taps) {
      const int64_t step = axis.source_step;
      const int64_t first =
          std::max<int64_t>(0, CeilDiv(-tap.source_offset, step));
      const int64_t last = std::min(
          phase.count, CeilDiv(axis.source_length - tap.source_offset, step));
      pairs += static_cast<double>(std::max<int64_t>(0, last - first));
    }
  }
  return pairs;
}

AxisPhases OutputPhases(const AxisGeometry& axis) {
  AxisPhases result;
  result.source_length = axis.input;
  result.result_length = axis.output;
  result.result_step = axis.stride;
  // By first output position. A map, not a table of all phases: a stride of
  // 2^31 - 1 is legal, and all but a few of its phases have no tap.
  std::map<int64_t, Phase> phases;
  for (int64_t k = 0; k < axis.filter; ++k) {
    // First output >= 0 with o + pad_before = k * dilation (mod stride).
    const int64_t shift = (k * axis.dilation - axis.pad_before) % axis.stride;
    const int64_t first = shift < 0 ? shift + axis.stride : shift;
    if (first >= axis.output) continue;
    const int64_t count = (axis.output - first + axis.stride - 1) / axis.stride;
    const int64_t offset =
        (first + axis.pad_before - k * axis.dilation) / axis.stride;
    if (!ReadsSource(offset, count, 1, axis.input)) continue;
    Phase& phase = phases[first];
    phase.first = first;
    phase.count = count;
    phase.taps.push_back({k, offset});
  }
  for (auto& [first, phase] : phases) {
    if (!phase.taps.empty()) result.phases.push_back(std::move(phase));
  }
  return result;
}

AxisPhases InputPhases(const AxisGeometry& axis) {
  AxisPhases result;
  result.source_length = axis.output;
  result.result_length = axis.input;
  result.source_step = axis.stride;
  Phase phase{0, axis.input, {}};
  for (int64_t k = 0; k < axis.filter; ++k) {
    const int64_t offset = k * axis.dilation - axis.pad_before;
    if (ReadsSource(offset, axis.input, axis.stride, axis.output)) {
      phase.taps.push_back({k, offset});
    }
  }
  if (!phase.taps.empty()) result.phases.push_back(std::move(phase));
  return result;
}

}  // namespace conv_transpose_nd
