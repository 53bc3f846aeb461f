#include "cc/core/plan.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "cc/core/reference.h"
#include "tests/cc/testing/request.h"

namespace conv_transpose_nd {
namespace {

using testing::GeometryOf;
using testing::kOperations;
using testing::Random;
using testing::Request;
using testing::SimpleRequest;

constexpr TargetInfo kTargets[] = {{"baseline", 16, 16},
                                   {"avx2", 32, 16},
                                   {"avx512", 64, 32},
                                   {"avx512_bf16", 64, 32, 2}};
constexpr DType kDTypes[] = {DType::kHalf, DType::kBFloat16, DType::kFloat,
                             DType::kDouble, DType::kInt32};

KernelFamily FamilyOf(Operation operation, const Request& request,
                      const TargetInfo& target) {
  return MakePlan(operation, GeometryOf(operation, request), DType::kFloat,
                  target)
      .family;
}

Request SameRequest(const Dims& input, const Dims& filter, int64_t stride) {
  Dims output = input;
  for (size_t d = 1; d + 1 < output.size(); ++d) output[d] *= stride;
  output.back() = filter[filter.size() - 2];
  Request request = SimpleRequest(input, filter, output, stride);
  request.attributes.padding = Padding::kSame;
  return request;
}

// The rows of the table in plan.h.
TEST(PlanTest, FamiliesOfEmptyCalls) {
  for (const TargetInfo& target : kTargets) {
    const Request no_batch = SameRequest({0, 4, 4, 3}, {3, 3, 5, 3}, 2);
    EXPECT_EQ(FamilyOf(Operation::kConvTranspose, no_batch, target),
              KernelFamily::kNone);
    EXPECT_EQ(FamilyOf(Operation::kInputGrad, no_batch, target),
              KernelFamily::kNone);
    EXPECT_EQ(FamilyOf(Operation::kFilterGrad, no_batch, target),
              KernelFamily::kFill);
    const Request no_depth = SameRequest({2, 4, 4, 0}, {3, 3, 5, 0}, 2);
    EXPECT_EQ(FamilyOf(Operation::kConvTranspose, no_depth, target),
              KernelFamily::kFill);
    const Request no_filter = SameRequest({2, 4, 4, 3}, {0, 3, 5, 3}, 2);
    EXPECT_EQ(FamilyOf(Operation::kConvTranspose, no_filter, target),
              KernelFamily::kFill);
    EXPECT_EQ(FamilyOf(Operation::kFilterGrad, no_filter, target),
              KernelFamily::kNone);
  }
}

TEST(PlanTest, FamiliesByChannels) {
  for (const TargetInfo& target : kTargets) {
    SCOPED_TRACE(target.name);
    const Request wide = SameRequest({1, 32, 32, 64}, {4, 4, 64, 64}, 2);
    // Both run their lanes along channels; which pays depends on their number.
    for (const Operation operation :
         {Operation::kConvTranspose, Operation::kInputGrad}) {
      const KernelFamily family = FamilyOf(operation, wide, target);
      EXPECT_TRUE(family == KernelFamily::kChannelLanes ||
                  family == KernelFamily::kWinograd)
          << KernelFamilyName(family);
    }
    const KernelFamily family = FamilyOf(Operation::kFilterGrad, wide, target);
    EXPECT_TRUE(family == KernelFamily::kPositions ||
                family == KernelFamily::kWinograd)
        << KernelFamilyName(family);
    // One channel fills no vector, nor do three of its positions fill more than
    // one of four: the lanes run along positions.
    if (target.vector_bytes == 16) continue;
    const Request narrow = SameRequest({1, 64, 64, 56}, {9, 9, 1, 56}, 3);
    EXPECT_NE(FamilyOf(Operation::kConvTranspose, narrow, target),
              KernelFamily::kChannelLanes);
  }
}

// Choosing blocks takes no longer where there are more of them: trying each
// number of blocks of 2^38 tiles never ended.
TEST(PlanTest, ManyTilesOfALargeFilter) {
  for (const TargetInfo& target : kTargets) {
    const Request request =
        SameRequest({1, int64_t{1} << 20, 1 << 20, 1024}, {4, 4, 512, 1024}, 2);
    for (const Operation operation : kOperations) {
      const Plan plan = MakePlan(operation, GeometryOf(operation, request),
                                 DType::kFloat, target);
      EXPECT_EQ(plan.family, KernelFamily::kWinograd) << target.name;
      EXPECT_LE(plan.winograd.tile_block, 256);
    }
  }
}

// Few out_channels fill no rows of a register tile: the gradients' rows run
// over all taps, and there is a plan without the zeros beyond the border. Many
// do without.
TEST(PlanTest, GradientsOfFewChannelsTakeAllTaps) {
  for (const TargetInfo& target : kTargets) {
    SCOPED_TRACE(target.name);
    const auto plan_for = [&](Operation operation, int64_t out,
                              KernelFamily wanted = KernelFamily::kNone) {
      return MakePlan(operation,
                      GeometryOf(operation, SameRequest({1, 64, 64, 64},
                                                        {5, 5, out, 64}, 2)),
                      DType::kFloat, target, wanted);
    };
    const Plan few = plan_for(Operation::kFilterGrad, 1);
    EXPECT_TRUE(few.positions.all_taps) << few.ToString();
    EXPECT_GT(few.positions.alike_rows, 1);
    ASSERT_NE(few.exact, nullptr);
    EXPECT_FALSE(few.exact->positions.all_taps);
    EXPECT_LE(few.exact->shared_bytes, few.shared_bytes);
    EXPECT_LE(few.exact->scratch_bytes, few.scratch_bytes);
    const Plan many =
        plan_for(Operation::kFilterGrad, 96, KernelFamily::kPositions);
    EXPECT_EQ(many.positions.alike_rows, 96) << many.ToString();
    EXPECT_EQ(many.exact, nullptr);
    const Plan input = plan_for(Operation::kInputGrad, 1);
    EXPECT_EQ(input.family, KernelFamily::kCopiedRows) << input.ToString();
    ASSERT_NE(input.exact, nullptr);
    EXPECT_EQ(input.exact->family, KernelFamily::kChannelLanes);
    EXPECT_EQ(input.packed_bytes, 0);
  }
}

// Sums over few tiles, or of few channels, would lose to the transforms.
TEST(PlanTest, FilterGradientsOfWideChannelsAreTransformed) {
  for (const TargetInfo& target : kTargets) {
    SCOPED_TRACE(target.name);
    const auto plan_for = [&](int64_t length, int64_t out,
                              KernelFamily wanted = KernelFamily::kNone) {
      const Request request =
          SameRequest({4, length, length, 96}, {4, 4, out, 96}, 2);
      return MakePlan(Operation::kFilterGrad,
                      GeometryOf(Operation::kFilterGrad, request),
                      DType::kFloat, target, wanted);
    };
    const Plan wide = plan_for(32, 96);
    EXPECT_EQ(wide.family, KernelFamily::kWinograd) << wide.ToString();
    ASSERT_NE(wide.exact, nullptr);
    EXPECT_EQ(wide.exact->family, KernelFamily::kPositions);
    EXPECT_FALSE(wide.exact->positions.all_taps);
    EXPECT_LE(wide.exact->shared_bytes, wide.shared_bytes);
    EXPECT_LE(wide.exact->scratch_bytes, wide.scratch_bytes);
    EXPECT_LE(wide.scratch_bytes, 4 << 20);
    for (const Plan& direct : {plan_for(2, 96), plan_for(32, 1),
                               plan_for(32, 96, KernelFamily::kPositions)}) {
      EXPECT_EQ(direct.family, KernelFamily::kPositions) << direct.ToString();
    }
  }
}

// A filter so long that sorting its taps would take longer than the call.
TEST(PlanTest, LongFiltersAreNotSorted) {
  for (const int64_t taps : {int64_t{1} << 14, (int64_t{1} << 14) + 1}) {
    const Request request =
        SimpleRequest({1, 3, 32}, {taps, 32, 32}, {1, taps + 2, 32}, 1);
    const std::string reason =
        MakePlan(Operation::kConvTranspose,
                 GeometryOf(Operation::kConvTranspose, request), DType::kFloat,
                 kTargets[2])
            .reason;
    for (const char* family : {"pixel_lanes", "winograd"}) {
      EXPECT_EQ(reason.find(family) == std::string::npos, taps > 1 << 14)
          << reason;
    }
  }
}

// Ten times more positions along each of three axes: nothing more to hold.
TEST(PlanTest, WorkspaceDoesNotGrowWithTheOutput) {
  const auto workspace = [](Operation operation, int64_t length, int64_t in,
                            int64_t out, DataFormat format, DType dtype,
                            const TargetInfo& target) {
    Request request;
    request.shapes.input =
        testing::Ordered(format, {2, length, length, length, in});
    request.shapes.output =
        testing::Ordered(format, {2, 2 * length, 2 * length, 2 * length, out});
    request.shapes.filter = {3, 4, 5, out, in};
    request.attributes.strides = testing::Ordered(format, {1, 2, 2, 2, 1});
    request.attributes.padding = Padding::kSame;
    request.attributes.data_format = format;
    const Plan plan =
        MakePlan(operation, GeometryOf(operation, request), dtype, target);
    return plan.WorkspaceBytes(8);
  };
  for (Operation operation : kOperations)
    for (DataFormat format :
         {DataFormat::kChannelsLast, DataFormat::kChannelsFirst})
      for (DType dtype : kDTypes)
        for (const TargetInfo& target : kTargets)
          for (int64_t out : {1, 3, 40}) {
            const int64_t small =
                workspace(operation, 2000, 24, out, format, dtype, target);
            const int64_t large =
                workspace(operation, 20000, 24, out, format, dtype, target);
            // A thousandfold output; blocks of equal size differ a little.
            EXPECT_LE(large, small + small / 16)
                << target.name << " operation " << static_cast<int>(operation)
                << " dtype " << static_cast<int>(dtype) << " out " << out;
          }
}

TEST(PlanTest, WorkspaceIsLinearInWorkers) {
  const Plan plan =
      MakePlan(Operation::kConvTranspose,
               GeometryOf(Operation::kConvTranspose,
                          SameRequest({1, 32, 32, 64}, {4, 4, 64, 64}, 2)),
               DType::kFloat, kTargets[1]);
  EXPECT_EQ(plan.WorkspaceBytes(0), plan.shared_bytes);
  EXPECT_EQ(plan.WorkspaceBytes(5) - plan.WorkspaceBytes(4),
            plan.scratch_bytes);
}

// Every field that is a size is one, whatever the request; there is work where
// there are products.
TEST(PlanTest, RandomPlansAreSound) {
  Random random(1);
  for (int i = 0; i < 3000; ++i) {
    const Request request = testing::RandomRequest(
        &random, static_cast<int>(random.Uniform(1, kMaxRank)), 1 << 24);
    const Operation operation = kOperations[random.Uniform(0, 2)];
    const TargetInfo& target = kTargets[random.Uniform(0, 3)];
    const DType dtype = kDTypes[random.Uniform(0, 4)];
    const Plan plan =
        MakePlan(operation, GeometryOf(operation, request), dtype, target);
    SCOPED_TRACE(testing::Describe(request) + " " + plan.ToString());
    EXPECT_EQ(plan.shared_bytes % 16, 0);
    EXPECT_EQ(plan.scratch_bytes % 16, 0);
    EXPECT_GE(plan.shared_bytes, 0);
    EXPECT_GE(plan.scratch_bytes, 0);
    EXPECT_LT(plan.scratch_bytes, 8 << 20);
    EXPECT_FALSE(plan.reason.empty());
    const bool works = plan.family != KernelFamily::kNone &&
                       plan.family != KernelFamily::kFill;
    EXPECT_EQ(plan.units > 0, works);
    EXPECT_EQ(plan.target.name, target.name);
  }
}

TEST(PlanTest, CountsMultiplyAdds) {
  Random random(2);
  for (int i = 0; i < 300; ++i) {
    const Request request = testing::RandomRequest(
        &random, static_cast<int>(random.Uniform(1, 4)), 20000);
    const ConvTransposeGeometry geometry =
        GeometryOf(Operation::kConvTranspose, request);
    int64_t expected = 0;
    reference::ForEachMultiplyAdd(
        geometry, [&](int64_t, int64_t, int64_t) { ++expected; });
    const Plan plan = MakePlan(Operation::kConvTranspose, geometry,
                               DType::kFloat, kTargets[0]);
    EXPECT_EQ(plan.multiply_adds, static_cast<double>(expected))
        << testing::Describe(request);
  }
}

// Plans are kept and compared as text: the same question has the same answer.
TEST(PlanTest, SaysWhatItIs) {
  const ConvTransposeGeometry geometry = GeometryOf(
      Operation::kConvTranspose, SameRequest({1, 8, 8, 64}, {4, 4, 32, 64}, 2));
  const std::string text =
      MakePlan(Operation::kConvTranspose, geometry, DType::kFloat, kTargets[2])
          .ToString();
  EXPECT_EQ(text, MakePlan(Operation::kConvTranspose, geometry, DType::kFloat,
                           kTargets[2])
                      .ToString());
  for (const char* part :
       {"conv_transpose", "family=channel_lanes", "target=avx512", "phases=4",
        "units=", "multiply_adds=", "scratch_bytes=", "reason="}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << " in " << text;
  }
}

}  // namespace
}  // namespace conv_transpose_nd
