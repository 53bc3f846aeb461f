// Every rule of ResolveGeometry with its words.
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "cc/core/geometry.h"
#include "tests/cc/testing/request.h"

namespace conv_transpose_nd {
namespace {

using testing::Request;
using testing::SimpleRequest;

constexpr int64_t kHuge = int64_t{1} << 62;
constexpr int64_t kMaxAttribute = (int64_t{1} << 31) - 1;

// Message of both entries, which must agree; empty where the request is valid.
std::string ErrorOf(Operation operation, const Request& request) {
  const Shapes shapes = testing::ShapesOf(operation, request);
  ConvTransposeGeometry geometry;
  const Status resolved =
      ResolveGeometry(operation, shapes, request.attributes, &geometry);
  const Status inferred = InferShapes(operation, shapes, request.attributes,
                                      /*known_output_length=*/true, &geometry);
  EXPECT_EQ(inferred.message(), resolved.message());
  if (!resolved.ok()) {
    EXPECT_EQ(resolved.code(), StatusCode::kInvalidArgument);
  }
  return resolved.message();
}

// 2-D, [2, 4, 5, 6] through a filter [3, 3, 4, 6] with stride 2, VALID.
Request Valid() {
  return SimpleRequest({2, 4, 5, 6}, {3, 3, 4, 6}, {2, 9, 11, 4}, 2);
}

std::string ErrorAfter(const std::function<void(Shapes*, Attributes*)>& change,
                       Operation operation = Operation::kConvTranspose) {
  Request request = Valid();
  change(&request.shapes, &request.attributes);
  return ErrorOf(operation, request);
}

TEST(GeometryErrorsTest, TheStartIsValid) {
  for (Operation operation : testing::kOperations) {
    EXPECT_EQ(ErrorOf(operation, Valid()), "");
  }
}

TEST(GeometryErrorsTest, Strides) {
  const auto with = [](const Dims& strides) {
    return ErrorAfter([&](Shapes*, Attributes* attributes) {
      attributes->strides = strides;
    });
  };
  EXPECT_EQ(with({1, 0, 2, 1}), "strides[1] must be >= 1, got 0");
  EXPECT_EQ(with({1, 2, -3, 1}), "strides[2] must be >= 1, got -3");
  EXPECT_EQ(with({2, 2, 2, 1}), "strides[0] must be 1 (batch), got 2");
  EXPECT_EQ(with({1, 2, 2, 2}), "strides[3] must be 1 (channels), got 2");
  EXPECT_EQ(with({1, kMaxAttribute + 1, 2, 1}),
            "strides[1] must be <= 2147483647, got 2147483648");
  for (const Dims& strides : {Dims{}, Dims{1, 1}, Dims(9, 1)}) {
    EXPECT_EQ(with(strides),
              "strides must have 3 to 8 values, one per dimension of input (1 "
              "to 6 spatial axes), got " +
                  std::to_string(strides.size()));
  }
}

TEST(GeometryErrorsTest, Dilations) {
  const auto with = [](const Dims& dilations) {
    return ErrorAfter([&](Shapes*, Attributes* attributes) {
      attributes->dilations = dilations;
    });
  };
  EXPECT_EQ(with({1, 1, 0, 1}), "dilations[2] must be >= 1, got 0");
  EXPECT_EQ(with({1, -1, 1, 1}), "dilations[1] must be >= 1, got -1");
  EXPECT_EQ(with({3, 1, 1, 1}), "dilations[0] must be 1 (batch), got 3");
  EXPECT_EQ(with({1, 1, 1, 3}), "dilations[3] must be 1 (channels), got 3");
  EXPECT_EQ(with({1, 1, 1}),
            "dilations must have 4 values, one per dimension of input, got 3");
  EXPECT_EQ(with({1, kMaxAttribute + 1, 1, 1}),
            "dilations[1] must be <= 2147483647, got 2147483648");
  EXPECT_EQ(with({1, 1, 1, 1}), "");
}

TEST(GeometryErrorsTest, ChannelsFirstNamesItsOwnDimensions) {
  const auto with = [](const Dims& strides) {
    return ErrorAfter([&](Shapes* shapes, Attributes* attributes) {
      attributes->data_format = DataFormat::kChannelsFirst;
      shapes->input = {2, 6, 4, 5};
      shapes->output = {2, 4, 9, 11};
      attributes->strides = strides;
    });
  };
  EXPECT_EQ(with({1, 1, 2, 2}), "");
  EXPECT_EQ(with({1, 2, 2, 2}), "strides[1] must be 1 (channels), got 2");
  EXPECT_EQ(with({1, 1, 2, 3}),
            "output_shape[3] must be in [15, 17] for input length 5, filter "
            "length 3, stride 3, padding VALID, got 11");
}

TEST(GeometryErrorsTest, ExplicitPaddings) {
  const auto with = [](const Dims& pads) {
    return ErrorAfter([&](Shapes*, Attributes* attributes) {
      attributes->padding = Padding::kExplicit;
      attributes->explicit_paddings = pads;
    });
  };
  EXPECT_EQ(with({0, 0, 0, 0, 0, 0, 0, 0}), "");
  EXPECT_EQ(with({0, 0, -1, 0, 0, 0, 0, 0}),
            "explicit_paddings[2] must be >= 0, got -1");
  EXPECT_EQ(with({0, 0, 0, kMaxAttribute + 1, 0, 0, 0, 0}),
            "explicit_paddings[3] must be <= 2147483647, got 2147483648");
  EXPECT_EQ(with({0, 1, 0, 0, 0, 0, 0, 0}),
            "explicit_paddings[1] must be 0 (batch), got 1");
  EXPECT_EQ(with({0, 0, 0, 0, 0, 0, 1, 0}),
            "explicit_paddings[6] must be 0 (channels), got 1");
  for (size_t count : {0, 2, 7, 9}) {
    EXPECT_EQ(with(Dims(count, 0)),
              "explicit_paddings must have 8 values, a pair per dimension of "
              "input, got " +
                  std::to_string(count));
  }
  EXPECT_EQ(with({0, 0, kMaxAttribute, kMaxAttribute, 0, 0, 0, 0}),
            "output_shape[1] has no valid value for input length 4, filter "
            "length 3, stride 2, padding EXPLICIT (2147483647, 2147483647), "
            "got 9");
  EXPECT_EQ(ErrorAfter([](Shapes*, Attributes* attributes) {
              attributes->explicit_paddings = {0, 0, 1, 1, 1, 1, 0, 0};
            }),
            "explicit_paddings must be empty unless padding is EXPLICIT, got 8 "
            "values with padding VALID");
}

TEST(GeometryErrorsTest, PadsBeyondTheInferredOutput) {
  EXPECT_EQ(ErrorAfter([](Shapes* shapes, Attributes* attributes) {
              shapes->output.clear();
              attributes->padding = Padding::kExplicit;
              attributes->explicit_paddings = {0, 0, 0, 0, 6, 6, 0, 0};
            }),
            "explicit_paddings of spatial axis 1 must sum to at most 11 for "
            "input length 5, filter length 3, stride 2, padding EXPLICIT (6, "
            "6), got 12");
}

TEST(GeometryErrorsTest, OutputPadding) {
  const auto with = [](const Dims& values, bool shape_given = false) {
    return ErrorAfter([&](Shapes* shapes, Attributes* attributes) {
      if (!shape_given) shapes->output.clear();
      attributes->output_padding = values;
    });
  };
  EXPECT_EQ(with({0, 1}), "");
  EXPECT_EQ(with({0, 2}), "output_padding[1] must be < stride 2, got 2");
  EXPECT_EQ(with({-1, 0}), "output_padding[0] must be >= 0, got -1");
  EXPECT_EQ(with({0}),
            "output_padding must have 2 values, one per spatial axis, got 1");
  EXPECT_EQ(with({0, 1}, true),
            "output_padding must be empty where output_shape is given, got 2 "
            "values");
}

// Keras' length of SAME with output_padding leaves no room for an even filter
// without any.
TEST(GeometryErrorsTest, OutputPaddingOfAnEvenFilter) {
  EXPECT_EQ(ErrorAfter([](Shapes* shapes, Attributes* attributes) {
              shapes->output.clear();
              shapes->filter = {4, 4, 4, 6};
              attributes->padding = Padding::kSame;
              attributes->output_padding = {0, 1};
            }),
            "output_padding[0] = 0: output length must be in [7, 8] for input "
            "length 4, filter length 4, stride 2, padding SAME, got 6");
}

TEST(GeometryErrorsTest, Groups) {
  const auto with = [](int64_t groups) {
    return ErrorAfter(
        [&](Shapes*, Attributes* attributes) { attributes->groups = groups; });
  };
  EXPECT_EQ(with(0), "groups must be >= 1, got 0");
  EXPECT_EQ(with(-2), "groups must be >= 1, got -2");
  EXPECT_EQ(with(4), "groups must divide in_channels 6, got 4");
  EXPECT_EQ(with(kHuge),
            "groups must be <= 2147483647, got 4611686018427387904");
  EXPECT_EQ(with(2),
            "output_shape[3] must equal out_channels 8 (filter[2] * groups), "
            "got 4");
}

TEST(GeometryErrorsTest, ActivationOfIntegers) {
  for (int a = 0; a < 10; ++a) {
    const std::string message =
        ErrorAfter([&](Shapes*, Attributes* attributes) {
          attributes->dtype = DType::kInt32;
          attributes->activation = static_cast<Activation>(a);
        });
    EXPECT_EQ(message.empty(), a <= 2) << message;
    if (a > 2) {
      EXPECT_EQ(message.find("activation must be none, relu or relu6"), 0u);
    }
  }
}

TEST(GeometryErrorsTest, Ranks) {
  const auto with = [](Dims Shapes::* tensor, const Dims& dims,
                       Operation operation = Operation::kConvTranspose) {
    return ErrorAfter(
        [&](Shapes* shapes, Attributes*) { shapes->*tensor = dims; },
        operation);
  };
  EXPECT_EQ(with(&Shapes::input, {}),
            "input must have rank 4 (strides has 4 values), got rank 0");
  EXPECT_EQ(with(&Shapes::input, {1}),
            "input must have rank 4 (strides has 4 values), got rank 1");
  EXPECT_EQ(with(&Shapes::filter, {}),
            "filter must have rank 4 (strides has 4 values), got rank 0");
  EXPECT_EQ(with(&Shapes::filter, {1, 1, 1, 1, 1}),
            "filter must have rank 4 (strides has 4 values), got rank 5");
  EXPECT_EQ(with(&Shapes::output, {9, 11, 4}),
            "output_shape must have 4 values (strides has 4 values), got 3");
  EXPECT_EQ(with(&Shapes::output, {9}, Operation::kInputGrad),
            "output_grad must have rank 4 (strides has 4 values), got rank 1");
  EXPECT_EQ(with(&Shapes::filter, {3, 3}, Operation::kFilterGrad),
            "filter_shape must have 4 values (strides has 4 values), got 2");
}

TEST(GeometryErrorsTest, Sizes) {
  const auto with = [](Dims Shapes::* tensor, int dim, int64_t value,
                       Operation operation = Operation::kConvTranspose) {
    return ErrorAfter(
        [&](Shapes* shapes, Attributes*) { (shapes->*tensor)[dim] = value; },
        operation);
  };
  EXPECT_EQ(with(&Shapes::output, 1, -2),
            "output_shape[1] must be >= 0, got -2");
  EXPECT_EQ(with(&Shapes::filter, 0, -5, Operation::kFilterGrad),
            "filter_shape[0] must be >= 0, got -5");
  EXPECT_EQ(with(&Shapes::output, 2, 12), "");
  EXPECT_EQ(with(&Shapes::output, 2, 13),
            "output_shape[2] must be in [11, 12] for input length 5, filter "
            "length 3, stride 2, padding VALID, got 13");
  EXPECT_EQ(with(&Shapes::output, 1, 8),
            "output_shape[1] must be in [9, 10] for input length 4, filter "
            "length 3, stride 2, padding VALID, got 8");
  EXPECT_EQ(with(&Shapes::output, 0, 3),
            "output_shape[0] must equal the batch of input 2, got 3");
  EXPECT_EQ(with(&Shapes::output, 3, 5),
            "output_shape[3] must equal out_channels 4 (filter[2] * groups), "
            "got 5");
  EXPECT_EQ(with(&Shapes::filter, 3, 5),
            "filter[3] (in_channels) must equal input[3] = 6, got 5");
  EXPECT_EQ(with(&Shapes::output, 0, 3, Operation::kFilterGrad),
            "output_grad[0] must equal the batch of input 2, got 3");
}

TEST(GeometryErrorsTest, Bias) {
  const auto with = [](const Dims& bias) {
    return ErrorAfter([&](Shapes* shapes, Attributes*) {
      shapes->has_bias = true;
      shapes->bias = bias;
    });
  };
  EXPECT_EQ(with({4}), "");
  EXPECT_EQ(with({5}), "bias must have out_channels 4 values, got 5");
  EXPECT_EQ(with({1}), "bias must have out_channels 4 values, got 1");
  EXPECT_EQ(with({}), "bias must have rank 1, got rank 0");
  EXPECT_EQ(with({4, 1}), "bias must have rank 1, got rank 2");
}

}  // namespace
}  // namespace conv_transpose_nd
