// The oracle is small enough to be checked by hand, and by the identities that
// define the two gradients.
#include "cc/core/reference.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "tests/cc/testing/request.h"

namespace conv_transpose_nd {
namespace {

using testing::GeometryOf;
using testing::Random;
using testing::Request;
using testing::SimpleRequest;

template <typename T>
using Vector = std::vector<T>;

template <typename T>
Vector<T> Forward(const Request& request, const Vector<T>& input,
                  const Vector<T>& filter, const Vector<T>& bias = {}) {
  const ConvTransposeGeometry geometry =
      GeometryOf(Operation::kConvTranspose, request);
  Vector<T> output(NumElements(geometry.OutputDims()));
  reference::ConvTranspose(geometry, input.data(), filter.data(),
                           bias.empty() ? nullptr : bias.data(), output.data());
  return output;
}

// Two inputs, three taps, stride 2: they meet in output 2.
TEST(ReferenceTest, OneAxisByHand) {
  const Request request = SimpleRequest({1, 2, 1}, {3, 1, 1}, {1, 5, 1}, 2);
  EXPECT_EQ(Forward<float>(request, {10, 20}, {1, 2, 3}),
            (Vector<float>{10, 20, 50, 40, 60}));
  Request cropped = request;
  cropped.attributes.padding = Padding::kExplicit;
  cropped.attributes.explicit_paddings = {0, 0, 1, 0, 0, 0};
  cropped.shapes.output = {1, 5, 1};  // one beyond the last product
  EXPECT_EQ(Forward<float>(cropped, {10, 20}, {1, 2, 3}),
            (Vector<float>{20, 50, 40, 60, 0}));
}

TEST(ReferenceTest, DilationByHand) {
  Request request = SimpleRequest({1, 2, 1}, {2, 1, 1}, {1, 5, 1}, 1);
  request.attributes.dilations = {1, 3, 1};
  EXPECT_EQ(Forward<float>(request, {1, 10}, {1, 2}),
            (Vector<float>{1, 10, 0, 2, 20}));
}

TEST(ReferenceTest, ChannelsAndGroupsByHand) {
  Request request = SimpleRequest({1, 1, 2}, {1, 2, 2}, {1, 1, 2}, 1);
  EXPECT_EQ(Forward<float>(request, {1, 10}, {1, 2, 3, 4}),
            (Vector<float>{21, 43}));
  request.attributes.groups = 2;
  request.shapes.filter = {1, 1, 2};
  EXPECT_EQ(Forward<float>(request, {1, 10}, {3, 5}), (Vector<float>{3, 50}));
  request.shapes.output = {1, 1, 4};
  request.shapes.filter = {1, 2, 2};
  EXPECT_EQ(Forward<float>(request, {1, 10}, {1, 2, 3, 4}),
            (Vector<float>{1, 3, 20, 40}));
}

TEST(ReferenceTest, BiasActivationAndFormats) {
  Request request = SimpleRequest({1, 2, 1}, {1, 2, 1}, {1, 2, 2}, 1);
  request.shapes.has_bias = true;
  request.shapes.bias = {2};
  EXPECT_EQ(Forward<float>(request, {1, 2}, {1, -1}, {10, 0.5f}),
            (Vector<float>{11, -0.5f, 12, -1.5f}));
  request.attributes.activation = Activation::kRelu;
  EXPECT_EQ(Forward<float>(request, {1, 2}, {1, -1}, {10, 0.5f}),
            (Vector<float>{11, 0, 12, 0}));
  request.attributes.data_format = DataFormat::kChannelsFirst;
  request.shapes.input = {1, 1, 2};
  request.shapes.output = {1, 2, 2};
  EXPECT_EQ(Forward<float>(request, {1, 2}, {1, -1}, {10, 0.5f}),
            (Vector<float>{11, 12, 0, 0}));
}

TEST(ReferenceTest, IntegersWrap) {
  const Request request = SimpleRequest({1, 1, 2}, {1, 1, 2}, {1, 1, 1}, 1);
  EXPECT_EQ(Forward<int32_t>(request, {1 << 30, 1 << 30}, {2, 2}),
            (Vector<int32_t>{0}));
  EXPECT_EQ(Forward<int32_t>(request, {1 << 30, 1 << 29}, {2, 1}),
            (Vector<int32_t>{std::numeric_limits<int32_t>::min() + (1 << 29)}));
}

TEST(ReferenceTest, HalfRoundsOnce) {
  const Request request = SimpleRequest({1, 1, 3}, {1, 1, 3}, {1, 1, 1}, 1);
  // 2048 + 1 + 1: each step in half would stay at 2048.
  const Half one = ToHalf(1), large = ToHalf(2048);
  EXPECT_EQ(Forward<Half>(request, {large, one, one}, {one, one, one})[0].bits,
            ToHalf(2050).bits);
}

TEST(ReferenceTest, EmptySums) {
  Request request = SimpleRequest({1, 2, 0}, {1, 2, 0}, {1, 2, 2}, 1);
  request.shapes.has_bias = true;
  request.shapes.bias = {2};
  EXPECT_EQ(Forward<float>(request, {}, {}, {3, 4}),
            (Vector<float>{3, 4, 3, 4}));
}

Vector<double> Draw(Random* random, int64_t elements) {
  Vector<double> values(elements);
  for (double& value : values) value = random->Real();
  return values;
}

double Dot(const Vector<double>& a, const Vector<double>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

// <T(x, w), dy> = <x, C(dy, w)> = <w, W(x, dy)>.
TEST(ReferenceTest, GradientsAreAdjoint) {
  Random random(3);
  for (int i = 0; i < 300; ++i) {
    const Request request = testing::RandomRequest(
        &random, static_cast<int>(random.Uniform(1, kMaxRank)), 20000);
    SCOPED_TRACE(testing::Describe(request));
    const ConvTransposeGeometry geometry =
        GeometryOf(Operation::kConvTranspose, request);
    const auto x = Draw(&random, NumElements(geometry.InputDims()));
    const auto w = Draw(&random, NumElements(geometry.FilterDims()));
    const auto dy = Draw(&random, NumElements(geometry.OutputDims()));
    Vector<double> y(dy.size()), dx(x.size()), dw(w.size());
    reference::ConvTranspose<double>(geometry, x.data(), w.data(), nullptr,
                                     y.data());
    reference::InputGrad(GeometryOf(Operation::kInputGrad, request), dy.data(),
                         w.data(), dx.data());
    reference::FilterGrad(GeometryOf(Operation::kFilterGrad, request), x.data(),
                          dy.data(), dw.data());
    const double scale = 1e-10 * (1 + std::sqrt(Dot(y, y) * Dot(dy, dy)));
    ASSERT_NEAR(Dot(y, dy), Dot(x, dx), scale);
    ASSERT_NEAR(Dot(y, dy), Dot(w, dw), scale);
  }
}

}  // namespace
}  // namespace conv_transpose_nd
