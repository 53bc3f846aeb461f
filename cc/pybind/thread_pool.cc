#include "cc/pybind/thread_pool.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

namespace conv_transpose_nd {
namespace {

// Threads that wait for a job and take its units in blocks from one counter.
class ThreadPool {
 public:
  explicit ThreadPool(int helpers) {
    for (int i = 0; i < helpers; ++i) {
      threads_.emplace_back([this, i] { Serve(i + 1); });
    }
  }
  // Never destroyed: its threads may outlive static destructors.

  int helpers() const { return static_cast<int>(threads_.size()); }

  void Run(int helpers, int64_t total, int64_t block, const Work& work) {
    std::unique_lock<std::mutex> busy(busy_, std::try_to_lock);
    if (!busy.owns_lock()) return work(0, total, 0);
    {
      std::lock_guard<std::mutex> lock(mutex_);
      work_ = &work;
      total_ = total;
      block_ = block;
      next_ = 0;
      invited_ = std::min(helpers, this->helpers());
      running_ = invited_;
      ++generation_;
    }
    wake_.notify_all();
    TakeUnits(0);
    std::unique_lock<std::mutex> lock(mutex_);
    done_.wait(lock, [this] { return running_ == 0; });
  }

 private:
  void TakeUnits(int worker) {
    while (true) {
      const int64_t begin = next_.fetch_add(block_);
      if (begin >= total_) return;
      (*work_)(begin, std::min(begin + block_, total_), worker);
    }
  }

  void Serve(int worker) {
    int64_t seen = 0;
    while (true) {
      {
        std::unique_lock<std::mutex> lock(mutex_);
        wake_.wait(lock, [&] { return generation_ != seen; });
        seen = generation_;
        if (worker > invited_) continue;
      }
      TakeUnits(worker);
      std::lock_guard<std::mutex> lock(mutex_);
      if (--running_ == 0) done_.notify_one();
    }
  }

  std::vector<std::thread> threads_;
  std::mutex busy_;
  std::mutex mutex_;
  std::condition_variable wake_, done_;
  std::atomic<int64_t> next_{0};
  const Work* work_ = nullptr;
  int64_t total_ = 0, block_ = 1, generation_ = 0;
  int invited_ = 0, running_ = 0;
};

// A forked child has none of its parent's threads: it gets a pool of its own.
ThreadPool* Pool() {
  static std::mutex mutex;
  static ThreadPool* pool = nullptr;
  static pid_t owner = 0;
  std::lock_guard<std::mutex> lock(mutex);
  if (pool == nullptr || owner != getpid()) {
    // At least three helpers, so that determinism over threads can be tested on
    // any machine.
    const int processors =
        static_cast<int>(std::thread::hardware_concurrency());
    pool = new ThreadPool(std::max(processors, 4) - 1);
    owner = getpid();
  }
  return pool;
}

}  // namespace

ParallelFor ThreadsFor(int num_threads) {
  ParallelFor parallel_for;
  if (num_threads == 0)
    num_threads = static_cast<int>(std::thread::hardware_concurrency());
  if (num_threads <= 1) return parallel_for;
  ThreadPool* pool = Pool();
  const int helpers = std::min(num_threads - 1, pool->helpers());
  parallel_for.max_workers = helpers + 1;
  parallel_for.run = [pool, helpers](int64_t total, int64_t block,
                                     const Work& work) {
    pool->Run(helpers, total, block, work);
  };
  return parallel_for;
}

}  // namespace conv_transpose_nd
