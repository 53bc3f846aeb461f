// A loop that its caller shares with threads of somebody else's pool.
#ifndef CONV_TRANSPOSE_ND_CORE_SHARED_LOOP_H_
#define CONV_TRANSPOSE_ND_CORE_SHARED_LOOP_H_

#include <functional>

#include "cc/core/parallel_for.h"

namespace conv_transpose_nd {

// Runs a function on another thread, at once or later. May throw
// std::bad_alloc.
using Schedule = std::function<void(std::function<void()>)>;

// The caller and up to threads - 1 scheduled functions take blocks from one
// counter. The caller begins at once and does not wait for a function that has
// not begun when all is done: threads of an idle pool take 50 to 90
// microseconds to wake (Linux, a virtual machine), as long as a small call
// takes. schedule must be callable until the last function has returned.
ParallelFor ShareLoops(int threads, Schedule schedule);

}  // namespace conv_transpose_nd

#endif  // CONV_TRANSPOSE_ND_CORE_SHARED_LOOP_H_
