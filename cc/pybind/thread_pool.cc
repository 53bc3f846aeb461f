#include "cc/pybind/thread_pool.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "cc/core/shared_loop.h"

namespace conv_transpose_nd {
namespace {

// How long a thread looks for its next job before it sleeps. Waking takes 50 to
// 90 microseconds on a virtual machine, so that calls of 100 microseconds in a
// row gain nothing from a thread that sleeps between them.
constexpr std::chrono::microseconds kLooks{200};

class ThreadPool {
 public:
  // lookers: threads that may look for jobs at once; the others sleep.
  ThreadPool(int threads, int lookers) : most_lookers_(lookers) {
    for (int i = 0; i < threads; ++i) {
      threads_.emplace_back([this] { Serve(); });
    }
  }
  // Never destroyed: its threads may outlive static destructors.

  int size() const { return static_cast<int>(threads_.size()); }

  void Schedule(std::function<void()> job) {
    bool wakes;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      jobs_.push_back(std::move(job));
      waiting_jobs_.store(static_cast<int>(jobs_.size()));
      wakes = waiting_jobs_.load() > lookers_;
    }
    if (wakes) wake_.notify_one();
  }

  // One caller's use of the pool; none, where another uses it.
  class Use {
   public:
    explicit Use(ThreadPool* pool)
        : pool_(pool->busy_.exchange(true) ? nullptr : pool) {}
    ~Use() {
      if (pool_ != nullptr) pool_->busy_.store(false);
    }
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;
    explicit operator bool() const { return pool_ != nullptr; }

   private:
    ThreadPool* pool_;
  };

 private:
  void Serve() {
    while (true) NextJob()();
  }

  std::function<void()> NextJob() {
    std::unique_lock<std::mutex> lock(mutex_);
    if (jobs_.empty() && lookers_ < most_lookers_) {
      ++lookers_;
      lock.unlock();
      Look();
      lock.lock();
      --lookers_;
    }
    wake_.wait(lock, [this] { return !jobs_.empty(); });
    std::function<void()> job = std::move(jobs_.front());
    jobs_.pop_front();
    waiting_jobs_.store(static_cast<int>(jobs_.size()));
    return job;
  }

  // Until there is a job, or it has been long enough.
  void Look() const {
    const auto start = std::chrono::steady_clock::now();
    while (waiting_jobs_.load() == 0 &&
           std::chrono::steady_clock::now() - start < kLooks) {
      std::this_thread::yield();
    }
  }

  const int most_lookers_;
  std::vector<std::thread> threads_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> jobs_;
  int lookers_ = 0;
  std::atomic<int> waiting_jobs_{0};
  std::atomic<bool> busy_{false};
};

// A forked child has none of its parent's threads: it gets a pool of its own.
ThreadPool* Pool() {
  static std::mutex mutex;
  static ThreadPool* pool = nullptr;
  static pid_t owner = 0;
  std::lock_guard<std::mutex> lock(mutex);
  if (pool == nullptr || owner != getpid()) {
    // At least three, so that determinism over threads can be tested on any
    // machine.
    const int processors =
        static_cast<int>(std::thread::hardware_concurrency());
    pool = new ThreadPool(std::max(processors, 4) - 1, processors - 1);
    owner = getpid();
  }
  return pool;
}

}  // namespace

ParallelFor ThreadsFor(int num_threads) {
  if (num_threads == 0)
    num_threads = static_cast<int>(std::thread::hardware_concurrency());
  if (num_threads <= 1) return {};
  ThreadPool* pool = Pool();
  ParallelFor parallel_for = ShareLoops(
      std::min(num_threads, pool->size() + 1),
      [pool](std::function<void()> help) { pool->Schedule(std::move(help)); });
  parallel_for.run = [pool, share = std::move(parallel_for.run)](
                         int64_t total, int64_t block, const Work& work) {
    const ThreadPool::Use use(pool);
    if (!use) return work(0, total, 0);
    share(total, block, work);
  };
  return parallel_for;
}

}  // namespace conv_transpose_nd
