// How kernels ask their caller for threads: the caller owns the pool
// (TensorFlow's, or the NumPy module's), the kernels only cut the work.
#ifndef CONV_TRANSPOSE_ND_CORE_PARALLEL_FOR_H_
#define CONV_TRANSPOSE_ND_CORE_PARALLEL_FOR_H_

#include <cstdint>
#include <functional>

namespace conv_transpose_nd {

// Work on units [begin, end) by the worker with this number, 0 <= worker <
// max_workers.
using Work = std::function<void(int64_t begin, int64_t end, int worker)>;

struct ParallelFor {
  // Workers that may run at the same time; each owns one scratch buffer.
  int max_workers = 1;
  // Calls `work` until every unit of [0, total) is done once. Empty: run on the
  // calling thread. block: units that are handed out together.
  std::function<void(int64_t total, int64_t block, const Work& work)> run;

  void operator()(int64_t total, int64_t block, const Work& work) const {
    if (total <= 0) return;
    if (max_workers > 1 && run && total > block) {
      run(total, block, work);
    } else {
      work(0, total, 0);
    }
  }
};

}  // namespace conv_transpose_nd

#endif  // CONV_TRANSPOSE_ND_CORE_PARALLEL_FOR_H_
