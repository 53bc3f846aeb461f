// The error bound of minimal filtering, on values that reach it best.
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "cc/kernels/cpu/conv_transpose.h"
#include "tests/cc/testing/request.h"
#include "tests/cc/testing/run.h"
#include "tests/cc/testing/winograd_error.h"

namespace conv_transpose_nd {
namespace {

using testing::Random;
using testing::Request;
using testing::Values;

// A layer whose phases have `length` positions and `filter` / `stride` taps
// along each axis.
Request Layer(int rank, int64_t length, int64_t filter, int64_t stride) {
  Dims input{1}, weights, output{1};
  for (int a = 0; a < rank; ++a) {
    input.push_back(length);
    weights.push_back(filter);
    output.push_back(length * stride);
  }
  for (Dims* dims : {&input, &weights}) dims->push_back(32);
  weights.push_back(32);
  output.push_back(32);
  Request request = testing::SimpleRequest(input, weights, output, stride);
  request.attributes.padding = Padding::kSame;
  return request;
}

Plan WinogradPlan(const Request& request, const std::string& target,
                  Operation operation = Operation::kConvTranspose,
                  DType dtype = DType::kFloat) {
  return MakePlan(operation, testing::GeometryOf(operation, request), dtype,
                  *FindTarget(target), KernelFamily::kWinograd);
}

struct Known {
  int64_t length, filter;
  int outputs;
  double growth, roundings;
  double grad_growth, grad_roundings;
};

// By hand. F(2, 2): |A| has rows 110 and 011, |G| row sums 1 2 1, |B| row sums
// 2 1 2: 2 + 2. F(3, 2): rows 1110, 0110 and 0111, sums 1 1 1 1 and 2 2 2 2: 2
// + 2 + 2. F(2, 3): rows 1110 and 0111, sums 1 3/2 3/2 1 and 2 2 2 2: 2 + 3 +
// 3. Roundings: one less than the longest row of A, G and B.
//
// The filter gradient's: columns of G in place of rows of A, columns of A in
// place of rows of G. F(2, 2): |G| has columns 110 and 011, |A| column sums 1 2
// 1: 2 + 2. F(3, 2): columns 1 1/2 1/2 0, sums 1 3 3 1: 2 + 3 + 3. F(2, 3):
// columns 1 1/2 1/2 0, 0 1/2 1/2 0 and 0 1/2 1/2 1, sums 1 2 2 1: 2 + 2 + 2.
constexpr Known kKnown[] = {
    {4, 2, 2, 4, 3, 4, 3}, {6, 2, 3, 6, 4, 8, 5}, {6, 3, 2, 8, 5, 6, 4}};

TEST(WinogradErrorTest, IsThatOfTheMatrices) {
  for (const Known& known : kKnown) {
    for (int rank : {1, 2, 3}) {
      const Plan plan =
          WinogradPlan(Layer(rank, known.length, known.filter, 1), "baseline");
      ASSERT_EQ(plan.family, KernelFamily::kWinograd) << plan.ToString();
      ASSERT_EQ(plan.winograd.axis[0][0].outputs, known.outputs);
      EXPECT_EQ(testing::ErrorOf(plan).growth, std::pow(known.growth, rank));
      EXPECT_EQ(testing::ErrorOf(plan).roundings, known.roundings * rank);
      const Plan grad = WinogradPlan(Layer(rank, known.length, known.filter, 1),
                                     "baseline", Operation::kFilterGrad);
      ASSERT_EQ(grad.family, KernelFamily::kWinograd) << grad.ToString();
      EXPECT_EQ(testing::ErrorOf(grad).growth,
                std::pow(known.grad_growth, rank));
      EXPECT_EQ(testing::ErrorOf(grad).roundings, known.grad_roundings * rank);
    }
  }
}

// Taps beyond three, and those of an input gradient's residues.
TEST(WinogradErrorTest, CountsTheClassesOfAllAxes) {
  struct Case {
    Request request;
    Operation operation;
    double classes;
  };
  for (const Case& c : {Case{Layer(1, 12, 2, 1), Operation::kConvTranspose, 1},
                        Case{Layer(1, 12, 6, 1), Operation::kConvTranspose, 2},
                        Case{Layer(2, 12, 6, 1), Operation::kConvTranspose, 4},
                        Case{Layer(1, 12, 4, 2), Operation::kInputGrad, 2},
                        Case{Layer(2, 12, 4, 2), Operation::kInputGrad, 4}}) {
    const Plan plan = WinogradPlan(c.request, "baseline", c.operation);
    ASSERT_EQ(plan.family, KernelFamily::kWinograd) << plan.ToString();
    EXPECT_EQ(testing::ErrorOf(plan).classes, c.classes) << plan.ToString();
  }
}

// Pattern 0: as they come. 1: operands of one sign and size. 2: operands that
// cancel in the sums but not in the transforms.
void ExpectBoundHolds(const Plan& plan, int pattern, Random* random) {
  Values values = testing::RandomValues(random, plan.dtype, plan.call);
  for (auto* source : {&values.input, &values.output_grad}) {
    int64_t at = 0;
    for (double& value : *source) {
      const int64_t position = at++ / 32;
      if (pattern > 0) value = 1 - 0x1p-12 * value;
      if (pattern > 1 && position % 2 == 1) value = -value;
      if (plan.dtype == DType::kFloat) value = static_cast<float>(value);
    }
  }
  SCOPED_TRACE(plan.ToString());
  const std::vector<double> expected =
      testing::Expected(plan.operation, plan.dtype, plan.call, values);
  testing::ExpectClose(testing::RunKernel(plan, values), expected,
                       testing::Tolerance(plan, values, expected));
}

TEST(WinogradErrorTest, BoundHoldsWhereOperandsCancel) {
  Random random(1);
  for (const Request& request :
       {Layer(1, 7, 4, 2), Layer(2, 7, 4, 2), Layer(3, 4, 2, 1),
        Layer(2, 6, 2, 1), Layer(2, 7, 3, 1), Layer(2, 7, 6, 2),
        Layer(3, 4, 3, 1), Layer(1, 7, 3, 1), Layer(1, 40, 15, 1),
        Layer(2, 14, 7, 1)}) {
    for (Operation operation :
         {Operation::kConvTranspose, Operation::kInputGrad,
          Operation::kFilterGrad}) {
      for (const std::string& target : SupportedTargets()) {
        for (DType dtype : {DType::kFloat, DType::kDouble}) {
          const Plan plan = WinogradPlan(request, target, operation, dtype);
          ASSERT_EQ(plan.family, KernelFamily::kWinograd) << plan.ToString();
          for (int pattern = 0; pattern < 3; ++pattern) {
            ExpectBoundHolds(plan, pattern, &random);
          }
        }
      }
    }
  }
}

// Found by fuzzing in float64: half of an odd denormal weight is no number of
// the type, and what it lacks is multiplied, too.
TEST(WinogradErrorTest, BoundHoldsWhereHalvesOfWeightsRound) {
  Random random(1);
  for (DType dtype : {DType::kFloat, DType::kDouble}) {
    const double spacing = dtype == DType::kFloat ? 0x1p-149 : 0x1p-1074;
    for (const std::string& target : SupportedTargets()) {
      const Plan plan = WinogradPlan(Layer(1, 8, 3, 1), target,
                                     Operation::kConvTranspose, dtype);
      Values values = testing::RandomValues(&random, dtype, plan.call);
      for (double& value : values.filter) {
        value = (2 * std::round(100 * value) + 1) * spacing;
      }
      for (double& value : values.input) value = std::round(4096 * value);
      const std::vector<double> expected =
          testing::Expected(plan.operation, dtype, plan.call, values);
      SCOPED_TRACE(plan.ToString());
      testing::ExpectClose(testing::RunKernel(plan, values), expected,
                           testing::Tolerance(plan, values, expected));
    }
  }
}

}  // namespace
}  // namespace conv_transpose_nd
