// channels.cu in the emulator against the reference.
#include <gtest/gtest.h>

#include "cc/kernels/gpu/channels_program.h"
#include "tests/cc/kernels/gpu/run.h"

namespace conv_transpose_nd {
namespace gpu {
namespace {

using testing::kFloatingDTypes;
using testing::Random;
using testing::Request;

class ChannelsTest : public ::testing::TestWithParam<DType> {
 protected:
  void Check(const Request& request, Random* random) {
    SCOPED_TRACE(testing::Describe(request));
    for (Operation operation :
         {Operation::kConvTranspose, Operation::kInputGrad}) {
      const ConvTransposeGeometry geometry =
          testing::GeometryOf(operation, request);
      const bool aligned = !random->OneIn(3);
      const std::optional<Program> program =
          ChannelsProgram(operation, geometry, GetParam(), aligned);
      if (!program) continue;
      ++ran_;
      CheckProgram(*program, operation, GetParam(), geometry,
                   testing::RandomValues(random, GetParam(), geometry),
                   aligned);
    }
  }

  int ran_ = 0;
};

TEST_P(ChannelsTest, RandomRequests) {
  Random random(500);
  for (int i = 0; i < 150 && !HasFailure(); ++i) {
    Check(testing::RandomRequest(&random,
                                 static_cast<int>(random.Uniform(1, 3)), 20000),
          &random);
  }
  EXPECT_GT(ran_, 80);
}

// Chunks of channels, more of them than have their filter in shared memory, and
// each channel a group of its own.
TEST_P(ChannelsTest, ManyChannels) {
  Random random(600);
  for (int i = 0; i < 30 && !HasFailure(); ++i) {
    const int64_t stride = random.Uniform(1, 3), filter = random.Uniform(1, 5);
    const int64_t length = random.Uniform(1, 9);
    const bool channelwise = random.OneIn(2);
    const int64_t in = channelwise ? random.Pick({8, 16, 40})
                                   : random.Pick({16, 64, 400, 1000});
    const int64_t out = channelwise ? 1 : random.Uniform(1, 8);
    Request request = testing::SimpleRequest(
        {2, length, in}, {filter, out, in},
        {2, (length - 1) * stride + filter, channelwise ? in : out}, stride);
    request.attributes.groups = channelwise ? in : 1;
    request.attributes.activation =
        static_cast<Activation>(random.Uniform(0, 9));
    Check(request, &random);
  }
  EXPECT_GT(ran_, 20);
}

INSTANTIATE_TEST_SUITE_P(AllDTypes, ChannelsTest,
                         ::testing::ValuesIn(kFloatingDTypes),
                         [](const auto& info) {
                           return testing::DTypeName(info.param);
                         });

}  // namespace
}  // namespace gpu
}  // namespace conv_transpose_nd
