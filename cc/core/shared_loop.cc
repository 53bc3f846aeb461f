#include "cc/core/shared_loop.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <new>
#include <thread>
#include <utility>
#include <vector>

namespace conv_transpose_nd {
namespace {

// How long the caller looks whether the last blocks are done before it sleeps.
constexpr std::chrono::microseconds kLooks{50};

// Functions that begin after the end of the loop still find it: they share it.
class SharedLoop : public std::enable_shared_from_this<SharedLoop> {
 public:
  SharedLoop(int workers, int64_t total, int64_t block, const Work& work,
             Schedule schedule)
      : block_(block),
        work_(work),
        schedule_(std::move(schedule)),
        parts_(workers) {
    const int64_t blocks = (total + block - 1) / block;
    for (int64_t w = 0; w < workers; ++w) {
      parts_[w].next = Share(blocks, w) * block;
      parts_[w].end = std::min(Share(blocks, w + 1) * block, total);
    }
  }

  // The caller's part; returns, or throws what the work threw, when no helper
  // works any more.
  void Run() {
    const struct Waits {
      ~Waits() { loop->WaitForHelpers(); }
      SharedLoop* loop;
    } waits{this};
    Invite(0);
    TakeBlocks(0);
  }

 private:
  // The units that one worker takes before it helps the others: in calls that
  // follow each other, a core finds in its cache what it wrote before.
  struct alignas(64) Part {
    std::atomic<int64_t> next{0};
    int64_t end = 0;
  };

  // The first of `blocks` that are worker w's, without a product that could
  // overflow.
  int64_t Share(int64_t blocks, int64_t w) const {
    const auto workers = static_cast<int64_t>(parts_.size());
    return blocks / workers * w + std::min(blocks % workers, w);
  }

  // Each thread wakes two, so that the first does not wake all of them.
  void Invite(size_t worker) {
    try {
      const size_t end = std::min(2 * worker + 3, parts_.size());
      for (size_t w = 2 * worker + 1; w < end; ++w) {
        schedule_([loop = shared_from_this(), w] { loop->Help(w); });
      }
    } catch (const std::bad_alloc&) {
      return;  // those that were scheduled are enough, and so is none
    }
  }

  // `active_` rises before `ended_` is read, and the caller does it the other
  // way round: it waits for everybody who may work or schedule.
  void Help(size_t worker) {
    active_.fetch_add(1);
    if (!ended_.load()) {
      Invite(worker);
      TakeBlocks(worker);
    }
    if (active_.fetch_sub(1) == 1) {
      // Empty: the caller is asleep or has not looked yet.
      {
        const std::lock_guard<std::mutex> lock(mutex_);
      }
      idle_.notify_one();
    }
  }

  void TakeBlocks(size_t worker) {
    for (size_t n = 0; n < parts_.size(); ++n) {
      Part& part = parts_[(worker + n) % parts_.size()];
      while (!ended_.load(std::memory_order_relaxed)) {
        const int64_t begin = part.next.fetch_add(block_);
        if (begin >= part.end) break;
        work_(begin, std::min(begin + block_, part.end),
              static_cast<int>(worker));
      }
    }
  }

  void WaitForHelpers() {
    ended_.store(true);
    const auto start = std::chrono::steady_clock::now();
    while (active_.load() > 0) {
      if (std::chrono::steady_clock::now() - start < kLooks) {
        std::this_thread::yield();
        continue;
      }
      std::unique_lock<std::mutex> lock(mutex_);
      idle_.wait(lock, [this] { return active_.load() == 0; });
    }
  }

  const int64_t block_;
  const Work& work_;  // the caller's: not there after the end
  const Schedule schedule_;
  std::vector<Part> parts_;  // one per worker
  std::atomic<bool> ended_{false};
  std::atomic<int> active_{0};
  std::mutex mutex_;
  std::condition_variable idle_;
};

}  // namespace

ParallelFor ShareLoops(int threads, Schedule schedule) {
  ParallelFor parallel_for;
  if (threads <= 1) return parallel_for;
  parallel_for.max_workers = threads;
  parallel_for.run = [threads, schedule = std::move(schedule)](
                         int64_t total, int64_t block, const Work& work) {
    const int64_t blocks = (total + block - 1) / block;
    const auto workers = static_cast<int>(std::min<int64_t>(threads, blocks));
    std::make_shared<SharedLoop>(workers, total, block, work, schedule)->Run();
  };
  return parallel_for;
}

}  // namespace conv_transpose_nd
