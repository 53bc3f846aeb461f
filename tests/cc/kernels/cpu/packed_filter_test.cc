// A packed filter serves every plan that SharePackedFilter allows: the same
// bytes, whatever the positions.
#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "cc/kernels/cpu/conv_transpose.h"
#include "tests/cc/testing/buffer.h"
#include "tests/cc/testing/request.h"
#include "tests/cc/testing/run.h"

namespace conv_transpose_nd {
namespace {

using testing::Random;
using testing::Request;

// The same call on longer axes, or on a larger batch.
Request Longer(const Request& request, Random* random) {
  Request longer = request;
  const int64_t last = static_cast<int64_t>(request.shapes.input.size()) - 1;
  const bool channels_first =
      request.attributes.data_format == DataFormat::kChannelsFirst;
  for (int64_t d = channels_first ? 2 : 1; d < last + channels_first; ++d) {
    const int64_t more = random->Uniform(0, 9);
    longer.shapes.input[d] += more;
    if (!longer.shapes.output.empty()) {
      longer.shapes.output[d] += more * request.attributes.strides[d];
    }
  }
  const int64_t batch = random->Uniform(0, 20);
  longer.shapes.input[0] += batch;
  if (!longer.shapes.output.empty()) longer.shapes.output[0] += batch;
  return longer;
}

testing::Buffer Packed(const Plan& plan, const testing::Tensor& filter) {
  testing::Buffer packed(plan.packed_bytes);
  std::memset(packed.data(), 0, packed.bytes());
  PackFilter(plan, filter.data(), packed.data(), {});
  return packed;
}

// Returns how many pairs of plans with a packed filter share it.
int CheckPair(const std::vector<Plan>& plans, const std::vector<Plan>& longer,
              const testing::Tensor& filter) {
  int shared = 0;
  for (const Plan& one : plans) {
    for (const Plan& other : longer) {
      if (one.packed_bytes == 0 ||
          one.target.vector_bytes != other.target.vector_bytes ||
          !SharePackedFilter(one, other)) {
        continue;
      }
      ++shared;
      const testing::Buffer a = Packed(one, filter), b = Packed(other, filter);
      EXPECT_EQ(a.bytes(), b.bytes());
      EXPECT_EQ(std::memcmp(a.data(), b.data(), a.bytes()), 0)
          << one.ToString() << "\n"
          << other.ToString();
    }
  }
  return shared;
}

TEST(PackedFilterTest, PlansThatShareOnePackTheSame) {
  Random random(9);
  int calls = 0, shared = 0;
  for (int i = 0; i < 400 && !HasFailure(); ++i) {
    const Request request = testing::RandomRequest(
        &random, static_cast<int>(random.Uniform(1, 3)), 20000);
    const Request longer = Longer(request, &random);
    SCOPED_TRACE(testing::Describe(request) + testing::Describe(longer));
    const DType dtype = testing::kFloatingDTypes[random.Uniform(0, 3)];
    for (Operation operation :
         {Operation::kConvTranspose, Operation::kInputGrad}) {
      const ConvTransposeGeometry one = testing::GeometryOf(operation, request);
      const ConvTransposeGeometry other =
          testing::GeometryOf(operation, longer);
      const testing::Values values = testing::RandomValues(&random, dtype, one);
      testing::Tensor filter(dtype, NumElements(one.FilterDims()));
      filter.SetAll(values.filter);
      ++calls;
      shared += CheckPair(testing::PlansOf(operation, dtype, one),
                          testing::PlansOf(operation, dtype, other), filter);
    }
  }
  // Several targets and families each: far fewer would say that nothing is
  // shared, and nothing was compared.
  EXPECT_GT(shared, calls);
}

// What servers of variable length hang on.
TEST(PackedFilterTest, LengthsShareOne) {
  const auto plan = [](int64_t length, int64_t channels) {
    const Request request =
        testing::SimpleRequest({1, length, channels}, {16, channels, channels},
                               {1, 8 * length + 8, channels}, 8);
    return MakePlan(Operation::kConvTranspose,
                    testing::GeometryOf(Operation::kConvTranspose, request),
                    DType::kFloat, ChosenTarget(), KernelFamily::kNone, true);
  };
  for (int64_t channels : {2, 64, 128}) {
    EXPECT_TRUE(SharePackedFilter(plan(200, channels), plan(333, channels)));
    EXPECT_FALSE(SharePackedFilter(plan(200, channels), plan(200, 32)));
  }
}

}  // namespace
}  // namespace conv_transpose_nd
