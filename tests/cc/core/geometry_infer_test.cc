// InferShapes against ResolveGeometry: the shape functions may know less, but
// never something else.
#include <gtest/gtest.h>

#include <vector>

#include "cc/core/geometry.h"
#include "tests/cc/testing/request.h"

namespace conv_transpose_nd {
namespace {

using testing::kOperations;
using testing::Random;
using testing::Request;
using testing::SimpleRequest;

void ForgetSome(Random* random, Dims* dims, int64_t one_in) {
  for (int64_t& dim : *dims) {
    if (random->OneIn(one_in)) dim = kUnknown;
  }
}

void ExpectAgrees(const Dims& inferred, const Dims& resolved) {
  ASSERT_EQ(inferred.size(), resolved.size());
  for (size_t d = 0; d < inferred.size(); ++d) {
    if (inferred[d] == kUnknown) continue;
    EXPECT_EQ(inferred[d], resolved[d]) << d;
  }
}

// Makes one number of the request wrong, more often than not.
void Disturb(Random* random, Request* request) {
  Shapes& shapes = request->shapes;
  Attributes& attributes = request->attributes;
  Dims* const lists[] = {&shapes.input,
                         &shapes.filter,
                         &shapes.output,
                         &shapes.bias,
                         &attributes.strides,
                         &attributes.dilations,
                         &attributes.explicit_paddings,
                         &attributes.output_padding};
  Dims& list = *lists[random->Uniform(0, 7)];
  if (list.empty()) {
    attributes.groups += random->Pick({-1, 1});
  } else if (random->OneIn(8)) {
    list.pop_back();
  } else {
    list[random->Uniform(0, list.size() - 1)] +=
        random->Pick({-2, -1, 1, 1, 2, int64_t{1} << 40, int64_t{1} << 60});
  }
}

Request AnyRequest(Random* random) {
  Request request =
      testing::RandomRequest(random, random->Uniform(1, kMaxRank), 1 << 24);
  if (random->OneIn(3)) {
    request.shapes.has_bias = true;
    const bool last =
        request.attributes.data_format == DataFormat::kChannelsLast;
    request.shapes.bias = {last ? request.shapes.output.back()
                                : request.shapes.output[1]};
  }
  return request;
}

TEST(GeometryInferTest, KnownShapesAreJudgedAlike) {
  Random random(1);
  int rejected = 0;
  for (int i = 0; i < 20000; ++i) {
    Request request = AnyRequest(&random);
    if (random.OneIn(3)) {
      request.shapes.output.clear();
      if (random.OneIn(2)) {
        request.attributes.output_padding.assign(
            request.shapes.input.size() - 2, random.Uniform(0, 2));
      }
    }
    if (!random.OneIn(3)) Disturb(&random, &request);
    const Operation operation = kOperations[random.Uniform(0, 2)];
    const Shapes shapes = testing::ShapesOf(operation, request);
    // An unknown length is no length.
    bool known = true;
    for (const Dims* dims :
         {&shapes.input, &shapes.filter, &shapes.output, &shapes.bias}) {
      for (int64_t dim : *dims) known = known && dim != kUnknown;
    }
    if (!known) continue;
    ConvTransposeGeometry resolved, inferred;
    const Status late =
        ResolveGeometry(operation, shapes, request.attributes, &resolved);
    const Status early =
        InferShapes(operation, shapes, request.attributes, true, &inferred);
    SCOPED_TRACE(testing::Describe(request));
    ASSERT_EQ(early.message(), late.message());
    if (!late.ok()) {
      ++rejected;
      continue;
    }
    EXPECT_EQ(inferred.InputDims(), resolved.InputDims());
    EXPECT_EQ(inferred.FilterDims(), resolved.FilterDims());
    EXPECT_EQ(inferred.OutputDims(), resolved.OutputDims());
  }
  EXPECT_GT(rejected, 4000);
  EXPECT_LT(rejected, 16000);
}

TEST(GeometryInferTest, UnknownLengthsOfValidRequestsAreAccepted) {
  Random random(2);
  for (int i = 0; i < 20000; ++i) {
    const Request request = AnyRequest(&random);
    const Operation operation = kOperations[random.Uniform(0, 2)];
    const ConvTransposeGeometry resolved =
        testing::GeometryOf(operation, request);
    Shapes shapes = testing::ShapesOf(operation, request);
    const int64_t one_in = random.Pick({1, 2, 2, 4, 8});
    for (Dims* dims :
         {&shapes.input, &shapes.filter, &shapes.output, &shapes.bias}) {
      ForgetSome(&random, dims, one_in);
    }
    bool known_output_length = true;
    if (operation == Operation::kConvTranspose && random.OneIn(4)) {
      shapes.output.clear();
      known_output_length = false;
    }
    ConvTransposeGeometry inferred;
    const Status status = InferShapes(operation, shapes,
                                      testing::AttributesOf(operation, request),
                                      known_output_length, &inferred);
    SCOPED_TRACE(testing::Describe(request));
    ASSERT_TRUE(status.ok()) << status.message();
    ExpectAgrees(inferred.InputDims(), resolved.InputDims());
    ExpectAgrees(inferred.FilterDims(), resolved.FilterDims());
    ExpectAgrees(inferred.OutputDims(), resolved.OutputDims());
  }
}

Dims InferredOutput(const Request& request, bool known_output_length = true) {
  ConvTransposeGeometry geometry;
  const Status status =
      InferShapes(Operation::kConvTranspose, request.shapes, request.attributes,
                  known_output_length, &geometry);
  EXPECT_TRUE(status.ok()) << status.message();
  return geometry.OutputDims();
}

TEST(GeometryInferTest, WhatCanBeKnownIsKnown) {
  Request request =
      SimpleRequest({kUnknown, kUnknown, 5, 6}, {3, 3, 4, 6}, {}, 2);
  EXPECT_EQ(InferredOutput(request), (Dims{kUnknown, kUnknown, 11, 4}));
  // The values of output_shape are open, but not how many there are.
  request.shapes.output = Dims(4, kUnknown);
  EXPECT_EQ(InferredOutput(request), (Dims{kUnknown, kUnknown, kUnknown, 4}));
  // Not even that: it may turn out empty, or not.
  request.shapes.output.clear();
  EXPECT_EQ(InferredOutput(request, false),
            (Dims{kUnknown, kUnknown, kUnknown, 4}));
  request.shapes.output = {7, kUnknown, 12, kUnknown};
  EXPECT_EQ(InferredOutput(request), (Dims{7, kUnknown, 12, 4}));
}

TEST(GeometryInferTest, ChannelsFromWhoeverKnowsThem) {
  Request request = SimpleRequest({1, 4, kUnknown}, {1, kUnknown, 6}, {}, 1);
  request.attributes.groups = 2;
  EXPECT_EQ(InferredOutput(request), (Dims{1, 4, kUnknown}));
  request.shapes.has_bias = true;
  request.shapes.bias = {8};
  EXPECT_EQ(InferredOutput(request), (Dims{1, 4, 8}));
  request.shapes.bias = {kUnknown};
  request.shapes.filter = {1, 3, 6};
  EXPECT_EQ(InferredOutput(request), (Dims{1, 4, 6}));
}

TEST(GeometryInferTest, SameNeedsNoFilter) {
  Request request = SimpleRequest({1, 4, 2}, {kUnknown, 3, 2}, {}, 3);
  request.attributes.padding = Padding::kSame;
  EXPECT_EQ(InferredOutput(request), (Dims{1, 12, 3}));
  request.attributes.padding = Padding::kValid;
  EXPECT_EQ(InferredOutput(request), (Dims{1, kUnknown, 3}));
}

TEST(GeometryInferTest, InputGradOfUnknownLengths) {
  Request request =
      SimpleRequest({}, {3, 3, 4, 6}, {kUnknown, kUnknown, 11, 4}, 2);
  ConvTransposeGeometry geometry;
  ASSERT_TRUE(InferShapes(Operation::kInputGrad, request.shapes,
                          request.attributes, true, &geometry)
                  .ok());
  EXPECT_EQ(geometry.InputDims(), (Dims{kUnknown, kUnknown, 5, 6}));
}

TEST(GeometryInferTest, RejectsWhatNoLengthCanMend) {
  const auto message = [](const Request& request) {
    ConvTransposeGeometry geometry;
    return InferShapes(Operation::kConvTranspose, request.shapes,
                       request.attributes, true, &geometry)
        .message();
  };
  EXPECT_EQ(message(SimpleRequest({kUnknown, 4, 2}, {3, 3, 2},
                                  {kUnknown, 20, kUnknown}, 2)),
            "output_shape[1] must be in [9, 10] for input length 4, filter "
            "length 3, stride 2, padding VALID, got 20");
  EXPECT_EQ(message(SimpleRequest({kUnknown, kUnknown, 2}, {3, 3, 4}, {}, 2)),
            "filter[2] (in_channels) must equal input[2] = 2, got 4");
  EXPECT_EQ(message(SimpleRequest({kUnknown, kUnknown, 2}, {3, 3, 2},
                                  {kUnknown, -2, kUnknown}, 2)),
            "output_shape[1] must be >= 0, got -2");
  // A length that is not known is not named.
  Request same =
      SimpleRequest({1, 4, 2}, {kUnknown, 3, 2}, {1, 9, kUnknown}, 2);
  same.attributes.padding = Padding::kSame;
  EXPECT_EQ(message(same),
            "output_shape[1] must be in [7, 8] for input length 4, stride 2, "
            "padding SAME, got 9");
}

}  // namespace
}  // namespace conv_transpose_nd
