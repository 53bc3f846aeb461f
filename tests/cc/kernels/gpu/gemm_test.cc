// The implicit-GEMM kernels in the emulator against the reference.
#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

#include "cc/kernels/gpu/gemm_program.h"
#include "tests/cc/kernels/gpu/run.h"

namespace conv_transpose_nd {
namespace gpu {
namespace {

using testing::Random;
using testing::Request;

// A way to multiply, and a device that has it.
struct Flavor {
  const char* name;
  DType dtype;
  int compute_capability;
  bool allow_tf32;
  bool wgmma = false;
};
const Flavor kFlavors[] = {
    {"Half75", DType::kHalf, 75, false},
    {"Half80", DType::kHalf, 80, false},
    {"BFloat1680", DType::kBFloat16, 120, false},
    {"Tf32", DType::kFloat, 90, true},
    {"BFloat1675", DType::kBFloat16, 75, false},
    {"Float", DType::kFloat, 80, false},
    {"Double", DType::kDouble, 100, false},
    {"DoubleMma", DType::kDouble, 90, false},
    {"HalfWgmma", DType::kHalf, 90, false, true},
    {"BFloat16Wgmma", DType::kBFloat16, 90, false, true}};

class GemmTest : public ::testing::TestWithParam<Flavor> {
 protected:
  // All operations with every size of tile. Counts what ran.
  void Check(const Request& request, Random* random) {
    SCOPED_TRACE(testing::Describe(request));
    for (Operation operation : testing::kOperations) {
      const ConvTransposeGeometry geometry =
          testing::GeometryOf(operation, request);
      CheckValues(operation, geometry,
                  testing::RandomValues(random, GetParam().dtype, geometry),
                  random);
    }
  }

  void CheckValues(Operation operation, const ConvTransposeGeometry& geometry,
                   const testing::Values& values, Random* random) {
    DeviceInfo device;
    device.compute_capability = GetParam().compute_capability;
    device.multiprocessors = static_cast<int>(random->Pick({1, 8, 132}));
    device.shared_bytes_per_block =
        device.compute_capability == 90 ? 227 << 10 : 99 << 10;
    device.wgmma = GetParam().wgmma;
    device.wgmma_always = device.wgmma;
    for (int tile : {64, 128}) {
      GemmOptions options;
      options.allow_tf32 = GetParam().allow_tf32;
      options.tile = tile;
      options.aligned = !random->OneIn(3);
      options.splits = static_cast<int>(random->Pick({0, 1, 3}));
      const std::optional<Program> program =
          GemmProgram(operation, geometry, GetParam().dtype, device, options);
      if (!program) continue;
      // What is left to mma.sync has flavors of its own.
      if (device.wgmma && program->reason.find("wgmma") == std::string::npos) {
        continue;
      }
      // Tiles are emulated whole, however little of them is used.
      int64_t tiles = 0;
      for (const Launch& launch : program->launches) tiles += launch.grid[0];
      if (tiles * tile > 1600) continue;
      ++ran_;
      ++ran_of_[static_cast<int>(operation)];
      flat_ += program->reason.find("depth of taps") != std::string::npos;
      ranges_ += program->reason.find("ranges of depth") != std::string::npos;
      CheckProgram(*program, operation, GetParam().dtype, geometry, values,
                   options.aligned);
      if (HasFatalFailure()) return;
    }
  }

  // A warp's instruction costs the emulator 32 changes of fiber; wgmma makes up
  // for them by its size.
  int Few(int requests) const {
    const bool tensor_cores =
        GetParam().compute_capability >= 80 && !GetParam().wgmma &&
        (GetParam().dtype != DType::kFloat || GetParam().allow_tf32) &&
        (GetParam().dtype != DType::kDouble ||
         GetParam().compute_capability < 100);
    return tensor_cores ? requests / 3 : requests;
  }

  // How many runs a test should have come to: one tile and few channels do for
  // wgmma.
  int Enough(int runs) const { return GetParam().wgmma ? runs / 8 : Few(runs); }

  int ran_ = 0;
  int ran_of_[3] = {};
  int flat_ = 0;    // of which gathered by taps and channels together
  int ranges_ = 0;  // of which with gathers in ranges of depth
};

TEST_P(GemmTest, RandomRequests) {
  Random random(200);
  for (int i = 0; i < Few(60) && !HasFailure(); ++i) {
    Check(testing::RandomRequest(&random,
                                 static_cast<int>(random.Uniform(1, 6)), 20000),
          &random);
  }
  EXPECT_GE(ran_, Enough(48));
  EXPECT_TRUE(GetParam().wgmma || ranges_ > Few(9));
  EXPECT_TRUE(GetParam().wgmma || flat_ > Few(12));
}

// Random strides, dilations, paddings and groups, with eight times the
// channels: all that a chunk needs to be read whole.
TEST_P(GemmTest, WideRequests) {
  Random random(250);
  for (int i = 0; i < Few(90) && !HasFailure(); ++i) {
    Request request = testing::RandomRequest(
        &random, static_cast<int>(random.Uniform(1, 4)), 600);
    testing::WidenChannels(&request, 8);
    Check(request, &random);
  }
  for (int ran : ran_of_) EXPECT_GT(ran, 6);
  EXPECT_GT(ranges_, 3);
}

// Channels whose chunks are read whole, filters shorter and longer than the
// stride, borders, two formats.
Request ChunkRequest(Random* random, int rank) {
  const int64_t stride = random->Uniform(1, 3), filter = random->Uniform(1, 5);
  Dims input{random->Uniform(1, 2)}, window, output{input[0]};
  for (int a = 0; a < rank; ++a) {
    const int64_t length = random->Uniform(1, rank == 1 ? 40 : 7 - rank);
    input.push_back(length);
    window.push_back(filter);
    output.push_back((length - 1) * stride + filter);
  }
  const int64_t groups = random->OneIn(4) ? 2 : 1;
  const int64_t in = random->Pick({8, 16, 40, 72}) * groups;
  const int64_t out = random->Pick({8, 16, 24, 72, 136}) / groups;
  window.push_back(out);
  window.push_back(in);
  input.push_back(in);
  output.push_back(out * groups);
  Request request = testing::SimpleRequest(input, window, output, stride);
  if (random->OneIn(3)) {
    const DataFormat first = DataFormat::kChannelsFirst;
    request.attributes.data_format = first;
    request.shapes.input = testing::Ordered(first, input);
    request.shapes.output = testing::Ordered(first, output);
    request.attributes.strides.assign(rank + 2, stride);
    request.attributes.strides[0] = request.attributes.strides[1] = 1;
  }
  request.attributes.groups = groups;
  request.attributes.activation =
      static_cast<Activation>(random->Uniform(0, 9));
  if (random->OneIn(2)) {
    request.shapes.has_bias = true;
    request.shapes.bias = {out * groups};
  }
  return request;
}

TEST_P(GemmTest, WholeChunks) {
  Random random(300);
  for (int i = 0; i < Few(24) && !HasFailure(); ++i) {
    Check(ChunkRequest(&random, static_cast<int>(random.Uniform(1, 3))),
          &random);
  }
  EXPECT_GT(ran_, Enough(24));
}

// Infinities and NaN go where the equation sends them and nowhere else: the
// zeros that are multiplied beyond the border must not show.
TEST_P(GemmTest, NonFinite) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const double kValues[] = {kInfinity, -kInfinity,
                            std::numeric_limits<double>::quiet_NaN()};
  Random random(400);
  for (int i = 0; i < Few(18) && !HasFailure(); ++i) {
    const Request request =
        ChunkRequest(&random, static_cast<int>(random.Uniform(1, 2)));
    SCOPED_TRACE(testing::Describe(request));
    for (Operation operation : testing::kOperations) {
      const ConvTransposeGeometry geometry =
          testing::GeometryOf(operation, request);
      testing::Values values =
          testing::RandomValues(&random, GetParam().dtype, geometry);
      for (std::vector<double>* operand :
           {&values.input, &values.filter, &values.output_grad}) {
        (*operand)[random.Uniform(0, operand->size() - 1)] =
            kValues[random.Uniform(0, 2)];
      }
      CheckValues(operation, geometry, values, &random);
    }
  }
  EXPECT_GT(ran_, Enough(18));
}

INSTANTIATE_TEST_SUITE_P(Flavors, GemmTest, ::testing::ValuesIn(kFlavors),
                         [](const auto& info) {
                           return std::string(info.param.name);
                         });

}  // namespace
}  // namespace gpu
}  // namespace conv_transpose_nd
