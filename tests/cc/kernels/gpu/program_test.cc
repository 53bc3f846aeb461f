// Which program a geometry gets, and its numbers: grids, tables, index widths.
#include "cc/kernels/gpu/program.h"

#include <gtest/gtest.h>

#include <cstring>
#include <set>
#include <string>

#include "cc/kernels/gpu/direct_program.h"
#include "cc/kernels/gpu/gemm_params.h"
#include "cc/kernels/gpu/gemm_program.h"
#include "cc/kernels/gpu/index.h"
#include "tests/cc/testing/request.h"

namespace conv_transpose_nd {
namespace gpu {
namespace {

using testing::Random;
using testing::Request;

ConvTransposeGeometry Geometry(const Dims& input, const Dims& filter,
                               int64_t stride, Operation operation) {
  Dims output{input[0]};
  for (size_t a = 1; a + 1 < input.size(); ++a) {
    output.push_back((input[a] - 1) * stride + filter[a - 1]);
  }
  output.push_back(filter[filter.size() - 2]);
  return testing::GeometryOf(
      operation, testing::SimpleRequest(input, filter, output, stride));
}

std::string Reason(const ConvTransposeGeometry& geometry, DType dtype,
                   bool allow_tf32 = false, int compute_capability = 80) {
  DeviceInfo device;
  device.compute_capability = compute_capability;
  device.multiprocessors = 132;
  device.shared_bytes_per_block = 99 << 10;
  return MakeProgram(Operation::kConvTranspose, geometry, dtype, device,
                     allow_tf32)
      .reason;
}

TEST(ProgramTest, PicksTheKernel) {
  const auto geometry = [](const Dims& input, const Dims& filter,
                           int64_t stride) {
    return Geometry(input, filter, stride, Operation::kConvTranspose);
  };
  const ConvTransposeGeometry wide =
      geometry({128, 8, 8, 512}, {4, 4, 256, 512}, 2);
  EXPECT_EQ(Reason(wide, DType::kFloat).rfind("gemm: float,", 0), 0u);
  EXPECT_EQ(Reason(wide, DType::kFloat, true).rfind("gemm: tf32,", 0), 0u);
  EXPECT_EQ(Reason(wide, DType::kFloat, true, 75).rfind("gemm: float,", 0), 0u);
  EXPECT_EQ(Reason(wide, DType::kHalf).rfind("gemm: half,", 0), 0u);
  EXPECT_EQ(Reason(wide, DType::kHalf, true, 75).rfind("gemm: half_fma,", 0),
            0u);
  EXPECT_EQ(Reason(wide, DType::kDouble).rfind("gemm: double_mma,", 0), 0u);
  for (int older_or_newer : {75, 100, 120}) {
    EXPECT_EQ(Reason(wide, DType::kDouble, false, older_or_newer)
                  .rfind("gemm: double,", 0),
              0u);
  }
  // wgmma where there is enough to do; not for channels of half its depth.
  DeviceInfo hopper;
  hopper.compute_capability = 90;
  hopper.multiprocessors = 132;
  hopper.shared_bytes_per_block = 227 << 10;
  hopper.wgmma = true;
  const auto on_hopper = [&](const ConvTransposeGeometry& geometry,
                             bool aligned) {
    return MakeProgram(Operation::kConvTranspose, geometry, DType::kBFloat16,
                       hopper, false, aligned)
        .reason;
  };
  EXPECT_EQ(on_hopper(wide, true).rfind("gemm: bfloat16_wgmma,", 0), 0u);
  EXPECT_EQ(on_hopper(wide, false).rfind("gemm: bfloat16,", 0), 0u);
  EXPECT_EQ(on_hopper(geometry({64, 32, 32, 32}, {4, 4, 128, 32}, 2), true)
                .rfind("gemm: bfloat16,", 0),
            0u);
  // A filter as long as its stride is columns of one phase.
  EXPECT_NE(
      Reason(geometry({8, 28, 28, 128}, {2, 2, 64, 128}, 2), DType::kBFloat16)
          .find("1 phases, 4 folded"),
      std::string::npos);
  EXPECT_EQ(Reason(geometry({1, 32, 32, 64}, {4, 4, 3, 64}, 2), DType::kFloat)
                .rfind("few channels", 0),
            0u);
}

// A filter gradient of few channels is a GEMM where its tiles are not too empty
// for how fast they are multiplied.
TEST(ProgramTest, FilterGradientsOfFewChannels) {
  DeviceInfo device;
  device.multiprocessors = 108;
  device.shared_bytes_per_block = 163 << 10;
  const auto is_gemm = [&](int64_t in, int64_t out, DType dtype) {
    const Operation operation = Operation::kFilterGrad;
    const ConvTransposeGeometry geometry =
        Geometry({16, 32, 32, in}, {4, 4, out, in}, 2, operation);
    return MakeProgram(operation, geometry, dtype, device, false)
               .reason.rfind("gemm:", 0) == 0;
  };
  EXPECT_TRUE(is_gemm(128, 3, DType::kBFloat16));
  EXPECT_TRUE(is_gemm(3, 64, DType::kHalf));
  EXPECT_FALSE(is_gemm(64, 1, DType::kBFloat16));
  EXPECT_FALSE(is_gemm(128, 3, DType::kFloat));
  EXPECT_TRUE(is_gemm(16, 16, DType::kFloat));
}

// An input gradient of few output channels has all taps as its depth.
TEST(ProgramTest, InputGradientsOfFewChannels) {
  DeviceInfo device;
  device.compute_capability = 90;
  device.wgmma = device.wgmma_always = true;
  device.multiprocessors = 132;
  device.shared_bytes_per_block = 227 << 10;
  const Operation operation = Operation::kInputGrad;
  const auto make = [&](int64_t out, const Dims& window) {
    Dims input{4}, filter = window;
    for (size_t a = 0; a < window.size(); ++a) input.push_back(16);
    filter.insert(filter.end(), {out, 64});
    input.push_back(64);
    return MakeProgram(operation, Geometry(input, filter, 2, operation),
                       DType::kHalf, device, false);
  };
  const Program flat = make(3, {4, 4});
  EXPECT_STREQ(flat.launches[0].kernel, "ct_gemm_half_input_grad_flat_64");
  GemmParams p;
  std::memcpy(&p, flat.launches[0].params.data(), sizeof(p));
  EXPECT_EQ(p.depth, 1);
  const auto* phase = reinterpret_cast<const GemmPhase*>(p.tables);
  EXPECT_EQ(phase->taps, 4 * 4 * 3);
  EXPECT_STREQ(make(8, {4, 4}).launches[0].kernel,
               "ct_gemm_half_wgmma_input_grad_128");
  EXPECT_EQ(make(1, {4}).reason.rfind("direct", 0), 0u);
}

// Few rows and deep channels are summed in ranges, whose sums a second launch
// adds; rows that fill the device, and sums too short to be worth it, are not.
TEST(ProgramTest, RangesOfDepth) {
  DeviceInfo device;
  device.compute_capability = 90;
  device.multiprocessors = 132;
  device.shared_bytes_per_block = 227 << 10;
  const auto make = [&](Operation operation, const Dims& input,
                        const Dims& filter) {
    return MakeProgram(operation, Geometry(input, filter, 2, operation),
                       DType::kBFloat16, device, false);
  };
  for (Operation operation :
       {Operation::kConvTranspose, Operation::kInputGrad}) {
    const Program few = make(operation, {1, 4, 4, 1024}, {4, 4, 512, 1024});
    ASSERT_EQ(few.launches.size(), 2u) << few.reason;
    EXPECT_NE(few.reason.find("ranges of depth"), std::string::npos);
    const Launch& multiply = few.launches[0];
    const Launch& add = few.launches[1];
    EXPECT_EQ(std::string(add.kernel).rfind("ct_gemm_sum_bfloat16_", 0), 0u);
    EXPECT_EQ(add.grid[0], multiply.grid[0]);
    EXPECT_GT(multiply.grid[0] * multiply.grid[1], 120u);
    EXPECT_LE(multiply.grid[0] * multiply.grid[1], 264u);
    EXPECT_LE(few.workspace_bytes, int64_t{64} << 20);
    EXPECT_EQ(
        make(operation, {256, 16, 16, 256}, {4, 4, 128, 256}).launches.size(),
        1u);
    EXPECT_EQ(make(operation, {1, 8, 8, 64}, {2, 2, 64, 64}).launches.size(),
              1u);
  }
}

// Every launch stays within what a device takes.
TEST(ProgramTest, LaunchesAreValid) {
  Random random(700);
  for (int i = 0; i < 300; ++i) {
    const Request request = testing::RandomRequest(
        &random, static_cast<int>(random.Uniform(1, 6)), 1000000);
    for (Operation operation : testing::kOperations) {
      const ConvTransposeGeometry geometry =
          testing::GeometryOf(operation, request);
      for (DType dtype : {DType::kHalf, DType::kFloat, DType::kDouble}) {
        DeviceInfo device;
        device.compute_capability =
            static_cast<int>(random.Pick({75, 80, 90, 120}));
        device.shared_bytes_per_block = 64 << 10;
        const Program program =
            MakeProgram(operation, geometry, dtype, device, true);
        EXPECT_EQ(program.launches.empty(),
                  ResultElements(operation, geometry) == 0);
        EXPECT_LE(static_cast<int64_t>(program.constants.size()),
                  program.workspace_bytes);
        for (const Launch& launch : program.launches) {
          EXPECT_GE(launch.grid[0], 1u);
          EXPECT_LE(launch.grid[0], 0x7fffffffu);
          EXPECT_LE(launch.shared_bytes, device.shared_bytes_per_block);
          EXPECT_LE(launch.params.size(), 4000u);
          EXPECT_EQ(launch.block[0] % 32, 0u);
        }
      }
    }
  }
}

// The closed forms of index.h against the equation, in both widths.
TEST(ProgramTest, AxisTaps) {
  Random random(800);
  for (int i = 0; i < 3000; ++i) {
    AxisGeometry axis;
    axis.input = random.Uniform(0, 7);
    axis.filter = random.Uniform(0, 7);
    axis.output = random.Uniform(0, 20);
    axis.stride = random.Uniform(1, 6);
    axis.dilation = random.Uniform(1, 6);
    axis.pad_before = random.Uniform(-3, 9);
    const Axis<int64_t> wide = MakeAxis(axis);
    std::set<std::pair<int64_t, int64_t>> taps;
    for (int64_t o = 0; o < axis.output; ++o) {
      taps.clear();
      for (int64_t k = 0; k < axis.filter; ++k) {
        const int64_t t = o + axis.pad_before - k * axis.dilation;
        if (t >= 0 && t % axis.stride == 0 && t / axis.stride < axis.input) {
          taps.insert({k, t / axis.stride});
        }
      }
      const TapRange<int64_t> range = OutputTaps(wide, o);
      ASSERT_EQ(range.count, static_cast<int64_t>(taps.size()));
      for (int64_t q = 0; q < range.count; ++q) {
        ASSERT_TRUE(taps.count({range.filter + q * OutputFilterStep(wide),
                                range.source + q * OutputSourceStep(wide)}));
      }
    }
    for (int64_t p = 0; p < axis.input; ++p) {
      int64_t count = 0;
      const TapRange<int64_t> range = InputTaps(wide, p);
      for (int64_t k = 0; k < axis.filter; ++k) {
        const int64_t o = p * axis.stride + k * axis.dilation - axis.pad_before;
        if (o < 0 || o >= axis.output) continue;
        ASSERT_EQ(k, range.filter + count);
        ASSERT_EQ(o, range.source + count * axis.dilation);
        ++count;
      }
      ASSERT_EQ(range.count, count);
    }
    for (int64_t k = 0; k < axis.filter; ++k) {
      int64_t count = 0;
      const PositionRange<int64_t> range = FilterPositions(wide, k);
      for (int64_t p = 0; p < axis.input; ++p) {
        const int64_t o = p * axis.stride + k * axis.dilation - axis.pad_before;
        if (o < 0 || o >= axis.output) continue;
        ASSERT_EQ(p, range.first + count);
        ++count;
      }
      ASSERT_EQ(range.count, count);
    }
  }
}

TEST(ProgramTest, Divisors) {
  Random random(900);
  for (int i = 0; i < 20000; ++i) {
    const auto divisor =
        static_cast<uint32_t>(random.OneIn(2) ? random.Uniform(1, 300)
                                              : random.Uniform(1, 0x7fffffff));
    const Divisor by = MakeDivisor(divisor);
    const auto n = static_cast<int32_t>(random.Uniform(0, 0x7fffffff));
    const int32_t multiple = n - n % static_cast<int32_t>(divisor);
    ASSERT_EQ(Divide(n, by), n / static_cast<int32_t>(divisor));
    ASSERT_EQ(Divide(multiple, by), multiple / static_cast<int32_t>(divisor));
    if (multiple > 0) {
      ASSERT_EQ(Divide(multiple - 1, by),
                (multiple - 1) / static_cast<int32_t>(divisor));
    }
  }
}

// 2^31 elements and more: 64-bit offsets, and grids that stay in bounds.
TEST(ProgramTest, HugeTensors) {
  const DeviceInfo device;
  const auto params = [](const Launch& launch, auto* p) {
    ASSERT_EQ(launch.params.size(), sizeof(*p));
    std::memcpy(p, launch.params.data(), sizeof(*p));
  };
  // 2^33 outputs.
  const ConvTransposeGeometry narrow =
      Geometry({1 << 4, 1 << 14, 1 << 13, 1}, {2, 2, 1, 1}, 2,
               Operation::kConvTranspose);
  EXPECT_FALSE(FitsInt32(narrow));
  const Program direct =
      DirectProgram(Operation::kConvTranspose, narrow, DType::kHalf, device);
  ASSERT_EQ(direct.launches.size(), 1u);
  EXPECT_STREQ(direct.launches[0].kernel, "ct_direct_half_i64");
  DirectParams<int64_t> d;
  params(direct.launches[0], &d);
  EXPECT_EQ(d.elements, int64_t{1} << 33);
  EXPECT_EQ(d.source.batch, int64_t{1} << 27);
  // 2^34 outputs in rows of 2^31 and tiles of 64 or 128.
  const ConvTransposeGeometry wide = Geometry(
      {64, 1 << 11, 1 << 10, 64}, {2, 2, 32, 64}, 2, Operation::kConvTranspose);
  const std::optional<Program> gemm = GemmProgram(
      Operation::kConvTranspose, wide, DType::kHalf, device, GemmOptions());
  ASSERT_TRUE(gemm.has_value());
  GemmParams g;
  params(gemm->launches[0], &g);
  EXPECT_EQ(g.result_batch * 64, int64_t{1} << 34);
  const auto* phase = reinterpret_cast<const GemmPhase*>(g.tables);
  EXPECT_EQ(phase->rows, 1 << 27);
  EXPECT_EQ(g.columns, 128);
  // More rows than coordinates of a tile can tell: a thread per element.
  const ConvTransposeGeometry rows = Geometry(
      {1 << 10, 1 << 21, 16}, {1, 16, 16}, 1, Operation::kConvTranspose);
  EXPECT_FALSE(GemmProgram(Operation::kConvTranspose, rows, DType::kHalf,
                           device, GemmOptions()));
  const ConvTransposeGeometry positions =
      Geometry({1 << 10, 1 << 21, 16}, {1, 16, 16}, 1, Operation::kFilterGrad);
  EXPECT_FALSE(GemmProgram(Operation::kFilterGrad, positions, DType::kHalf,
                           device, GemmOptions()));
  // A stride of 2^31 - 1 has few phases with taps.
  const ConvTransposeGeometry stride =
      Geometry({1, 2, 16}, {1, 16, 16}, (int64_t{1} << 31) - 1,
               Operation::kConvTranspose);
  EXPECT_EQ(MakeProgram(Operation::kConvTranspose, stride, DType::kFloat,
                        device, false)
                .launches[0]
                .kernel,
            std::string("ct_direct_float_i64"));
}

}  // namespace
}  // namespace gpu
}  // namespace conv_transpose_nd
