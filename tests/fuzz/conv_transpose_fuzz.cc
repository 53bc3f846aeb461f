// Whole calls on small tensors against the definition: any operation, dtype,
// instruction set and kernel family, in guarded memory that starts as NaN.
#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "cc/kernels/cpu/conv_transpose.h"
#include "tests/cc/testing/expected.h"
#include "tests/cc/testing/request.h"
#include "tests/cc/testing/run.h"
#include "tests/cc/testing/workers.h"
#include "tests/fuzz/bytes.h"

namespace conv_transpose_nd {
namespace fuzz {
namespace {

using testing::Request;
using testing::Values;

// Multiply-adds, and elements, of a call.
constexpr int64_t kBudget = 16384;

AxisGeometry DrawAxis(Bytes* bytes, int rank, Padding padding) {
  AxisGeometry axis;
  axis.input = rank < 3 ? bytes->Pick({1, 2, 3, 4, 5, 7, 9, 17, 0})
                        : bytes->Pick({1, 2, 3, 4});
  axis.filter =
      rank < 3 ? bytes->Pick({1, 2, 3, 4, 5, 7, 9, 0}) : bytes->Pick({1, 2, 3});
  axis.stride = bytes->Pick({1, 2, 3, 4, 5, 8, 100, (int64_t{1} << 31) - 1});
  axis.dilation = bytes->Pick({1, 2, 3, 4, 7, 100, (int64_t{1} << 31) - 1});
  if (padding == Padding::kExplicit) {
    axis.pad_before = bytes->Below(6);
    axis.pad_after = bytes->Below(6);
  }
  return axis;
}

// One of the output lengths that map back to the input; false where there is
// none, or only long ones.
bool DrawOutput(Bytes* bytes, Padding padding, AxisGeometry* axis) {
  const bool same = padding == Padding::kSame || padding == Padding::kSameLower;
  const int64_t span =
      axis->filter == 0 ? 1 : (axis->filter - 1) * axis->dilation + 1;
  const int64_t least = axis->input == 0 ? 0
                        : same           ? (axis->input - 1) * axis->stride + 1
                               : (axis->input - 1) * axis->stride + span -
                                     axis->pad_before - axis->pad_after;
  axis->output = std::max<int64_t>(least, 0) + bytes->Below(5);
  return axis->output < kBudget &&
         testing::ConvolutionLength(padding, *axis, axis->output) ==
             axis->input;
}

int64_t DrawChannels(Bytes* bytes) {
  return bytes->Pick({1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 32, 33, 0, 48, 65});
}

bool DrawRequest(Bytes* bytes, Request* request) {
  const int rank = static_cast<int>(bytes->Pick({1, 2, 3, 2, 1, 4, 5, 6}));
  Attributes& attributes = request->attributes;
  attributes.padding = testing::kPaddings[bytes->Below(4)];
  attributes.data_format =
      bytes->OneIn(3) ? DataFormat::kChannelsFirst : DataFormat::kChannelsLast;
  attributes.groups = bytes->Pick({1, 1, 1, 1, 2, 3, 17, 33});
  const int64_t in =
      attributes.groups * (attributes.groups > 3 ? 1 : DrawChannels(bytes));
  const int64_t out =
      attributes.groups *
      (attributes.groups > 3 ? bytes->Pick({1, 2}) : DrawChannels(bytes));
  const int64_t batch = bytes->Pick({1, 2, 3, 0});
  Dims strides{1}, dilations{1}, input{batch}, output{batch}, pads{0, 0};
  int64_t products = batch * in * (out / attributes.groups), positions = batch;
  for (int a = 0; a < rank; ++a) {
    AxisGeometry axis = DrawAxis(bytes, rank, attributes.padding);
    if (!DrawOutput(bytes, attributes.padding, &axis)) return false;
    strides.push_back(axis.stride);
    dilations.push_back(axis.dilation);
    input.push_back(axis.input);
    output.push_back(axis.output);
    request->shapes.filter.push_back(axis.filter);
    pads.push_back(axis.pad_before);
    pads.push_back(axis.pad_after);
    products *= axis.input * axis.filter;
    positions *= axis.output;
    if (products > kBudget || positions * out > kBudget) return false;
  }
  for (Dims* steps : {&strides, &dilations}) steps->push_back(1);
  input.push_back(in);
  output.push_back(out);
  request->shapes.filter.push_back(out / attributes.groups);
  request->shapes.filter.push_back(in);
  if (NumElements(request->shapes.filter) > kBudget) return false;
  const DataFormat format = attributes.data_format;
  request->shapes.input = testing::Ordered(format, input);
  request->shapes.output = testing::Ordered(format, output);
  attributes.strides = testing::Ordered(format, strides);
  attributes.dilations = testing::Ordered(format, dilations);
  if (attributes.padding == Padding::kExplicit) {
    const auto at =
        format == DataFormat::kChannelsFirst ? pads.begin() : pads.end();
    pads.insert(at, {0, 0});
    attributes.explicit_paddings = pads;
  }
  return true;
}

// Changes a tensor's values from [-1, 1) to what kernels meet seldom. The
// factors keep every sum and cube of one inside its dtype.
void Season(Bytes* bytes, DType dtype, std::vector<double>* values) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  if (dtype == DType::kInt32 || values->empty()) return;
  const bool half = dtype == DType::kHalf;
  double factor = 1;
  switch (bytes->Below(8)) {
    case 1:  // products and sums below the smallest normal number
      factor = half ? 0x1p-14 : dtype == DType::kDouble ? 0x1p-1040 : 0x1p-130;
      break;
    case 2:
      factor = half ? 1 : 0x1p15;
      break;
    case 3:
      for (double& value : *values) value = value < 0 ? -0.0 : 0.0;
      return;
    case 4:
      for (int64_t i = bytes->Below(4); i >= 0; --i) {
        double& value = (*values)[bytes->Next() % values->size()];
        value = bytes->Below(3) == 0   ? kNan
                : bytes->Below(2) == 0 ? kInfinity
                                       : -kInfinity;
      }
      return;
    default:
      return;
  }
  testing::Tensor rounded(dtype, static_cast<int64_t>(values->size()));
  for (double& value : *values) value *= factor;
  rounded.SetAll(*values);
  *values = rounded.Values();
}

Plan DrawPlan(Bytes* bytes, Operation operation, DType dtype,
              const ConvTransposeGeometry& geometry) {
  const std::vector<std::string> targets = SupportedTargets();
  const TargetInfo& target =
      *FindTarget(targets[bytes->Below(static_cast<int64_t>(targets.size()))]);
  // Families that do not take the geometry leave the choice to the costs.
  const auto family = static_cast<KernelFamily>(
      bytes->Below(static_cast<int64_t>(KernelFamily::kPositions) + 1));
  return MakePlan(operation, geometry, dtype, target, family);
}

}  // namespace

// Returns false where the bytes describe no call.
bool CheckOne(Bytes* bytes) {
  const DType dtype = testing::kDTypes[bytes->Below(5)];
  const Operation operation = dtype == DType::kInt32
                                  ? Operation::kConvTranspose
                                  : testing::kOperations[bytes->Below(3)];
  Request request;
  if (!DrawRequest(bytes, &request)) return false;
  request.attributes.dtype = dtype;
  if (operation == Operation::kConvTranspose) {
    request.attributes.activation =
        static_cast<Activation>(bytes->Below(dtype == DType::kInt32 ? 3 : 10));
    request.shapes.has_bias = bytes->OneIn(2);
    if (request.shapes.has_bias) {
      request.shapes.bias = {request.shapes.filter.end()[-2] *
                             request.attributes.groups};
    }
  }
  const ConvTransposeGeometry geometry =
      testing::GeometryOf(operation, request);
  const Plan plan = DrawPlan(bytes, operation, dtype, geometry);
  const int workers = static_cast<int>(bytes->Below(4)) + 1;
  const bool filter_is_packed = bytes->OneIn(2);
  testing::Random random(bytes->Next());
  Values values = testing::RandomValues(&random, dtype, geometry);
  for (std::vector<double>* operand :
       {&values.input, &values.filter, &values.output_grad, &values.bias}) {
    Season(bytes, dtype, operand);
  }
  SCOPED_TRACE(std::string(testing::DTypeName(dtype)) +
               testing::Describe(request) + "\n" + plan.ToString());
  const std::vector<double> expected =
      testing::Expected(operation, dtype, geometry, values);
  const std::vector<double> tolerance =
      testing::Tolerance(plan, values, expected);
  const testing::Tensor result = testing::RunKernel(
      plan, values, testing::LastToFirst(workers), filter_is_packed);
  testing::ExpectClose(result, expected, tolerance);
  return true;
}

}  // namespace fuzz
}  // namespace conv_transpose_nd

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  ::testing::InitGoogleTest(argc, *argv);
  // An expectation that fails is a crash that the fuzzer keeps.
  ::testing::GTEST_FLAG(break_on_failure) = true;
  return 0;
}

// -1 keeps bytes that describe no call out of the corpus.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  conv_transpose_nd::fuzz::Bytes bytes(data, size);
  return conv_transpose_nd::fuzz::CheckOne(&bytes) ? 0 : -1;
}
