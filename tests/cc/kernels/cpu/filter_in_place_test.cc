// Input gradients of channel_lanes that read the filter where it lies: tiles of
// each size, rows of several panels, work units that end inside the columns.
#include <gtest/gtest.h>

#include <vector>

#include "cc/core/plan.h"
#include "cc/kernels/cpu/conv_transpose.h"
#include "tests/cc/testing/request.h"
#include "tests/cc/testing/run.h"

namespace conv_transpose_nd {
namespace {

using testing::Random;
using testing::Request;
using testing::SimpleRequest;
using testing::Values;

class FilterInPlaceTest : public ::testing::TestWithParam<DType> {};

ConvTransposeGeometry GeometryOf(const Request& request) {
  return testing::GeometryOf(Operation::kInputGrad, request);
}

Plan ChannelLanesPlan(DType dtype, const ConvTransposeGeometry& geometry,
                      bool filter_is_packed) {
  return MakePlan(Operation::kInputGrad, geometry, dtype, ChosenTarget(),
                  KernelFamily::kChannelLanes, filter_is_packed);
}

std::vector<Request> Requests() {
  std::vector<Request> requests = {
      // One position; fewer rows of the filter than are read at a time.
      SimpleRequest({1, 1, 1, 1152}, {2, 3, 64, 1152}, {1, 2, 3, 64}, 1),
      // Several times as many, and a part; 5 and 17 panels of 64.
      SimpleRequest({1, 9, 320}, {4, 300, 320}, {1, 20, 300}, 2),
      SimpleRequest({2, 3, 1088}, {2, 129, 1088}, {2, 7, 129}, 2),
      // Panels of two vectors.
      SimpleRequest({1, 5, 7, 96}, {3, 3, 64, 96}, {1, 5, 7, 64}, 1),
      SimpleRequest({1, 23, 160}, {2, 200, 160}, {1, 47, 200}, 2),
      // Positions without a tap, and blocks of rows.
      SimpleRequest({1, 4, 4, 64}, {1, 2, 64, 64}, {1, 11, 11, 64}, 3),
      SimpleRequest({5, 7, 7, 192}, {3, 3, 64, 192}, {5, 7, 7, 64}, 1)};
  for (size_t i : {3, 6}) requests[i].attributes.padding = Padding::kSame;
  Request grouped = requests[1];
  grouped.attributes.groups = 2;
  grouped.shapes.input[2] = grouped.shapes.filter[2] = 512;
  grouped.shapes.output[2] = 600;
  requests.push_back(grouped);
  return requests;
}

TEST_P(FilterInPlaceTest, MatchesTheReference) {
  Random random(11);
  for (const Request& request : Requests()) {
    const ConvTransposeGeometry geometry = GeometryOf(request);
    SCOPED_TRACE(testing::Describe(request));
    testing::CheckOperation(
        Operation::kInputGrad, GetParam(), geometry,
        testing::RandomValues(&random, GetParam(), geometry));
    if (HasFailure()) return;
  }
}

TEST_P(FilterInPlaceTest, ThatIsWhatRuns) {
  for (const Request& request : Requests()) {
    const ConvTransposeGeometry geometry = GeometryOf(request);
    const Plan plan = ChannelLanesPlan(GetParam(), geometry, false);
    EXPECT_GT(plan.channel_lanes.filter_rows, 0) << testing::Describe(request);
    EXPECT_EQ(plan.packed_bytes, 0);
    const Plan packed = ChannelLanesPlan(GetParam(), geometry, true);
    EXPECT_EQ(packed.channel_lanes.filter_rows, 0);
    EXPECT_GT(packed.packed_bytes, 0);
  }
}

// Sums take the same order, packed or not, and whoever computes them.
TEST_P(FilterInPlaceTest, SameBits) {
  Random random(12);
  for (const Request& request : Requests()) {
    const ConvTransposeGeometry geometry = GeometryOf(request);
    const Values values = testing::RandomValues(&random, GetParam(), geometry);
    const Plan plan = ChannelLanesPlan(GetParam(), geometry, false);
    SCOPED_TRACE(testing::Describe(request) + " " + plan.ToString());
    const testing::Tensor alone = testing::CheckSameBits(plan, values);
    const Plan packed = ChannelLanesPlan(GetParam(), geometry, true);
    if (!packed.channel_lanes.rows_by_tap) continue;
    EXPECT_TRUE(
        testing::SameBits(alone, testing::RunKernel(packed, values, {}, true)));
  }
}

INSTANTIATE_TEST_SUITE_P(All, FilterInPlaceTest,
                         ::testing::Values(DType::kFloat, DType::kDouble),
                         [](const auto& info) {
                           return testing::DTypeName(info.param);
                         });

}  // namespace
}  // namespace conv_transpose_nd
