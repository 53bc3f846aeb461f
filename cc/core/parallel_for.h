// How kernels ask their caller for threads: the caller owns the pool
// (TensorFlow's, or the NumPy module's), the kernels only cut the work.
#ifndef CONV_TRANSPOSE_ND_CORE_PARALLEL_FOR_H_
#define CONV_TRANSPOSE_ND_CORE_PARALLEL_FOR_H_

#include <algorithm>
#include <cstdint>
#include <functional>

namespace conv_transpose_nd {

// Work on units [begin, end) by the worker with this number, 0 <= worker <
// max_workers.
using Work = std::function<void(int64_t begin, int64_t end, int worker)>;

// Pieces of a call on one thread that can be cancelled: so many that it stops
// soon, so few that the cost of asking is out of sight.
inline constexpr int64_t kCancellationPieces = 256;

struct ParallelFor {
  // Workers that may run at the same time; each owns one scratch buffer.
  int max_workers = 1;
  // Calls `work` until every unit of [0, total) is done once. Empty: run on the
  // calling thread. block: units that are handed out together.
  std::function<void(int64_t total, int64_t block, const Work& work)> run;
  // Where it is set and says so, blocks that have not begun are left out: the
  // result is then undefined. Once true, it stays so.
  std::function<bool()> cancelled;

  void operator()(int64_t total, int64_t block, const Work& work) const {
    if (total <= 0) return;
    const bool alone = max_workers <= 1 || !run || total <= block;
    if (!cancelled) {
      if (alone) return work(0, total, 0);
      return run(total, block, work);
    }
    const Work unless_cancelled = [&](int64_t begin, int64_t end, int worker) {
      if (!cancelled()) work(begin, end, worker);
    };
    if (!alone) return run(total, block, unless_cancelled);
    const int64_t piece = std::max(
        block, (total + kCancellationPieces - 1) / kCancellationPieces);
    for (int64_t begin = 0; begin < total; begin += piece) {
      unless_cancelled(begin, std::min(begin + piece, total), 0);
    }
  }
};

}  // namespace conv_transpose_nd

#endif  // CONV_TRANSPOSE_ND_CORE_PARALLEL_FOR_H_
