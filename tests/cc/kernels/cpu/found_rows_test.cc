// Work units of channel_lanes that find all their rows first: whole and partial
// tiles, blocks and parts of the filter, at borders and away from them.
#include <gtest/gtest.h>

#include <limits>
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

class FoundRowsTest : public ::testing::TestWithParam<DType> {};

Plan ChannelLanesPlan(Operation operation, DType dtype,
                      const ConvTransposeGeometry& geometry) {
  return MakePlan(operation, geometry, dtype, ChosenTarget(),
                  KernelFamily::kChannelLanes);
}

Request Same(Request request) {
  request.attributes.padding = Padding::kSame;
  return request;
}

// Layers of 64 or more columns both ways, and of parts of panels.
std::vector<Request> Requests() {
  std::vector<Request> requests = {
      // One tap per phase; blocks that end in tiles of each size.
      SimpleRequest({1, 11, 13, 64}, {2, 2, 64, 64}, {1, 22, 26, 64}, 2),
      SimpleRequest({2, 7, 3, 3, 64}, {2, 2, 2, 128, 64}, {2, 14, 6, 6, 128},
                    2),
      // Depths that take several parts of the filter, none of them whole.
      SimpleRequest({1, 131, 320}, {1, 64, 320}, {1, 131, 64}, 1),
      SimpleRequest({1, 40, 64}, {5, 192, 64}, {1, 200, 192}, 5),
      // Phases without taps, between those with one.
      SimpleRequest({1, 70, 64}, {2, 64, 64}, {1, 211, 64}, 3),
      // Taps beyond the border, of few of the rows.
      Same(SimpleRequest({1, 150, 64}, {4, 64, 64}, {1, 300, 64}, 2)),
      Same(SimpleRequest({2, 9, 40, 64}, {2, 3, 64, 64}, {2, 9, 40, 64}, 1)),
      // Part of a vector, of a panel and of the last of several; sums of
      // several parts of the filter.
      Same(SimpleRequest({1, 150, 21}, {4, 21, 21}, {1, 300, 21}, 2)),
      SimpleRequest({1, 40, 37}, {2, 11, 37}, {1, 80, 11}, 2),
      SimpleRequest({1, 131, 330}, {1, 77, 330}, {1, 131, 77}, 1)};
  for (const size_t odd : {requests.size() - 3, requests.size() - 1}) {
    Request biased = requests[odd];
    biased.shapes.has_bias = true;
    biased.shapes.bias = {biased.shapes.output.back()};
    biased.attributes.activation = Activation::kRelu;
    requests.push_back(biased);
  }
  // Short lines, where rows are sorted by tap: of one image, and of several.
  for (const int64_t batch : {1, 5}) {
    requests.push_back(Same(SimpleRequest({batch, 7, 7, 64}, {5, 5, 64, 64},
                                          {batch, 7, 7, 64}, 1)));
    requests.push_back(Same(SimpleRequest({batch, 4, 5, 192}, {4, 4, 128, 192},
                                          {batch, 8, 10, 128}, 2)));
  }
  Request short_biased = requests.back();
  short_biased.shapes.has_bias = true;
  short_biased.shapes.bias = {128};
  short_biased.attributes.activation = Activation::kRelu;
  requests.push_back(short_biased);
  Request grouped = requests[0];
  grouped.attributes.groups = 2;
  grouped.shapes.input[3] = grouped.shapes.filter[3] = 128;
  grouped.shapes.output[3] = 128;
  requests.push_back(grouped);
  // Groups of part of a panel, next to each other.
  Request odd_groups = requests[0];
  odd_groups.attributes.groups = 3;
  odd_groups.shapes.input[3] = odd_groups.shapes.filter[3] = 3 * 24;
  odd_groups.shapes.filter[2] = 24;
  odd_groups.shapes.output[3] = 3 * 24;
  requests.push_back(odd_groups);
  Request biased = requests[0];
  biased.shapes.has_bias = true;
  biased.shapes.bias = {64};
  biased.attributes.activation = Activation::kRelu;
  requests.push_back(biased);
  Request parts = requests[2];
  parts.shapes.has_bias = true;
  parts.shapes.bias = {64};
  parts.attributes.activation = Activation::kRelu;
  requests.push_back(parts);
  return requests;
}

TEST_P(FoundRowsTest, MatchTheReference) {
  Random random(7);
  for (const Request& request : Requests()) {
    testing::CheckRequest(request, GetParam(), &random);
    if (HasFailure()) return;
  }
}

TEST_P(FoundRowsTest, ThatIsWhatRuns) {
  for (const Request& request : Requests()) {
    for (Operation operation :
         {Operation::kConvTranspose, Operation::kInputGrad}) {
      const ConvTransposeGeometry geometry =
          testing::GeometryOf(operation, request);
      const Plan plan = ChannelLanesPlan(operation, GetParam(), geometry);
      EXPECT_GT(plan.channel_lanes.found_rows, 0) << plan.ToString();
      EXPECT_LE(plan.channel_lanes.found_rows, plan.channel_lanes.row_block);
    }
  }
}

TEST_P(FoundRowsTest, SameBitsForAnyWorkers) {
  Random random(8);
  for (const Request& request : Requests()) {
    for (Operation operation :
         {Operation::kConvTranspose, Operation::kInputGrad}) {
      const ConvTransposeGeometry geometry =
          testing::GeometryOf(operation, request);
      const Values values =
          testing::RandomValues(&random, GetParam(), geometry);
      const Plan plan = ChannelLanesPlan(operation, GetParam(), geometry);
      SCOPED_TRACE(testing::Describe(request) + " " + plan.ToString());
      testing::CheckSameBits(plan, values);
    }
  }
}

// Input gradients of so few rows all are: filter_in_place_test.cc.
TEST_P(FoundRowsTest, ShortLinesAreSortedByTap) {
  int sorted = 0;
  for (const Request& request : Requests()) {
    const ConvTransposeGeometry geometry =
        testing::GeometryOf(Operation::kConvTranspose, request);
    sorted += ChannelLanesPlan(Operation::kConvTranspose, GetParam(), geometry)
                  .channel_lanes.rows_by_tap;
  }
  EXPECT_EQ(sorted, 5);
}

// An infinite weight meets zeros beyond the border, in the first part of the
// filter and in the last.
TEST_P(FoundRowsTest, InfinitiesAtBorders) {
  Random random(9);
  for (const Request& request :
       {Same(SimpleRequest({1, 150, 128}, {4, 64, 128}, {1, 300, 64}, 2)),
        // A filter that is looked at before the sums are.
        Same(SimpleRequest({1, 400, 21}, {4, 21, 21}, {1, 800, 21}, 2)),
        Same(SimpleRequest({1, 7, 7, 64}, {5, 5, 64, 64}, {1, 7, 7, 64}, 1))}) {
    for (Operation operation :
         {Operation::kConvTranspose, Operation::kInputGrad}) {
      const ConvTransposeGeometry geometry =
          testing::GeometryOf(operation, request);
      const int64_t elements = NumElements(geometry.FilterDims());
      for (int64_t at : {int64_t{3}, elements / 2 + 5, elements - 1}) {
        Values values = testing::RandomValues(&random, GetParam(), geometry);
        values.filter[at] = std::numeric_limits<double>::infinity();
        testing::CheckOperation(operation, GetParam(), geometry, values);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, FoundRowsTest,
                         ::testing::Values(DType::kFloat, DType::kDouble),
                         [](const auto& info) {
                           return testing::DTypeName(info.param);
                         });

// A result that is written past the caches, but for blocks at the border.
TEST(FoundRowsStreamTest, LargeResultsMatchSmallOnes) {
  const int64_t length = 40000;
  Request request =
      SimpleRequest({1, length, 2}, {4, 128, 2}, {1, 2 * length, 128}, 2);
  request.attributes.padding = Padding::kSame;
  const ConvTransposeGeometry geometry =
      testing::GeometryOf(Operation::kConvTranspose, request);
  Random random(10);
  const Values values = testing::RandomValues(&random, DType::kFloat, geometry);
  const Plan plan =
      ChannelLanesPlan(Operation::kConvTranspose, DType::kFloat, geometry);
  ASSERT_GT(plan.channel_lanes.found_rows, 0);
  const std::vector<double> expected = testing::Expected(
      Operation::kConvTranspose, DType::kFloat, geometry, values);
  testing::ExpectClose(testing::RunKernel(plan, values), expected,
                       testing::Tolerance(plan, values, expected));
}

}  // namespace
}  // namespace conv_transpose_nd
