// Filter gradients along copied lines: rows that multiply the same positions,
// parts of copies, and shares of rows and columns, as the plan chooses them.
#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <utility>
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

Request Same(Request request) {
  request.attributes.padding = Padding::kSame;
  return request;
}

ConvTransposeGeometry GeometryOf(const Request& request) {
  return testing::GeometryOf(Operation::kFilterGrad, request);
}

Plan PositionsPlan(DType dtype, const Request& request) {
  return MakePlan(Operation::kFilterGrad, GeometryOf(request), dtype,
                  ChosenTarget(), KernelFamily::kPositions);
}

// Few channels; a whole tile of each; and what is a little more than tiles.
std::vector<Request> Requests() {
  std::vector<Request> requests;
  for (const int64_t out : {1, 2, 5, 12, 13, 24, 50}) {
    for (const int64_t in : {3, 16, 64, 96}) {
      requests.push_back(Same(
          SimpleRequest({2, 9, 13, in}, {4, 3, out, in}, {2, 18, 26, out}, 2)));
    }
  }
  // Tiles whose rows are in_channels: of several outer taps and chunks, of
  // panels of each width, and behind a column that is none.
  for (const int64_t in : {21, 37}) {
    requests.push_back(Same(
        SimpleRequest({2, 16, 29, in}, {4, 4, 21, in}, {2, 32, 58, 21}, 2)));
    requests.push_back(
        Same(SimpleRequest({1, 250, in}, {7, 25, in}, {1, 250, 25}, 1)));
  }
  // Lines of one tap.
  requests.push_back(
      Same(SimpleRequest({2, 9, 13, 16}, {5, 1, 1, 16}, {2, 9, 13, 1}, 1)));
  // Lines of one position, a line in several chunks, and lines of which no
  // chunk has a whole number.
  requests.push_back(
      Same(SimpleRequest({3, 5, 1, 32}, {3, 3, 4, 32}, {3, 5, 1, 4}, 1)));
  requests.push_back(
      Same(SimpleRequest({1, 500, 64}, {6, 3, 64}, {1, 1000, 3}, 2)));
  requests.push_back(
      Same(SimpleRequest({3, 130, 20}, {5, 14, 20}, {3, 130, 14}, 1)));
  // Positions that are copied one by one, and in parts.
  requests.push_back(
      Same(SimpleRequest({1, 30, 48}, {3, 290, 48}, {1, 30, 290}, 1)));
  requests.push_back(
      Same(SimpleRequest({1, 180, 16}, {4, 600, 16}, {1, 360, 600}, 2)));
  // More rows and columns than units by position.
  requests.push_back(
      Same(SimpleRequest({1, 40, 512}, {3, 40, 512}, {1, 40, 40}, 1)));
  // Taps that no position reaches, and dilation.
  Request dilated = SimpleRequest({1, 6, 5, 64}, {3, 4, 2, 64}, {}, 1);
  dilated.attributes.padding = Padding::kSame;
  dilated.attributes.dilations = {1, 4, 3, 1};
  dilated.shapes.output = {1, 6, 5, 2};
  requests.push_back(dilated);
  return requests;
}

class AllTapsTest : public ::testing::TestWithParam<DType> {};

TEST_P(AllTapsTest, MatchesTheReference) {
  Random random(21);
  for (const Request& request : Requests()) {
    const ConvTransposeGeometry geometry = GeometryOf(request);
    SCOPED_TRACE(testing::Describe(request));
    testing::CheckOperation(
        Operation::kFilterGrad, GetParam(), geometry,
        testing::RandomValues(&random, GetParam(), geometry));
    if (HasFailure()) return;
  }
}

TEST_P(AllTapsTest, SameBitsForAnyWorkers) {
  Random random(22);
  for (const Request& request : Requests()) {
    const ConvTransposeGeometry geometry = GeometryOf(request);
    const Values values = testing::RandomValues(&random, GetParam(), geometry);
    const Plan plan = PositionsPlan(GetParam(), request);
    SCOPED_TRACE(testing::Describe(request) + " " + plan.ToString());
    testing::CheckSameBits(plan, values);
  }
}

// Each way of taking positions is taken by some of the requests.
TEST_P(AllTapsTest, EachWayRuns) {
  int of_block = 0, of_line = 0, of_tap = 0, in_parts = 0, spread = 0;
  int shared_rows = 0, shared_columns = 0, splits = 0, input_rows = 0;
  for (const Request& request : Requests()) {
    const Plan plan = PositionsPlan(GetParam(), request);
    SCOPED_TRACE(plan.ToString());
    ASSERT_TRUE(plan.positions.all_taps);
    const ConvTransposeGeometry& geometry = plan.geometry;
    const PositionsBlocks& blocks = plan.positions;
    const int64_t line_rows = geometry.axis[geometry.rank - 1].filter /
                              plan.copied_lines.parts * geometry.out_channels;
    if (blocks.alike_rows > line_rows) {
      ++of_block;
    } else if (blocks.alike_rows > geometry.out_channels) {
      ++of_line;
    } else {
      ++of_tap;
    }
    // Only rows of single taps leave out what lies beyond the border.
    EXPECT_EQ(plan.exact == nullptr,
              blocks.alike_rows == geometry.out_channels);
    in_parts += plan.copied_lines.parts > 1;
    spread += plan.copied_lines.spread;
    shared_rows += blocks.row_share < blocks.row_block;
    shared_columns += blocks.column_block < geometry.in_channels;
    splits += blocks.splits > 1;
    input_rows += blocks.input_rows;
  }
  EXPECT_GT(of_block, 0);
  EXPECT_GT(of_line, 0);
  EXPECT_GT(of_tap, 0);
  EXPECT_GT(in_parts, 0);
  EXPECT_GT(spread, in_parts);
  EXPECT_GT(shared_rows, 0);
  EXPECT_GT(shared_columns, 0);
  EXPECT_GT(splits, 0);
  EXPECT_GT(input_rows, 0);
}

// An infinity of the input meets zeros beyond the border: NaN there would be
// wrong.
TEST_P(AllTapsTest, InfinitiesAtBorders) {
  Random random(23);
  for (const auto [in, out] :
       {std::pair<int64_t, int64_t>(32, 1), {32, 5}, {32, 24}, {21, 21}}) {
    const Request request =
        Same(SimpleRequest({1, 4, 6, in}, {4, 4, out, in}, {1, 8, 12, out}, 2));
    const ConvTransposeGeometry geometry = GeometryOf(request);
    const int64_t elements = NumElements(geometry.InputDims());
    for (const int64_t at : {int64_t{3}, elements / 2 + 5, elements - 1}) {
      Values values = testing::RandomValues(&random, GetParam(), geometry);
      values.input[at] = std::numeric_limits<double>::infinity();
      testing::CheckOperation(Operation::kFilterGrad, GetParam(), geometry,
                              values);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, AllTapsTest,
                         ::testing::Values(DType::kFloat, DType::kDouble),
                         [](const auto& info) {
                           return testing::DTypeName(info.param);
                         });

// A result that leaves the caches is written past them.
TEST(AllTapsStreamTest, LargeFiltersMatchTheReference) {
  const Request request =
      SimpleRequest({1, 2, 2, 1024}, {4, 4, 516, 1024}, {1, 8, 8, 516}, 4);
  const ConvTransposeGeometry geometry = GeometryOf(request);
  Random random(24);
  const Values values = testing::RandomValues(&random, DType::kFloat, geometry);
  const Plan plan = PositionsPlan(DType::kFloat, request);
  ASSERT_TRUE(plan.positions.all_taps);
  ASSERT_EQ(plan.positions.splits, 1);
  const std::vector<double> expected = testing::Expected(
      Operation::kFilterGrad, DType::kFloat, geometry, values);
  testing::ExpectClose(testing::RunKernel(plan, values), expected,
                       testing::Tolerance(plan, values, expected));
}

}  // namespace
}  // namespace conv_transpose_nd
