// The whole path of a call on a GPU, without one: C entry, launcher, driver.
// The driver is tests/cc/testing/fake_cuda; the kernels that it is asked to
// launch run in the emulator. What is embedded are the real images.
#include "cc/kernels/gpu/c_api.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <set>
#include <string>
#include <vector>

#include "cc/kernels/gpu/images.h"
#include "cc/kernels/gpu/launch.h"
#include "tests/cc/kernels/gpu/emulator.h"
#include "tests/cc/testing/expected.h"
#include "tests/cc/testing/fake_cuda_control.h"
#include "tests/cc/testing/request.h"

namespace conv_transpose_nd {
namespace gpu {
namespace {

using testing::Random;
using testing::Request;
using testing::Tensor;

// What the next launches must be.
const Program* wanted = nullptr;
size_t next_launch = 0;

// Emulates one launch, after a look at whether all of it arrived.
void Emulate(const fake_cuda_launch* got) {
  ASSERT_LT(next_launch, wanted->launches.size());
  const Launch& launch = wanted->launches[next_launch++];
  EXPECT_STREQ(got->kernel, launch.kernel);
  EXPECT_TRUE(std::equal(launch.grid, launch.grid + 3, got->grid));
  EXPECT_TRUE(std::equal(launch.block, launch.block + 3, got->block));
  EXPECT_EQ(got->shared_bytes, launch.shared_bytes);
  Program one;
  one.launches = {launch};
  std::memcpy(one.launches[0].params.data(), got->params[0],
              launch.params.size());
  const auto pointer = [got](int i) {
    return *static_cast<void**>(got->params[i]);
  };
  emulator::Run(one, pointer(1), pointer(2), pointer(3), pointer(4), pointer(5),
                {});
}

const char* OperationName(Operation operation) {
  return operation == Operation::kConvTranspose ? "conv_transpose"
         : operation == Operation::kInputGrad   ? "input_grad"
                                                : "filter_grad";
}

template <size_t size>
void CopyTo(const Dims& values, int64_t (&list)[size], int64_t otherwise = 0) {
  std::fill(list, list + size, otherwise);
  std::copy(values.begin(), values.end(), list);
}

conv_transpose_nd_gpu_call CallOf(Operation operation, DType dtype,
                                  const Request& request,
                                  const ConvTransposeGeometry& geometry,
                                  bool aligned) {
  const Attributes attributes = testing::AttributesOf(operation, request);
  static const char* const kPaddings[] = {"VALID", "SAME", "SAME_LOWER",
                                          "EXPLICIT"};
  conv_transpose_nd_gpu_call call = {};
  call.operation = OperationName(operation);
  call.dtype = testing::DTypeName(dtype);
  call.padding = kPaddings[static_cast<int>(attributes.padding)];
  call.data_format = attributes.data_format == DataFormat::kChannelsFirst
                         ? "CHANNELS_FIRST"
                         : "CHANNELS_LAST";
  call.activation = ActivationName(attributes.activation);
  call.rank = geometry.rank;
  call.groups = geometry.groups;
  call.has_bias = geometry.has_bias;
  call.aligned = aligned;
  call.has_output = 1;
  CopyTo(geometry.InputDims(), call.input);
  CopyTo(geometry.FilterDims(), call.filter);
  CopyTo(geometry.OutputDims(), call.output);
  CopyTo(attributes.strides, call.strides);
  CopyTo(attributes.dilations, call.dilations, 1);
  CopyTo(attributes.explicit_paddings, call.explicit_paddings);
  return call;
}

Tensor Filled(DType dtype, const std::vector<double>& values, bool aligned) {
  Tensor tensor(dtype, static_cast<int64_t>(values.size()), aligned);
  tensor.SetAll(values);
  return tensor;
}

void Check(Operation operation, DType dtype, const Request& request,
           Random* random) {
  const ConvTransposeGeometry geometry =
      testing::GeometryOf(operation, request);
  const testing::Values values = testing::RandomValues(random, dtype, geometry);
  const bool aligned = random->OneIn(2);
  const conv_transpose_nd_gpu_call call =
      CallOf(operation, dtype, request, geometry, aligned);
  conv_transpose_nd_gpu_program* program = nullptr;
  ASSERT_EQ(conv_transpose_nd_gpu_create(&call, nullptr, &program), 0)
      << conv_transpose_nd_gpu_error();
  DeviceInfo device;
  device.multiprocessors = 108;
  device.shared_bytes_per_block = 166912;
  const Program expected_program =
      MakeProgram(operation, geometry, dtype, device, false, aligned);
  wanted = &expected_program;
  next_launch = 0;
  EXPECT_EQ(conv_transpose_nd_gpu_reason(program), expected_program.reason);

  const bool of_output = operation == Operation::kInputGrad;
  const Tensor first =
      Filled(dtype, of_output ? values.output_grad : values.input, aligned);
  const Tensor second = Filled(
      dtype,
      operation == Operation::kFilterGrad ? values.output_grad : values.filter,
      aligned);
  const bool has_bias =
      operation == Operation::kConvTranspose && geometry.has_bias;
  const Tensor bias =
      Filled(dtype, has_bias ? values.bias : std::vector<double>(), aligned);
  Tensor result(dtype, ResultElements(operation, geometry), aligned);
  std::vector<char> memory(conv_transpose_nd_gpu_workspace_bytes(program) + 512,
                           -1);
  void* const workspace = reinterpret_cast<void*>(
      (reinterpret_cast<uintptr_t>(memory.data()) + 255) / 256 * 256);
  EXPECT_EQ(conv_transpose_nd_gpu_prepare(program, workspace, nullptr), 0);
  EXPECT_EQ(conv_transpose_nd_gpu_run(program, first.data(), second.data(),
                                      has_bias ? bias.data() : nullptr,
                                      result.data(), workspace, nullptr),
            0)
      << conv_transpose_nd_gpu_error();
  EXPECT_EQ(next_launch, expected_program.launches.size());
  EXPECT_TRUE(result.buffer().Intact());
  const std::vector<double> expected =
      testing::Expected(operation, dtype, geometry, values);
  testing::ExpectClose(
      result, expected,
      testing::Tolerance(operation, dtype, geometry, values, expected));
  for (size_t i = 0; i < expected_program.launches.size(); ++i) {
    EXPECT_STREQ(conv_transpose_nd_gpu_kernel(program, static_cast<int>(i)),
                 expected_program.launches[i].kernel);
  }
  EXPECT_EQ(
      conv_transpose_nd_gpu_kernel(program, static_cast<int>(next_launch)),
      nullptr);
  int64_t dims[8];
  const int count = conv_transpose_nd_gpu_result_dims(program, dims);
  EXPECT_EQ(NumElements(Dims(dims, dims + count)), result.elements());
  conv_transpose_nd_gpu_destroy(program);
}

class CApiTest : public ::testing::TestWithParam<DType> {
 protected:
  CApiTest() {
    FAKE(fake_cuda_reset)();
    FAKE(fake_cuda_set_runner)(Emulate);
  }
};

TEST_P(CApiTest, RandomCallsAreComputedFromEndToEnd) {
  Random random(500 + static_cast<int>(GetParam()));
  for (int i = 0; i < 30 && !HasFailure(); ++i) {
    const Request request = testing::RandomRequest(
        &random, static_cast<int>(random.Uniform(1, 6)), 5000);
    SCOPED_TRACE(testing::Describe(request));
    for (Operation operation : testing::kOperations) {
      SCOPED_TRACE(OperationName(operation));
      Check(operation, GetParam(), request, &random);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(AllDTypes, CApiTest,
                         ::testing::Values(DType::kHalf, DType::kBFloat16,
                                           DType::kFloat, DType::kDouble),
                         [](const auto& info) {
                           return testing::DTypeName(info.param);
                         });

class CApiErrorTest : public ::testing::Test {
 protected:
  CApiErrorTest() {
    FAKE(fake_cuda_reset)();
    const Request request =
        testing::SimpleRequest({1, 4, 4, 8}, {3, 3, 8, 8}, {1, 9, 9, 8}, 2);
    call_ =
        CallOf(Operation::kConvTranspose, DType::kFloat, request,
               testing::GeometryOf(Operation::kConvTranspose, request), true);
  }

  std::string Error() { return conv_transpose_nd_gpu_error(); }

  conv_transpose_nd_gpu_call call_;
  conv_transpose_nd_gpu_program* program_ = nullptr;
};

TEST_F(CApiErrorTest, WrongCallsNameArgumentAndRule) {
  call_.strides[1] = 0;
  EXPECT_NE(conv_transpose_nd_gpu_create(&call_, nullptr, &program_), 0);
  EXPECT_EQ(program_, nullptr);
  EXPECT_EQ(Error(), "strides[1] must be >= 1, got 0");
}

TEST_F(CApiErrorTest, ErrorsOfTheDriverArrive) {
  FAKE(fake_cuda_set_context)(nullptr);
  EXPECT_NE(conv_transpose_nd_gpu_create(&call_, nullptr, &program_), 0);
  EXPECT_EQ(Error(),
            "no CUDA context is current on the calling thread, and the stream "
            "has none");
}

TEST_F(CApiErrorTest, PointersAreChecked) {
  ASSERT_EQ(conv_transpose_nd_gpu_create(&call_, nullptr, &program_), 0)
      << Error();
  alignas(16) char memory[32];
  EXPECT_NE(conv_transpose_nd_gpu_run(program_, memory, memory + 4, nullptr,
                                      memory, nullptr, nullptr),
            0);
  EXPECT_EQ(Error().find("second must be aligned to 16 bytes, got address "),
            0u)
      << Error();
  EXPECT_EQ(FAKE(fake_cuda_launches)(), 0);
  conv_transpose_nd_gpu_destroy(program_);
}

TEST(EmbeddedImagesTest, EveryArchitectureHasEveryModule) {
  std::set<std::string> modules;
  for (const Image& image : EmbeddedImages()) modules.insert(image.module);
  ASSERT_FALSE(modules.empty());
  for (const std::string& module : modules) {
    for (const int capability : {75, 80, 86, 87, 89, 90, 100, 103, 120, 121}) {
      const Image* image = FindImage(EmbeddedImages(), module, capability);
      ASSERT_NE(image, nullptr) << module << " for " << capability;
      EXPECT_FALSE(image->ptx) << module << " for " << capability;
      EXPECT_EQ(reinterpret_cast<uintptr_t>(image->bytes) % 64, 0u);
      EXPECT_EQ(std::memcmp(image->bytes,
                            "\x7f"
                            "ELF",
                            4),
                0);
    }
    for (const int later : {110, 130}) {
      const Image* image = FindImage(EmbeddedImages(), module, later);
      ASSERT_NE(image, nullptr);
      EXPECT_TRUE(image->ptx);
      EXPECT_EQ(image->bytes[image->size - 1], 0) << "text ends with zero";
    }
  }
}

// Whatever the plan may name exists for the device: all kernels of every
// program of random calls.
TEST(EmbeddedImagesTest, NoProgramNamesAKernelThatIsMissing) {
  Random random(7);
  for (int i = 0; i < 300; ++i) {
    Request request = testing::RandomRequest(
        &random, static_cast<int>(random.Uniform(1, 6)), 1 << 16);
    if (random.OneIn(2)) testing::WidenChannels(&request, 64);
    for (Operation operation : testing::kOperations) {
      const ConvTransposeGeometry geometry =
          testing::GeometryOf(operation, request);
      for (const int capability : {75, 80, 86, 89, 90, 100, 120}) {
        DeviceInfo device;
        device.compute_capability = capability;
        device.multiprocessors = 132;
        device.wgmma = capability == 90 && random.OneIn(2);
        device.shared_bytes_per_block = device.wgmma ? 227 << 10 : 99 << 10;
        const DType dtype = static_cast<DType>(random.Uniform(0, 3));
        const Program program = MakeProgram(operation, geometry, dtype, device,
                                            random.OneIn(2), random.OneIn(2));
        for (const Launch& launch : program.launches) {
          const Image* image =
              FindImage(EmbeddedImages(), launch.module, capability);
          ASSERT_NE(image, nullptr) << launch.module;
          ASSERT_NE(FindKernel(*image, launch.kernel), nullptr)
              << launch.kernel << " for " << capability;
        }
      }
    }
  }
}

}  // namespace
}  // namespace gpu
}  // namespace conv_transpose_nd
