// direct.cu in the emulator against the reference.
#include <gtest/gtest.h>

#include "cc/kernels/gpu/direct_program.h"
#include "tests/cc/kernels/gpu/run.h"

namespace conv_transpose_nd {
namespace gpu {
namespace {

using testing::kFloatingDTypes;
using testing::Random;
using testing::Request;

class DirectTest : public ::testing::TestWithParam<DType> {};

TEST_P(DirectTest, RandomRequests) {
  Random random(100 + static_cast<int>(GetParam()));
  for (int i = 0; i < 150 && !HasFailure(); ++i) {
    const Request request = testing::RandomRequest(
        &random, static_cast<int>(random.Uniform(1, 6)), 20000);
    SCOPED_TRACE(testing::Describe(request));
    for (Operation operation : testing::kOperations) {
      const ConvTransposeGeometry geometry =
          testing::GeometryOf(operation, request);
      const testing::Values values =
          testing::RandomValues(&random, GetParam(), geometry);
      DeviceInfo device;
      device.multiprocessors = static_cast<int>(random.Pick({1, 2, 132}));
      CheckProgram(DirectProgram(operation, geometry, GetParam(), device,
                                 random.OneIn(2)),
                   operation, GetParam(), geometry, values, /*aligned=*/false);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(AllDTypes, DirectTest,
                         ::testing::ValuesIn(kFloatingDTypes),
                         [](const auto& info) {
                           return testing::DTypeName(info.param);
                         });

}  // namespace
}  // namespace gpu
}  // namespace conv_transpose_nd
