#include "cc/core/phase.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <set>
#include <tuple>
#include <vector>

namespace conv_transpose_nd {
namespace {

// (output, tap, input) of one multiplication along an axis.
using Triple = std::tuple<int64_t, int64_t, int64_t>;
using Triples = std::vector<Triple>;

// The definition: every input and tap scatter into the output.
Triples Scatter(const AxisGeometry& axis) {
  Triples triples;
  for (int64_t i = 0; i < axis.input; ++i) {
    for (int64_t k = 0; k < axis.filter; ++k) {
      const int64_t o = i * axis.stride + k * axis.dilation - axis.pad_before;
      if (o >= 0 && o < axis.output) triples.push_back({o, k, i});
    }
  }
  std::sort(triples.begin(), triples.end());
  return triples;
}

// For each range of positions, no tap left out that lands; for a single
// position, none too many.
void CheckInsideTaps(const AxisPhases& axis) {
  for (const Phase& phase : axis.phases) {
    const auto lands = [&](const Tap& tap, int64_t j) {
      const int64_t source = j * axis.source_step + tap.source_offset;
      return source >= 0 && source < axis.source_length;
    };
    for (int64_t first = 0; first < phase.count; ++first) {
      for (int64_t last = first; last < phase.count; ++last) {
        const TapRange range = InsideTaps(axis, phase, first, last);
        ASSERT_LE(0, range.begin);
        ASSERT_LE(range.begin, range.end);
        ASSERT_LE(range.end, static_cast<int64_t>(phase.taps.size()));
        for (int64_t t = 0; t < static_cast<int64_t>(phase.taps.size()); ++t) {
          const bool in_range = t >= range.begin && t < range.end;
          for (int64_t j = first; j <= last; ++j) {
            const bool inside = lands(phase.taps[t], j);
            EXPECT_TRUE(in_range || !inside) << "tap " << t << " at " << j;
            if (first == last) {
              EXPECT_EQ(in_range, inside) << "tap " << t << " at " << j;
            }
          }
        }
      }
    }
  }
}

// What a gather over the phases multiplies, as (result, tap, source). Every tap
// must land at least once.
Triples Gather(const AxisPhases& axis) {
  Triples triples;
  for (const Phase& phase : axis.phases) {
    for (const Tap& tap : phase.taps) {
      const size_t before = triples.size();
      for (int64_t j = 0; j < phase.count; ++j) {
        const int64_t source = j * axis.source_step + tap.source_offset;
        if (source < 0 || source >= axis.source_length) continue;
        triples.push_back(
            {phase.first + j * axis.result_step, tap.filter_index, source});
      }
      EXPECT_GT(triples.size(), before) << "tap " << tap.filter_index;
    }
  }
  std::sort(triples.begin(), triples.end());
  return triples;
}

// A phase has taps, in ascending order; a result position belongs to one phase
// at most.
void CheckPhases(const AxisPhases& axis, int64_t length) {
  EXPECT_EQ(axis.result_length, length);
  std::vector<int> seen(length, 0);
  int64_t previous = -1;
  for (const Phase& phase : axis.phases) {
    EXPECT_GT(phase.first, previous);
    previous = phase.first;
    EXPECT_GE(phase.count, 1);
    EXPECT_FALSE(phase.taps.empty());
    for (int64_t j = 0; j < phase.count; ++j) {
      const int64_t position = phase.first + j * axis.result_step;
      ASSERT_LT(position, length);
      ++seen[position];
    }
    for (size_t t = 1; t < phase.taps.size(); ++t) {
      EXPECT_LT(phase.taps[t - 1].filter_index, phase.taps[t].filter_index);
    }
  }
  EXPECT_EQ(std::count(seen.begin(), seen.end(), 1), axis.CoveredPositions());
  EXPECT_EQ(std::count(seen.begin(), seen.end(), 0),
            length - axis.CoveredPositions());
}

std::string Describe(const AxisGeometry& axis) {
  return "input " + std::to_string(axis.input) + " filter " +
         std::to_string(axis.filter) + " output " +
         std::to_string(axis.output) + " stride " +
         std::to_string(axis.stride) + " dilation " +
         std::to_string(axis.dilation) + " pad_before " +
         std::to_string(axis.pad_before);
}

void CheckAxis(const AxisGeometry& axis) {
  SCOPED_TRACE(Describe(axis));
  const Triples expected = Scatter(axis);
  const AxisPhases output = OutputPhases(axis);
  CheckPhases(output, axis.output);
  EXPECT_EQ(Gather(output), expected);

  const AxisPhases input = InputPhases(axis);
  EXPECT_LE(input.phases.size(), 1u);
  CheckPhases(input, axis.input);
  Triples transposed = Gather(input);
  for (auto& [o, k, i] : transposed) std::swap(o, i);
  std::sort(transposed.begin(), transposed.end());
  EXPECT_EQ(transposed, expected);
  if (axis.input + axis.filter + axis.output > 40) return;
  CheckInsideTaps(output);
  CheckInsideTaps(input);
}

// All axes with lengths up to `length`, whatever the output: the phases do not
// rely on what ResolveGeometry accepts.
void ForEachAxis(int64_t length,
                 const std::function<void(const AxisGeometry&)>& visit) {
  AxisGeometry axis;
  for (axis.input = 0; axis.input <= length; ++axis.input)
    for (axis.filter = 0; axis.filter <= length; ++axis.filter)
      for (axis.stride = 1; axis.stride <= length + 1; ++axis.stride)
        for (axis.dilation = 1; axis.dilation <= length; ++axis.dilation)
          for (axis.pad_before = 0; axis.pad_before <= length;
               ++axis.pad_before)
            for (axis.output = 0; axis.output <= 3 * length; ++axis.output)
              visit(axis);
}

TEST(PhaseTest, EveryProductOnce) {
  ForEachAxis(4, [](const AxisGeometry& axis) { CheckAxis(axis); });
}

AxisGeometry Axis(int64_t input, int64_t filter, int64_t output, int64_t stride,
                  int64_t dilation, int64_t pad_before) {
  AxisGeometry axis;
  axis.input = input;
  axis.filter = filter;
  axis.output = output;
  axis.stride = stride;
  axis.dilation = dilation;
  axis.pad_before = pad_before;
  return axis;
}

TEST(PhaseTest, LongerAxes) {
  CheckAxis(Axis(40, 9, 120, 3, 1, 3));     // 9 taps on stride 3
  CheckAxis(Axis(16, 3, 160, 10, 1, 0));    // stride > filter
  CheckAxis(Axis(30, 5, 120, 4, 6, 12));    // gcd(stride, dilation) = 2
  CheckAxis(Axis(7, 3, 49, 7, 7, 7));       // one phase has all taps
  CheckAxis(Axis(9, 4, 5, 2, 3, 8));        // cropped on both sides
  CheckAxis(Axis(2, 50, 100, 2, 1, 24));    // most taps land nowhere
  CheckAxis(Axis(1, 1, 1000, 1000, 1, 0));  // one output in a thousand
}

// Far fewer taps land than there are: as many as the source is long.
TEST(PhaseTest, FewOfManyTapsAreInside) {
  const AxisPhases output = OutputPhases(Axis(3, 1000, 1002, 1, 1, 0));
  ASSERT_EQ(output.phases.size(), 1u);
  const Phase& phase = output.phases[0];
  ASSERT_EQ(phase.taps.size(), 1000u);
  const TapRange first = InsideTaps(output, phase, 0, 0);
  EXPECT_EQ(first.begin, 0);
  EXPECT_EQ(first.end, 1);
  const TapRange middle = InsideTaps(output, phase, 500, 511);
  EXPECT_EQ(middle.begin, 498);
  EXPECT_EQ(middle.end, 512);
}

TEST(PhaseTest, TapsThatNeverLandAreDropped) {
  const AxisPhases output = OutputPhases(Axis(1, 5, 1, 1, 1, 2));
  ASSERT_EQ(output.phases.size(), 1u);
  ASSERT_EQ(output.phases[0].taps.size(), 1u);
  EXPECT_EQ(output.phases[0].taps[0].filter_index, 2);
  EXPECT_EQ(output.phases[0].taps[0].source_offset, 0);
}

// Stride > filter: two of five phases have no tap.
TEST(PhaseTest, OnlyPhasesWithTaps) {
  const AxisPhases output = OutputPhases(Axis(4, 3, 20, 5, 1, 0));
  ASSERT_EQ(output.phases.size(), 3u);
  for (int phase = 0; phase < 3; ++phase) {
    EXPECT_EQ(output.phases[phase].first, phase);
    EXPECT_EQ(output.phases[phase].count, 4);
    EXPECT_EQ(output.phases[phase].taps.size(), 1u);
  }
  EXPECT_EQ(output.CoveredPositions(), 12);
}

// dilation 2, stride 4: phases 1 and 3 can have no tap, 0 and 2 every second.
TEST(PhaseTest, CommonDivisorOfStrideAndDilation) {
  const AxisPhases output = OutputPhases(Axis(8, 5, 40, 4, 2, 0));
  ASSERT_EQ(output.phases.size(), 2u);
  EXPECT_EQ(output.phases[0].first, 0);
  EXPECT_EQ(output.phases[0].taps.size(), 3u);
  EXPECT_EQ(output.phases[1].first, 2);
  EXPECT_EQ(output.phases[1].taps.size(), 2u);
  EXPECT_EQ(output.phases[1].taps[1].filter_index, 3);
}

// The phases cost what the filter costs, not what the stride does.
TEST(PhaseTest, HugeStride) {
  const int64_t stride = (int64_t{1} << 31) - 1;
  const AxisPhases output = OutputPhases(Axis(3, 2, 3 * stride, stride, 1, 0));
  ASSERT_EQ(output.phases.size(), 2u);
  EXPECT_EQ(output.CoveredPositions(), 6);
}

TEST(PhaseTest, EmptyAxes) {
  EXPECT_TRUE(OutputPhases(Axis(0, 3, 0, 2, 1, 0)).phases.empty());
  EXPECT_TRUE(InputPhases(Axis(0, 3, 0, 2, 1, 0)).phases.empty());
  EXPECT_TRUE(OutputPhases(Axis(0, 3, 2, 2, 1, 0)).phases.empty());
  EXPECT_TRUE(OutputPhases(Axis(2, 0, 4, 2, 1, 0)).phases.empty());
}

// Lengths near the bounds of ResolveGeometry: offsets stay inside int64.
TEST(PhaseTest, LargeLengths) {
  const int64_t huge = int64_t{1} << 50;
  const int64_t step = (int64_t{1} << 31) - 1;
  const AxisPhases input =
      InputPhases(Axis(huge, 3, huge * 32, 32, step, step));
  ASSERT_EQ(input.phases.size(), 1u);
  ASSERT_EQ(input.phases[0].taps.size(), 3u);
  EXPECT_EQ(input.phases[0].taps[0].source_offset, -step);
  EXPECT_EQ(input.phases[0].taps[2].source_offset, step);
}

}  // namespace
}  // namespace conv_transpose_nd
