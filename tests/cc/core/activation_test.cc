#include "cc/core/activation.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>

namespace conv_transpose_nd {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

struct Named {
  const char* name;
  Activation activation;
  double at_minus_2, at_half, at_7;
};
// Values of tf.nn's functions of the same names.
constexpr Named kActivations[] = {
    {"none", Activation::kNone, -2, 0.5, 7},
    {"relu", Activation::kRelu, 0, 0.5, 7},
    {"relu6", Activation::kRelu6, 0, 0.5, 6},
    {"leaky_relu", Activation::kLeakyRelu, -0.4, 0.5, 7},
    {"elu", Activation::kElu, -0.8646647167633873, 0.5, 7},
    {"gelu", Activation::kGelu, -0.04550026389635842, 0.3457312306370065,
     6.999999999991041},
    {"gelu_tanh", Activation::kGeluTanh, -0.04540230591222494,
     0.34571400982514394, 6.9999999999999996},
    {"sigmoid", Activation::kSigmoid, 0.11920292202211755, 0.6224593312018546,
     0.9990889488055994},
    {"tanh", Activation::kTanh, -0.9640275800758169, 0.46211715726000973,
     0.9999983369439447},
    {"silu", Activation::kSilu, -0.2384058440442351, 0.3112296656009273,
     6.993622641639196},
};

TEST(ActivationTest, NamesAndValues) {
  for (const Named& expected : kActivations) {
    SCOPED_TRACE(expected.name);
    Activation parsed;
    ASSERT_TRUE(ParseActivation(expected.name, &parsed));
    EXPECT_EQ(parsed, expected.activation);
    EXPECT_NEAR(Activate(parsed, -2.0), expected.at_minus_2, 1e-15);
    EXPECT_NEAR(Activate(parsed, 0.5), expected.at_half, 1e-15);
    EXPECT_NEAR(Activate(parsed, 7.0), expected.at_7, 1e-12);
    EXPECT_NEAR(Activate(parsed, -2.0f), expected.at_minus_2, 3e-7);
  }
  Activation parsed;
  EXPECT_FALSE(ParseActivation("", &parsed));
  EXPECT_FALSE(ParseActivation("RELU", &parsed));
  EXPECT_FALSE(ParseActivation("softplus", &parsed));
}

TEST(ActivationTest, NanFlowsThroughAll) {
  for (const Named& each : kActivations) {
    EXPECT_TRUE(std::isnan(Activate(each.activation, kNan))) << each.name;
    EXPECT_TRUE(std::isnan(Activate(each.activation, static_cast<float>(kNan))))
        << each.name;
  }
}

TEST(ActivationTest, Limits) {
  EXPECT_EQ(Activate(Activation::kRelu6, kInfinity), 6);
  EXPECT_EQ(Activate(Activation::kRelu, -kInfinity), 0);
  EXPECT_EQ(Activate(Activation::kElu, -kInfinity), -1);
  EXPECT_EQ(Activate(Activation::kSigmoid, -kInfinity), 0);
  EXPECT_EQ(Activate(Activation::kSigmoid, kInfinity), 1);
  EXPECT_EQ(Activate(Activation::kTanh, -kInfinity), -1);
  EXPECT_EQ(Activate(Activation::kGelu, kInfinity), kInfinity);
}

TEST(ActivationTest, Integers) {
  EXPECT_EQ(Activate<int32_t>(Activation::kNone, -3), -3);
  EXPECT_EQ(Activate<int32_t>(Activation::kRelu, -3), 0);
  EXPECT_EQ(Activate<int32_t>(Activation::kRelu, 3), 3);
  EXPECT_EQ(Activate<int32_t>(Activation::kRelu6, 9), 6);
}

}  // namespace
}  // namespace conv_transpose_nd
