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
// How long a helper looks for the next loop of the call before it leaves.
constexpr std::chrono::microseconds kStays{100};

// The threads of one call, which may have several loops. Functions that begin
// after its end still find it: they share it.
class Team : public std::enable_shared_from_this<Team> {
 public:
  Team(int threads, Schedule schedule)
      : schedule_(std::move(schedule)), members_(threads) {}

  // One loop; returns, or throws what the work threw, when no helper works on
  // it any more.
  void Run(int64_t total, int64_t block, const Work& work) {
    const int64_t blocks = (total + block - 1) / block;
    workers_ = static_cast<int>(
        std::min<int64_t>(static_cast<int64_t>(members_.size()), blocks));
    for (int64_t w = 0; w < workers_; ++w) {
      members_[w].next = Share(blocks, w) * block;
      members_[w].end = std::min(Share(blocks, w + 1) * block, total);
    }
    block_ = block;
    work_ = &work;
    const struct Ends {
      ~Ends() { team->EndLoop(); }
      Team* team;
    } ends{this};
    loop_.fetch_add(1);
    Invite(0);
    TakeBlocks(0);
  }

  // No loop follows.
  void Close() { closed_.store(true); }

 private:
  struct alignas(64) Member {
    // The units that one worker takes before it helps the others: in calls that
    // follow each other, a core finds in its cache what it wrote before.
    std::atomic<int64_t> next{0};
    int64_t end = 0;
    // A function with this number is scheduled or at work.
    std::atomic<bool> present{false};
  };

  // The first of `blocks` that are worker w's, without a product that could
  // overflow.
  int64_t Share(int64_t blocks, int64_t w) const {
    return blocks / workers_ * w + std::min<int64_t>(blocks % workers_, w);
  }

  // Each thread wakes two, so that the first does not wake all of them.
  void Invite(int worker) {
    try {
      const int end = std::min(2 * worker + 3, workers_);
      for (int w = 2 * worker + 1; w < end; ++w) {
        if (members_[w].present.exchange(true)) continue;
        schedule_([team = shared_from_this(), w] { team->Help(w); });
      }
    } catch (const std::bad_alloc&) {
      return;  // those that were scheduled are enough, and so is none
    }
  }

  // Loops of the call, until none comes for a while. One that begins while this
  // helper leaves finds it gone, or is seen by it.
  void Help(int worker) {
    int64_t seen = 0;
    for (;;) {
      seen = HelpWithLoop(worker, seen);
      if (AwaitLoop(seen)) continue;
      members_[worker].present.store(false);
      if (!IsNew(seen) || members_[worker].present.exchange(true)) return;
    }
  }

  static bool IsOpen(int64_t loop) { return loop % 2 == 1; }

  bool IsNew(int64_t seen) const {
    const int64_t loop = loop_.load();
    return loop != seen && IsOpen(loop);
  }

  bool AwaitLoop(int64_t seen) const {
    const auto start = std::chrono::steady_clock::now();
    while (!closed_.load()) {
      if (IsNew(seen)) return true;
      if (std::chrono::steady_clock::now() - start > kStays) return false;
      std::this_thread::yield();
    }
    return false;
  }

  // Takes part in the loop that is open, if it is not `seen`; returns which it
  // saw. `active_` rises before `loop_` is read, and the caller does it the
  // other way round: it waits for everybody who may work or schedule.
  int64_t HelpWithLoop(int worker, int64_t seen) {
    active_.fetch_add(1);
    const int64_t loop = loop_.load();
    if (loop != seen && IsOpen(loop)) {
      seen = loop;
      if (worker < workers_) {
        Invite(worker);
        TakeBlocks(worker);
      }
    }
    if (active_.fetch_sub(1) == 1) {
      // Empty: the caller is asleep or has not looked yet.
      {
        const std::lock_guard<std::mutex> lock(mutex_);
      }
      idle_.notify_one();
    }
    return seen;
  }

  void TakeBlocks(int worker) {
    for (int n = 0; n < workers_; ++n) {
      Member& member = members_[(worker + n) % workers_];
      while (IsOpen(loop_.load(std::memory_order_relaxed))) {
        const int64_t begin = member.next.fetch_add(block_);
        if (begin >= member.end) break;
        (*work_)(begin, std::min(begin + block_, member.end), worker);
      }
    }
  }

  void EndLoop() {
    loop_.fetch_add(1);
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

  const Schedule schedule_;
  std::vector<Member> members_;  // by worker; 0 is the caller
  // The loop at hand: written while nobody is active.
  int workers_ = 0;
  int64_t block_ = 1;
  const Work* work_ = nullptr;
  std::atomic<int64_t> loop_{0};  // rises when one opens, and when it ends
  std::atomic<bool> closed_{false};
  std::atomic<int> active_{0};
  std::mutex mutex_;
  std::condition_variable idle_;
};

// Sends the team away when the last copy of what runs its loops is gone.
class TeamOwner {
 public:
  explicit TeamOwner(std::shared_ptr<Team> team) : team_(std::move(team)) {}
  ~TeamOwner() { team_->Close(); }
  TeamOwner(const TeamOwner&) = delete;
  TeamOwner& operator=(const TeamOwner&) = delete;

  Team& team() const { return *team_; }

 private:
  std::shared_ptr<Team> team_;
};

}  // namespace

ParallelFor ShareLoops(int threads, Schedule schedule) {
  ParallelFor parallel_for;
  if (threads <= 1) return parallel_for;
  parallel_for.max_workers = threads;
  const auto owner = std::make_shared<const TeamOwner>(
      std::make_shared<Team>(threads, std::move(schedule)));
  parallel_for.run = [owner](int64_t total, int64_t block, const Work& work) {
    owner->team().Run(total, block, work);
  };
  return parallel_for;
}

}  // namespace conv_transpose_nd
