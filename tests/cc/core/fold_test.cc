#include "cc/core/fold.h"

#include <gtest/gtest.h>

#include <vector>

#include "cc/core/reference.h"
#include "tests/cc/testing/request.h"

namespace conv_transpose_nd {
namespace {

ConvTransposeGeometry OneAxis(int64_t input, int64_t filter, int64_t stride,
                              int64_t pad_before, int64_t output) {
  ConvTransposeGeometry geometry;
  geometry.rank = 1;
  geometry.batch = 2;
  geometry.in_channels = 3;
  geometry.out_channels = 2;
  geometry.axis[0] = {input, filter, output, stride, 1, pad_before, 0};
  return geometry;
}

TEST(FoldTest, LargestDivisorOfAllFour) {
  EXPECT_EQ(FoldedPositions(OneAxis(5, 4, 4, 0, 20)), 4);
  EXPECT_EQ(FoldedPositions(OneAxis(5, 64, 32, 16, 160)), 16);
  EXPECT_EQ(FoldedPositions(OneAxis(5, 16, 8, 4, 40)), 4);
  EXPECT_EQ(FoldedPositions(OneAxis(5, 4, 2, 1, 10)), 1);
  EXPECT_EQ(FoldedPositions(OneAxis(5, 4, 2, 0, 11)), 1);
  EXPECT_EQ(FoldedPositions(OneAxis(5, 6, 4, 0, 20)), 2);
  EXPECT_EQ(FoldedPositions(OneAxis(5, 3, 3, -3, 15)), 3);
  EXPECT_EQ(FoldedPositions(OneAxis(5, 3, 1, 1, 5)), 1);
}

TEST(FoldTest, OnlyWherePositionsLieLikeChannels) {
  ConvTransposeGeometry geometry = OneAxis(5, 4, 4, 0, 20);
  geometry.axis[0].dilation = 2;
  EXPECT_EQ(FoldedPositions(geometry), 1);
  geometry = OneAxis(5, 4, 4, 0, 20);
  geometry.data_format = DataFormat::kChannelsFirst;
  EXPECT_EQ(FoldedPositions(geometry), 1);
  geometry = OneAxis(5, 4, 4, 0, 20);
  geometry.in_channels = 4;
  geometry.groups = 2;
  EXPECT_EQ(FoldedPositions(geometry), 1);
}

// Of two axes only the innermost one is folded.
std::vector<ConvTransposeGeometry> Geometries() {
  std::vector<ConvTransposeGeometry> all = {
      OneAxis(5, 4, 4, 0, 20),  OneAxis(3, 8, 4, 4, 12),
      OneAxis(5, 12, 6, 3, 30), OneAxis(4, 4, 4, 0, 24),  // output_padding
      OneAxis(4, 2, 4, 2, 16),                            // gaps
      OneAxis(4, 4, 4, -4, 20)};                          // begins later
  ConvTransposeGeometry two = OneAxis(3, 3, 2, 1, 6);
  two.rank = 2;
  two.axis[1] = {4, 8, 16, 4, 1, 2, 2};
  all.push_back(two);
  return all;
}

std::vector<double> Numbers(int64_t count, testing::Random* random) {
  std::vector<double> numbers(count);
  for (double& number : numbers) number = random->Uniform(-8, 8);
  return numbers;
}

TEST(FoldTest, TheSameOperationOnTheSameMemory) {
  testing::Random random(1);
  for (const ConvTransposeGeometry& geometry : Geometries()) {
    const int64_t positions = FoldedPositions(geometry);
    ASSERT_GT(positions, 1);
    const ConvTransposeGeometry folded = Fold(geometry, positions);
    ASSERT_EQ(NumElements(folded.OutputDims()),
              NumElements(geometry.OutputDims()));
    ASSERT_EQ(NumElements(folded.FilterDims()),
              NumElements(geometry.FilterDims()));
    const auto input = Numbers(NumElements(geometry.InputDims()), &random);
    const auto filter = Numbers(NumElements(geometry.FilterDims()), &random);
    const auto grad = Numbers(NumElements(geometry.OutputDims()), &random);
    const auto bias = Numbers(geometry.out_channels, &random);
    std::vector<double> repeated;
    for (int64_t n = 0; n < positions; ++n) {
      repeated.insert(repeated.end(), bias.begin(), bias.end());
    }
    std::vector<double> result(grad.size()), again(grad.size());
    reference::ConvTranspose(geometry, input.data(), filter.data(), bias.data(),
                             result.data());
    reference::ConvTranspose(folded, input.data(), filter.data(),
                             repeated.data(), again.data());
    EXPECT_EQ(result, again);
    result.resize(input.size());
    again.resize(input.size());
    reference::InputGrad(geometry, grad.data(), filter.data(), result.data());
    reference::InputGrad(folded, grad.data(), filter.data(), again.data());
    EXPECT_EQ(result, again);
    result.resize(filter.size());
    again.resize(filter.size());
    reference::FilterGrad(geometry, input.data(), grad.data(), result.data());
    reference::FilterGrad(folded, input.data(), grad.data(), again.data());
    EXPECT_EQ(result, again);
  }
}

}  // namespace
}  // namespace conv_transpose_nd
