// A loop that its caller shares with threads of somebody else's pool.
#ifndef CONV_TRANSPOSE_ND_CORE_SHARED_LOOP_H_
#define CONV_TRANSPOSE_ND_CORE_SHARED_LOOP_H_

#include <functional>

#include "cc/core/parallel_for.h"

namespace conv_transpose_nd {

// Runs a function on another thread, at once or later. May throw
// std::bad_alloc.
using Schedule = std::function<void(std::function<void()>)>;

// Loops of one call, one after the other. The caller and up to threads - 1
// scheduled functions take blocks from parts of their own, then from the
// others'. The caller begins at once and does not wait for a function that has
// not begun when all is done: threads of an idle pool take 50 to 90
// microseconds to wake (Linux, a virtual machine), as long as a small call
// takes. A function that has begun stays for the next loop, until the result
// and its copies are gone: a pool that is asked again wakes another thread,
// which then takes a core from those at work. schedule is not called after
// that.
ParallelFor ShareLoops(int threads, Schedule schedule);

}  // namespace conv_transpose_nd

#endif  // CONV_TRANSPOSE_ND_CORE_SHARED_LOOP_H_
