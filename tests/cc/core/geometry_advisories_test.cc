// Requests that broke other implementations, and lengths whose products do not
// fit: each has the right empty result or an error in words, and none
// overflows.
#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include "cc/core/geometry.h"
#include "cc/core/plan.h"
#include "tests/cc/testing/request.h"

namespace conv_transpose_nd {
namespace {

using testing::Request;
using testing::SimpleRequest;

constexpr int64_t kHuge = int64_t{1} << 62;
constexpr int64_t kMaxAttribute = (int64_t{1} << 31) - 1;

std::string ErrorOf(Operation operation, const Request& request) {
  ConvTransposeGeometry geometry;
  return ResolveGeometry(operation, testing::ShapesOf(operation, request),
                         request.attributes, &geometry)
      .message();
}

Request With(Request request, const Dims& strides, Padding padding) {
  request.attributes.strides = strides;
  request.attributes.padding = padding;
  return request;
}

bool Contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// CVE-2021-29520
TEST(GeometryAdvisoriesTest, OutputShapeThatDoesNotFitTheStrides) {
  EXPECT_EQ(
      ErrorOf(Operation::kConvTranspose,
              With(SimpleRequest({1, 1, 1, 1, 1}, {4, 1, 6, 1, 1},
                                 {1, 1, 1, 1, 2}, 1),
                   {1, 89, 29, 89, 1}, Padding::kSame)),
      "output_shape[4] must equal out_channels 1 (filter[3] * groups), got 2");
}

// CVE-2021-29522, -37675, -41209, tensorflow#61539: division by zero sizes.
TEST(GeometryAdvisoriesTest, EverythingEmpty) {
  const Request request =
      With(SimpleRequest({0, 0, 0, 0, 0}, {0, 0, 0, 1, 0}, {0, 0, 0, 0, 1}, 1),
           {1, 1, 1, 1, 1}, Padding::kSame);
  for (Operation operation : testing::kOperations) {
    const ConvTransposeGeometry geometry =
        testing::GeometryOf(operation, request);
    const Plan plan = MakePlan(operation, geometry, DType::kFloat, {});
    EXPECT_EQ(plan.family, KernelFamily::kNone);
  }
}

// CVE-2021-29525: no input channels and an empty filter.
TEST(GeometryAdvisoriesTest, EmptyFilter) {
  const Request request =
      With(SimpleRequest({52, 1, 1, 0}, {0, 1, 5, 0}, {52, 1, 1, 5}, 1),
           {1, 1, 1, 1}, Padding::kSame);
  const ConvTransposeGeometry geometry =
      testing::GeometryOf(Operation::kConvTranspose, request);
  EXPECT_EQ(geometry.OutputDims(), (Dims{52, 1, 1, 5}));
  EXPECT_EQ(
      MakePlan(Operation::kConvTranspose, geometry, DType::kFloat, {}).family,
      KernelFamily::kFill);
}

// CVE-2021-29524 and -29538, as the transposed op meets them.
TEST(GeometryAdvisoriesTest, FilterGradOfEmptyInput) {
  const Request request =
      With(SimpleRequest({0, 0, 1, 0}, {1, 1, 1, 0}, {0, 0, 18, 1}, 1),
           {1, 66, 18, 1}, Padding::kSame);
  const ConvTransposeGeometry geometry =
      testing::GeometryOf(Operation::kFilterGrad, request);
  EXPECT_EQ(geometry.FilterDims(), (Dims{1, 1, 1, 0}));
  Request channels = request;
  channels.shapes.filter[3] = channels.shapes.input[3] = 3;
  EXPECT_EQ(MakePlan(Operation::kFilterGrad,
                     testing::GeometryOf(Operation::kFilterGrad, channels),
                     DType::kFloat, {})
                .family,
            KernelFamily::kFill);
}

// CVE-2021-29540
TEST(GeometryAdvisoriesTest, FilterGradChannelsDisagree) {
  EXPECT_EQ(ErrorOf(Operation::kFilterGrad,
                    SimpleRequest({1, 2, 2, 2}, {1, 1, 1, 1}, {1, 2, 2, 1}, 1)),
            "filter_shape[3] (in_channels) must equal input[3] = 2, got 1");
}

// CVE-2022-29196, -35969
TEST(GeometryAdvisoriesTest, ShapeArgumentsOfTheWrongLength) {
  Request request = SimpleRequest({1, 2, 2, 1}, {1, 1, 1, 1}, {1, 2, 2, 1}, 1);
  request.shapes.filter = {65534, 65534};
  EXPECT_EQ(ErrorOf(Operation::kFilterGrad, request),
            "filter_shape must have 4 values (strides has 4 values), got 2");
  request.shapes.filter = {1, 1, 1, 1};
  request.shapes.output = {};
  EXPECT_EQ(ErrorOf(Operation::kInputGrad, request),
            "output_grad must have rank 4 (strides has 4 values), got rank 0");
}

// CVE-2022-35999: an empty width of VALID. Outputs 0 and ... k_d - 1 map to it.
TEST(GeometryAdvisoriesTest, EmptyWidth) {
  const auto request = [](int64_t width) {
    return With(SimpleRequest({3, 1, 0, 3}, {1, 2, 2, 3}, {3, 1, width, 2}, 1),
                {1, 1, 2, 1}, Padding::kValid);
  };
  EXPECT_EQ(ErrorOf(Operation::kConvTranspose, request(0)), "");
  EXPECT_EQ(ErrorOf(Operation::kConvTranspose, request(1)), "");
  EXPECT_EQ(ErrorOf(Operation::kConvTranspose, request(2)),
            "output_shape[2] must be in [0, 1] for input length 0, filter "
            "length 2, stride 2, padding VALID, got 2");
}

// CVE-2022-35996
TEST(GeometryAdvisoriesTest, EmptyInputWithExplicitPadding) {
  Request request = SimpleRequest({1, 0, 4, 1}, {3, 3, 1, 1}, {1, 0, 4, 1}, 1);
  request.attributes.padding = Padding::kExplicit;
  request.attributes.explicit_paddings = {0, 0, 1, 1, 1, 1, 0, 0};
  EXPECT_EQ(ErrorOf(Operation::kConvTranspose, request), "");
  request.attributes.explicit_paddings = {0, 0, 2, 2, 1, 1, 0, 0};
  EXPECT_TRUE(Contains(ErrorOf(Operation::kConvTranspose, request),
                       "output_shape[1] has no valid value"));
}

// CVE-2023-25661
TEST(GeometryAdvisoriesTest, EmptySpatialDimensionOf3D) {
  Request request = SimpleRequest({1, 32, 32, 0, 3}, {3, 3, 3, 4, 3}, {}, 2);
  ConvTransposeGeometry geometry =
      testing::GeometryOf(Operation::kConvTranspose, request);
  EXPECT_EQ(geometry.OutputDims(), (Dims{1, 65, 65, 1, 4}));
  request.attributes.padding = Padding::kSame;
  geometry = testing::GeometryOf(Operation::kConvTranspose, request);
  EXPECT_EQ(geometry.OutputDims(), (Dims{1, 64, 64, 0, 4}));
}

// tensorflow#57958 aborts on [1, 2^30, 2^30, 16]. 2^64 elements are an error;
// [1, 2^26, 2^26, 16] is a geometry, which no allocation follows here.
TEST(GeometryAdvisoriesTest, OutputTooLarge) {
  const auto request = [](int64_t length) {
    return With(SimpleRequest({1, length / 2, length / 2, 1}, {2, 2, 16, 1},
                              {1, length, length, 16}, 2),
                {1, 2, 2, 1}, Padding::kSame);
  };
  EXPECT_EQ(ErrorOf(Operation::kConvTranspose, request(int64_t{1} << 30)),
            "input must have at most 2^56 elements, got more");
  const ConvTransposeGeometry geometry =
      testing::GeometryOf(Operation::kConvTranspose, request(int64_t{1} << 26));
  EXPECT_EQ(NumElements(geometry.OutputDims()), kMaxElements);
  const Plan plan =
      MakePlan(Operation::kConvTranspose, geometry, DType::kFloat, {});
  EXPECT_LT(plan.WorkspaceBytes(1), 1 << 20);
}

TEST(GeometryAdvisoriesTest, InferredOutputTooLarge) {
  Request request =
      SimpleRequest({1, int64_t{1} << 40, 1}, {3, 1, 1}, {}, kMaxAttribute);
  for (Padding padding : {Padding::kSame, Padding::kValid}) {
    request.attributes.padding = padding;
    EXPECT_TRUE(
        Contains(ErrorOf(Operation::kConvTranspose, request),
                 "strides[1] must keep the output length at most 2^56"));
  }
  // Every axis fits, their product does not.
  EXPECT_EQ(ErrorOf(Operation::kConvTranspose,
                    SimpleRequest({1, 1 << 10, 1 << 10, 1 << 10, 1},
                                  {1, 1, 1, 1, 1}, {}, 1 << 20)),
            "output_shape must have at most 2^56 elements, got more");
}

// Found by fuzzing: out_channels came from the bias alone.
TEST(GeometryAdvisoriesTest, BiasOfNoLengthAtAll) {
  Request request = SimpleRequest({1, kUnknown, 1}, {1, kUnknown, 1},
                                  {1, 246000, kUnknown}, 1);
  request.shapes.has_bias = true;
  for (int64_t length : {int64_t{-2}, INT64_MIN / 3, kHuge}) {
    request.shapes.bias = {length};
    ConvTransposeGeometry geometry;
    EXPECT_EQ(InferShapes(Operation::kConvTranspose, request.shapes,
                          request.attributes, true, &geometry)
                  .message(),
              "bias[0] must be in [0, 2^56], got " + std::to_string(length));
  }
}

// Found by fuzzing: 2^43 elements from one position to the next, times 2^31.
TEST(GeometryAdvisoriesTest, LargestStrideOfManyChannels) {
  constexpr int64_t kChannels = int64_t{1} << 43;
  Request request =
      With(SimpleRequest({1, 1, 1}, {1, kChannels, 1}, {1, 1, kChannels}, 1),
           {1, kMaxAttribute, 1}, Padding::kSame);
  const Plan plan = MakePlan(
      Operation::kInputGrad,
      testing::GeometryOf(Operation::kInputGrad, request), DType::kFloat, {});
  EXPECT_GT(plan.units, 0);
}

// Found by fuzzing: accepted, as the output is empty for its batch is.
TEST(GeometryAdvisoriesTest, ChannelsTooManyOfAnEmptyOutput) {
  Request request = SimpleRequest({0, 0, 0}, {0, kMaxElements / 2, 0}, {}, 1);
  request.attributes.groups = 2;
  EXPECT_EQ(ErrorOf(Operation::kConvTranspose, request), "");
  request.attributes.groups = 3;
  EXPECT_EQ(ErrorOf(Operation::kConvTranspose, request),
            "groups must keep out_channels (filter[1] * groups) at most 2^56, "
            "got 3 for filter[1] = 36028797018963968");
}

TEST(GeometryAdvisoriesTest, LargestStrideAndDilation) {
  Request request =
      With(SimpleRequest({1, 1, 1}, {2, 1, 1}, {1, kMaxAttribute, 1}, 1),
           {1, kMaxAttribute, 1}, Padding::kSame);
  request.attributes.dilations = {1, kMaxAttribute, 1};
  const Plan plan =
      MakePlan(Operation::kConvTranspose,
               testing::GeometryOf(Operation::kConvTranspose, request),
               DType::kFloat, {});
  EXPECT_LT(plan.WorkspaceBytes(8), 1 << 20);
  request.shapes.filter[0] = int64_t{1} << 40;
  EXPECT_TRUE(Contains(ErrorOf(Operation::kConvTranspose, request),
                       "dilations of spatial axis 0 must keep the dilated "
                       "filter length (k - 1) * dilation + 1 at most 2^56"));
}

// Whatever the lengths: an answer, and (under the sanitizer) no overflow.
TEST(GeometryAdvisoriesTest, ExtremeLengths) {
  testing::Random random(7);
  const auto length = [&] {
    return random.Pick({kUnknown, 0, 1, 2, 3, kMaxAttribute, kMaxElements,
                        kHuge, INT64_MAX - 1, INT64_MAX, INT64_MIN});
  };
  const auto attribute = [&] {
    return random.Pick({0, 1, 1, 1, 2, kMaxAttribute, kHuge, INT64_MIN});
  };
  for (int i = 0; i < 20000; ++i) {
    Request request = SimpleRequest({length(), length(), length()},
                                    {length(), length(), length()},
                                    {length(), length(), length()}, 1);
    request.attributes.strides[1] = attribute();
    request.attributes.dilations = {1, attribute(), 1};
    request.attributes.groups = attribute();
    request.attributes.padding = testing::kPaddings[random.Uniform(0, 3)];
    if (request.attributes.padding == Padding::kExplicit) {
      request.attributes.explicit_paddings = {0,           0, attribute(),
                                              attribute(), 0, 0};
    }
    if (random.OneIn(3)) {
      request.shapes.output.clear();
      if (random.OneIn(2)) request.attributes.output_padding = {attribute()};
    }
    request.shapes.has_bias = random.OneIn(4);
    request.shapes.bias = {length()};
    for (Operation operation : testing::kOperations) {
      const Shapes shapes = testing::ShapesOf(operation, request);
      ConvTransposeGeometry resolved, inferred;
      const Status status =
          ResolveGeometry(operation, shapes, request.attributes, &resolved);
      const Status early =
          InferShapes(operation, shapes, request.attributes, true, &inferred);
      if (status.ok()) {
        EXPECT_TRUE(early.ok()) << testing::Describe(request);
      }
    }
  }
}

}  // namespace
}  // namespace conv_transpose_nd
