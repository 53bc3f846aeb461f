#include "tests/cc/testing/expected.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "cc/core/reference.h"
#include "tests/cc/testing/winograd_error.h"

namespace conv_transpose_nd {
namespace testing {
namespace {

// Spacing of the numbers at 1, and half the spacing below the smallest normal
// number, of what is stored.
struct Precision {
  double epsilon;
  double tiny;
};
Precision StoredPrecision(DType dtype) {
  switch (dtype) {
    case DType::kHalf:
      return {0x1p-10, 0x1p-25};
    case DType::kBFloat16:
      return {0x1p-7, 0x1p-134};
    case DType::kDouble:
      return {0x1p-52, 0};
    default:
      return {0x1p-23, 0x1p-150};
  }
}

double AccumulatorEpsilon(DType dtype) {
  return dtype == DType::kDouble ? 0x1p-52 : 0x1p-23;
}

// Half the spacing of the accumulator's numbers below its smallest normal one,
// or the spacing where half of it is no double.
double AccumulatorTiny(DType dtype) {
  return dtype == DType::kDouble ? 0x1p-1074 : 0x1p-150;
}

constexpr double kSmallestNormal = 0x1p-126;  // of float32 and bfloat16
constexpr double kMostSlope = 1.13;           // of any activation: gelu's

// Products that an element of the result sums, at most.
double Terms(Operation operation, const ConvTransposeGeometry& geometry) {
  const double filter = static_cast<double>(NumElements(geometry.FilterDims()));
  switch (operation) {
    case Operation::kInputGrad:
      return filter / geometry.in_channels;
    case Operation::kFilterGrad:
      return static_cast<double>(NumElements(geometry.InputDims())) /
             geometry.in_channels;
    default:
      return filter / (geometry.out_channels / geometry.groups) /
             geometry.groups;
  }
}

double Largest(const std::vector<double>& values) {
  double largest = 0;
  for (double value : values) {
    if (std::isfinite(value)) largest = std::max(largest, std::abs(value));
  }
  return largest;
}

template <typename T>
std::vector<T> Cast(const std::vector<double>& values) {
  return std::vector<T>(values.begin(), values.end());
}

template <typename T>
std::vector<double> Reference(Operation operation,
                              const ConvTransposeGeometry& geometry,
                              const Values& values) {
  const std::vector<T> input = Cast<T>(values.input);
  const std::vector<T> filter = Cast<T>(values.filter);
  const std::vector<T> output_grad = Cast<T>(values.output_grad);
  const std::vector<T> bias = Cast<T>(values.bias);
  std::vector<T> result(ResultElements(operation, geometry));
  switch (operation) {
    case Operation::kInputGrad:
      reference::InputGrad(geometry, output_grad.data(), filter.data(),
                           result.data());
      break;
    case Operation::kFilterGrad:
      reference::FilterGrad(geometry, input.data(), output_grad.data(),
                            result.data());
      break;
    default:
      reference::ConvTranspose(geometry, input.data(), filter.data(),
                               bias.empty() ? nullptr : bias.data(),
                               result.data());
  }
  return std::vector<double>(result.begin(), result.end());
}

std::vector<double> RandomTensor(Random* random, DType dtype,
                                 int64_t elements) {
  Tensor tensor(dtype, elements);
  for (int64_t i = 0; i < elements; ++i) {
    tensor.Set(i, dtype == DType::kInt32
                      ? static_cast<double>(static_cast<int32_t>(
                            static_cast<uint32_t>(random->Bits())))
                      : random->Real());
  }
  return tensor.Values();
}

std::vector<double> Absolute(std::vector<double> values) {
  for (double& value : values) value = std::abs(value);
  return values;
}

// The absolute values below the smallest normal number; zero for all others.
std::vector<double> Subnormal(const std::vector<double>& values) {
  std::vector<double> small = Absolute(values);
  for (double& value : small) {
    if (!(value < kSmallestNormal)) value = 0;
  }
  return small;
}

bool FlushesToZero(const Plan& plan) {
  return plan.channel_lanes.pairs || plan.positions.pairs;
}

void AddFlushed(const Plan& plan, const Values& values,
                std::vector<double>* tolerance) {
  const Values absolute{Absolute(values.input), Absolute(values.filter),
                        Absolute(values.output_grad),
                        std::vector<double>(values.bias.size(), 0.0)};
  // One operand, and the other: all but one of three are input or output_grad.
  const bool filter_grad = plan.operation == Operation::kFilterGrad;
  Values one = absolute, other = absolute;
  if (filter_grad) {
    one.output_grad = Subnormal(values.output_grad);
  } else {
    one.filter = Subnormal(values.filter);
    other.output_grad = Subnormal(values.output_grad);
  }
  other.input = Subnormal(values.input);
  ConvTransposeGeometry linear = plan.call;
  linear.activation = Activation::kNone;
  const auto sum_of = [&](const Values& operands) {
    return Reference<double>(plan.operation, linear, operands);
  };
  const std::vector<double> first = sum_of(one), second = sum_of(other);
  const double sums = Terms(plan.operation, plan.call) + 2;
  for (size_t i = 0; i < tolerance->size(); ++i) {
    const double more =
        kMostSlope * (first[i] + second[i] + sums * kSmallestNormal);
    // Not a number beside an infinity, which the tolerance is then, too.
    if (!std::isnan(more)) (*tolerance)[i] += more;
  }
}

}  // namespace

const char* DTypeName(DType dtype) {
  static constexpr const char* kNames[] = {"half", "bfloat16", "float",
                                           "double", "int32"};
  return kNames[static_cast<int>(dtype)];
}

Values RandomValues(Random* random, DType dtype,
                    const ConvTransposeGeometry& geometry) {
  Values values;
  values.input = RandomTensor(random, dtype, NumElements(geometry.InputDims()));
  values.filter =
      RandomTensor(random, dtype, NumElements(geometry.FilterDims()));
  values.output_grad =
      RandomTensor(random, dtype, NumElements(geometry.OutputDims()));
  if (geometry.has_bias) {
    values.bias = RandomTensor(random, dtype, geometry.out_channels);
  }
  return values;
}

std::vector<double> Expected(Operation operation, DType dtype,
                             const ConvTransposeGeometry& geometry,
                             const Values& values) {
  return dtype == DType::kInt32
             ? Reference<int32_t>(operation, geometry, values)
             : Reference<double>(operation, geometry, values);
}

std::vector<double> Tolerance(Operation operation, DType dtype,
                              const ConvTransposeGeometry& geometry,
                              const Values& values,
                              const std::vector<double>& expected) {
  if (dtype == DType::kInt32) {
    return std::vector<double>(ResultElements(operation, geometry), 0.0);
  }
  const Values absolute{Absolute(values.input), Absolute(values.filter),
                        Absolute(values.output_grad), Absolute(values.bias)};
  ConvTransposeGeometry linear = geometry;
  linear.activation = Activation::kNone;
  std::vector<double> tolerance =
      Reference<double>(operation, linear, absolute);
  const double epsilon = AccumulatorEpsilon(dtype);
  const double activation = geometry.activation > Activation::kRelu6 ? 4 : 0;
  const double tiny = Terms(operation, geometry) * AccumulatorTiny(dtype);
  for (size_t i = 0; i < expected.size(); ++i) {
    tolerance[i] =
        epsilon * (8 * tolerance[i] + activation * std::abs(expected[i])) +
        tiny;
  }
  return tolerance;
}

std::vector<double> Tolerance(const Plan& plan, const Values& values,
                              const std::vector<double>& expected) {
  std::vector<double> tolerance =
      Tolerance(plan.operation, plan.dtype, plan.call, values, expected);
  if (FlushesToZero(plan)) AddFlushed(plan, values, &tolerance);
  if (plan.family != KernelFamily::kWinograd) return tolerance;
  const WinogradError error = ErrorOf(plan);
  const bool filter_grad = plan.operation == Operation::kFilterGrad;
  const bool input_grad = plan.operation == Operation::kInputGrad;
  const double source = Largest(input_grad ? values.output_grad : values.input);
  const double product =
      source * Largest(filter_grad ? values.output_grad : values.filter);
  // A halved weight below the smallest normal number is off by the spacing
  // there, whatever it is multiplied by.
  const double tiny =
      AccumulatorTiny(plan.dtype) * (filter_grad ? 1.0 : std::max(1.0, source));
  const double terms =
      error.classes * static_cast<double>(filter_grad ? plan.winograd.max_tiles
                                                      : plan.gather.depth);
  const double more =
      terms * error.growth *
      ((8 + 0.5 * error.roundings) * AccumulatorEpsilon(plan.dtype) * product +
       tiny);
  for (double& bound : tolerance) bound += more;
  return tolerance;
}

void ExpectClose(const Tensor& got, const std::vector<double>& expected,
                 const std::vector<double>& tolerance) {
  ASSERT_EQ(got.elements(), static_cast<int64_t>(expected.size()));
  const Precision stored = StoredPrecision(got.dtype());
  for (size_t i = 0; i < expected.size(); ++i) {
    const double value = got.At(static_cast<int64_t>(i));
    const bool exact =
        got.dtype() == DType::kInt32 || !std::isfinite(expected[i]);
    const double allowed =
        tolerance[i] + stored.tiny +
        0.5 * stored.epsilon * (std::abs(expected[i]) + tolerance[i]);
    const bool both_nan = std::isnan(value) && std::isnan(expected[i]);
    const bool close = exact ? value == expected[i] || both_nan
                             : std::abs(value - expected[i]) <= allowed;
    ASSERT_TRUE(close) << "element " << i << ": " << value << ", not "
                       << expected[i] << " +- " << (exact ? 0 : allowed);
  }
}

bool SameBits(const Tensor& a, const Tensor& b) {
  const unsigned char* begin = a.buffer().data();
  const unsigned char* other = b.buffer().data();
  return std::equal(begin, begin + a.buffer().bytes(), other,
                    other + b.buffer().bytes());
}

}  // namespace testing
}  // namespace conv_transpose_nd
