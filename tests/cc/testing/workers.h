// ParallelFor for tests.
#ifndef CONV_TRANSPOSE_ND_TESTS_TESTING_WORKERS_H_
#define CONV_TRANSPOSE_ND_TESTS_TESTING_WORKERS_H_

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "cc/core/parallel_for.h"

namespace conv_transpose_nd {
namespace testing {

// As many threads, which take blocks from one counter: who computes what is up
// to chance.
inline ParallelFor Threads(int workers) {
  ParallelFor parallel_for;
  parallel_for.max_workers = workers;
  parallel_for.run = [workers](int64_t total, int64_t block, const Work& work) {
    std::atomic<int64_t> next{0};
    const auto serve = [&](int worker) {
      while (true) {
        const int64_t begin = next.fetch_add(block);
        if (begin >= total) return;
        work(begin, std::min(begin + block, total), worker);
      }
    };
    std::vector<std::thread> threads;
    for (int w = 1; w < workers; ++w) threads.emplace_back(serve, w);
    serve(0);
    for (std::thread& thread : threads) thread.join();
  };
  return parallel_for;
}

// One thread that plays as many workers and takes the blocks from last to
// first: whatever depends on the order of units, or on what an earlier unit
// left in scratch, differs.
inline ParallelFor LastToFirst(int workers) {
  ParallelFor parallel_for;
  parallel_for.max_workers = workers;
  parallel_for.run = [workers](int64_t total, int64_t block, const Work& work) {
    const int64_t blocks = (total + block - 1) / block;
    for (int64_t b = blocks - 1; b >= 0; --b) {
      const int worker = static_cast<int>(b * 7 % workers);
      work(b * block, std::min((b + 1) * block, total), worker);
    }
  };
  return parallel_for;
}

}  // namespace testing
}  // namespace conv_transpose_nd

#endif  // CONV_TRANSPOSE_ND_TESTS_TESTING_WORKERS_H_
