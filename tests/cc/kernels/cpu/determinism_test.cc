// Same bits for any number of workers, in any order.
#include <gtest/gtest.h>

#include <vector>

#include "cc/kernels/cpu/conv_transpose.h"
#include "tests/cc/testing/request.h"
#include "tests/cc/testing/run.h"
#include "tests/cc/testing/workers.h"

namespace conv_transpose_nd {
namespace {

using testing::Random;
using testing::Request;
using testing::SimpleRequest;

// A request of several units per operation and family.
std::vector<Request> Requests() {
  std::vector<Request> requests = {
      SimpleRequest({2, 12, 14, 33}, {4, 4, 40, 33}, {2, 26, 30, 40}, 2),
      SimpleRequest({1, 20, 90, 8}, {5, 5, 1, 8}, {1, 62, 272, 1}, 3),
      SimpleRequest({1, 5000, 2}, {1, 3, 2}, {1, 5000, 3}, 1),
      SimpleRequest({2, 5, 6, 7, 6}, {2, 3, 2, 4, 6}, {2, 10, 13, 14, 4}, 2)};
  Request channels_first = requests[0];
  channels_first.attributes.data_format = DataFormat::kChannelsFirst;
  channels_first.attributes.strides = {1, 1, 2, 2};
  channels_first.shapes.input = {2, 33, 12, 14};
  channels_first.shapes.output = {2, 40, 26, 30};
  requests.push_back(channels_first);
  Request grouped = requests[0];
  grouped.attributes.groups = 3;
  grouped.shapes.filter = {4, 4, 7, 33};
  grouped.shapes.output[3] = 21;
  requests.push_back(grouped);
  return requests;
}

class DeterminismTest : public ::testing::TestWithParam<DType> {};

TEST_P(DeterminismTest, SameBitsForAnyWorkers) {
  const DType dtype = GetParam();
  Random random(1);
  for (const Request& request : Requests()) {
    for (Operation operation : testing::kOperations) {
      if (dtype == DType::kInt32 && operation != Operation::kConvTranspose) {
        continue;
      }
      const ConvTransposeGeometry geometry =
          testing::GeometryOf(operation, request);
      const testing::Values values =
          testing::RandomValues(&random, dtype, geometry);
      for (const Plan& plan : testing::PlansOf(operation, dtype, geometry)) {
        SCOPED_TRACE(testing::Describe(request) + " " + plan.ToString());
        const testing::Tensor alone = testing::RunKernel(plan, values);
        for (int workers : {2, 3, 4, 8}) {
          const ParallelFor threads = testing::Threads(workers);
          EXPECT_TRUE(testing::SameBits(
              alone, testing::RunKernel(plan, values, threads)))
              << workers << " threads";
          EXPECT_TRUE(testing::SameBits(
              alone,
              testing::RunKernel(plan, values, testing::LastToFirst(workers))))
              << workers << " workers, last unit first";
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, DeterminismTest,
                         ::testing::ValuesIn(testing::kDTypes),
                         [](const auto& info) {
                           return testing::DTypeName(info.param);
                         });

// The requests above are worth cutting.
TEST(DeterminismTest, RequestsHaveSeveralUnits) {
  for (const Request& request : Requests()) {
    for (Operation operation : testing::kOperations) {
      const Plan plan = PlanFor(
          operation, testing::GeometryOf(operation, request), DType::kFloat);
      EXPECT_GT(plan.units, 1)
          << testing::Describe(request) << " " << plan.ToString();
    }
  }
}

}  // namespace
}  // namespace conv_transpose_nd
