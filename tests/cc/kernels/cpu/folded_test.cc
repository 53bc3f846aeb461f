// Calls whose plans take neighbouring positions for channels.
#include <gtest/gtest.h>

#include <algorithm>
#include <ostream>
#include <string>
#include <vector>

#include "tests/cc/testing/request.h"
#include "tests/cc/testing/run.h"

namespace conv_transpose_nd {
namespace {

using testing::Random;
using testing::Request;

struct Case {
  const char* name;
  Dims input, filter, output;
  int64_t stride, pad;
  Operation folds;  // one that does
};

std::ostream& operator<<(std::ostream& to, const Case& c) {
  return to << c.name;
}

Request RequestOf(const Case& c) {
  Request request =
      testing::SimpleRequest(c.input, c.filter, c.output, c.stride);
  const size_t rank = c.input.size() - 2;
  request.attributes.padding = Padding::kExplicit;
  request.attributes.explicit_paddings.assign(2 * (rank + 2), 0);
  for (size_t a = 2; a < 2 * (rank + 1); ++a) {
    request.attributes.explicit_paddings[a] = c.pad;
  }
  request.shapes.has_bias = true;
  request.shapes.bias = {c.output.back()};
  request.attributes.activation = Activation::kRelu;
  return request;
}

const Case kCases[] = {
    {"OddChannels",
     {1, 5, 6, 5},
     {16, 16, 5, 5},
     {1, 40, 48, 5},
     8,
     4,
     Operation::kConvTranspose},
    {"FilterOfTheStride",
     {2, 7, 9, 6},
     {4, 4, 3, 6},
     {2, 28, 36, 3},
     4,
     0,
     Operation::kConvTranspose},
    {"OneAxis",
     {2, 40, 20},
     {8, 7, 20},
     {2, 160, 7},
     4,
     2,
     Operation::kConvTranspose},
    {"ThreeAxes",
     {1, 3, 4, 5, 4},
     {2, 2, 2, 5, 4},
     {1, 6, 8, 10, 5},
     2,
     0,
     Operation::kConvTranspose},
};

class FoldedTest : public ::testing::TestWithParam<Case> {};

TEST_P(FoldedTest, PlansFold) {
  const Case& c = GetParam();
  const ConvTransposeGeometry geometry =
      testing::GeometryOf(c.folds, RequestOf(c));
  for (const Plan& plan : testing::PlansOf(c.folds, DType::kFloat, geometry)) {
    EXPECT_EQ(plan.call, geometry);
    EXPECT_EQ(plan.geometry.out_channels, plan.call.out_channels * plan.folded);
  }
  const auto plans = testing::PlansOf(c.folds, DType::kFloat, geometry);
  EXPECT_TRUE(std::any_of(plans.begin(), plans.end(),
                          [](const Plan& plan) { return plan.folded > 1; }));
}

TEST_P(FoldedTest, MatchTheReference) {
  Random random(7);
  for (const DType dtype : testing::kFloatingDTypes) {
    testing::CheckRequest(RequestOf(GetParam()), dtype, &random);
  }
  testing::CheckRequest(RequestOf(GetParam()), DType::kInt32, &random);
}

INSTANTIATE_TEST_SUITE_P(All, FoldedTest, ::testing::ValuesIn(kCases),
                         [](const auto& info) {
                           return std::string(info.param.name);
                         });

}  // namespace
}  // namespace conv_transpose_nd
