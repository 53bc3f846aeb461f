// Filters that are far longer than what they meet: right, and in a time that
// grows as the filter does.
#include <gtest/gtest.h>
#include <time.h>

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "cc/kernels/cpu/conv_transpose.h"
#include "tests/cc/testing/buffer.h"
#include "tests/cc/testing/request.h"
#include "tests/cc/testing/run.h"

namespace conv_transpose_nd {
namespace {

using testing::Random;
using testing::Request;
using testing::SimpleRequest;

// Which of the three tensors is short along the axis of `taps` taps.
enum class Short { kInput, kOutput };

struct Shape {
  const char* name;
  Short side;
  bool outer;  // the long axis is not the innermost
  int64_t stride, groups;
  DataFormat data_format;
};

constexpr Shape kShapes[] = {
    {"input", Short::kInput, false, 1, 1, DataFormat::kChannelsLast},
    {"input_strided", Short::kInput, false, 3, 1, DataFormat::kChannelsLast},
    {"input_outer", Short::kInput, true, 1, 1, DataFormat::kChannelsLast},
    {"input_first", Short::kInput, false, 1, 1, DataFormat::kChannelsFirst},
    {"input_depthwise", Short::kInput, false, 1, 4, DataFormat::kChannelsLast},
    {"output", Short::kOutput, false, 1, 1, DataFormat::kChannelsLast},
    {"output_strided", Short::kOutput, false, 3, 1, DataFormat::kChannelsLast},
    {"output_outer", Short::kOutput, true, 1, 1, DataFormat::kChannelsLast},
    {"output_first", Short::kOutput, false, 1, 1, DataFormat::kChannelsFirst},
    {"output_depthwise", Short::kOutput, false, 1, 4,
     DataFormat::kChannelsLast}};

// A filter of `taps` taps on three positions, or cropped to three.
Request LongFilter(const Shape& shape, int64_t taps) {
  constexpr int64_t kFew = 3, kChannels = 4;
  int64_t input = kFew, output = (kFew - 1) * shape.stride + taps;
  Request request;
  int64_t pads = 0;
  if (shape.side == Short::kOutput) {
    input = (taps + shape.stride - 1) / shape.stride;
    output = kFew;
    pads = (input - 1) * shape.stride + taps - output;
  }
  const auto axes = [&](int64_t length) {
    return shape.outer ? Dims{length, 1} : Dims{length};
  };
  const auto tensor = [&](int64_t length) {
    Dims dims = axes(length);
    dims.insert(dims.begin(), 1);
    dims.push_back(kChannels);
    return testing::Ordered(shape.data_format, dims);
  };
  request.shapes.input = tensor(input);
  request.shapes.output = tensor(output);
  request.shapes.filter = axes(taps);
  request.shapes.filter.push_back(kChannels / shape.groups);
  request.shapes.filter.push_back(kChannels);
  request.attributes.data_format = shape.data_format;
  request.attributes.groups = shape.groups;
  Dims strides{1};
  for (int64_t length : axes(shape.stride)) strides.push_back(length);
  strides.push_back(1);
  request.attributes.strides = testing::Ordered(shape.data_format, strides);
  if (pads > 0) {
    request.attributes.padding = Padding::kExplicit;
    std::vector<int64_t> flat(2 * strides.size(), 0);
    const size_t axis = shape.data_format == DataFormat::kChannelsFirst ? 2 : 1;
    flat[2 * axis] = pads / 2;
    flat[2 * axis + 1] = pads - pads / 2;
    request.attributes.explicit_paddings = flat;
  }
  return request;
}

class LongFilterTest : public ::testing::TestWithParam<Shape> {};

TEST_P(LongFilterTest, EqualsTheReference) {
  Random random(3);
  for (int64_t taps : {70, 333}) {
    const Request request = LongFilter(GetParam(), taps);
    SCOPED_TRACE(testing::Describe(request));
    for (DType dtype : {DType::kFloat, DType::kBFloat16}) {
      testing::CheckRequest(request, dtype, &random);
    }
  }
}

// Taps within reach on one axis and not on the other, from several lines.
TEST(LongFilterTest, AllAxesCropped) {
  Random random(4);
  for (int64_t groups : {1, 2}) {
    Request request =
        SimpleRequest({1, 41, 18, 4}, {23, 35, 6 / groups, 4}, {1, 3, 5, 6}, 1);
    request.attributes.strides = {1, 1, 2, 1};
    request.attributes.dilations = {1, 2, 1, 1};
    request.attributes.groups = groups;
    request.attributes.padding = Padding::kExplicit;
    request.attributes.explicit_paddings = {0, 0, 50, 32, 21, 43, 0, 0};
    SCOPED_TRACE(testing::Describe(request));
    testing::CheckRequest(request, DType::kFloat, &random);
  }
}

double ThreadSeconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return now.tv_sec + 1e-9 * now.tv_nsec;
}

// The least time of some calls, of the thread alone.
double Seconds(const Plan& plan, double filter_value) {
  const testing::Buffer workspace(plan.WorkspaceBytes(1));
  const auto tensor = [&](const Dims& dims, double value) {
    testing::Tensor result(plan.dtype, NumElements(dims));
    result.SetAll(std::vector<double>(NumElements(dims), value));
    return result;
  };
  const testing::Tensor input = tensor(plan.call.InputDims(), 1);
  const testing::Tensor filter = tensor(plan.call.FilterDims(), filter_value);
  const testing::Tensor output = tensor(plan.call.OutputDims(), 1);
  Operands operands;
  operands.input = input.data();
  operands.filter = filter.data();
  operands.output_grad = output.data();
  testing::Tensor result(plan.dtype, ResultElements(plan.operation, plan.call));
  operands.result = result.data();
  double least = std::numeric_limits<double>::infinity();
  for (int i = 0; i < 4; ++i) {
    const double start = ThreadSeconds();
    Run(plan, operands, workspace.data(), {});
    least = std::min(least, ThreadSeconds() - start);
  }
  return least;
}

// Sixteen times the taps take some sixteen times as long. A scan of all taps
// for each position would take 256 times as long. What lies between is for the
// caches: the longer filter leaves a level-2 cache.
TEST_P(LongFilterTest, TimeGrowsAsTheFilter) {
  constexpr int64_t kTaps = 1000;
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (Operation operation : testing::kOperations) {
    const auto plan_of = [&](int64_t taps, KernelFamily family) {
      const Request request = LongFilter(GetParam(), taps);
      return MakePlan(operation, testing::GeometryOf(operation, request),
                      DType::kFloat, ChosenTarget(), family);
    };
    for (KernelFamily family :
         {KernelFamily::kNone, KernelFamily::kChannelLanes,
          KernelFamily::kPixelLanes, KernelFamily::kPixelTiles}) {
      const Plan large = plan_of(16 * kTaps, family);
      // The same family, also where its choice was left to the plan: others
      // differ in what a NaN costs.
      const Plan small = plan_of(kTaps, large.family);
      if (family != KernelFamily::kNone && large.family != family) continue;
      if (small.family != large.family) continue;
      SCOPED_TRACE(large.ToString());
      // NaN: every sum is looked at once more.
      for (double value : {1.0, nan}) {
        double longest = Seconds(large, value);
        const double shortest = Seconds(small, value);
        // Other processes take a share of the caches now and then.
        for (int i = 0; i < 8 && longest > 32 * shortest; ++i) {
          longest = std::min(longest, Seconds(large, value));
        }
        EXPECT_LT(longest, 128 * shortest) << "filter of " << value;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, LongFilterTest, ::testing::ValuesIn(kShapes),
                         [](const auto& info) {
                           return std::string(info.param.name);
                         });

}  // namespace
}  // namespace conv_transpose_nd
