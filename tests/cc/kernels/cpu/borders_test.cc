// Infinities and NaN go where the equation sends them and nowhere else: the
// zeros that blocked kernels multiply beyond the border must not show.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "cc/core/plan.h"
#include "cc/kernels/cpu/conv_transpose.h"
#include "tests/cc/testing/request.h"
#include "tests/cc/testing/run.h"

namespace conv_transpose_nd {
namespace {

using testing::kFloatingDTypes;
using testing::Random;
using testing::Request;
using testing::SimpleRequest;
using testing::Values;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
class BordersTest : public ::testing::TestWithParam<DType> {};

void Sprinkle(Random* random, std::vector<double>* values, int count) {
  if (values->empty()) return;
  for (int i = 0; i < count; ++i) {
    (*values)[random->Uniform(0, values->size() - 1)] = random->OneIn(3) ? kNan
                                                        : random->OneIn(2)
                                                            ? kInfinity
                                                            : -kInfinity;
  }
}

// The kernels on values with `count` infinities and NaN in each operand that
// `operands` names: i(nput), f(ilter), g(radient of the output), b(ias).
void CheckSprinkled(const Request& request, DType dtype,
                    const std::string& operands, int count, Random* random) {
  SCOPED_TRACE(testing::Describe(request) + " in " + operands);
  for (Operation operation : testing::kOperations) {
    const ConvTransposeGeometry geometry =
        testing::GeometryOf(operation, request);
    Values values = testing::RandomValues(random, dtype, geometry);
    for (char operand : operands) {
      Sprinkle(random,
               operand == 'i'   ? &values.input
               : operand == 'f' ? &values.filter
               : operand == 'g' ? &values.output_grad
                                : &values.bias,
               count);
    }
    testing::CheckOperation(operation, dtype, geometry, values);
  }
}

// Short lines of many batches: rows run along the batch, and a tile may end
// in the midst of one.
TEST_P(BordersTest, ShortLinesOfManyBatches) {
  Random random(101 + static_cast<int>(GetParam()));
  for (int64_t batch : {7, 13, 26}) {
    Request request =
        SimpleRequest({batch, 3, 4, 5}, {5, 4, 17, 5}, {batch, 3, 4, 17}, 1);
    request.attributes.padding = Padding::kSame;
    const ConvTransposeGeometry geometry =
        testing::GeometryOf(Operation::kConvTranspose, request);
    const Plan plan = MakePlan(Operation::kConvTranspose, geometry, GetParam(),
                               ChosenTarget(), KernelFamily::kChannelLanes);
    EXPECT_TRUE(plan.batch_inner) << plan.ToString();
    for (const char* operands : {"", "f", "ig", "ifg"}) {
      CheckSprinkled(request, GetParam(), operands, 2, &random);
    }
  }
}

TEST_P(BordersTest, RandomRequests) {
  Random random(1 + static_cast<int>(GetParam()));
  for (int i = 0; i < 60; ++i) {
    const Request request = testing::RandomRequest(
        &random, static_cast<int>(random.Uniform(1, 4)), 20000);
    for (const char* operands : {"f", "ig", "ifg"}) {
      CheckSprinkled(request, GetParam(), operands, 2, &random);
      if (HasFailure()) return;
    }
  }
}

// An infinite filter, or input: the border reads fewer taps, and none as
// 0 * infinity.
TEST_P(BordersTest, InfiniteFilterAtBorders) {
  for (DataFormat format :
       {DataFormat::kChannelsLast, DataFormat::kChannelsFirst}) {
    for (int64_t out : {1, 3, 40}) {
      Request request;
      request.shapes = {testing::Ordered(format, {1, 5, 6, 4}),
                        {4, 5, out, 4},
                        testing::Ordered(format, {1, 10, 12, out}),
                        false,
                        {}};
      request.attributes.strides = testing::Ordered(format, {1, 2, 2, 1});
      request.attributes.padding = Padding::kSame;
      request.attributes.data_format = format;
      const ConvTransposeGeometry geometry =
          testing::GeometryOf(Operation::kConvTranspose, request);
      Values values;
      values.input.assign(NumElements(geometry.InputDims()), 1.0);
      values.filter.assign(NumElements(geometry.FilterDims()), kInfinity);
      values.output_grad.assign(NumElements(geometry.OutputDims()), 1.0);
      for (Operation operation :
           {Operation::kConvTranspose, Operation::kInputGrad}) {
        for (const Plan& plan :
             testing::PlansOf(operation, GetParam(), geometry)) {
          SCOPED_TRACE(plan.ToString());
          for (double value : testing::RunKernel(plan, values).Values()) {
            ASSERT_EQ(value, kInfinity);
          }
        }
      }
      values.input.assign(NumElements(geometry.InputDims()), kInfinity);
      for (const Plan& plan :
           testing::PlansOf(Operation::kFilterGrad, GetParam(), geometry)) {
        SCOPED_TRACE(plan.ToString());
        for (double value : testing::RunKernel(plan, values).Values()) {
          ASSERT_EQ(value, kInfinity);
        }
      }
    }
  }
}

// One NaN in one channel of one position reaches its own products only.
TEST_P(BordersTest, NanStaysInItsGroupAndReach) {
  Request request = SimpleRequest({1, 9, 6}, {3, 5, 6}, {1, 19, 15}, 2);
  request.attributes.groups = 3;
  const ConvTransposeGeometry geometry =
      testing::GeometryOf(Operation::kConvTranspose, request);
  Random random(2);
  Values values = testing::RandomValues(&random, GetParam(), geometry);
  values.input[4 * 6 + 2] = kNan;  // position 4, group 1
  for (const Plan& plan :
       testing::PlansOf(Operation::kConvTranspose, GetParam(), geometry)) {
    SCOPED_TRACE(plan.ToString());
    const testing::Tensor output = testing::RunKernel(plan, values);
    for (int64_t o = 0; o < 19; ++o) {
      for (int64_t co = 0; co < 15; ++co) {
        const bool reached = o >= 8 && o <= 10 && co / 5 == 1;
        EXPECT_EQ(std::isnan(output.At(o * 15 + co)), reached)
            << "output " << o << " channel " << co;
      }
    }
  }
}

TEST_P(BordersTest, BiasAndActivationOfInfinities) {
  Random random(3);
  for (int activation = 0; activation < 10; ++activation) {
    Request request = SimpleRequest({2, 5, 3}, {4, 9, 3}, {2, 12, 9}, 2);
    request.shapes.has_bias = true;
    request.shapes.bias = {9};
    request.attributes.activation = static_cast<Activation>(activation);
    const ConvTransposeGeometry geometry =
        testing::GeometryOf(Operation::kConvTranspose, request);
    Values values = testing::RandomValues(&random, GetParam(), geometry);
    Sprinkle(&random, &values.bias, 3);
    Sprinkle(&random, &values.input, 2);
    testing::CheckOperation(Operation::kConvTranspose, GetParam(), geometry,
                            values);
  }
}

// Sums that leave the range of the dtype become infinite, once, at the end.
TEST(OverflowTest, HalfOverflowsInTheStoreOnly) {
  const Request request = SimpleRequest({1, 1, 3}, {1, 20, 3}, {1, 1, 20}, 1);
  const ConvTransposeGeometry geometry =
      testing::GeometryOf(Operation::kConvTranspose, request);
  Values values;
  values.input = {60000, 60000, -60000};
  values.filter.assign(60, 1);
  for (int column = 10; column < 20; ++column)
    values.filter[3 * column + 2] = 0;
  for (const Plan& plan :
       testing::PlansOf(Operation::kConvTranspose, DType::kHalf, geometry)) {
    SCOPED_TRACE(plan.ToString());
    const testing::Tensor output = testing::RunKernel(plan, values);
    EXPECT_EQ(output.At(0), 60000);
    EXPECT_EQ(output.At(19), kInfinity);
  }
}

INSTANTIATE_TEST_SUITE_P(All, BordersTest, ::testing::ValuesIn(kFloatingDTypes),
                         [](const auto& info) {
                           return testing::DTypeName(info.param);
                         });

}  // namespace
}  // namespace conv_transpose_nd
