// The threads of the NumPy module. A call takes the pool if it is free and runs
// on its own thread alone if it is not: callers that are parallel already gain
// nothing from more threads.
#ifndef CONV_TRANSPOSE_ND_PYBIND_THREAD_POOL_H_
#define CONV_TRANSPOSE_ND_PYBIND_THREAD_POOL_H_

#include "cc/core/parallel_for.h"

namespace conv_transpose_nd {

// num_threads: threads that may work at once, the caller included; 0 means all
// processors. The result must not outlive the call that it was made for.
ParallelFor ThreadsFor(int num_threads);

}  // namespace conv_transpose_nd

#endif  // CONV_TRANSPOSE_ND_PYBIND_THREAD_POOL_H_
