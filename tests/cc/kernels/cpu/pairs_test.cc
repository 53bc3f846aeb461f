// bfloat16 in pairs: depths and columns around a pair and a vector, and what
// the instruction does differently from the definition.
#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

#include "cc/core/plan.h"
#include "cc/kernels/cpu/conv_transpose.h"
#include "tests/cc/testing/request.h"
#include "tests/cc/testing/run.h"
#include "tests/cc/testing/workers.h"

namespace conv_transpose_nd {
namespace {

using testing::Random;
using testing::Request;
using testing::SimpleRequest;
using testing::Values;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

class PairsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    target_ = FindTarget("avx512_bf16");
    if (target_ == nullptr) GTEST_SKIP() << "this machine has no AVX512-BF16";
  }

  Plan PlanOf(Operation operation, const ConvTransposeGeometry& geometry) {
    return MakePlan(operation, geometry, DType::kBFloat16, *target_,
                    KernelFamily::kChannelLanes);
  }

  // Against the reference, alone, by three workers and with a packed filter.
  void Check(const Plan& plan, const Values& values) {
    SCOPED_TRACE(plan.ToString());
    const std::vector<double> expected =
        testing::Expected(plan.operation, plan.dtype, plan.call, values);
    const testing::Tensor result = testing::RunKernel(plan, values);
    testing::ExpectClose(result, expected,
                         testing::Tolerance(plan, values, expected));
    EXPECT_TRUE(testing::SameBits(
        result, testing::RunKernel(plan, values, testing::Threads(3))));
    EXPECT_TRUE(testing::SameBits(
        result, testing::RunKernel(plan, values, testing::LastToFirst(2),
                                   /*filter_is_packed=*/true)));
  }

  void CheckRandom(const Request& request, Random* random) {
    SCOPED_TRACE(testing::Describe(request));
    for (Operation operation : testing::kOperations) {
      const ConvTransposeGeometry geometry =
          testing::GeometryOf(operation, request);
      Check(PlanOf(operation, geometry),
            testing::RandomValues(random, DType::kBFloat16, geometry));
    }
  }

  const TargetInfo* target_ = nullptr;
};

Request Same(Request request) {
  request.attributes.padding = Padding::kSame;
  return request;
}

Request Biased(Request request, Activation activation) {
  const int64_t channels = request.shapes.output.back();
  request.shapes.has_bias = true;
  request.shapes.bias = {channels};
  request.attributes.activation = activation;
  return request;
}

TEST_F(PairsTest, DepthsAndColumns) {
  Random random(1);
  for (const int64_t in : {1, 2, 3, 15, 16, 17, 31, 32, 33, 64, 66}) {
    for (const int64_t out : {1, 2, 5, 16, 17, 32, 33, 48, 64}) {
      CheckRandom(Same(SimpleRequest({2, 5, 7, in}, {3, 4, out, in},
                                     {2, 10, 14, out}, 2)),
                  &random);
      if (HasFailure()) return;
    }
  }
}

TEST_F(PairsTest, Groups) {
  Random random(2);
  for (const int64_t in : {1, 2, 7, 16}) {
    for (const int64_t out : {3, 16, 32}) {
      Request request = Same(
          SimpleRequest({1, 9, 3 * in}, {5, out, 3 * in}, {1, 27, 3 * out}, 3));
      request.attributes.groups = 3;
      CheckRandom(request, &random);
    }
  }
}

// Dilation, a stride longer than the filter, phases without a tap, folded
// phases, and lines shorter than a tile.
TEST_F(PairsTest, Geometries) {
  Random random(3);
  Request dilated =
      SimpleRequest({1, 6, 6, 34}, {3, 3, 32, 34}, {1, 15, 15, 32}, 2);
  dilated.attributes.dilations = {1, 2, 2, 1};
  for (const Request& request :
       {dilated, SimpleRequest({1, 70, 64}, {2, 64, 64}, {1, 211, 64}, 3),
        SimpleRequest({1, 11, 13, 64}, {2, 2, 64, 64}, {1, 22, 26, 64}, 2),
        SimpleRequest({1, 11, 13, 21}, {2, 2, 21, 21}, {1, 22, 26, 21}, 2),
        Same(SimpleRequest({5, 7, 7, 64}, {5, 5, 64, 64}, {5, 7, 7, 64}, 1)),
        Same(SimpleRequest({16, 4, 5, 96}, {4, 4, 64, 96}, {16, 8, 10, 64}, 2)),
        Same(SimpleRequest({1, 3, 4, 5, 40}, {3, 3, 3, 48, 40},
                           {1, 6, 8, 10, 48}, 2))}) {
    CheckRandom(request, &random);
  }
}

TEST_F(PairsTest, ChannelsFirst) {
  Random random(4);
  for (const int64_t channels : {1, 2, 33, 64}) {
    Request request =
        SimpleRequest({2, channels, 40}, {5, 48, channels}, {2, 48, 80}, 1);
    request.attributes.strides = {1, 1, 2};
    request.attributes.padding = Padding::kSame;
    request.attributes.data_format = DataFormat::kChannelsFirst;
    CheckRandom(request, &random);
  }
}

TEST_F(PairsTest, BiasAndActivations) {
  Random random(5);
  for (int a = 0; a <= static_cast<int>(Activation::kSilu); ++a) {
    for (const int64_t out : {16, 31, 64, 96}) {
      CheckRandom(Biased(Same(SimpleRequest({1, 30, 32}, {4, out, 32},
                                            {1, 60, out}, 2)),
                         static_cast<Activation>(a)),
                  &random);
    }
  }
}

// NaN and infinities among operands, at the border and away from it, of odd and
// even depth.
TEST_F(PairsTest, SpecialValues) {
  Random random(6);
  for (const int64_t in : {1, 3, 32, 33}) {
    for (const int64_t out : {3, 32, 64}) {
      const Request request =
          Biased(Same(SimpleRequest({2, 5, 6, in}, {4, 4, out, in},
                                    {2, 10, 12, out}, 2)),
                 Activation::kRelu);
      for (Operation operation : testing::kOperations) {
        const ConvTransposeGeometry geometry =
            testing::GeometryOf(operation, request);
        for (const double special : {kNan, kInfinity, -kInfinity}) {
          Values values =
              testing::RandomValues(&random, DType::kBFloat16, geometry);
          for (std::vector<double>* operand :
               {&values.input, &values.filter, &values.output_grad}) {
            (*operand)[random.Uniform(0, operand->size() - 1)] = special;
          }
          Check(PlanOf(operation, geometry), values);
        }
      }
    }
  }
}

// The instruction takes the smallest numbers for zero, but zero times infinity
// is not what the definition has: away from the border, too, and where results
// are written past the caches or through a buffer.
TEST_F(PairsTest, InfinityTimesSubnormal) {
  Random random(7);
  for (const int64_t channels : {31, 32, 64}) {
    const Request request = Same(SimpleRequest(
        {1, 60, channels}, {4, channels, channels}, {1, 120, channels}, 2));
    for (Operation operation : testing::kOperations) {
      const ConvTransposeGeometry geometry =
          testing::GeometryOf(operation, request);
      for (const bool infinite_filter : {false, true}) {
        Values values =
            testing::RandomValues(&random, DType::kBFloat16, geometry);
        std::vector<double>& source = operation == Operation::kInputGrad
                                          ? values.output_grad
                                          : values.input;
        std::vector<double>& other = operation == Operation::kFilterGrad
                                         ? values.output_grad
                                         : values.filter;
        for (double& value : infinite_filter ? source : other) {
          value = value < 0 ? -0x1p-130 : 0x1p-130;
        }
        std::vector<double>& special = infinite_filter ? other : source;
        special[special.size() / 2 + 3] = kInfinity;
        Check(PlanOf(operation, geometry), values);
      }
    }
  }
}

TEST_F(PairsTest, NumbersBelowTheSmallestNormalOne) {
  Random random(8);
  const Request request =
      Biased(Same(SimpleRequest({1, 20, 33}, {3, 40, 33}, {1, 40, 40}, 2)),
             Activation::kGelu);
  for (Operation operation : testing::kOperations) {
    const ConvTransposeGeometry geometry =
        testing::GeometryOf(operation, request);
    for (const double scale : {0x1p-60, 0x1p-64, 0x1p-126, 0x1p-130}) {
      Values values =
          testing::RandomValues(&random, DType::kBFloat16, geometry);
      for (std::vector<double>* operand :
           {&values.input, &values.output_grad, &values.bias}) {
        testing::Tensor rounded(DType::kBFloat16,
                                static_cast<int64_t>(operand->size()));
        for (double& value : *operand) value *= scale;
        rounded.SetAll(*operand);
        *operand = rounded.Values();
      }
      Check(PlanOf(operation, geometry), values);
    }
  }
}

// A result that is written past the caches.
TEST_F(PairsTest, LargeResults) {
  Random random(9);
  const Request request =
      Same(SimpleRequest({1, 66000, 2}, {4, 128, 2}, {1, 132000, 128}, 2));
  const ConvTransposeGeometry geometry =
      testing::GeometryOf(Operation::kConvTranspose, request);
  Values values = testing::RandomValues(&random, DType::kBFloat16, geometry);
  values.filter[5] = kInfinity;
  const Plan plan = PlanOf(Operation::kConvTranspose, geometry);
  const std::vector<double> expected =
      testing::Expected(plan.operation, plan.dtype, geometry, values);
  testing::ExpectClose(testing::RunKernel(plan, values), expected,
                       testing::Tolerance(plan, values, expected));
}

// Half the bytes of the widened filter, preferred where channels are many, and
// no other target's packed filter.
TEST_F(PairsTest, ThePlanKnows) {
  const ConvTransposeGeometry geometry =
      testing::GeometryOf(Operation::kConvTranspose,
                          Same(SimpleRequest({16, 8, 8, 512}, {4, 4, 256, 512},
                                             {16, 16, 16, 256}, 2)));
  const auto plan_for = [&](DType dtype, const char* target,
                            KernelFamily wanted = KernelFamily::kNone) {
    return MakePlan(Operation::kConvTranspose, geometry, dtype,
                    *FindTarget(target), wanted);
  };
  const Plan pairs = plan_for(DType::kBFloat16, "avx512_bf16");
  const Plan widened =
      plan_for(DType::kBFloat16, "avx512", KernelFamily::kChannelLanes);
  EXPECT_EQ(pairs.family, KernelFamily::kChannelLanes);
  EXPECT_EQ(2 * pairs.packed_bytes, widened.packed_bytes);
  EXPECT_NE(pairs.reason.find("in bfloat16 pairs"), std::string::npos);
  EXPECT_EQ(widened.reason.find("in bfloat16 pairs"), std::string::npos);
  EXPECT_FALSE(SharePackedFilter(pairs, widened));
  // Other types run as they do on the other target.
  EXPECT_EQ(plan_for(DType::kFloat, "avx512_bf16").reason,
            plan_for(DType::kFloat, "avx512").reason);
  EXPECT_EQ(SupportedTargets().front(), "avx512_bf16");
}

}  // namespace
}  // namespace conv_transpose_nd
