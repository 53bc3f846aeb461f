// What only the gradients have: sums over long axes, taps and strides that
// leave gaps, results that nothing contributes to.
#include <gtest/gtest.h>

#include "tests/cc/testing/request.h"
#include "tests/cc/testing/run.h"

namespace conv_transpose_nd {
namespace {

using testing::kFloatingDTypes;
using testing::Random;
using testing::Request;
using testing::SimpleRequest;

void CheckGradients(const Request& request, uint64_t seed = 1) {
  Random random(seed);
  SCOPED_TRACE(testing::Describe(request));
  for (DType dtype : kFloatingDTypes) {
    for (Operation operation :
         {Operation::kInputGrad, Operation::kFilterGrad}) {
      const ConvTransposeGeometry geometry =
          testing::GeometryOf(operation, request);
      testing::CheckOperation(operation, dtype, geometry,
                              testing::RandomValues(&random, dtype, geometry));
    }
  }
}

// Sums of the filter gradient over many positions, which the plan splits.
TEST(GradientsTest, ManyPositions) {
  CheckGradients(SimpleRequest({1, 9000, 1}, {1, 1, 1}, {1, 9000, 1}, 1));
  CheckGradients(
      SimpleRequest({3, 40, 60, 2}, {2, 1, 3, 2}, {3, 41, 60, 3}, 1));
}

// One value at a time, so that each tile of the filter gradient is not full.
TEST(GradientsTest, FilterTilesThatAreNotFull) {
  for (int64_t out : {1, 5, 6, 7, 8, 9, 13, 47, 48, 49, 65}) {
    for (int64_t in : {1, 4, 5, 17, 33, 65}) {
      CheckGradients(SimpleRequest({1, 7, in}, {2, out, in}, {1, 8, out}, 1),
                     1 + in);
    }
  }
}

// stride > filter: most of output_grad is not read.
TEST(GradientsTest, GapsOfTheStride) {
  Request request =
      SimpleRequest({2, 6, 5, 3}, {2, 1, 4, 3}, {2, 28, 24, 4}, 5);
  request.shapes.output = {2, 31, 25, 4};
  CheckGradients(request);
}

// Taps that land nowhere have a zero gradient.
TEST(GradientsTest, TapsThatNeverLand) {
  Request request = SimpleRequest({1, 2, 3}, {9, 4, 3}, {1, 2, 4}, 1);
  request.attributes.padding = Padding::kSame;
  CheckGradients(request);
  request.attributes.dilations = {1, 5, 1};
  CheckGradients(request);
}

// One out_channel: the rows of a register tile are as many taps that lie apart,
// in every number of tiles and positions.
TEST(GradientsTest, TapsThatLieApart) {
  for (int64_t taps : {5, 9, 13, 25}) {
    for (int64_t length : {3, 8, 9, 12, 13}) {
      Request request = SimpleRequest({2, length, 17}, {taps, 1, 17}, {}, 8);
      request.attributes.dilations = {1, 4, 1};
      request.shapes.output = {2, 8 * (length - 1) + 4 * (taps - 1) + 5, 1};
      CheckGradients(request, taps);
    }
  }
}

TEST(GradientsTest, GroupsAndChannelsFirst) {
  Request request = SimpleRequest({2, 12, 5, 6}, {3, 2, 3, 12}, {}, 1);
  request.attributes.groups = 4;
  request.attributes.data_format = DataFormat::kChannelsFirst;
  request.attributes.strides = {1, 1, 2, 3};
  request.attributes.dilations = {1, 1, 2, 1};
  request.shapes.output = {2, 12, 13, 17};
  CheckGradients(request);
  request.attributes.data_format = DataFormat::kChannelsLast;
  request.attributes.strides = {1, 2, 3, 1};
  request.attributes.dilations = {1, 2, 1, 1};
  request.shapes.input = {2, 5, 6, 12};
  request.shapes.output = {2, 13, 17, 12};
  CheckGradients(request);
}

// Channels first, over one position: channels are adjacent there, too, and the
// taps beside each other are not.
TEST(GradientsTest, ChannelsFirstOfOnePosition) {
  Request request = SimpleRequest({2, 8, 1}, {2, 3, 8}, {2, 3, 1}, 1);
  request.attributes.data_format = DataFormat::kChannelsFirst;
  request.attributes.strides = {1, 1, 3};
  for (Padding padding : {Padding::kSame, Padding::kSameLower}) {
    request.attributes.padding = padding;
    CheckGradients(request);
  }
  request.shapes.filter = {4, 3, 8};
  request.attributes.strides = {1, 1, 1};
  CheckGradients(request);
}

TEST(GradientsTest, NothingContributes) {
  Request no_batch = SimpleRequest({0, 4, 3}, {3, 2, 3}, {0, 4, 2}, 1);
  no_batch.attributes.padding = Padding::kSame;
  CheckGradients(no_batch);
  Request no_output = SimpleRequest({2, 4, 3}, {3, 0, 3}, {2, 4, 0}, 1);
  no_output.attributes.padding = Padding::kSame;
  CheckGradients(no_output);
}

// Copies of the lines that the taps of an input gradient read: short lines and
// long ones, strides longer and shorter than the filter, positions so far apart
// that each is copied by itself.
TEST(GradientsTest, CopiesOfLines) {
  struct Line {
    int64_t length, filter, out, stride, dilation;
  };
  for (const Line& line :
       {Line{1, 5, 3, 1, 1}, Line{4, 4, 3, 2, 1}, Line{14, 5, 1, 2, 1},
        Line{33, 3, 2, 5, 1}, Line{210, 9, 1, 3, 1}, Line{13, 3, 5, 2, 4},
        Line{7, 2, 150, 2, 1}}) {
    Request request = SimpleRequest({3, 3, line.length, 35},
                                    {3, line.filter, line.out, 35}, {}, 1);
    request.attributes.padding = Padding::kSame;
    request.attributes.strides = {1, 1, line.stride, 1};
    request.attributes.dilations = {1, 1, line.dilation, 1};
    request.shapes.output = {3, 3, line.length * line.stride, line.out};
    CheckGradients(request, line.length);
  }
}

// Depthwise: one channel per group on both sides.
TEST(GradientsTest, Depthwise) {
  Request request = SimpleRequest({2, 5, 6, 33}, {4, 4, 1, 33}, {}, 2);
  request.attributes.groups = 33;
  request.attributes.padding = Padding::kSame;
  request.shapes.output = {2, 10, 12, 33};
  CheckGradients(request);
}

}  // namespace
}  // namespace conv_transpose_nd
