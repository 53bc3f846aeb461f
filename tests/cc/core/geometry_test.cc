#include "cc/core/geometry.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <vector>

#include "tests/cc/testing/request.h"

namespace conv_transpose_nd {
namespace {

using testing::ConvolutionLength;
using testing::kOperations;
using testing::kPaddings;
using testing::OutputLengths;
using testing::Request;

// A 1-D request with one channel on each side.
Request AxisRequest(Padding padding, const AxisGeometry& axis) {
  Request request =
      testing::SimpleRequest({1, axis.input, 1}, {axis.filter, 1, 1},
                             {1, axis.output, 1}, axis.stride);
  request.attributes.dilations = {1, axis.dilation, 1};
  request.attributes.padding = padding;
  if (padding == Padding::kExplicit) {
    request.attributes.explicit_paddings = {
        0, 0, axis.pad_before, axis.pad_after, 0, 0};
  }
  return request;
}

Status Resolve(Operation operation, const Request& request,
               ConvTransposeGeometry* geometry) {
  return ResolveGeometry(operation, testing::ShapesOf(operation, request),
                         testing::AttributesOf(operation, request), geometry);
}

void ForEachAxis(int64_t length, Padding padding,
                 const std::function<void(const AxisGeometry&)>& visit) {
  const int64_t pads = padding == Padding::kExplicit ? 3 : 0;
  AxisGeometry axis;
  for (axis.input = 0; axis.input <= length; ++axis.input)
    for (axis.filter = 0; axis.filter <= length; ++axis.filter)
      for (axis.stride = 1; axis.stride <= length; ++axis.stride)
        for (axis.dilation = 1; axis.dilation <= 3; ++axis.dilation)
          for (axis.pad_before = 0; axis.pad_before <= pads; ++axis.pad_before)
            for (axis.pad_after = 0; axis.pad_after <= pads; ++axis.pad_after)
              visit(axis);
}

// Accepted output lengths are exactly those that a convolution maps back to the
// input length, for the op and for its filter gradient.
TEST(GeometryTest, AcceptedOutputLengths) {
  for (Padding padding : kPaddings) {
    ForEachAxis(4, padding, [&](AxisGeometry axis) {
      const int64_t n = axis.input;
      const std::vector<int64_t> valid = OutputLengths(padding, axis);
      for (axis.output = 0; axis.output <= 30; ++axis.output) {
        const bool expected =
            std::find(valid.begin(), valid.end(), axis.output) != valid.end();
        const Request request = AxisRequest(padding, axis);
        SCOPED_TRACE(testing::Describe(request));
        ConvTransposeGeometry geometry;
        for (Operation operation :
             {Operation::kConvTranspose, Operation::kFilterGrad}) {
          ASSERT_EQ(Resolve(operation, request, &geometry).ok(), expected);
          if (!expected) continue;
          EXPECT_EQ(geometry.axis[0].input, n);
          EXPECT_EQ(geometry.axis[0].output, axis.output);
        }
      }
    });
  }
}

// Every output length has an input gradient; its length is the convolution's.
TEST(GeometryTest, InputGradLength) {
  for (Padding padding : kPaddings) {
    ForEachAxis(4, padding, [&](AxisGeometry axis) {
      if (axis.input > 0) return;  // not an argument of this operation
      for (axis.output = 0; axis.output <= 20; ++axis.output) {
        const Request request = AxisRequest(padding, axis);
        SCOPED_TRACE(testing::Describe(request));
        ConvTransposeGeometry geometry;
        const Status status =
            Resolve(Operation::kInputGrad, request, &geometry);
        ASSERT_TRUE(status.ok()) << status.message();
        EXPECT_EQ(geometry.axis[0].input,
                  ConvolutionLength(padding, axis, axis.output));
      }
    });
  }
}

// Pads of GetWindowedOutputSizeVerbose: total = max((n - 1) s + k_d - o, 0),
// SAME puts the odd one after, SAME_LOWER before; explicit ones are kept.
TEST(GeometryTest, Pads) {
  for (Padding padding : kPaddings) {
    ForEachAxis(4, padding, [&](AxisGeometry axis) {
      const bool lower = padding == Padding::kSameLower;
      for (int64_t output : OutputLengths(padding, axis)) {
        if (axis.input == 0 || axis.filter == 0) continue;
        axis.output = output;
        const ConvTransposeGeometry geometry = testing::GeometryOf(
            Operation::kConvTranspose, AxisRequest(padding, axis));
        const int64_t span = (axis.filter - 1) * axis.dilation + 1;
        const int64_t total = std::max<int64_t>(
            (axis.input - 1) * axis.stride + span - output, 0);
        int64_t before = axis.pad_before, after = axis.pad_after;
        if (padding == Padding::kSame || lower) {
          before = (total + (lower ? 1 : 0)) / 2;
          after = total - before;
        }
        ASSERT_EQ(geometry.axis[0].pad_before, before);
        ASSERT_EQ(geometry.axis[0].pad_after, after);
      }
    });
  }
}

// The inferred output length, or -1 where there is none.
int64_t Inferred(Padding padding, const AxisGeometry& axis,
                 const Dims& output_padding) {
  Request request = AxisRequest(padding, axis);
  request.shapes.output.clear();
  request.attributes.output_padding = output_padding;
  ConvTransposeGeometry geometry;
  const Status status = Resolve(Operation::kConvTranspose, request, &geometry);
  return status.ok() ? geometry.axis[0].output : -1;
}

// SAME n s, or (n-1) s + k_d - 2 (k_d // 2) + output_padding where that is
// given; else (n-1) s + k_d - pads + output_padding. A length that is not
// accepted is not inferred either.
TEST(GeometryTest, InferredOutputLength) {
  for (Padding padding : kPaddings) {
    const bool same =
        padding == Padding::kSame || padding == Padding::kSameLower;
    ForEachAxis(4, padding, [&](const AxisGeometry& axis) {
      if (axis.input == 0 || axis.filter == 0) return;
      SCOPED_TRACE(testing::Describe(AxisRequest(padding, axis)));
      const std::vector<int64_t> valid = OutputLengths(padding, axis);
      const int64_t span = (axis.filter - 1) * axis.dilation + 1;
      const int64_t covered = (axis.input - 1) * axis.stride + span;
      const int64_t pads =
          same ? 2 * (span / 2) : axis.pad_before + axis.pad_after;
      for (int64_t extra = -1; extra < axis.stride; ++extra) {
        const bool given = extra >= 0;
        const int64_t length =
            same && !given ? axis.input * axis.stride
                           : covered - pads + std::max<int64_t>(extra, 0);
        const bool accepted =
            std::find(valid.begin(), valid.end(), length) != valid.end();
        ASSERT_EQ(Inferred(padding, axis, given ? Dims{extra} : Dims{}),
                  accepted ? length : -1)
            << "output_padding " << extra;
      }
    });
  }
}

TEST(GeometryTest, InferredEmptyOutput) {
  AxisGeometry axis;
  axis.filter = 3;
  axis.stride = 2;
  EXPECT_EQ(Inferred(Padding::kSame, axis, {}), 0);
  EXPECT_EQ(Inferred(Padding::kSameLower, axis, {}), 0);
  EXPECT_EQ(Inferred(Padding::kSame, axis, {1}), 0);
  // (n-1) s + k_d = 1: a convolution of length 3 maps it to 0, as it does 2.
  EXPECT_EQ(Inferred(Padding::kValid, axis, {}), 1);
  EXPECT_EQ(Inferred(Padding::kValid, axis, {1}), 2);
  axis.stride = 5;
  EXPECT_EQ(Inferred(Padding::kValid, axis, {}), 0);
}

TEST(GeometryTest, BothFormatsAndAllRanks) {
  for (int rank = 1; rank <= kMaxRank; ++rank) {
    for (DataFormat format :
         {DataFormat::kChannelsLast, DataFormat::kChannelsFirst}) {
      Dims input{2}, output{2}, filter, strides{1};
      for (int a = 0; a < rank; ++a) {
        input.push_back(3 + a);
        output.push_back((3 + a) * (a + 1));
        filter.push_back(2);
        strides.push_back(a + 1);
      }
      for (Dims* dims : {&input, &output}) dims->push_back(6);
      filter.insert(filter.end(), {2, 6});
      strides.push_back(1);
      Request request;
      request.shapes = {testing::Ordered(format, input),
                        filter,
                        testing::Ordered(format, output),
                        false,
                        {}};
      request.attributes.strides = testing::Ordered(format, strides);
      request.attributes.padding = Padding::kSame;
      request.attributes.data_format = format;
      request.attributes.groups = 3;
      for (Operation operation : kOperations) {
        const ConvTransposeGeometry geometry =
            testing::GeometryOf(operation, request);
        EXPECT_EQ(geometry.rank, rank);
        EXPECT_EQ(geometry.InputDims(), request.shapes.input);
        EXPECT_EQ(geometry.FilterDims(), request.shapes.filter);
        EXPECT_EQ(geometry.OutputDims(), request.shapes.output);
        EXPECT_EQ(geometry.group_out_channels(), 2);
        EXPECT_EQ(geometry.axis[rank - 1].stride, rank);
      }
    }
  }
}

TEST(GeometryTest, ElementStrides) {
  Request request =
      testing::SimpleRequest({2, 3, 4, 5}, {1, 1, 7, 5}, {2, 3, 4, 7}, 1);
  ElementStrides strides =
      OutputStrides(testing::GeometryOf(Operation::kConvTranspose, request));
  EXPECT_EQ(strides.channel, 1);
  EXPECT_EQ(strides.axis[1], 7);
  EXPECT_EQ(strides.axis[0], 28);
  EXPECT_EQ(strides.batch, 84);
  request.attributes.data_format = DataFormat::kChannelsFirst;
  request.shapes.input = {2, 5, 3, 4};
  request.shapes.output = {2, 7, 3, 4};
  strides =
      InputStrides(testing::GeometryOf(Operation::kConvTranspose, request));
  EXPECT_EQ(strides.axis[1], 1);
  EXPECT_EQ(strides.axis[0], 4);
  EXPECT_EQ(strides.channel, 12);
  EXPECT_EQ(strides.batch, 60);
}

TEST(GeometryTest, NumElements) {
  EXPECT_EQ(NumElements({}), 1);
  EXPECT_EQ(NumElements({2, 3, 4}), 24);
  const int64_t large = int64_t{1} << 62;
  EXPECT_EQ(NumElements({large, large, 0}), 0);
  EXPECT_EQ(NumElements({0, large, large}), 0);
  EXPECT_EQ(NumElements({large, large}), -1);
  EXPECT_EQ(NumElements({large}), -1);
  EXPECT_EQ(NumElements({kMaxElements}), kMaxElements);
  EXPECT_EQ(NumElements({kMaxElements / 2, 3}), -1);
  EXPECT_EQ(NumElements({INT64_MAX, INT64_MAX, INT64_MAX}), -1);
}

}  // namespace
}  // namespace conv_transpose_nd
