// Pixel lanes whose sums stay in registers over all windows of a line: lines
// that read the same windows, work units of several lines, borders and tails.
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

constexpr Operation kGathers[] = {Operation::kConvTranspose,
                                  Operation::kInputGrad};

class KeptWindowsTest : public ::testing::TestWithParam<DType> {};

Plan PixelLanesPlan(Operation operation, DType dtype,
                    const ConvTransposeGeometry& geometry) {
  return MakePlan(operation, geometry, dtype, ChosenTarget(),
                  KernelFamily::kPixelLanes);
}

Request Same(Request request) {
  request.attributes.padding = Padding::kSame;
  return request;
}

// Five or more channels both ways, so that both directions keep windows.
std::vector<Request> Requests() {
  std::vector<Request> requests = {
      // Work units of two lines; columns that fill tiles of 12 and 9 rows.
      Same(SimpleRequest({1, 33, 19, 21}, {4, 4, 21, 21}, {1, 66, 38, 21}, 2)),
      // Lines of several blocks of positions, and batches.
      Same(SimpleRequest({3, 9, 150, 5}, {3, 3, 7, 5}, {3, 9, 150, 7}, 1)),
      // One line, without outer axes.
      Same(SimpleRequest({2, 70, 13}, {5, 6, 13}, {2, 140, 6}, 2)),
      // Two outer axes.
      Same(SimpleRequest({1, 5, 6, 17, 8}, {3, 3, 3, 10, 8}, {1, 5, 6, 17, 10},
                         1)),
      // Phases without taps.
      SimpleRequest({1, 12, 20, 6}, {2, 2, 5, 6}, {1, 36, 60, 5}, 3)};
  Request dilated = requests[1];
  dilated.attributes.dilations = {1, 2, 3, 1};
  requests.push_back(dilated);
  Request biased = requests[0];
  biased.shapes.has_bias = true;
  biased.shapes.bias = {21};
  biased.attributes.activation = Activation::kRelu;
  requests.push_back(biased);
  Request grouped = requests[1];
  grouped.attributes.groups = 2;
  grouped.shapes.input[3] = grouped.shapes.filter[3] = 10;
  grouped.shapes.output[3] = 14;
  requests.push_back(grouped);
  return requests;
}

TEST_P(KeptWindowsTest, MatchTheReference) {
  Random random(31);
  for (const Request& request : Requests()) {
    testing::CheckRequest(request, GetParam(), &random);
    if (HasFailure()) return;
  }
}

TEST_P(KeptWindowsTest, ThatIsWhatRuns) {
  int several_lines = 0;
  for (const Request& request : Requests()) {
    for (Operation operation : kGathers) {
      const Plan plan = PixelLanesPlan(operation, GetParam(),
                                       testing::GeometryOf(operation, request));
      EXPECT_GT(plan.pixel_lanes.windows, 0) << testing::Describe(request);
      several_lines += plan.pixel_lanes.unit_lines > 1;
    }
  }
  EXPECT_GE(several_lines, 4);
}

TEST_P(KeptWindowsTest, SameBitsForAnyWorkers) {
  Random random(32);
  for (const Request& request : Requests()) {
    for (Operation operation : kGathers) {
      const ConvTransposeGeometry geometry =
          testing::GeometryOf(operation, request);
      SCOPED_TRACE(testing::Describe(request));
      testing::CheckSameBits(
          PixelLanesPlan(operation, GetParam(), geometry),
          testing::RandomValues(&random, GetParam(), geometry));
    }
  }
}

// An infinite weight meets zeros beyond the border: of a filter that is small
// beside the result, and of one that is not.
TEST_P(KeptWindowsTest, InfinitiesAtBorders) {
  Random random(33);
  for (const Request& request :
       {Same(SimpleRequest({1, 20, 20, 6}, {4, 4, 6, 6}, {1, 40, 40, 6}, 2)),
        Same(SimpleRequest({1, 5, 9, 8}, {5, 5, 7, 8}, {1, 5, 9, 7}, 1))}) {
    for (Operation operation : kGathers) {
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

INSTANTIATE_TEST_SUITE_P(All, KeptWindowsTest,
                         ::testing::Values(DType::kFloat, DType::kDouble,
                                           DType::kHalf),
                         [](const auto& info) {
                           return testing::DTypeName(info.param);
                         });

}  // namespace
}  // namespace conv_transpose_nd
