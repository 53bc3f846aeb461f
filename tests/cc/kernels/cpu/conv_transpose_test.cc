// Every target, dtype and rank against the reference.
#include "cc/kernels/cpu/conv_transpose.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "tests/cc/testing/request.h"
#include "tests/cc/testing/run.h"

namespace conv_transpose_nd {
namespace {

using testing::Random;
using testing::Request;

TEST(TargetsTest, ChosenAndFound) {
  const std::vector<std::string> targets = SupportedTargets();
  ASSERT_FALSE(targets.empty());
  EXPECT_EQ(targets.back(), "baseline");
  const std::string before = ChosenTarget().name;
  EXPECT_EQ(std::count(targets.begin(), targets.end(), before), 1);
  for (const std::string& target : targets) {
    ASSERT_NE(FindTarget(target), nullptr);
    EXPECT_EQ(FindTarget(target)->name, target);
    EXPECT_TRUE(ChooseTarget(target));
    EXPECT_EQ(ChosenTarget().name, target);
    const ConvTransposeGeometry geometry = testing::GeometryOf(
        Operation::kConvTranspose,
        testing::SimpleRequest({1, 2, 3}, {1, 4, 3}, {1, 2, 4}, 1));
    EXPECT_EQ(
        PlanFor(Operation::kConvTranspose, geometry, DType::kFloat).target.name,
        target);
  }
  EXPECT_EQ(FindTarget("z80"), nullptr);
  EXPECT_FALSE(ChooseTarget("z80"));
  EXPECT_EQ(ChosenTarget().name, targets.back());
  EXPECT_TRUE(ChooseTarget(before));
}

class RandomRequestsTest
    : public ::testing::TestWithParam<std::tuple<DType, int>> {};

TEST_P(RandomRequestsTest, MatchTheReference) {
  const auto [dtype, rank] = GetParam();
  Random random(100 * rank + static_cast<int>(dtype));
  for (int i = 0; i < 40; ++i) {
    testing::CheckRequest(testing::RandomRequest(&random, rank, 60000), dtype,
                          &random);
    if (HasFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, RandomRequestsTest,
    ::testing::Combine(::testing::ValuesIn(testing::kDTypes),
                       ::testing::Range(1, kMaxRank + 1)),
    [](const auto& info) {
      return std::string(testing::DTypeName(std::get<0>(info.param))) +
             "_rank" + std::to_string(std::get<1>(info.param));
    });

// What the random requests are worth: each family runs some of them.
TEST(CoverageTest, RandomRequestsReachEveryFamily) {
  Random random(8);
  std::set<KernelFamily> seen;
  for (int i = 0; i < 240; ++i) {
    const Request request = testing::RandomRequest(&random, 1 + i % 4, 60000);
    for (Operation operation : testing::kOperations) {
      for (const Plan& plan :
           testing::PlansOf(operation, DType::kFloat,
                            testing::GeometryOf(operation, request))) {
        seen.insert(plan.family);
      }
    }
  }
  for (int f = 0; f <= static_cast<int>(KernelFamily::kPositions); ++f) {
    const auto family = static_cast<KernelFamily>(f);
    EXPECT_EQ(seen.count(family), 1u) << KernelFamilyName(family);
  }
}

// Two of the loops over blocks turn more than once in each of these.
class BlocksTest : public ::testing::TestWithParam<DType> {};

Request SameRequest(const Dims& input, const Dims& filter, int64_t stride,
                    DataFormat format = DataFormat::kChannelsLast) {
  Dims output = input, strides(input.size(), stride);
  for (size_t d = 1; d + 1 < output.size(); ++d) output[d] *= stride;
  output.back() = filter[filter.size() - 2];
  strides.front() = strides.back() = 1;
  Request request;
  request.shapes = {testing::Ordered(format, input),
                    filter,
                    testing::Ordered(format, output),
                    false,
                    {}};
  request.attributes.strides = testing::Ordered(format, strides);
  request.attributes.padding = Padding::kSame;
  request.attributes.data_format = format;
  return request;
}

TEST_P(BlocksTest, DeepSums) {
  Random random(1);
  for (DataFormat format :
       {DataFormat::kChannelsLast, DataFormat::kChannelsFirst}) {
    testing::CheckRequest(SameRequest({1, 5, 1100}, {3, 40, 1100}, 2, format),
                          GetParam(), &random);
    testing::CheckRequest(SameRequest({1, 9, 40}, {3, 1100, 40}, 2, format),
                          GetParam(), &random);
  }
}

TEST_P(BlocksTest, ManyTaps) {
  Random random(2);
  for (DataFormat format :
       {DataFormat::kChannelsLast, DataFormat::kChannelsFirst}) {
    testing::CheckRequest(SameRequest({1, 12, 1}, {401, 3, 1}, 1, format),
                          GetParam(), &random);
    testing::CheckRequest(
        SameRequest({1, 14, 14, 2}, {15, 13, 17, 2}, 1, format), GetParam(),
        &random);
    testing::CheckRequest(
        SameRequest({1, 3, 4, 5, 9}, {5, 5, 5, 2, 9}, 1, format), GetParam(),
        &random);
  }
}

// Channels that are fewer than a vector's, and none or some beyond whole
// vectors; lines of several pieces.
TEST_P(BlocksTest, Depthwise) {
  Random random(4);
  for (int64_t channels : {3, 16, 33, 75, 130}) {
    for (const Dims& length : {Dims{5, 6}, Dims{90}}) {
      Dims input = {2}, filter(length.size(), 4);
      input.insert(input.end(), length.begin(), length.end());
      input.push_back(channels);
      filter.insert(filter.end(), {1, channels});
      for (Activation activation :
           {Activation::kNone, Activation::kRelu, Activation::kRelu6}) {
        Request request = SameRequest(input, filter, 2);
        request.shapes.output.back() = channels;
        request.shapes.has_bias = activation != Activation::kNone;
        if (request.shapes.has_bias) request.shapes.bias = {channels};
        request.attributes.groups = channels;
        request.attributes.activation = activation;
        testing::CheckRequest(request, GetParam(), &random);
      }
    }
  }
}

TEST_P(BlocksTest, ManyColumns) {
  Random random(3);
  for (DataFormat format :
       {DataFormat::kChannelsLast, DataFormat::kChannelsFirst}) {
    testing::CheckRequest(SameRequest({1, 6, 300}, {2, 200, 300}, 1, format),
                          GetParam(), &random);
    testing::CheckRequest(SameRequest({1, 70, 2}, {4, 150, 2}, 3, format),
                          GetParam(), &random);
  }
}

TEST_P(BlocksTest, ManyPositions) {
  Random random(4);
  for (DataFormat format :
       {DataFormat::kChannelsLast, DataFormat::kChannelsFirst}) {
    testing::CheckRequest(SameRequest({1, 1500, 3}, {3, 1, 3}, 2, format),
                          GetParam(), &random);
    testing::CheckRequest(SameRequest({2, 50, 37, 5}, {2, 2, 4, 5}, 2, format),
                          GetParam(), &random);
  }
}

INSTANTIATE_TEST_SUITE_P(All, BlocksTest, ::testing::ValuesIn(testing::kDTypes),
                         [](const auto& info) {
                           return testing::DTypeName(info.param);
                         });

// Depth and columns at, below and above every vector width.
TEST(ChannelsTest, AroundTheVectorWidth) {
  Random random(5);
  for (int64_t in : {1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33}) {
    for (int64_t out : {1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33}) {
      const Request request = SameRequest({1, 5, in}, {3, out, in}, 2);
      testing::CheckRequest(request, DType::kFloat, &random);
      testing::CheckRequest(
          request, random.OneIn(2) ? DType::kDouble : DType::kHalf, &random);
    }
  }
}

TEST(FusedTest, BiasAndEveryActivation) {
  Random random(6);
  for (DType dtype : testing::kDTypes) {
    for (int activation = 0; activation < 10; ++activation) {
      if (dtype == DType::kInt32 && activation > 2) continue;
      for (int i = 0; i < 12; ++i) {
        Request request = testing::RandomRequest(
            &random, static_cast<int>(random.Uniform(1, 3)), 10000);
        request.attributes.activation = static_cast<Activation>(activation);
        request.attributes.dtype = dtype;
        request.shapes.has_bias = i % 3 != 0;
        if (request.shapes.has_bias) {
          request.shapes.bias = {
              testing::GeometryOf(Operation::kFilterGrad, request)
                  .out_channels};
        }
        SCOPED_TRACE(testing::Describe(request));
        const ConvTransposeGeometry geometry =
            testing::GeometryOf(Operation::kConvTranspose, request);
        testing::CheckOperation(
            Operation::kConvTranspose, dtype, geometry,
            testing::RandomValues(&random, dtype, geometry));
        if (HasFailure()) return;
      }
    }
  }
}

// Bias and activation where no product contributes: no input channels, no
// filter, phases without taps.
TEST(FusedTest, BiasWithoutProducts) {
  Random random(7);
  for (const Dims& filter : {Dims{0, 3, 5}, Dims{2, 3, 0}, Dims{1, 3, 5}}) {
    Request request = SameRequest({2, 4, filter[2]}, filter, 3);
    request.shapes.has_bias = true;
    request.shapes.bias = {3};
    request.attributes.activation = Activation::kSigmoid;
    for (DType dtype : testing::kDTypes) {
      if (dtype == DType::kInt32) continue;
      const ConvTransposeGeometry geometry =
          testing::GeometryOf(Operation::kConvTranspose, request);
      testing::CheckOperation(Operation::kConvTranspose, dtype, geometry,
                              testing::RandomValues(&random, dtype, geometry));
    }
  }
}

}  // namespace
}  // namespace conv_transpose_nd
