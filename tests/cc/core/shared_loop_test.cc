#include "cc/core/shared_loop.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <mutex>
#include <new>
#include <set>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

namespace conv_transpose_nd {
namespace {

// Starts a thread for each function.
class Threads {
 public:
  ~Threads() {
    for (std::thread& thread : threads_) thread.join();
  }

  Schedule Starter() {
    return [this](std::function<void()> function) {
      const std::lock_guard<std::mutex> lock(mutex_);
      threads_.emplace_back(std::move(function));
    };
  }

 private:
  std::mutex mutex_;
  std::vector<std::thread> threads_;
};

TEST(SharedLoopTest, EveryUnitOnce) {
  for (int threads : {1, 2, 5, 9}) {
    for (int64_t total : {0, 1, 2, 7, 256, 1000}) {
      for (int64_t block : {1, 3, 300}) {
        Threads pool;
        const ParallelFor parallel_for = ShareLoops(threads, pool.Starter());
        ASSERT_EQ(parallel_for.max_workers, threads);
        std::vector<std::atomic<int>> ran(total);
        parallel_for(total, block, [&](int64_t begin, int64_t end, int worker) {
          EXPECT_LT(begin, end);
          EXPECT_GE(worker, 0);
          EXPECT_LT(worker, threads);
          for (int64_t unit = begin; unit < end; ++unit) ++ran[unit];
        });
        for (const std::atomic<int>& times : ran) EXPECT_EQ(times, 1);
      }
    }
  }
}

// Scratch is one per worker.
TEST(SharedLoopTest, AWorkerIsOneThread) {
  Threads pool;
  std::vector<std::set<std::thread::id>> seen(6);
  ShareLoops(6, pool.Starter())(600, 1, [&](int64_t, int64_t, int worker) {
    seen[worker].insert(std::this_thread::get_id());
  });
  for (const auto& ids : seen) EXPECT_LE(ids.size(), 1);
}

TEST(SharedLoopTest, DoesNotWaitForFunctionsThatHaveNotBegun) {
  std::vector<std::function<void()>> late;
  int64_t done = 0;
  {
    const Work work = [&](int64_t begin, int64_t end, int worker) {
      EXPECT_EQ(worker, 0);
      done += end - begin;
    };
    ShareLoops(4, [&](std::function<void()> function) {
      late.push_back(std::move(function));
    })(100, 1, work);
  }
  EXPECT_EQ(done, 100);
  // Two of the three: the third is for one of these to schedule.
  ASSERT_EQ(late.size(), 2);
  // They touch neither the work nor the pool any more.
  for (const auto& function : late) function();
  EXPECT_EQ(done, 100);
  EXPECT_EQ(late.size(), 2);
}

// Helpers come, stay and leave while one loop follows the other.
TEST(SharedLoopTest, ManyLoopsOfOneCall) {
  Threads pool;
  const ParallelFor parallel_for = ShareLoops(4, pool.Starter());
  for (int64_t loop = 0; loop < 300; ++loop) {
    const int64_t total = loop % 7 * 5 + 1;
    std::vector<std::atomic<int>> ran(total);
    parallel_for(total, 1 + loop % 3, [&](int64_t begin, int64_t end, int) {
      for (int64_t unit = begin; unit < end; ++unit) ++ran[unit];
    });
    for (const std::atomic<int>& times : ran) ASSERT_EQ(times, 1);
    if (loop % 50 == 0) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }
}

// As an executor may that has no room for more.
TEST(SharedLoopTest, FunctionsMayRunWhileTheyAreScheduled) {
  int64_t done = 0;
  ShareLoops(4, [](const std::function<void()>& function) { function(); })(
      100, 3, [&](int64_t begin, int64_t end, int) { done += end - begin; });
  EXPECT_EQ(done, 100);
}

TEST(SharedLoopTest, NoMemoryToScheduleIsNoError) {
  int64_t done = 0;
  ShareLoops(4, [](const std::function<void()>&) { throw std::bad_alloc(); })(
      100, 1, [&](int64_t begin, int64_t end, int) { done += end - begin; });
  EXPECT_EQ(done, 100);
}

TEST(SharedLoopTest, AnExceptionOfTheCallerLeavesNobodyAtWork) {
  Threads pool;
  const std::thread::id caller = std::this_thread::get_id();
  std::atomic<bool> left{false};
  std::atomic<int> at_work{0}, late{0};
  EXPECT_THROW(ShareLoops(3, pool.Starter())(1000, 1,
                                             [&](int64_t, int64_t, int) {
                                               if (std::this_thread::get_id() ==
                                                   caller) {
                                                 throw std::runtime_error("");
                                               }
                                               ++at_work;
                                               std::this_thread::yield();
                                               if (left) ++late;
                                               --at_work;
                                             }),
               std::runtime_error);
  left = true;
  EXPECT_EQ(at_work, 0);
  EXPECT_EQ(late, 0);
}

// The caller sleeps where the last block takes long.
TEST(SharedLoopTest, WaitsForALongLastBlock) {
  Threads pool;
  const std::thread::id caller = std::this_thread::get_id();
  std::atomic<bool> begun{false}, done{false};
  ShareLoops(2, pool.Starter())(2, 1, [&](int64_t, int64_t, int) {
    if (std::this_thread::get_id() == caller) {
      while (!begun) std::this_thread::yield();
      return;
    }
    begun = true;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    done = true;
  });
  EXPECT_TRUE(done);
}

}  // namespace
}  // namespace conv_transpose_nd
