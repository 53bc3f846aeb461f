#include "cc/core/parallel_for.h"

#include <gtest/gtest.h>

#include <atomic>
#include <vector>

#include "tests/cc/testing/workers.h"

namespace conv_transpose_nd {
namespace {

// How often each unit ran.
std::vector<int> Units(const ParallelFor& parallel_for, int64_t total,
                       int64_t block) {
  std::vector<std::atomic<int>> ran(total);
  parallel_for(total, block, [&](int64_t begin, int64_t end, int worker) {
    EXPECT_LT(begin, end);
    EXPECT_LT(worker, parallel_for.max_workers);
    for (int64_t unit = begin; unit < end; ++unit) ++ran[unit];
  });
  return std::vector<int>(ran.begin(), ran.end());
}

TEST(ParallelForTest, EveryUnitOnce) {
  for (int64_t total : {0, 1, 2, 7, 255, 256, 257, 1000}) {
    for (int64_t block : {1, 3, 300}) {
      for (int workers : {1, 2, 5}) {
        for (bool can_be_cancelled : {false, true}) {
          ParallelFor parallel_for = testing::LastToFirst(workers);
          if (can_be_cancelled) {
            parallel_for.cancelled = [] { return false; };
          }
          EXPECT_EQ(Units(parallel_for, total, block),
                    std::vector<int>(total, 1));
        }
      }
    }
  }
}

// On one thread, too, where all units would be one call.
TEST(ParallelForTest, NothingBeginsOnceCancelled) {
  for (int workers : {1, 3}) {
    ParallelFor parallel_for = testing::LastToFirst(workers);
    int64_t done = 0;
    parallel_for.cancelled = [&] { return done >= 100; };
    parallel_for(100000, 1,
                 [&](int64_t begin, int64_t end, int) { done += end - begin; });
    EXPECT_GE(done, 100) << workers;
    EXPECT_LE(done, 100 + 100000 / kCancellationPieces + 1) << workers;
  }
}

}  // namespace
}  // namespace conv_transpose_nd
